from __future__ import annotations

import importlib
import json
from pathlib import Path

import pytest

from preprocess import recipes
from preprocess.errors import UserError
from preprocess.exports.annotations import adaclip_entries, video_names, write_annotations
from preprocess.exports.commands import export_annotations
from preprocess.samples import RecipeOptions, Sample
from tests.media_files import write_video


def read(name: str, raw: Path) -> list[Sample]:
    return list(recipes.load(name).samples(raw, RecipeOptions()))


def test_didemo_val_equals_adaclips_own_file(shared_data: Path, tmp_path: Path) -> None:
    raw, published = tmp_path / "raw", shared_data / "annotations/didemo"
    (raw / "videos").mkdir(parents=True)
    for name in ("val_data.json", "val_list.txt"):
        (raw / name).write_bytes((published / name).read_bytes())
    for video in (published / "val_list.txt").read_text().split("\n"):
        if video:
            (raw / f"videos/{video}.mp4").touch()
    report = write_annotations(read("didemo", raw), raw, tmp_path / "out")
    assert report.missing == ()
    assert dict(report.written) == {"val": 1065}
    reference = json.loads((shared_data / "reference/adaclip/didemo_val.json").read_text(encoding="utf-8"))
    assert json.loads((tmp_path / "out/val.json").read_text(encoding="utf-8")) == reference


def test_msrvtt_1k_a_equals_adaclips_own_file(shared_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "MSRVTT/videos/all").mkdir(parents=True)
    reference = json.loads((shared_data / "reference/adaclip/msrvtt_val.json").read_text(encoding="utf-8"))
    rows = []
    for video, entry in reference.items():
        ((start, end),) = entry["timestamps"]
        rows.append({"video_id": video, "start time": start, "end time": end, "category": 0, "split": "test"})
        (raw / f"MSRVTT/videos/all/{video}.mp4").touch()
    rows.append({**rows[0], "video_id": "video0", "split": "train"})
    sentences = [{"video_id": row["video_id"], "caption": "another sentence", "sen_id": 0} for row in rows]
    (raw / "MSRVTT_data.json").write_text(json.dumps({"videos": rows, "sentences": sentences}))
    (raw / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\n")
    published = (shared_data / "annotations/msrvtt/MSRVTT_JSFUSION_test.csv").read_bytes()
    (raw / "MSRVTT_JSFUSION_test.csv").write_bytes(published)
    report = write_annotations(read("msrvtt", raw), raw, tmp_path / "out")
    assert report.missing == ("MSRVTT/videos/all/video0.mp4",)
    assert [path.name for path in report.files] == ["test.json", "val.json"]
    for path in report.files:
        assert json.loads(path.read_text(encoding="utf-8")) == reference


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "activitynet",
            {
                "train": {
                    "v_QOlSCBRmfWY": {
                        "extension": "mp4",
                        "sentences": ["A young woman is seen.", "She dances."],
                        "timestamps": [[0.0, 20.0], [10.5, 30.5]],
                        "duration": 82.73,
                    }
                },
                "val": {
                    "v_-bwYJwnwb8E": {
                        "extension": "mkv",
                        "sentences": ["The lady lifts a barbell.", "The lady drops it."],
                        "timestamps": [[0.0, 20.0], [21.0, 41.0]],
                        "duration": 82.73,
                    }
                },
            },
        ),
    ],
)
def test_entries_of_other_datasets(name: str, expected: dict[str, dict[str, object]], tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    raw = importlib.import_module(f"tests.recipes.fixtures.{name}").make(tmp_path / "raw")
    samples = read(name, raw)
    write_annotations(samples, raw, tmp_path / "out")
    for split, entries in expected.items():
        assert json.loads((tmp_path / f"out/{split}.json").read_text(encoding="utf-8")) == entries


def test_names_are_folder_names_and_unique() -> None:
    samples = [
        Sample("v_0_1", "train", "v.mp4", ("a",), start_s=0, end_s=1, meta={"videoID": "v"}),
        Sample("v_1_2", "train", "v.mp4", ("b",), start_s=1, end_s=2, meta={"videoID": "v"}),
        Sample("w", "test", "https://example.org/w.webm?token=1.2", ("c",), meta={"videoID": "a.w@N01"}),
        Sample("x-1", "test", "x/y.mp4", ("d",), meta={"videoID": "x/y"}),
        Sample("dots", "test", "z.mp4", ("e",), meta={"videoID": ".."}),
        Sample("plain", "test", "plain.mp4", ("f",)),
        Sample("another", "test", "another.mp4", ("g",), meta={"videoID": "plain"}),
        Sample("y", "test", "y.mp4", ("h",), meta={"videoID": "v_0_1"}),
        Sample("list", "test", "z.mp4", ("i",), meta={"videoID": "rejects.jsonl"}),
    ]
    assert video_names(samples) == {
        "v_0_1": "v_0_1",
        "v_1_2": "v_1_2",
        "w": "a.w@N01",
        "x-1": "x-1",
        "dots": "dots",
        "plain": "plain",
        "another": "another",
        "y": "y",
        "list": "list",
    }
    assert adaclip_entries(samples)["test"]["a.w@N01"] == {"extension": "webm", "sentences": ["c"]}


def test_the_name_of_a_missing_video_cannot_control_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(tmp_path / "a.mp4", 3)
    rows = "videoLoc,caption,split\na.mp4,a,train\n\x1b[2J\x9b.mp4,b,train\n"
    (tmp_path / "list.csv").write_text(rows, "utf-8")
    export_annotations("table", str(tmp_path / "list.csv"), tmp_path / "out")
    shown = capsys.readouterr().out
    assert r"the first is \x1b[2J\x9b.mp4" in shown
    assert not {"\x1b", "\x9b"} & set(shown)


def test_nothing_is_written_when_no_video_is_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="none of the 1 videos"):
        write_annotations([Sample("a", "train", "a.mp4", ("a",))], tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
