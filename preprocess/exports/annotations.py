"""AdaCLIP's annotation files, for any dataset: `{train,val,test}.json`. One entry, of ActivityNet Captions:

    {"v_uqiMw7tQ1Cc": {"extension": "mp4", "sentences": ["A weight lifting tutorial is given.", …],
                       "timestamps": [[0.28, 55.15], …], "duration": 55.15}}

A name is also the name of the folder with the frames of that video. `timestamps` and `duration` are written where the
source has them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from preprocess.errors import UserError
from preprocess.references import file_of
from preprocess.samples import JSON, SPLITS, Sample, Split, is_url
from preprocess.storage import write_atomic
from preprocess.video_names import video_names as names_of

Entries = dict[str, JSON]


@dataclass(frozen=True, slots=True)
class AnnotationReport:
    """Entries written per split, and the missing media, which have no entry."""

    written: Mapping[Split, int]
    missing: tuple[str, ...]
    files: tuple[Path, ...]


def write_annotations(samples: Sequence[Sample], folder: Path, out: Path) -> AnnotationReport:
    """Writes `out/<split>.json` for every split that has a video; without a val split, `val.json` equals `test.json`.

    Args:
        samples: Of one dataset, all splits.
        folder: What their media paths are relative to.
        out: Created if missing.

    Raises:
        UserError: All videos are missing; nothing is written.
    """
    present = [sample for sample in samples if is_url(sample.media) or (folder / file_of(sample.media)).is_file()]
    if not present:
        raise UserError(f"none of the {len(samples)} videos is below {folder}", "Check RAW.")
    there = {sample.key for sample in present}
    written: dict[Split, int] = {}
    files = []
    out.mkdir(parents=True, exist_ok=True)
    of_split = adaclip_entries(present)
    for split, entries in of_split.items():
        # AdaCLIP's configs validate on val.json; MSR-VTT 1k-A has no validation split, and they name its test set so.
        names = ("test", "val") if split == "test" and "val" not in of_split else (split,)
        for name in names:
            path = out / f"{name}.json"
            write_atomic(path, json.dumps(entries, ensure_ascii=False).encode())
            files.append(path)
        written[split] = len(entries)
    return AnnotationReport(written, tuple(s.media for s in samples if s.key not in there), tuple(files))


def adaclip_entries(samples: Iterable[Sample]) -> dict[Split, Entries]:
    """The content of the file of each split; empty splits are omitted."""
    rows = list(samples)
    names = video_names(rows)
    found: dict[Split, Entries] = {split: {} for split in SPLITS}
    for sample in rows:
        found[sample.split][names[sample.key]] = _entry(sample)
    return {split: entries for split, entries in found.items() if entries}


def video_names(samples: Iterable[Sample]) -> dict[str, str]:
    """Maps each key to the name of the video in annotation files, which is also the name of its folder of frames."""
    return names_of({sample.key: str(sample.meta.get("videoID", sample.key)) for sample in samples})


def _entry(sample: Sample) -> JSON:
    meta: Mapping[str, Any] = sample.meta
    entry: JSON = {
        "extension": PurePosixPath(sample.media.partition("?")[0]).suffix[1:],
        "sentences": list(sample.captions),
    }
    if "caption_timestamps" in meta:
        entry["timestamps"] = meta["caption_timestamps"]
    elif meta.get("start_time") is not None and meta.get("end_time") is not None:
        entry["timestamps"] = [[meta["start_time"], meta["end_time"]]]
    if "annotated_duration" in meta:
        entry["duration"] = meta["annotated_duration"]
    return entry
