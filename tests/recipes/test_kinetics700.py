"""Every shape in which Kinetics is found on disks."""

from __future__ import annotations

from pathlib import Path

import pytest

from preprocess.errors import AnnotationError
from preprocess.recipes.kinetics700 import samples
from preprocess.samples import RecipeOptions, Reject, Sample

CLIP = "-3JkLm_Ab9c_000012_000022"
OTHER = "abcdefghijk_000000_000010"
HEADER = "label,youtube_id,time_start,time_end,split\n"


def touch(raw: Path, *paths: str) -> None:
    for path in paths:
        (raw / path).parent.mkdir(parents=True, exist_ok=True)
        (raw / path).touch()


def table(raw: Path, split: str, text: str) -> Path:
    (raw / "annotations").mkdir(exist_ok=True)
    path = raw / f"annotations/{split}.csv"
    path.write_text(text, encoding="utf-8")
    return path


def read(raw: Path) -> dict[str, Sample]:
    return {entry.key: entry for entry in samples(raw, RecipeOptions()) if isinstance(entry, Sample)}


@pytest.mark.parametrize("folder", ["train/dunking basketball", "train", "k700/train/dunking_basketball"])
def test_a_table_with_class_folders_or_flat(tmp_path: Path, folder: str) -> None:
    touch(tmp_path, f"{folder}/{CLIP}.MP4")
    table(tmp_path, "train", f"{HEADER}dunking basketball,-3JkLm_Ab9c,12,22,train\nabseiling,abcdefghijk,0,10,train\n")
    found = read(tmp_path)
    assert found[CLIP] == Sample(
        CLIP,
        "train",
        f"{folder}/{CLIP}.MP4",
        ("dunking basketball",),
        "dunking basketball",
        meta={"videoID": "-3JkLm_Ab9c", "start_time": 12.0, "end_time": 22.0},
    )
    assert found[OTHER].media == f"train/abseiling/{OTHER}.mp4"  # not there: a reject in the end


def test_without_tables_names_tell(tmp_path: Path) -> None:
    touch(tmp_path, f"train/dunking basketball/{CLIP}.mp4", f"validate/{OTHER}.webm", "test/air_drumming/my clip.mp4")
    found = read(tmp_path)
    assert {key: (s.split, s.label, s.captions) for key, s in found.items()} == {
        CLIP: ("train", "dunking basketball", ("dunking basketball",)),
        OTHER: ("val", None, (OTHER,)),
        next(key for key in found if key.startswith("my_clip-")): ("test", "air drumming", ("air drumming",)),
    }
    assert found[CLIP].meta == {"videoID": "-3JkLm_Ab9c", "start_time": 12.0, "end_time": 22.0}
    assert list(found.values())[-1].meta == {"videoID": "my clip", "start_time": None, "end_time": None}


def test_test_rows_without_labels(tmp_path: Path) -> None:
    table(tmp_path, "test", "youtube_id,time_start,time_end,split\n-3JkLm_Ab9c,12,22,test\nabcdefghijk,0,10,test\n")
    touch(tmp_path, f"test/abseiling/{OTHER}.mp4")
    found = read(tmp_path)
    assert (found[CLIP].label, found[CLIP].captions, found[CLIP].media) == (None, (CLIP,), f"test/{CLIP}.mp4")
    assert found[OTHER].label == "abseiling"


def test_the_same_row_again_says_nothing_new(tmp_path: Path) -> None:
    table(tmp_path, "train", HEADER + "abseiling,abcdefghijk,0,10,train\n" * 2)
    assert list(read(tmp_path)) == [OTHER]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("abseiling,#NAME?,0,10,train", r"train\.csv: line 2: '#NAME\?' is not a YouTube id"),
        ("abseiling,abcdefghijk,0:05,10,train", r"line 2: time_start: '0:05' is not a time"),
        ("abseiling,abcdefghijk,0.5,10,train", r"line 2: time_start: '0\.5' is not a whole second"),
        ("", r"train\.csv: the table has no rows"),
    ],
)
def test_a_row_that_is_wrong_is_refused(tmp_path: Path, rows: str, message: str) -> None:
    table(tmp_path, "train", f"{HEADER}{rows}\n")
    with pytest.raises(AnnotationError, match=message):
        read(tmp_path)


def rejects(raw: Path) -> list[Reject]:
    return [entry for entry in samples(raw, RecipeOptions()) if isinstance(entry, Reject)]


def test_a_clip_that_is_listed_again_is_a_reject(tmp_path: Path) -> None:
    rows = "abseiling,abcdefghijk,0,10,train\nabseiling,abcdefghijk,0,10,train\nbowling,abcdefghijk,0,10,train\n"
    table(tmp_path, "train", HEADER + rows)
    table(tmp_path, "val", f"{HEADER}abseiling,abcdefghijk,0,10,validate\n")
    touch(tmp_path, f"test/{OTHER}.mp4", f"test/{CLIP}.mp4")
    assert {key: (s.split, s.label) for key, s in read(tmp_path).items()} == {
        OTHER: ("train", "abseiling"),
        CLIP: ("test", None),
    }
    first = f"lists the clip {OTHER} again, first listed in train.csv, line 2 (abseiling)"
    assert rejects(tmp_path) == [
        Reject(f"{OTHER}_train_4", "train", "list", "duplicate", f"train.csv, line 4 (bowling) {first}"),
        Reject(f"{OTHER}_val_2", "val", "list", "duplicate", f"val.csv, line 2 (abseiling) {first}"),
        Reject(
            f"{OTHER}_test",
            "test",
            "list",
            "duplicate",
            f"test/{OTHER}.mp4 is the clip {OTHER} again, first listed in train.csv, line 2",
        ),
    ]


def test_a_clip_twice_in_the_folders_of_a_split_is_a_reject(tmp_path: Path) -> None:
    touch(tmp_path, f"train/a/{OTHER}.mp4", f"train/b/{OTHER}.mp4", f"train/c/{OTHER}.mkv")
    assert {key: (s.media, s.label) for key, s in read(tmp_path).items()} == {OTHER: (f"train/a/{OTHER}.mp4", "a")}
    found = rejects(tmp_path)
    assert len({reject.key for reject in found}) == 2
    assert [(reject.reason, reject.message) for reject in found] == [
        ("duplicate", f"train/b/{OTHER}.mp4 is the clip {OTHER} again, first listed in train/a/{OTHER}.mp4"),
        ("duplicate", f"train/c/{OTHER}.mkv is the clip {OTHER} again, first listed in train/a/{OTHER}.mp4"),
    ]
