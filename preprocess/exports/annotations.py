"""AdaCLIP's annotation files, for any dataset: `{train,val,test}.json`. One entry, of ActivityNet Captions:

    {"v_uqiMw7tQ1Cc": {"extension": "mp4", "sentences": ["A weight lifting tutorial is given.", …],
                       "timestamps": [[0.28, 55.15], …], "duration": 55.15}}

A name is also that of the video's folder of frames. `timestamps` and `duration` are there where the source has them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from preprocess.errors import UserError
from preprocess.formats.atomic import write_atomic
from preprocess.samples import JSON, SPLITS, Sample, Split, is_url

Entries = dict[str, JSON]


@dataclass(frozen=True, slots=True)
class AnnotationReport:
    """What was written, per split, and the media that are not there, which have no entry."""

    written: Mapping[Split, int]
    missing: tuple[str, ...]
    files: tuple[Path, ...]


def write_annotations(samples: Sequence[Sample], folder: Path, out: Path) -> AnnotationReport:
    """Writes `out/<split>.json` for every split that has a video.

    Args:
        samples: Of one dataset, all splits.
        folder: What their media paths are relative to.
        out: Made where it is missing.

    Raises:
        UserError: No video is there at all; nothing is written then.
    """
    present = [sample for sample in samples if is_url(sample.media) or (folder / sample.media).is_file()]
    if not present:
        raise UserError(f"none of the {len(samples)} videos is below {folder}", "Check RAW.")
    there = {sample.key for sample in present}
    written: dict[Split, int] = {}
    files = []
    out.mkdir(parents=True, exist_ok=True)
    for split, entries in adaclip_entries(present).items():
        path = out / f"{split}.json"
        write_atomic(path, json.dumps(entries, ensure_ascii=False).encode())
        written[split] = len(entries)
        files.append(path)
    return AnnotationReport(written, tuple(s.media for s in samples if s.key not in there), tuple(files))


def adaclip_entries(samples: Iterable[Sample]) -> dict[Split, Entries]:
    """The content of each split's file; splits without a sample are left out."""
    rows = list(samples)
    names = video_names(rows)
    found: dict[Split, Entries] = {split: {} for split in SPLITS}
    for sample in rows:
        found[sample.split][names[sample.key]] = _entry(sample)
    return {split: entries for split, entries in found.items() if entries}


def video_names(samples: Iterable[Sample]) -> dict[str, str]:
    """Key → the name of the video in annotation files and of its folder of frames.

    It is the source's own id, unless that is no name of one folder, stands for several samples, or is the key of
    another: then it is the key.
    """
    ids = {sample.key: str(sample.meta.get("videoID", sample.key)) for sample in samples}
    count = Counter(ids.values())

    def is_own(id_: str, key: str) -> bool:
        return count[id_] == 1 and (id_ == key or id_ not in ids) and _is_folder_name(id_)

    return {key: id_ if is_own(id_, key) else key for key, id_ in ids.items()}


def _is_folder_name(name: str) -> bool:
    # A name with one of our own suffixes could be that of a file beside the folders.
    plain = "/" not in name and "\0" not in name and not name.endswith((".json", ".jsonl"))
    return bool(name) and not name.startswith(".") and plain and len(name.encode()) <= 200


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
