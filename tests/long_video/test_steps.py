from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")

from preprocess.errors import SettingsError, UserError
from preprocess.long_video import commands
from preprocess.long_video.devices import Rank, claim_device
from preprocess.long_video.folder import Folder
from preprocess.long_video.jsonl import check_folder, read_episodes
from tests.long_video.conftest import SIZE, Build
from tests.media_files import write_video

PLAIN = {"precision": "fp32", "device": "cpu"}


def contents(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_the_steps_follow_the_rules(built: Folder) -> None:
    """Scenes of 7, 2.5, 1 and 3 s: two segments, one padded, none, one."""
    episodes = read_episodes(built, 6)
    assert [[s.start_s for s in e.segments] for e in episodes] == [[0.5, 3.5], [7.0, 10.5]]
    (short,) = [json.loads(line) for line in built.rejects("segments").read_text().splitlines()]
    assert (short["key"], short["reason"]) == ("clip.mp4 9.500", "too_short")
    rows = [json.loads(line) for line in built.train(6).read_text().splitlines()]
    variants = [[Path(name).stem.split("_")[1] for name in row["text_chunk_emb"]] for row in rows]
    assert variants == [["start", "end"], ["both", "both"]]
    latents = torch.load(built.root / rows[0]["vid_emb"], weights_only=True)
    assert (latents.dtype, tuple(latents.shape)) == (torch.bfloat16, (25, 32, SIZE[0] // 8, SIZE[1] // 8))
    # Only the variants that are called for.
    assert {p.stem.split("_")[1] for p in built.texts(16).glob("*_*.pt")} == {"start", "end", "both"}


def test_two_runs_give_the_same_bytes_and_the_second_of_one_does_nothing(
    built: Folder, build: Build, tmp_path: Path
) -> None:
    again = build(tmp_path / "again")
    assert contents(again.root) == contents(built.root)
    times = {path: path.stat().st_mtime_ns for path in again.root.rglob("*.pt")}
    build(again.root)
    assert {path: path.stat().st_mtime_ns for path in again.root.rglob("*.pt")} == times


def test_what_is_bad_is_redone_and_nothing_else(copy: Folder, models: Path) -> None:
    whole = contents(copy.root)
    bad, gone, *others = sorted(copy.latents(3).glob("*.pt"))
    bad.write_bytes(bad.read_bytes()[:-400])
    gone.unlink()
    text = sorted(copy.texts(16).glob("*.pt"))[0]
    torch.save(torch.full((16, 32), float("nan"), dtype=torch.bfloat16), text)
    left = {path: path.stat().st_mtime_ns for path in others}
    assert len(check_folder(copy)) == 4  # the text is in both stages
    with pytest.raises(UserError, match=r"train_03s\.jsonl was not written: 3 problems found"):
        commands.jsonl(copy.root)
    commands.latents(copy.root, vae=str(models), **PLAIN)
    commands.text(copy.root, model=str(models), max_tokens=16, **PLAIN)
    commands.jsonl(copy.root)
    assert contents(copy.root) == whole
    assert {path: path.stat().st_mtime_ns for path in others} == left


def test_other_settings_over_what_is_there_are_an_error(copy: Folder, models: Path, capsys: object) -> None:
    with pytest.raises(SettingsError, match="chunk_seconds = 1, not 2"):
        commands.latents(copy.root, vae=str(models), chunk_seconds=2, **PLAIN)
    with pytest.raises(SettingsError, match="max_tokens = 16, not 20"):
        commands.text(copy.root, model=str(models), max_tokens=20, **PLAIN)
    before = contents(copy.latents(3))
    commands.latents(copy.root, vae=str(models), chunk_seconds=3, overwrite=True, **PLAIN)
    after = contents(copy.latents(3))
    assert before.keys() == after.keys()
    assert all(before[name] != after[name] for name in before)


def test_scenes_that_a_person_edited_are_not_lost(copy: Folder, raw: Path) -> None:
    copy.scenes.write_text(copy.scenes.read_text().replace("red", "crimson"))
    with pytest.raises(SettingsError, match="it was edited"):
        commands.scenes(copy.root, raw, raw / "scenes.jsonl", workers=1)
    commands.scenes(copy.root, raw, copy.scenes, workers=1)
    assert "crimson" in copy.scenes.read_text()
    latents = {path: path.stat().st_mtime_ns for path in copy.root.rglob("latents/*/*.pt")}
    commands.segments(copy.root, "3,6", size=f"{SIZE[0]}x{SIZE[1]}")
    assert "crimson" in copy.episodes(3).read_text()
    assert {copy.latents(e.seconds) / f"{e.key}.pt" for s in (3, 6) for e in read_episodes(copy, s)} == set(latents)


def test_what_cannot_be_read_is_rejected_and_left_out(
    tmp_path: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = tmp_path / "raw"
    write_video(raw / "good.mp4", n_frames=40, fps=10)
    write_video(raw / "short.mp4", n_frames=40, fps=10, seed=1)
    (raw / "text.mp4").write_text("not a video")
    annotations = tmp_path / "scenes.csv"
    annotations.write_text(
        "video,start,end,text\ngood,0,4,a\nshort,0,4,b\ntext,0,4,c\nabsent,0,4,d\ngood,4.5,9,e\nshort,0.1,9,f\n"
    )
    root = tmp_path / "set"
    folder = Folder(root)
    commands.scenes(root, raw, annotations, workers=2)
    rejects = [json.loads(line) for line in folder.rejects("scenes").read_text().splitlines()]
    assert [(r["key"], r["reason"]) for r in rejects] == [
        ("absent", "missing"),
        ("good.mp4 4.500", "empty_window"),
        ("text.mp4", "unreadable"),
    ]
    scenes = [json.loads(line) for line in folder.scenes.read_text().splitlines()]
    assert [(s["video"], s["start"], s["end"]) for s in scenes] == [
        ("good.mp4", 0.0, 4.0),
        ("short.mp4", 0.0, 4.0),
        ("short.mp4", 0.1, 4.0),  # no scene is longer than its video
    ]
    commands.segments(root, "3", size="16x24")
    write_video(raw / "short.mp4", n_frames=20, fps=10)  # after the plan: now it is short
    commands.latents(root, vae=str(models), **PLAIN)
    ledger = [json.loads(line) for line in folder.rejects("latents").read_text().splitlines()]
    assert [r["reason"] for r in ledger] == ["truncated", "truncated"]
    commands.text(root, model=str(models), max_tokens=16, **PLAIN)
    commands.jsonl(root)
    (row,) = [json.loads(line) for line in folder.train(3).read_text().splitlines()]
    assert "good" in row["vid_emb"]
    assert check_folder(folder) == []

    write_video(raw / "short.mp4", n_frames=40, fps=10, seed=1)  # fixed
    commands.latents(root, vae=str(models), **PLAIN)
    assert folder.rejects("latents").read_text() == ""
    assert [f.code for f in check_folder(folder)] == ["missing_episode", "missing_episode"]
    commands.jsonl(root)
    assert check_folder(folder) == []

    before = {path.name: path.read_bytes() for path in folder.latents(3).glob("*.pt")}
    write_video(raw / "good.mp4", n_frames=40, fps=10, seed=2)  # replaced
    capsys.readouterr()
    commands.latents(root, vae=str(models), **PLAIN)
    assert capsys.readouterr().out.startswith("1 latents made (1 of videos that changed), 2 kept")
    after = {path.name: path.read_bytes() for path in folder.latents(3).glob("*.pt")}
    (again,) = (name for name in before if after[name] != before[name])
    assert again.startswith("good")
    commands.latents(root, vae=str(models), **PLAIN)
    assert capsys.readouterr().out.startswith("0 latents made, 3 kept")


def test_ranks_split_the_work_and_the_result_is_the_same(
    copy: Folder, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = contents(copy.root)
    for path in [*copy.root.rglob("latents/*/*.pt"), *copy.texts(16).glob("*.pt")]:
        path.unlink()
    made = []
    for rank in range(2):
        monkeypatch.setitem(os.environ, "RANK", str(rank))
        monkeypatch.setitem(os.environ, "WORLD_SIZE", "2")
        monkeypatch.setitem(os.environ, "LOCAL_RANK", str(rank))
        commands.latents(copy.root, vae=str(models), **PLAIN)
        commands.text(copy.root, model=str(models), max_tokens=16, **PLAIN)
        made.append(len(list(copy.root.rglob("latents/*/*.pt"))))
    assert made == [3, 6]
    with pytest.raises(UserError, match="--overwrite from several ranks"):
        commands.latents(copy.root, vae=str(models), overwrite=True, **PLAIN)
    assert {n: d for n, d in contents(copy.root).items() if ".lock" not in n} == {
        n: d for n, d in whole.items() if ".lock" not in n
    }


def test_ranks_are_read_from_torchruns_environment() -> None:
    assert Rank.from_environment({}) == Rank(0, 1, 0)
    assert Rank.from_environment({"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1"}) == Rank(5, 8, 1)
    shares = [Rank(i, 3).share(range(10)) for i in range(3)]
    assert sorted(item for share in shares for item in share) == list(range(10))
    for wrong in ({"RANK": "2", "WORLD_SIZE": "2"}, {"RANK": "x"}):
        with pytest.raises(UserError):
            Rank.from_environment(wrong)


def test_each_worker_claims_a_device_of_its_own(tmp_path: Path) -> None:
    devices = ("cuda:0", "cuda:1", "cuda:1")
    assert [claim_device(devices, tmp_path) for _ in devices] == list(devices)
    with pytest.raises(RuntimeError, match="more workers"):
        claim_device(devices, tmp_path)


def test_several_workers_make_the_same_latents(copy: Folder, models: Path) -> None:
    whole = contents(copy.root)
    for path in copy.root.rglob("latents/*/*.pt"):
        path.unlink()
    commands.latents(copy.root, vae=str(models), workers=2, **PLAIN)
    assert contents(copy.root) == whole


def test_detected_scenes_take_the_text_beside_the_video_and_are_not_searched_twice(
    raw: Path, tmp_path: Path, models: Path
) -> None:
    pytest.importorskip("scenedetect", reason="requirements-long-video.txt is not installed")
    own, root = tmp_path / "raw", tmp_path / "set"
    own.mkdir()
    shutil.copy(raw / "clip.mp4", own)
    commands.scenes(root, own, workers=1)
    folder = Folder(root)
    scenes = [json.loads(line) for line in folder.scenes.read_text().splitlines()]
    assert [(s["start"], s["end"]) for s in scenes] == [(0.0, 7.0), (7.0, 9.5), (9.5, 10.5), (10.5, 13.5)]
    commands.segments(root, "3", size="16x24")
    with pytest.raises(UserError, match="segment without a text"):
        commands.text(root, model=str(models), **PLAIN)

    (note,) = folder.found.iterdir()
    written = note.stat().st_mtime_ns
    (own / "clip.txt").write_text("shapes\nthat move\n")
    commands.scenes(root, own, workers=1, overwrite=True)  # as the message said
    assert note.stat().st_mtime_ns == written
    scenes = [json.loads(line) for line in folder.scenes.read_text().splitlines()]
    assert [s["text"] for s in scenes] == [["shapes that move"]] * 4


def test_steps_out_of_order_say_what_to_run(tmp_path: Path, raw: Path, models: Path) -> None:
    with pytest.raises(UserError, match="long-video scenes"):
        commands.segments(tmp_path / "new")
    with pytest.raises(UserError, match="has no episodes"):
        commands.latents(tmp_path / "new", vae=str(models))
    commands.scenes(tmp_path / "new", raw, raw / "scenes.jsonl", workers=1)
    with pytest.raises(UserError, match="does not fill one episode of 63 s"):
        commands.segments(tmp_path / "new", "63")
    with pytest.raises(UserError, match="not height x width"):
        commands.segments(tmp_path / "new", size="720p")


def printed(error: UserError) -> list[list[str]]:
    """The command lines in a remedy, as a shell splits them."""
    found = re.findall(r"python -m preprocess long-video (.*?)(?=[,:.]? (?:then|Or|both)|: |$)", error.remedy)
    return [shlex.split(line) for line in found]


def obey(error: UserError, **fill: str) -> None:
    """Runs what a remedy says, with the placeholders filled in."""
    lines = printed(error)
    assert lines
    for line in lines:
        words = [fill.get(word, word) for word in line]
        done = CliRunner().invoke(commands.app, words, catch_exceptions=False)
        assert done.exit_code == 0, done.output


def test_some_stages_are_finished_while_others_are_not(copy: Folder, models: Path) -> None:
    whole = contents(copy.root)
    for path in [*copy.root.rglob("latents/*/*.pt"), *copy.texts(16).glob("*.pt"), *copy.root.glob("train_*.jsonl")]:
        path.unlink()
    # No model is named: it is the one of the run before.
    commands.latents(copy.root, seconds="3", **PLAIN)
    commands.text(copy.root, seconds="3", **PLAIN)
    commands.jsonl(copy.root, "3")
    commands.check(copy.root, seconds="3")
    assert copy.train(3).read_bytes() == whole["train_03s.jsonl"]
    assert not copy.train(6).exists()
    with pytest.raises(UserError, match=r"train_06s\.jsonl was not written") as error:
        commands.jsonl(copy.root)
    obey(error.value)
    commands.jsonl(copy.root)
    assert {name: data for name, data in contents(copy.root).items() if name.endswith((".pt", ".jsonl"))} == {
        name: data for name, data in whole.items() if name.endswith((".pt", ".jsonl"))
    }


def test_a_stage_that_is_not_planned_can_be_planned_as_the_message_says(copy: Folder) -> None:
    for step in (commands.latents, commands.text, commands.jsonl, commands.check):
        with pytest.raises(UserError, match="has no episodes of 9 s; its stages are 3,6 s") as error:
            step(copy.root, seconds="9")  # type: ignore[operator]
    planned = {seconds: copy.episodes(seconds).read_bytes() for seconds in (3, 6)}
    obey(error.value)
    assert copy.stages() == (3, 6, 9)
    assert {seconds: copy.episodes(seconds).read_bytes() for seconds in (3, 6)} == planned  # the size is kept


def test_what_was_forgotten_is_run_as_the_message_says(tmp_path: Path, raw: Path) -> None:
    root = tmp_path / "a new one"
    with pytest.raises(UserError, match="has no episodes") as error:
        commands.latents(root)
    scenes, segments = printed(error.value)
    assert CliRunner().invoke(commands.app, [str(raw) if w == "<folder>" else w for w in scenes]).exit_code == 0
    with pytest.raises(UserError, match="does not fill one episode of 63 s") as too_long:
        commands.segments(root, "63")
    obey(too_long.value)
    assert CliRunner().invoke(commands.app, segments).exit_code == 0


def test_a_plan_with_other_stages_replaces_the_one_before(copy: Folder) -> None:
    commands.segments(copy.root, "3", size=f"{SIZE[0]}x{SIZE[1]}")
    assert copy.stages() == (3,)
