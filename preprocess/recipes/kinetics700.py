"""`kinetics700`: Kinetics-700 (and -700-2020), 10-second clips of human actions. A row of train.csv:

    label,youtube_id,time_start,time_end,split
    dunking basketball,-3JkLm_Ab9c,12,22,train

The clip of that row is `train/dunking basketball/-3JkLm_Ab9c_000012_000022.mp4`, already cut; a flat `train/` does too.
A split without its CSV is read from the names of the folders and files. Test rows may lack a label.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from preprocess.errors import AnnotationError, RawDataError
from preprocess.recipes._annotations import read_csv, seconds
from preprocess.recipes._files import RawFiles, raw_data_error, split_suffix
from preprocess.recipes._splits import split_and_class
from preprocess.recipes.folder import words
from preprocess.samples import SPLITS, VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key

SPEC = DatasetSpec(
    name="kinetics700",
    hub_name="CLIP-Kinetics700",
    license="cc-by-4.0",
    citation=r"""
@article{smaira2020kinetics,
  title = {A Short Note on the {Kinetics-700-2020} Human Action Dataset},
  author = {Smaira, Lucas and Carreira, Jo{\~a}o and Noland, Eric and Clancy, Ellen and Wu, Amy and Zisserman, Andrew},
  journal = {arXiv preprint arXiv:2010.10864},
  year = {2020}
}
@article{carreira2019kinetics,
  title = {A Short Note on the {Kinetics-700} Human Action Dataset},
  author = {Carreira, Jo{\~a}o and Noland, Eric and Hillier, Chloe and Zisserman, Andrew},
  journal = {arXiv preprint arXiv:1907.06987},
  year = {2019}
}
""".strip(),
    homepage="https://github.com/cvdfoundation/kinetics-dataset",
    languages=("en",),
    task_categories=("video-classification", "zero-shot-classification", "feature-extraction"),
    raw_layout="""
RAW/
├── annotations/{train,val,test}.csv    label,youtube_id,time_start,time_end,split (optional: without, names tell)
├── train/<label>/<youtube_id>_<start:06d>_<end:06d>.mp4    or flat: train/<youtube_id>_…
├── val/…
└── test/…
""",
    remotes=(
        RemoteFile("https://s3.amazonaws.com/kinetics/700_2020/annotations/train.csv", "annotations/train.csv"),
        RemoteFile("https://s3.amazonaws.com/kinetics/700_2020/annotations/val.csv", "annotations/val.csv"),
        RemoteFile("https://s3.amazonaws.com/kinetics/700_2020/annotations/test.csv", "annotations/test.csv"),
        RemoteFile("https://s3.amazonaws.com/kinetics/700_2020/train/k700_2020_train_path.txt", "train/"),
        RemoteFile("https://s3.amazonaws.com/kinetics/700_2020/val/k700_2020_val_path.txt", "val/"),
        RemoteFile("https://s3.amazonaws.com/kinetics/700_2020/test/k700_2020_test_path.txt", "test/"),
    ),
)

_CLIP = re.compile(r"(?P<video>[A-Za-z0-9_-]{11})_(?P<start>\d{6,})_(?P<end>\d{6,})")
_CSV_NAMES = {"train": ("train.csv",), "val": ("val.csv", "validate.csv"), "test": ("test.csv",)}


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per row of the CSVs; for splits without one, per clip in the split's folder."""
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    clips: dict[Split, dict[str, str | None]] = {}  # name of the clip → label; 545,000 of them fit in 100 MB
    for split in SPLITS:
        table = files.find_annotation(*_CSV_NAMES[split])
        found = _clips_of_folder(files, split) if table is None else _clips_of_table(table, clips)
        if found:
            clips[split] = found
    if not clips:
        raise raw_data_error(SPEC, f"{raw} holds no train.csv, val.csv or test.csv, nor clips in train/, val/ or test/")
    for split, labels in clips.items():
        for clip in sorted(labels, key=safe_key):
            yield _sample(clip, split, labels[clip], files)


def _sample(clip: str, split: Split, label: str | None, files: RawFiles) -> Sample:
    media = files.stem(clip)
    if label is None and media is not None:
        place = split_and_class(media)
        label = words(place[1]) if place and place[1] else None
    match = _CLIP.fullmatch(clip)
    return Sample(
        key=safe_key(clip),
        split=split,
        media=media or str(PurePosixPath(split, *([label.replace("/", "_")] if label else []), f"{clip}.mp4")),
        captions=(label or clip,),  # an unlabelled clip of the test split is called by its name
        label=label,
        meta={
            "videoID": match["video"] if match else clip,
            "start_time": float(match["start"]) if match else None,
            "end_time": float(match["end"]) if match else None,
        },
    )


def _clips_of_table(table: Path, before: dict[Split, dict[str, str | None]]) -> dict[str, str | None]:
    """Clips and labels of one CSV. A row that says the same again is read once; one that says otherwise is an error."""
    found: dict[str, str | None] = {}
    for line, row in read_csv(table, ("youtube_id", "time_start", "time_end")):
        where = f"line {line}"
        start, end = (_whole(row[name], table, f"{where}: {name}") for name in ("time_start", "time_end"))
        clip = f"{row['youtube_id']}_{start:06d}_{end:06d}"
        if not _CLIP.fullmatch(clip):
            raise AnnotationError(table, where, f"{row['youtube_id']!r} is no YouTube id", "11 letters, digits, _ or -")
        label = row.get("label", "").strip() or None
        other = next((split for split, clips in before.items() if clip in clips), None)
        if other is not None:
            raise AnnotationError(table, where, f"the clip {clip} is in {other} already", "every clip in one split")
        if found.setdefault(clip, sys.intern(label) if label else None) != label:
            raise AnnotationError(table, where, f"the clip {clip} has the label {found[clip]!r} already", "one label")
    if not found:
        raise AnnotationError(table, "", "the table has no rows", "one row per clip")
    return found


def _clips_of_folder(files: RawFiles, split: Split) -> dict[str, str | None]:
    found: dict[str, str] = {}
    for path in files.media(VIDEO_SUFFIXES):
        place = split_and_class(path)
        if place and place[0] == split:
            clip = split_suffix(path)[0].rpartition("/")[2]
            if clip in found:
                raise RawDataError(f"the clip {clip} is there twice: {found[clip]} and {path}", "Remove one of them.")
            found[clip] = path
    return dict.fromkeys(found)


def _whole(value: str, table: Path, where: str) -> int:
    number = seconds(value, table, where)
    if not number.is_integer():
        raise AnnotationError(table, where, f"{value!r} is no whole second", "a whole number, as in the clip's name")
    return int(number)
