"""What lies in the work folder of a dataset, read and compared: the samples, the rejects, the triples.

data/work/CLIP-MSRVTT/
├── samples.jsonl            one sample a line
├── rejects.jsonl            one reject a line, e.g. {"key": "video7010", "split": "train", "stage": "decode",
│                            "reason": "unreadable", "message": "moov atom not found"}
└── processed/               the triples, and encoding.json
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from preprocess.errors import AnnotationError, DamagedFileError, UserError
from preprocess.formats.manifest import ENCODING_KEYS
from preprocess.formats.triples import done_keys, parse_json
from preprocess.samples import JSON, SPLITS, Reject, Sample

SAMPLES_FILE = "samples.jsonl"
REJECTS_FILE = "rejects.jsonl"
_REMEDY = "Run encode again with --overwrite."


def read_encoding(path: Path) -> JSON:
    """Reads `processed/encoding.json`.

    Raises:
        UserError: It is not there, or says too little.
    """
    try:
        encoding = parse_json(path.read_bytes(), path)
    except FileNotFoundError:
        raise UserError(f"{path} is not there", "Run encode first.") from None
    absent = [key for key in ENCODING_KEYS if not isinstance(encoding.get(key), dict)]
    if absent:
        raise DamagedFileError(path, "", f"says nothing of {', '.join(absent)}", _REMEDY)
    encoder = encoding["encoder"]
    if encoder.get("dtype") not in ("float16", "float32") or type(encoder.get("dim")) is not int:
        problem = f"should say dtype and dim, says {encoder.get('dtype')!r} and {encoder.get('dim')!r}"
        raise DamagedFileError(path, "encoder", problem, _REMEDY)
    return encoding


def read_samples(path: Path) -> list[Sample]:
    """Reads `samples.jsonl`.

    Raises:
        UserError: It is not there; a line is no sample; a key is there twice.
    """
    samples: list[Sample] = []
    keys: set[str] = set()
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        raise UserError(f"{path} is not there", "Run samples first.") from None
    for number, line in enumerate(lines, 1):
        try:
            sample = Sample.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise AnnotationError(path, f"line {number}", str(error), "a sample") from None
        if sample.key in keys:
            raise AnnotationError(path, f"line {number}", f"key {sample.key!r} is there twice", "unique keys")
        keys.add(sample.key)
        samples.append(sample)
    return samples


def read_rejects(path: Path) -> list[Reject]:
    """Reads `rejects.jsonl`; no such file means no rejects. A last line that a killed process cut off is passed over.

    Raises:
        AnnotationError: Any other line is no reject.
    """
    if not path.exists():
        return []
    lines = path.read_bytes().split(b"\n")
    rejects = []
    for number, line in enumerate(lines[:-1], 1):  # behind the last line break is nothing, or half a line
        try:
            rejects.append(Reject(**json.loads(line)))
        except (ValueError, TypeError) as error:
            raise AnnotationError(path, f"line {number}", str(error), "a reject") from None
    return rejects


def sort_out(samples: Sequence[Sample], work: Path) -> tuple[list[Sample], list[Reject]]:
    """Parts the samples into those that have a triple and the rejects of the others, sorted by key.

    Raises:
        UserError: Some have neither, or none has a triple.
    """
    done = {split: done_keys(work / "processed", split) for split in SPLITS}
    rejected = {(reject.split, reject.key): reject for reject in read_rejects(work / REJECTS_FILE)}
    packed = [sample for sample in samples if sample.key in done[sample.split]]
    others = [(sample.split, sample.key) for sample in samples if sample.key not in done[sample.split]]
    neither = sorted(key for split, key in others if (split, key) not in rejected)
    if neither:
        raise UserError(
            f"{len(neither):,} of {len(samples):,} samples are neither encoded nor rejected, first {neither[0]!r}",
            "Run encode (again): it goes on where it stopped.",
        )
    if not packed:
        raise UserError(
            f"none of {len(samples):,} samples is encoded, there is nothing to pack",
            f"{work / REJECTS_FILE} says why." if samples else "Look at the raw data: it gives no samples.",
        )
    return packed, sorted((rejected[other] for other in others), key=lambda reject: reject.key)
