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
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import read_csv, seconds, words
from preprocess.readers.files import RawFiles, split_suffix
from preprocess.readers.splits import split_and_class
from preprocess.samples import (
    SPLITS,
    VIDEO_SUFFIXES,
    DatasetSpec,
    RecipeOptions,
    Reject,
    RemoteFile,
    Sample,
    Split,
    safe_key,
)
from preprocess.validation import is_below

_DATA = "https://s3.amazonaws.com/kinetics/700_2020"

SPEC = DatasetSpec(
    name="kinetics700",
    title="Kinetics700",
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
    annotations_creators=("crowdsourced",),
    task_categories=("video-classification", "zero-shot-classification", "feature-extraction"),
    raw_layout="""
RAW/
├── annotations/{train,val,test}.csv    label,youtube_id,time_start,time_end,split (optional, else file names)
├── train/<label>/<youtube_id>_<start:06d>_<end:06d>.mp4    or flat: train/<youtube_id>_…
├── val/…
└── test/…
""",
    remotes=(
        *(RemoteFile(f"{_DATA}/annotations/{split}.csv", f"annotations/{split}.csv") for split in SPLITS),
        *(
            RemoteFile(
                f"{_DATA}/{split}/k700_2020_{split}_path.txt",
                f"{split}/",
                kind="list",
                into=split,
                gives=(f"{split}/*.mp4",),
                terms="the videos belong to their uploaders",
            )
            for split in SPLITS
        ),
    ),
)

_CLIP = re.compile(r"(?P<video>[A-Za-z0-9_-]{11})_(?P<start>\d{6,})_(?P<end>\d{6,})")
_CSV_NAMES = {"train": ("train.csv",), "val": ("val.csv", "validate.csv"), "test": ("test.csv",)}


@dataclass(slots=True)
class _Clips:
    """The clips found so far.

    Attributes:
        labels: Of each split, the name of the clip to its label.
        places: Split and line at which each clip is listed first; line 0 for the folder of the split.
        duplicates: Rows that list a clip again with another label or split.
    """

    labels: dict[Split, dict[str, str | None]] = field(default_factory=dict)
    places: dict[str, tuple[Split, int]] = field(default_factory=dict)
    duplicates: list[Reject] = field(default_factory=list)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample | Reject]:
    """One sample per row of the CSVs; for splits without one, per clip in the split's folder.

    The first row of a clip is its sample; a later one with another label or split is a Reject.
    """
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    clips = _Clips()
    for split in SPLITS:
        table = files.find_annotation(*_CSV_NAMES[split])
        if table is None:
            _read_folder(files, split, clips)
        else:
            _read_table(table, split, clips)
    if not any(clips.labels.values()):
        raise files.lacks("train.csv", "val.csv", "test.csv", "clips in train/, val/ or test/")
    for split, labels in clips.labels.items():
        for clip in sorted(labels, key=safe_key):
            yield _sample(clip, split, labels[clip], files)
    yield from clips.duplicates


def _sample(clip: str, split: Split, label: str | None, files: RawFiles) -> Sample:
    media = files.stem(clip)
    if label is None and media is not None:
        place = split_and_class(media)
        label = words(place[1]) if place and place[1] else None
    match = _CLIP.fullmatch(clip)
    return Sample(
        key=safe_key(clip),
        split=split,
        media=media or str(PurePosixPath(split, *([_folder(label)] if label else []), f"{clip}.mp4")),
        captions=(label or clip,),  # an unlabelled clip of the test split is called by its name
        label=label,
        meta={
            "videoID": match["video"] if match else clip,
            "start_time": float(match["start"]) if match else None,
            "end_time": float(match["end"]) if match else None,
        },
    )


def _read_table(table: Path, split: Split, clips: _Clips) -> None:
    """Adds the rows of one CSV. A row that repeats an earlier one is read once."""
    labels = clips.labels.setdefault(split, {})
    line = 0
    for line, row in read_csv(table, ("youtube_id", "time_start", "time_end")):
        where = f"line {line}"
        start, end = (_whole(row[name], table, f"{where}: {name}") for name in ("time_start", "time_end"))
        clip = f"{row['youtube_id']}_{start:06d}_{end:06d}"
        if not _CLIP.fullmatch(clip):
            problem = f"{row['youtube_id']!r} is not a YouTube id"
            raise AnnotationError(table, where, problem, "11 letters, digits, _ or -")
        label = row.get("label", "").strip() or None
        if label and not is_below(_folder(label)):
            raise AnnotationError(table, where, f"the label {label!r} cannot name a folder", "the name of a class")
        if clip not in clips.places:
            clips.places[clip] = split, line
            labels[clip] = sys.intern(label) if label else None
            continue
        first_split, first_line = clips.places[clip]
        first_label = clips.labels[first_split][clip]
        if (first_split, first_label) != (split, label):
            first = f"{_place(first_split, first_line)} ({first_label})"
            message = f"{split}.csv, line {line} ({label}) lists the clip {clip} again, first listed in {first}"
            clips.duplicates.append(Reject(f"{clip}_{split}_{line}", split, "list", "duplicate", message))
    if not line:
        raise AnnotationError(table, "", "the table has no rows", "one row per clip")


def _read_folder(files: RawFiles, split: Split, clips: _Clips) -> None:
    """Adds the clips in the folder of a split that has no CSV; one that was listed or found before is a Reject."""
    found: dict[str, str] = {}
    for path in files.media(VIDEO_SUFFIXES):
        place = split_and_class(path)
        if place and place[0] == split:
            clip = split_suffix(path)[0].rpartition("/")[2]
            first = found.setdefault(clip, path)
            if clip not in clips.places:
                clips.places[clip] = split, 0
                clips.labels.setdefault(split, {})[clip] = None
                continue
            where = first if first != path else _place(*clips.places[clip])
            message = f"{path} is the clip {clip} again, first listed in {where}"
            key = safe_key(f"{clip}_{split}" if first == path else path)
            clips.duplicates.append(Reject(key, split, "list", "duplicate", message))


def _folder(label: str) -> str:
    """The folder in which the clips of a class are."""
    return label.replace("/", "_")


def _place(split: Split, line: int) -> str:
    return f"{split}.csv, line {line}" if line else f"the folder {split}/"


def _whole(value: str, table: Path, where: str) -> int:
    number = seconds(value, table, where)
    if not number.is_integer():
        raise AnnotationError(table, where, f"{value!r} is not a whole second", "a whole number, as in the clip's name")
    return int(number)
