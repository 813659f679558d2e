"""What encoding left in the work folder, read and compared before packing: settings, samples, triples, rejects.

    data/work/CLIP-MSRVTT/
    ├── samples.jsonl     one sample a line
    ├── rejects.jsonl     the ledger: one reject a line
    └── processed/        the triples, and encoding.json

Every sample is a triple or a reject; where one is neither, encoding has not finished.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import ENCODING_KEYS
from preprocess.formats.places import TriplePlaces
from preprocess.formats.processed import Processed
from preprocess.formats.triples import parse_json
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.plan import held
from preprocess.sample_table import SampleTable, chosen
from preprocess.samples import JSON, Reject, Sample
from preprocess.storage import read_if_there, reading
from preprocess.validation import own_line

_REMEDY = "Run encode again with --overwrite."


def read_encoding(path: Path) -> JSON:
    """Reads `processed/encoding.json`.

    Raises:
        UserError: It does not exist, or a field is missing.
    """
    content = read_if_there(path)
    if content is None:
        raise UserError(f"{path} does not exist", "Run encode first.")
    encoding = parse_json(content, path)
    absent = [key for key in ENCODING_KEYS if not isinstance(encoding.get(key), dict)]
    if absent:
        raise DamagedFileError(path, "", f"does not state {', '.join(absent)}", _REMEDY)
    encoder = encoding["encoder"]
    if encoder.get("dtype") not in ("float16", "float32") or type(encoder.get("dim")) is not int:
        problem = f"should say dtype and dim, says {encoder.get('dtype')!r} and {encoder.get('dim')!r}"
        raise DamagedFileError(path, "encoder", problem, _REMEDY)
    return encoding


def read_samples(path: Path) -> list[Sample]:
    """Reads `samples.jsonl`, as objects.

    Raises:
        UserError: It does not exist; a line is not a sample; a key occurs twice.
    """
    return _unique(list(each_sample(path)), path)


def listed_samples(path: Path) -> Sequence[Sample]:
    """Reads `samples.jsonl`: a few as objects in the order of the file, many as a table, sorted.

    Raises:
        UserError: As `read_samples`.
    """
    found = held(each_sample(path))
    return found if isinstance(found, SampleTable) else _unique(found, path)


def each_sample(path: Path) -> Iterator[Sample]:
    """The samples of `samples.jsonl`, of which one is held at a time.

    Raises:
        UserError: It does not exist, or a line is not a sample.
    """
    try:
        file = reading(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "Run samples first.") from None
    with file as lines:
        for number, line in enumerate(lines, 1):
            yield own_line(line.rstrip(b"\r\n"), Sample, path, number, "Run samples again.")


def _unique(samples: list[Sample], path: Path) -> list[Sample]:
    keys: set[str] = set()
    for number, sample in enumerate(samples, 1):
        if sample.key in keys:
            raise DamagedFileError(path, f"line {number}", f"key {sample.key!r} is listed twice", "Run samples again.")
        keys.add(sample.key)
    return samples


def sort_out(samples: Sequence[Sample], layout: Layout) -> tuple[Sequence[Sample], TriplePlaces, list[Reject]]:
    """Separates the samples that have a triple from the rejects of the others and of the annotations, sorted by key.

    Returns:
        The samples that have a triple, where their triples are, the rejects.

    Raises:
        UserError: Some have neither, or none has a triple; a triple is incomplete.
    """
    places = Processed(layout.processed).find(samples)
    ledger = Ledger(layout.rejects)
    packed, others = chosen(samples, places.there), chosen(samples, ~places.there)
    neither = sorted(sample.key for sample in others if sample.key not in ledger)
    if neither:
        raise UserError(
            f"{len(neither):,} of {len(samples):,} samples are neither encoded nor rejected, first {neither[0]!r}",
            "Run encode (again): it continues where it stopped.",
        )
    if not packed:
        raise UserError(
            f"none of {len(samples):,} samples is encoded, there is nothing to pack",
            f"{layout.rejects} says why." if samples else "Look at the raw data: it gives no samples.",
        )
    # A sample may have moved to another split since it was rejected.
    rejects = [dataclasses.replace(ledger[sample.key], split=sample.split) for sample in others]
    return packed, places.only(places.there), sorted([*rejects, *ledger.listed()], key=lambda reject: reject.key)
