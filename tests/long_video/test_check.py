from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import typer

pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")

from preprocess.long_video import commands
from preprocess.long_video.check import Defect, Expectation, check_file
from preprocess.long_video.folder import Folder
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.jsonl import check_folder
from preprocess.samples import JSON

Rows = list[JSON]


def read(path: Path) -> Rows:
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(path: Path, rows: Rows) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_a_good_folder_has_no_defect(built: Folder) -> None:
    assert check_folder(built) == []
    assert len(read(built.train(6))) == 2
    alone = Expectation(FrameFormat(height=32, width=48), tokens=16)
    assert check_file(built.train(3), alone) == []


def edit_line(change: Callable[[JSON], object], line: int = 0) -> Callable[[Folder], None]:
    def plant(folder: Folder) -> None:
        rows = read(folder.train(6))
        change(rows[line])
        write(folder.train(6), rows)

    return plant


def edit_tensor(which: str, change: Callable[[torch.Tensor], Any]) -> Callable[[Folder], None]:
    def plant(folder: Folder) -> None:
        row = read(folder.train(6))[0]
        path = folder.root / (row["vid_emb"] if which == "latents" else row["text_chunk_emb"][0])
        torch.save(change(torch.load(path, weights_only=True)), path)

    return plant


def with_value(tensor: torch.Tensor, value: float, channel: int) -> torch.Tensor:
    tensor[3, channel, 1, 1] = value
    return tensor


def break_bytes(folder: Folder) -> None:
    path = folder.root / read(folder.train(6))[0]["vid_emb"]
    path.write_bytes(path.read_bytes()[:1000])


def swap_variant(row: JSON) -> None:
    row["text_chunk_emb"][0] = row["text_chunk_emb"][0].replace("_start", "_none")


PLANTED: dict[str, tuple[str, Callable[[Folder], None]]] = {
    "no jsonl": ("missing_jsonl", lambda f: f.train(6).unlink()),
    "no line": ("empty", lambda f: write(f.train(6), [])),
    "half a line": ("bad_line", lambda f: f.train(6).write_text(f.train(6).read_text()[:-20])),
    "not UTF-8": ("bad_line", lambda f: f.train(6).write_bytes(b"\xff\n")),
    "a list": ("wrong_keys", lambda f: f.train(6).write_text("[1]\n")),
    "another key": ("wrong_keys", edit_line(lambda row: row.update(extra=1))),
    "no texts": ("wrong_keys", edit_line(lambda row: row.pop("text_chunk_emb"))),
    "texts are no list": ("wrong_keys", edit_line(lambda row: row.update(text_chunk_emb="a"))),
    "absolute path": ("bad_path", edit_line(lambda row: row.update(vid_emb="/etc/passwd"))),
    "path upwards": ("bad_path", edit_line(lambda row: row["text_chunk_emb"].__setitem__(0, "../x.pt"))),
    "one text too few": ("wrong_count", edit_line(lambda row: row["text_chunk_emb"].pop())),
    "wrong variant": ("wrong_variant", edit_line(swap_variant)),
    "wrong text": ("wrong_text", edit_line(lambda row: row["text_chunk_emb"].reverse(), line=1)),
    "a line twice": ("duplicate", lambda f: write(f.train(6), [*read(f.train(6)), read(f.train(6))[0]])),
    "a line too few": ("missing_episode", lambda f: write(f.train(6), read(f.train(6))[:1])),
    "unknown episode": ("unknown_episode", edit_line(lambda row: row.update(vid_emb=row["vid_emb"] + "x"))),
    "no latents": ("missing_file", lambda f: (f.root / read(f.train(6))[0]["vid_emb"]).unlink()),
    "no text file": ("missing_file", lambda f: (f.root / read(f.train(6))[0]["text_chunk_emb"][0]).unlink()),
    "no scene tokens": ("missing_file", lambda f: f.scene_tokens.unlink()),
    "cut file": ("unreadable_file", break_bytes),
    "a dict": ("not_a_tensor", edit_tensor("latents", lambda t: {"latents": t})),
    "float32 latents": ("wrong_dtype", edit_tensor("latents", torch.Tensor.float)),
    "float16 text": ("wrong_dtype", edit_tensor("text", torch.Tensor.half)),
    "channels first": ("wrong_shape", edit_tensor("latents", lambda t: t.transpose(0, 1).contiguous())),
    "short latents": ("wrong_count", edit_tensor("latents", lambda t: t[:13].clone())),
    "short text": ("wrong_shape", edit_tensor("text", lambda t: t[:7].clone())),
    "NaN in latents": ("not_finite", edit_tensor("latents", lambda t: with_value(t, float("nan"), 0))),
    "infinity in text": ("not_finite", edit_tensor("text", lambda t: t.fill_(float("inf")))),
    "mean out of range": ("out_of_range", edit_tensor("latents", lambda t: with_value(t, 11.0, 15))),
    "variance out of range": ("out_of_range", edit_tensor("latents", lambda t: with_value(t, -41.0, 16))),
}


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_defect_is_found_under_its_code(copy: Folder, name: str) -> None:
    code, plant = PLANTED[name]
    plant(copy)
    assert code in {finding.code for finding in check_folder(copy)}


def test_a_log_variance_of_minus_thirty_is_in_range(copy: Folder) -> None:
    edit_tensor("latents", lambda t: with_value(t, -30.0, 16))(copy)
    assert check_folder(copy) == []


def test_without_a_plan_the_length_of_the_latents_must_fit_the_texts(copy: Folder) -> None:
    edit_line(lambda row: row["text_chunk_emb"].pop())(copy)
    findings = check_file(copy.train(6), Expectation(FrameFormat(height=32, width=48), tokens=16))
    assert [finding.code for finding in findings] == ["wrong_count"]


def test_texts_of_two_widths_are_found_without_settings(copy: Folder) -> None:
    edit_tensor("text", lambda t: t[:, :8].clone())(copy)
    findings = check_file(copy.train(6), Expectation(FrameFormat(height=32, width=48), tokens=16))
    assert {finding.code for finding in findings} == {"wrong_shape"}


def test_a_name_in_a_defect_cannot_control_the_terminal() -> None:
    shown = str(Defect("bad_json", "a\x1b[2J.jsonl, line 1", "got '\x9b2J'"))
    assert not {"\x1b", "\x9b"} & set(shown)


def test_no_code_in_a_file_is_run(copy: Folder, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    path = copy.root / read(copy.train(6))[0]["vid_emb"]
    torch.save({"latents": Trap()}, path)
    assert "unreadable_file" in {finding.code for finding in check_folder(copy)}
    assert not (tmp_path / "sprung").exists()


def test_the_command_fails_when_something_is_wrong(copy: Folder, capsys: pytest.CaptureFixture[str]) -> None:
    commands.check(copy.root)
    assert "nothing is wrong" in capsys.readouterr().out
    copy.scene_tokens.unlink()
    with pytest.raises(SystemExit) as caught:
        commands.check(copy.root)
    assert caught.value.code == 1
    assert "missing_file" in capsys.readouterr().out


def test_the_commands_are_parsed() -> None:
    names = {command.name for command in typer.main.get_group(commands.app).commands.values()}
    assert names == {"scenes", "segments", "import", "latents", "text", "jsonl", "check", "demo"}
