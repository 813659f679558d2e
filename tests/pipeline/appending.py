"""Work folders whose samples come, change and go, for the tests of appending."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from dataset_cards.card import render
from dataset_cards.card_inputs import read_card_inputs
from preprocess.formats.layout import Layout
from preprocess.formats.processed import Processed
from preprocess.formats.splits import read_splits
from preprocess.samples import Reject, Sample, canonical_json
from tests.pipeline.packing import ENCODING, SPEC, make_samples, make_triple, write_samples

CARD_ENCODING = {**ENCODING, "preprocessing": {"mean": [0.5] * 3, "std": [0.5] * 3, "shortest_edge": 8, "crop": [8, 8]}}
"""What `encoding.json` has to say for a card."""

NEW = 6
"""Samples that `second` adds."""


def new_samples(first: int = 50, count: int = NEW) -> list[Sample]:
    """Further samples, by turns to train, val and test."""
    return [
        Sample(f"new_{i}", ("train", "val", "test")[i % 3], f"new/{i}.mp4", (f"a new one, {i}", "again"))
        for i in range(first, first + count)
    ]


def recaptioned(sample: Sample, *captions: str) -> Sample:
    return Sample.from_json(sample.to_json() | {"captions": list(captions)})


def update(work: Path, samples: list[Sample], encoded: dict[int, int] | None = None) -> None:
    """Makes these the samples; `encoded` are numbers of those that are encoded (again), with a seed of the vectors."""
    write_samples(work, samples)
    for i, seed in (encoded or {}).items():
        make_triple(work / "processed", samples[i], seed)


def second(work: Path) -> list[Sample]:
    """Six new samples, one with other vectors, one with another caption, one that is gone, one that moved its split."""
    samples = make_samples()
    moved = Sample.from_json(samples[10].to_json() | {"split": "test"})
    Processed(work / "processed").remove([("train", samples[10].key), ("train", samples[12].key)])
    samples[3] = recaptioned(samples[3], "another caption")
    samples[10] = moved
    samples = [*samples[:12], *samples[13:], *new_samples()]
    update(work, samples, {7: 1, 10: 0, **{len(samples) - NEW + i: 0 for i in range(NEW)}})
    return samples


def third(work: Path) -> list[Sample]:
    """After `second`: what it changed changes again, one sample is new, and one that was gone is back."""
    samples = second(work)
    samples[3] = recaptioned(samples[3], "yet another caption")
    samples += [make_samples()[12], *new_samples(70, 1)]
    update(work, samples, {len(samples) - 2: 0, len(samples) - 1: 0})
    return samples


def reject(work: Path, sample: Sample) -> None:
    """The triple is gone, and the ledger says that the file cannot be read any more."""
    Processed(work / "processed").remove([(sample.split, sample.key)])
    line = canonical_json(Reject(sample.key, sample.split, "decode", "unreadable", "moov atom not found").to_json())
    ledger = work / "rejects.jsonl"
    ledger.write_text(ledger.read_text() + line + "\n", encoding="utf-8")


def describe(layout: Layout) -> None:
    """Writes the card, without figures: they take a while."""
    (layout.dataset / "README.md").write_text(render(read_card_inputs(SPEC, layout)), encoding="utf-8")


def rows(out: Path) -> dict[str, tuple[str, Any, str, dict[str, Any]]]:
    """(split, vectors, text, json) of every row by id, in the order of splits.csv, read by tarfile and numpy."""
    found = {}
    for file, split in read_splits(out / "splits.csv").items():
        with tarfile.open(fileobj=io.BytesIO((out / file).read_bytes())) as archive:
            contents = {m.name: archive.extractfile(m).read() for m in archive.getmembers()}  # type: ignore[union-attr]
        for name in [name[:-4] for name in contents if name.endswith(".npy")]:
            vectors = np.load(io.BytesIO(contents[f"{name}.npy"]), allow_pickle=False)
            found[name] = (split, vectors, contents[f"{name}.txt"].decode(), json.loads(contents[f"{name}.json"]))
    return found
