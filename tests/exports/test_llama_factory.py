from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from typer.testing import CliRunner

from preprocess.__main__ import app
from preprocess.errors import AnnotationError, RawDataError, UserError
from preprocess.exports.llama_factory import Choice, duration_s, export, merged_info


def make_video(path: Path, seconds: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width = stream.height = 32
        for number in range(seconds):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_questions(raw: Path, rows: list[tuple[str, str, str | None]], split: str = "val") -> None:
    raw.mkdir(exist_ok=True)
    asked = [
        {"video_name": video, "question": question, "question_id": f"v_{video}_{number}"}
        for number, (video, question, _) in enumerate(rows)
    ]
    answered = [
        {"question_id": f"v_{video}_{number}", "answer": answer, "type": 3}
        for number, (video, _, answer) in enumerate(rows)
        if answer is not None
    ]
    (raw / f"{split}_q.json").write_text(json.dumps(asked))
    (raw / f"{split}_a.json").write_text(json.dumps(answered))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Five videos: two long enough, a short one, one that is text, and one that does not exist."""
    folder = tmp_path / "raw"
    make_video(folder / "videos/v_long.mp4", 25)
    make_video(folder / "videos/v_longer.mkv", 30)
    make_video(folder / "videos/v_short.mp4", 20)
    (folder / "videos/v_text.mp4").write_text("no video at all")
    write_questions(
        folder,
        [
            ("longer", "is the man outdoors", "yes"),
            ("short", "is it short", "yes"),
            ("long", "what is he doing?", "playing the flute 🎶"),
            ("text", "is it text", "yes"),
            ("gone", "is it there", "no"),
            ("long", "nobody knows", None),
            ("longer", "how many people are there", "2"),
        ],
    )
    return folder


def test_questions_are_written_in_the_order_of_the_file(raw: Path, tmp_path: Path) -> None:
    report = export(raw, tmp_path / "data", Choice("val"))
    assert report.file == tmp_path / "data/activitynet_qa_val_250_limit_20s.json"
    found = json.loads(report.file.read_text(encoding="utf-8"))
    assert found[1] == {
        "messages": [
            {"content": "<video>what is he doing?", "role": "user"},
            {"content": "playing the flute 🎶", "role": "assistant"},
        ],
        "videos": [str(raw / "videos/v_long.mp4")],
    }
    assert [row["messages"][0]["content"] for row in found] == [
        "<video>is the man outdoors?",
        "<video>what is he doing?",
        "<video>how many people are there?",
    ]
    assert dict(report.passed_over) == {"short": 1, "unreadable": 1, "missing": 1, "unanswered": 1}
    assert (report.questions, report.videos) == (3, 2)


def test_n_seconds_and_name_choose(raw: Path, tmp_path: Path) -> None:
    report = export(raw, tmp_path / "data", Choice("val", n=1, min_seconds=25))
    assert report.file.name == "activitynet_qa_val_1_limit_25s.json"
    assert [row["videos"] for row in json.loads(report.file.read_text())] == [[str(raw / "videos/v_longer.mkv")]]
    shutil.copyfile(raw / "val_q.json", raw / "val_q_500.json")
    (raw / "val_q.json").unlink()
    assert export(raw, tmp_path / "data", Choice("val", name="val_q_500")).questions == 3
    with pytest.raises(RawDataError, match=r"has none of val_q\.json; found: val_a\.json"):
        export(raw, tmp_path / "data", Choice("val"))


def test_videos_inside_the_data_folder_are_relative(raw: Path) -> None:
    report = export(raw, raw, Choice("val"))
    assert json.loads(report.file.read_text())[0]["videos"] == ["videos/v_longer.mkv"]


def test_nothing_is_written_when_no_question_is_left(raw: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none of 7 questions can be used \(1 missing, 4 short, 1 unanswered, 1 unr"):
        export(raw, tmp_path / "data", Choice("val", min_seconds=60))
    assert not (tmp_path / "data").exists()


def test_a_placeholder_in_a_question_is_refused(raw: Path, tmp_path: Path) -> None:
    write_questions(raw, [("long", "what does <image> show", "nothing")])
    with pytest.raises(AnnotationError, match=r"val_q\.json: v_long_0: the text holds a placeholder"):
        export(raw, tmp_path / "data", Choice("val"))


@pytest.mark.parametrize("arguments", [{"type": "dev"}, {"n": 0}, {"min_seconds": -1}])
def test_choices_are_checked(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must be"):
        Choice(**arguments)  # type: ignore[arg-type]


def test_durations_come_from_the_packets(tmp_path: Path) -> None:
    assert duration_s(make_video(tmp_path / "a.mp4", 25)) == pytest.approx(25.0)
    assert duration_s(make_video(tmp_path / "a.mkv", 21)) == pytest.approx(21.0, abs=0.01)


def test_the_entry_is_added_and_replaced_without_touching_others(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    before = {"zebra": {"file_name": "z.json", "weird": [1, None]}, "中文": {"hf_hub_url": "x/y"}}
    (out / "dataset_info.json").write_text(json.dumps(before), encoding="utf-8")
    for _ in range(2):
        export(raw, out, Choice("val"))
        after = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
        title = "activitynet_qa_val_250_limit_20s"
        assert list(after) == ["zebra", "中文", title]
        assert {name: entry for name, entry in after.items() if name != title} == before
        assert after[title] == {
            "file_name": f"{title}.json",
            "formatting": "sharegpt",
            "columns": {"messages": "messages", "videos": "videos"},
            "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
        }


def test_a_broken_dataset_info_is_left_alone(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "dataset_info.json").write_text('{"a": ')
    with pytest.raises(AnnotationError, match=r"dataset_info\.json: line 1"):
        export(raw, out, Choice("val"))
    assert [path.name for path in out.iterdir()] == ["dataset_info.json"]
    assert (out / "dataset_info.json").read_text() == '{"a": '


def test_merging_into_llama_factorys_own_file_adds_lines_only(shared_data: Path, tmp_path: Path, raw: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    own = shared_data / "reference/llama_factory/dataset_info.json"
    shutil.copyfile(own, out / "dataset_info.json")
    export(raw, out, Choice("val"))
    before = own.read_text(encoding="utf-8").splitlines()
    after = (out / "dataset_info.json").read_text(encoding="utf-8").splitlines()
    assert after[: len(before) - 2] == before[:-2]
    assert after[len(before) - 2] == before[-2] + ","
    demo = json.loads(own.read_text(encoding="utf-8"))["mllm_video_demo"]
    title = "activitynet_qa_val_250_limit_20s"
    assert merged_info(own, Choice("val"))[title] == {**demo, "file_name": f"{title}.json"}


def test_the_published_test_questions_in_one_go(shared_data: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    shutil.copytree(shared_data / "annotations/activitynet_qa", raw)
    video = make_video(tmp_path / "stand_in.mp4", 21)
    asked = json.loads((raw / "test_q.json").read_text(encoding="utf-8"))
    (raw / "videos").mkdir()
    for name in {row["video_name"] for row in asked}:
        (raw / f"videos/v_{name}.mp4").symlink_to(video)
    report = export(raw, tmp_path / "data", Choice("test", n=10_000))
    assert (report.questions, report.passed_over) == (8000, {})
    found = json.loads(report.file.read_text(encoding="utf-8"))
    answers = {row["question_id"]: row["answer"] for row in json.loads((raw / "test_a.json").read_text("utf-8"))}
    assert [row["messages"][1]["content"] for row in found] == [answers[row["question_id"]] for row in asked]
    assert len({video for row in found for video in row["videos"]}) == report.videos == 800
    assert Counter(len(row["videos"]) for row in found) == {1: 8000}
    assert all(row["messages"][0]["content"].count("<video>") == 1 for row in found)


def test_the_options_of_the_original_guide_work_as_they_are_spelled(raw: Path, tmp_path: Path) -> None:
    line = ["--raw", str(raw), "--out", str(tmp_path / "data"), "-name", "val_q", "-type", "val"]
    done = CliRunner().invoke(app, ["llama-factory", *line, "-n", "1", "-seconds", "25"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "data/activitynet_qa_val_1_limit_25s.json").is_file()


def test_train_is_also_entered_under_the_name_in_the_guides_commands(raw: Path, tmp_path: Path) -> None:
    for split in "qa":
        (raw / f"val_{split}.json").rename(raw / f"train_{split}.json")
    export(raw, tmp_path / "data", Choice("train", n=2))
    entries = json.loads((tmp_path / "data/dataset_info.json").read_text(encoding="utf-8"))
    assert list(entries) == ["activitynet_qa_train_2_limit_20s", "activitynet_qa_2_limit_20s"]
    assert {entry["file_name"] for entry in entries.values()} == {"activitynet_qa_train_2_limit_20s.json"}


def test_names_can_be_registered_with_an_empty_file(raw: Path, tmp_path: Path) -> None:
    out = tmp_path / "data"
    out.mkdir()
    (out / "activitynet.json").write_text("[1]")
    line = ["llama-factory", "--raw", str(raw), "--out", str(out), "-type", "val"]
    names = ["--register", "caltech101", "--register", "activitynet"]
    for _ in range(2):
        done = CliRunner().invoke(app, [*line, *names], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        entries = json.loads((out / "dataset_info.json").read_text(encoding="utf-8"))
        assert entries["caltech101"] == {"file_name": "caltech101.json"}
        assert entries["activitynet"] == {"file_name": "activitynet.json"}
        assert json.loads((out / "caltech101.json").read_text()) == []
        assert (out / "activitynet.json").read_text() == "[1]"
    with pytest.raises(UserError, match=r"'\.\./x' cannot be the name of a dataset"):
        export(raw, out, Choice("val"), ["../x"])
