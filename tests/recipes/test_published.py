"""The published annotation files themselves, where they lie beside the checkout."""

from __future__ import annotations

import importlib
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from preprocess import recipes
from preprocess.errors import AnnotationError, RawDataError, UnknownNameError
from preprocess.formats.triples import caption_text
from preprocess.samples import RecipeOptions, Sample


def read(name: str, raw: Path, **options: object) -> list[Sample]:
    return list(recipes.load(name).samples(raw, RecipeOptions(**options)))  # type: ignore[arg-type]


@pytest.fixture
def published(shared_data: Path, tmp_path: Path) -> Path:
    shutil.copytree(shared_data / "annotations", tmp_path, dirs_exist_ok=True)
    return tmp_path


def msrvtt_json(raw: Path, reference: Path) -> None:
    """MSRVTT_data.json in its published shape; the times of the 1k-A test are the reference's."""
    videos = json.loads(reference.read_text(encoding="utf-8"))
    rows = [
        {"video_id": video, "start time": times[0], "end time": times[1], "category": 0, "url": "", "split": "test"}
        for video, row in videos.items()
        for times in row["timestamps"]
    ]
    rows.append({**rows[0], "video_id": "video0", "split": "train"})
    sentences = [
        {"video_id": row["video_id"], "caption": f"sentence {index}", "sen_id": index}
        for row in rows
        for index in range(2)
    ]
    (raw / "MSRVTT_data.json").write_text(json.dumps({"videos": rows, "sentences": sentences}), encoding="utf-8")
    (raw / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\n", encoding="utf-8")


def test_didemo_val(published: Path) -> None:
    samples = read("didemo", published / "didemo")
    assert len(samples) == 1065  # of 1,094 in the JSON, those of the list
    sample = next(s for s in samples if s.meta["videoID"] == "35034348999@N01_6060447507_dc1a90b8ef.mov")
    assert sample.captions[:2] == (
        "the man in the hat briefly bends over the machine.",
        "the man is waving his arm around.",
    )
    assert (sample.start_s, sample.end_s, sample.split) == (None, 30.0, "val")
    assert all(caption.endswith(".") for s in samples for caption in s.captions)
    (published / "didemo/val_list.txt").unlink()
    assert len(read("didemo", published / "didemo")) == 1094


def test_msrvtt_1k_a(published: Path, shared_data: Path) -> None:
    raw = published / "msrvtt"
    msrvtt_json(raw, shared_data / "reference/adaclip/msrvtt_val.json")
    samples = read("msrvtt", raw)
    assert Counter(s.split for s in samples) == {"test": 1000, "train": 1}
    found = {s.key: s for s in samples}
    assert found["video9770"].captions == ("a person is connecting something to system",)
    assert found["video0"].captions == ("sentence 0", "sentence 1")
    reference = json.loads((shared_data / "reference/adaclip/msrvtt_val.json").read_text(encoding="utf-8"))
    assert {video: [[found[video].meta["start_time"], found[video].meta["end_time"]]] for video in reference} == {
        video: row["timestamps"] for video, row in reference.items()
    }
    comma = (raw / "MSRVTT_JSFUSION_test.csv").read_bytes().replace(b";", b",")
    (raw / "MSRVTT_JSFUSION_test.csv").write_bytes(comma)
    assert read("msrvtt", raw) == samples


def test_activitynet_qa_test(published: Path) -> None:
    samples = read("activitynet_qa", published / "activitynet_qa")
    assert len(samples) == 800
    assert sum(len(s.meta["questions"]) for s in samples) == 8000
    sample = next(s for s in samples if s.key == "v_1QIUV7WYKXg")
    place = sample.meta["question_ids"].index("v_1QIUV7WYKXg_3")
    assert sample.captions[place] == "is the athlete wearing trousers? no"
    assert (sample.meta["answers"][place], sample.meta["types"][place]) == ("no", 3)


def test_caltech101(published: Path) -> None:
    samples = read("caltech101", published / "caltech101")
    assert Counter(s.split for s in samples) == {"train": 4128, "val": 1649, "test": 2465}
    assert len({s.label for s in samples}) == 100
    sample = next(s for s in samples if s.meta["videoID"] == "Faces/image_0274")
    assert (sample.media, sample.captions) == ("caltech-101/101_ObjectCategories/Faces/image_0274.jpg", ("face",))


# What the published files do not show, on the fixtures of the conformance suite.


def fixture(name: str, raw: Path) -> Path:
    raw.mkdir(exist_ok=True)
    return Path(importlib.import_module(f"tests.recipes.fixtures.{name}").make(raw))


def test_msrvtt_protocols(tmp_path: Path) -> None:
    raw = fixture("msrvtt", tmp_path / "raw")

    def splits(protocol: str | None) -> dict[str, str]:
        return {s.key: s.split for s in read("msrvtt", raw, split_protocol=protocol)}

    test = {"video7020": "test", "video9770": "test"}
    assert splits(None) == splits("jsfusion") == {"video0": "train", "video1": "train", "video2": "train", **test}
    assert splits("7k") == {"video0": "train", "video2": "train", **test}
    assert splits("full") == {"video0": "train", "video1": "train", "video2": "val", **test}
    assert [len(s.captions) for s in read("msrvtt", raw, split_protocol="full")] == [3] * 5
    with pytest.raises(UnknownNameError, match="Did you mean 'jsfusion'"):
        splits("jsfuson")


def test_msrvtt_lists_that_disagree_are_refused(tmp_path: Path) -> None:
    raw = fixture("msrvtt", tmp_path / "raw")
    train = raw / "MSRVTT_train.9k.csv"
    train.write_text("video_id\nvideo0\nvideo7020\n")
    with pytest.raises(AnnotationError, match=r"JSFUSION_test\.csv: video7020: the video is in the train list too"):
        read("msrvtt", raw)
    train.write_text("video_id\nvideo0\nvideo0\n")
    with pytest.raises(AnnotationError, match=r"line 3: 'video0' was already given in MSRVTT_train\.9k\.csv, line 2"):
        read("msrvtt", raw)
    train.write_text("video_id\nvideo99\n")
    with pytest.raises(AnnotationError, match=r"MSRVTT_data\.json: video99: a listed video is missing"):
        read("msrvtt", raw)


def test_didemo_finds_videos_under_any_suffix(tmp_path: Path) -> None:
    raw = fixture("didemo", tmp_path / "raw")
    assert {s.meta["videoID"]: s.media for s in read("didemo", raw)} == {
        "35034348999@N01_6060447507_dc1a90b8ef.mov": "videos/35034348999@N01_6060447507_dc1a90b8ef.mov.mp4",
        "10175347@N00_4841555141_4eeb6a515a.mp4": "videos/10175347@N00_4841555141_4eeb6a515a.mp4",
        "39727414@N00_3622114091_452b89919c.3gp": "videos/39727414@N00_3622114091_452b89919c.3gp",
        "10797735@N00_4003438518_669267a479.avi": "videos/10797735@N00_4003438518_669267a479.mp4",
    }


def test_didemo_reports_listed_videos_that_nobody_described(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = fixture("didemo", tmp_path / "raw")
    with (raw / "val_list.txt").open("a") as file:
        file.write("nobody@N00_1_2.mov\n")
    assert len([s for s in read("didemo", raw) if s.split == "val"]) == 1
    assert "1 videos have no description, first nobody@N00_1_2.mov" in caplog.text


def test_activitynet_keeps_times_and_drops_blank_sentences(tmp_path: Path) -> None:
    raw = fixture("activitynet", tmp_path / "raw")
    val = next(s for s in read("activitynet", raw) if s.split == "val")
    assert val.captions == ("The lady lifts a barbell.", "The lady drops it.")
    assert val.meta["caption_timestamps"] == [[0.0, 20.0], [21.0, 41.0]]
    assert val.meta["annotated_duration"] == 82.73
    assert (val.start_s, val.end_s) == (None, None)
    other = next(s for s in read("activitynet", raw, split_protocol="val_2") if s.split == "val")
    assert other.captions == ("A woman lifts weights.",)


def test_activitynets_paragraph_has_single_spaces(tmp_path: Path) -> None:
    paragraph = {"duration": 9.0, "timestamps": [[0, 3], [3, 9]], "sentences": [" A  man runs. ", "\nHe stops. "]}
    tmp_path.joinpath("train.json").write_text(json.dumps({"v_abcdefghijk": paragraph}))
    (sample,) = read("activitynet", tmp_path)
    assert caption_text(sample.captions, "concat") == "A man runs. He stops."


def test_activitynet_qa_reports_questions_without_an_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = fixture("activitynet_qa", tmp_path / "raw")
    answers = json.loads((raw / "val_a.json").read_text())
    answers[0]["question_id"] = "v_unknown_1"
    (raw / "val_a.json").write_text(json.dumps(answers))
    sample = next(s for s in read("activitynet_qa", raw) if s.split == "val")
    assert sample.captions == ("what does the man do? no", "is the athlete wearing trousers?")
    assert sample.meta["answers"] == ["no", None]
    assert "1 questions have no answer in val_a.json (v_X_K7Aa3Aa-E_3)" in caplog.text


def test_a_video_in_two_splits_is_refused(tmp_path: Path) -> None:
    raw = fixture("activitynet_qa", tmp_path / "raw")
    for kind in "qa":
        shutil.copyfile(raw / f"val_{kind}.json", raw / f"test_{kind}.json")
    with pytest.raises(AnnotationError, match=r"test_q\.json: .*'v_X_K7Aa3Aa-E' was already given in val_q\.json"):
        read("activitynet_qa", raw)


def test_coco_reads_both_shapes_alike(tmp_path: Path) -> None:
    raw = fixture("mscoco2014", tmp_path / "raw")
    official = [s for s in read("mscoco2014", raw) if s.split == "train"]
    assert official[0].captions == tuple(f"a bowl of food, seen {index} times" for index in (0, 2, 4))
    listed = [
        {"image": s.media.removeprefix("mscoco2014/"), "caption": caption} for s in official for caption in s.captions
    ]
    (raw / "mscoco2014/captions_train.json").write_text(json.dumps(listed))
    assert [s for s in read("mscoco2014", raw) if s.split == "train"] == official


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            {"image": "../../etc/passwd", "caption": "x"},
            r"entry 0: image: got '\.\./.*'\. Expected a path below",
        ),
        ({"image": "/etc/passwd", "caption": "x"}, r"image: got '/etc/passwd'"),
        ({"image": "a.jpg", "caption": [" "]}, r"a\.jpg: the image has no caption"),
        ({"image": "a.jpg", "caption": [3]}, r"entry 0: caption\[0\]: got 3\. Expected a string"),
        ({"caption": "x"}, r"entry 0: 'image' is missing"),
    ],
)
def test_an_image_list_that_is_wrong_is_refused(tmp_path: Path, entry: dict[str, object], message: str) -> None:
    raw = fixture("flickr30k", tmp_path / "raw")
    (raw / "flickr/flickr30k_val.json").write_text(json.dumps([entry]))
    with pytest.raises(AnnotationError, match=message):
        read("flickr30k", raw)


def test_captions_of_any_length_and_script_come_through(tmp_path: Path) -> None:
    raw = fixture("flickr5k", tmp_path / "raw")
    captions = ["x" * 100_000, "👩‍🚀 in space", "كلب يركض على الشاطئ", "two\nlines\u2028three"]
    (raw / "flickr5k/flickr5k_val.json.json").write_text(
        json.dumps([{"image": "flickr5k-images/1007129816.jpg", "caption": captions}], ensure_ascii=False),
        encoding="utf-8",
    )
    sample = next(s for s in read("flickr5k", raw) if s.split == "val")
    assert sample.captions == tuple(captions)


def test_caltech_paths_and_shapes_are_checked(tmp_path: Path) -> None:
    raw = fixture("caltech101", tmp_path / "raw")
    table = raw / "caltech-101/split_zhou_Caltech101.json"
    for row, message in (
        (["../x.jpg", 0, "face"], r"val\[0\]\[0\]: got '\.\./x\.jpg'"),
        (["Faces/image_0274.jpg", 0], r"val\[0\]"),
        (["Faces/image_0274.jpg", 0, "face"], r"'Faces/image_0274' was already given in .*train\[0\]"),
        (["Faces/image_0001.jpg", "0", "face"], r"val\[0\]\[1\]: got '0'\. Expected a whole number"),
    ):
        document = json.loads(table.read_text())
        table.write_text(json.dumps({**document, "val": [row]}))
        with pytest.raises(AnnotationError, match=message):
            read("caltech101", raw)
        table.write_text(json.dumps(document))
    assert read("caltech101", raw / "caltech-101")[0].media.startswith("101_ObjectCategories/")


def test_mini_imagenet_classes_need_names(tmp_path: Path) -> None:
    raw = fixture("mini_imagenet", tmp_path / "raw")
    names = raw / "mini-imagenet/classnames.txt"
    assert {s.label for s in read("mini_imagenet", raw)} == {"house finch", "goose", "roundworm"}
    names.write_text("n01532829 house finch\n")
    with pytest.raises(AnnotationError, match=r"classnames\.txt: n0\d+: the class of this folder has no name"):
        read("mini_imagenet", raw)
    names.write_text("n01532829\n")
    with pytest.raises(AnnotationError, match=r"classnames\.txt: line 1"):
        read("mini_imagenet", raw)
    names.write_text("n01532829 house finch\nn01855672 goose\nn01930112 roundworm\n")
    (raw / "mini-imagenet/val/loose.jpg").touch()
    with pytest.raises(RawDataError, match=r"val/loose\.jpg is not in a class folder"):
        read("mini_imagenet", raw)
