from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.errors import AnnotationError, RawDataError
from preprocess.recipes.folder import samples, words
from preprocess.samples import RecipeOptions, Sample


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
    with pytest.raises(RawDataError, match="no video and no image"):
        read(tmp_path)


def test_names_of_any_script_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path, "猫.mp4", "犬.mp4", "a b.mp4", "a.b.mp4", "🤹/x.mp4", "___.mp4")
    found = read(tmp_path)
    assert len({sample.key for sample in found.values()}) == 6
    assert found["猫.mp4"].captions == ("猫",)
    assert found["___.mp4"].captions == ("___",)


def test_words() -> None:
    assert words("sports/riding_a__bike") == "riding a bike"
