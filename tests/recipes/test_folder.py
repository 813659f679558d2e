from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocess.errors import AnnotationError, RawDataError
from preprocess.readers.annotations import words
from preprocess.recipes.folder import samples
from preprocess.samples import RecipeOptions, Reject, Sample, canonical_json


def touch(raw: Path, *paths: str) -> None:
    for path in paths:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).touch()


def read(raw: Path, **options: object) -> dict[str, Sample]:
    return {sample.media: sample for sample in samples(raw, RecipeOptions(**options))}  # type: ignore[arg-type]


def test_split_and_class_folders(tmp_path: Path) -> None:
    touch(tmp_path, "train/riding_a_bike/a.mp4", "validation/juggling/deep/b.MKV", "test/juggling/c.png")
    found = read(tmp_path)
    assert {media: (s.split, s.label, s.captions) for media, s in found.items()} == {
        "train/riding_a_bike/a.mp4": ("train", "riding_a_bike", ("riding a bike",)),
        "validation/juggling/deep/b.MKV": ("val", "juggling", ("juggling",)),
        "test/juggling/c.png": ("test", "juggling", ("juggling",)),
    }


def test_a_flat_folder_is_captioned_by_names_and_split_by_hash(tmp_path: Path) -> None:
    touch(tmp_path, *(f"cat_no_{i}.mp4" for i in range(200)))
    before = read(tmp_path)
    assert before["cat_no_7.mp4"].captions == ("cat no 7",)
    assert before["cat_no_7.mp4"].key == "cat_no_7"
    assert before["cat_no_7.mp4"].label is None
    assert {sample.split for sample in before.values()} == {"train", "val", "test"}
    touch(tmp_path, *(f"dog{i}.mp4" for i in range(50)), "cat_no_7.mov")
    after = read(tmp_path)
    assert all(after[media].split == sample.split for media, sample in before.items())
    assert after["cat_no_7.mov"].split == after["cat_no_7.mp4"].split
    assert len({sample.key for sample in after.values()}) == 251
    assert {s.split for s in read(tmp_path, split=(0.0, 0.0, 1.0)).values()} == {"test"}


def test_one_folder_alone_is_no_class(tmp_path: Path) -> None:
    touch(tmp_path, "videos/a.mp4", "videos/b.mp4")
    assert {sample.label for sample in read(tmp_path).values()} == {None}
    assert read(tmp_path)["videos/a.mp4"].captions == ("a",)


def test_captions_and_metadata_beside_the_video(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4", "d.mp4")
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\r\n  two \r\n".encode())
    (tmp_path / "a.json").write_text('{"captions": ["not this"], "duration": 9, "camera": "left", "start_time": 3}')
    (tmp_path / "b.json").write_text('{"caption": "three", "label": "cat"}')
    (tmp_path / "c.txt").write_text("\n  \n")
    found = read(tmp_path)
    assert found["a.mp4"].captions == ("one", "two")
    assert found["a.mp4"].meta == {"videoID": "a", "camera": "left", "duration_": 9, "start_time": 3}
    assert found["a.mp4"].start_s is None
    assert found["b.mp4"].captions == ("three",)
    assert found["b.mp4"].label == "cat"
    assert found["b.mp4"].meta["camera"] is None
    assert found["c.mp4"].captions == ("c",)
    assert found["d.mp4"].captions == ("d",)


@pytest.mark.parametrize("text", ["[1]", '{"captions": [1]}', '{"caption": 1}', '{"label": 3}', '{"label": ""}'])
def test_metadata_that_is_wrong_is_refused(tmp_path: Path, text: str) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"a\.json"):
        read(tmp_path)


def test_a_video_outside_the_splits_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "test/b.mp4", "c.mp4")
    with pytest.raises(RawDataError, match=r"c\.mp4 is in no split"):
        read(tmp_path)


def test_a_folder_without_media(tmp_path: Path) -> None:
    touch(tmp_path, "notes.txt")
    with pytest.raises(RawDataError, match=r"has none of videos, images; found: notes\.txt"):
        read(tmp_path)


def test_names_of_any_script_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path, "猫.mp4", "犬.mp4", "a b.mp4", "a.b.mp4", "🤹/x.mp4", "___.mp4")
    found = read(tmp_path)
    assert len({sample.key for sample in found.values()}) == 6
    assert found["猫.mp4"].captions == ("猫",)
    assert found["___.mp4"].captions == ("___",)


def test_words() -> None:
    assert words("sports/riding_a__bike") == "riding a bike"


def test_a_file_name_that_is_not_utf8_is_a_reject(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4", "val/b.mp4")
    for name in (b"/val/caf\xe9.mp4", b"/val/caf\xe9.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + name)).touch()
    *found, reject = samples(tmp_path, RecipeOptions())
    assert [s.media for s in found if isinstance(s, Sample)] == ["train/a.mp4", "val/b.mp4"]
    assert isinstance(reject, Reject)
    assert (reject.split, reject.stage, reject.reason) == ("val", "list", "unreadable")
    assert reject.message == "the file name 'val/caf\\\\udce9.mp4' is not UTF-8"
    canonical_json(reject.to_json()).encode()


METADATA = {
    "csv": "file_name,text,label,camera\na.mp4,a cat,cat,left\nclips/b.mp4,,dog,\n",
    "jsonl": '{"file_name": "a.mp4", "text": "a cat", "label": "cat", "camera": "left"}\n'
    '{"file_name": "clips/b.mp4", "label": "dog"}\n',
}


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_metadata_files_as_the_hub_has_them(tmp_path: Path, suffix: str) -> None:
    touch(tmp_path, "train/a.mp4", "train/clips/b.mp4", "test/a.mp4", "test/README.txt")
    for split in ("train", "test"):
        file = tmp_path / split / f"metadata.{suffix}"
        if suffix == "parquet":
            names = {"file_name": ["a.mp4", "clips/b.mp4"], "text": ["a cat", None], "label": ["cat", "dog"]}
            pq.write_table(pa.table({**names, "camera": ["left", None]}), file)
        else:
            file.write_text(METADATA[suffix])
    found = read(tmp_path)
    assert {media: (s.split, s.captions, s.label, s.meta["camera"]) for media, s in found.items()} == {
        "train/a.mp4": ("train", ("a cat",), "cat", "left"),
        "train/clips/b.mp4": ("train", ("dog",), "dog", None),
        "test/a.mp4": ("test", ("a cat",), "cat", "left"),
        "test/clips/b.mp4": ("test", ("dog",), "dog", None),  # listed, but missing: encoding will say so
    }


def test_metadata_of_the_whole_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    (tmp_path / "metadata.csv").write_text(
        "video_file_name,split,captions,duration\na.mp4,test,one,3\nb.mp4,valid,two,4\n"
    )
    (tmp_path / "b.txt").write_text("beside")
    (tmp_path / "b.json").write_text('{"camera": "left", "duration": 5}')
    found = read(tmp_path, split=(1.0, 0.0, 0.0))
    assert {media: (s.split, s.captions, dict(s.meta)) for media, s in found.items()} == {
        "a.mp4": ("test", ("one",), {"videoID": "a", "duration_": "3", "camera": None}),
        "b.mp4": ("val", ("beside",), {"videoID": "b", "duration_": 5, "camera": "left"}),
        "c.mp4": ("train", ("c",), {"videoID": "c", "duration_": None, "camera": None}),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\na.mp4\n", r"metadata\.csv: no column file_name \(name\)"),
        ("x_file_name,y_file_name\na.mp4,a.mp4\n", "the columns x_file_name, y_file_name"),
        ("file_name\n../a.mp4\n", r"line 2"),
        ("file_name\n/a.mp4\n", r"line 2"),
        ("file_name,text\n,a\n", "line 2: file_name is None"),
        ("file_name\na.mp4\na.mp4\n", r"line 3: 'a\.mp4' was already given in metadata\.csv, line 2"),
        ("file_name,split\na.mp4,dev\n", "line 2: split is 'dev'"),
    ],
)
def test_metadata_files_that_are_wrong_are_refused(tmp_path: Path, text: str, message: str) -> None:
    touch(tmp_path, "a.mp4")
    (tmp_path / "metadata.csv").write_text(text)
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path)


def test_a_split_that_contradicts_its_folder_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.mp4")
    (tmp_path / "metadata.csv").write_text("file_name,split\ntrain/a.mp4,test\n")
    with pytest.raises(RawDataError, match=r"train/a\.mp4 is in the folder of train, its metadata say test"):
        read(tmp_path)


@pytest.mark.parametrize(
    "name", ["labels.csv", "metadata.tsv", "annotations.json", "captions.txt", "b.json", "x/c.xlsx"]
)
def test_what_looks_like_metadata_is_not_ignored(tmp_path: Path, name: str) -> None:
    touch(tmp_path, "a.mp4", name)
    with pytest.raises(RawDataError, match=f"{name} looks like metadata.*Name it metadata.csv"):
        read(tmp_path)
