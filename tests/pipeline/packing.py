"""A work folder as encoding leaves it, for the tests of packing."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.formats.layout import Layout
from preprocess.formats.processed import Processed, ProcessedKind
from preprocess.formats.triple_files import write_triple
from preprocess.formats.triples import triple_meta
from preprocess.pipeline import pack
from preprocess.runtime.options import RunOptions
from preprocess.samples import DatasetSpec, Reject, Sample, Triple, canonical_json
from preprocess.storage import make_folder
from tests.object_store import remove_folder

DIM = 8
SPEC = DatasetSpec("demo", "CLIP-Demo", "mit", "", "", ("en",), (), "")
ENCODING: dict[str, Any] = {
    "encoder": {"model": "none", "dim": DIM, "dtype": "float16", "normalized": False},
    "sampling": {"kind": "fps", "value": 1},
    "preprocessing": {},
    "versions": {"av": "18.1.0"},
}
LISTS = ("manifest.json", "sizes.json", "splits.csv")


def make_samples() -> list[Sample]:
    """37 to train, 5 to validate, 8 to test; some with a window, some with metadata that others do not have."""
    samples = []
    for i in range(50):
        split = "train" if i < 37 else "val" if i < 42 else "test"
        captions = tuple(f"caption {j} of {i}; ünï" for j in range(1 + i % 3))
        meta: dict[str, Any] = {"videoID": f"v{i}"} if i % 2 else {}
        meta |= {"zoom": i / 2} if i % 5 == 0 else {}
        meta |= {"angle": [i]} if i == 17 else {}
        window = {"start_s": float(i), "end_s": i + 9.5} if i % 4 == 0 else {}
        samples.append(Sample(f"k{i * 7919 % 50}_{i}", split, f"{split}/{i}.mp4", captions, meta=meta, **window))  # type: ignore[arg-type]
    return samples


def triple_of(sample: Sample, seed: int = 0) -> Triple:
    number = int(sample.key.rpartition("_")[2])
    rng = np.random.default_rng([number, seed])
    vectors = rng.standard_normal((1 + number % 5, DIM)).astype(np.float16)
    times = [(sample.start_s or 0.0) + t for t in range(len(vectors))]
    meta = triple_meta(sample, len(vectors), times, float(len(vectors)), number == 3)
    return Triple(sample.key, vectors, sample.captions[0], meta)


def make_triple(processed: Path, sample: Sample, seed: int = 0) -> None:
    """As files, which are what counts where the triple is in a part too."""
    make_folder(processed / sample.split)
    write_triple(processed, sample.split, triple_of(sample, seed))


def make_triples(processed: Path, samples: Iterable[Sample], kind: ProcessedKind) -> None:
    triples = Processed(processed, kind)
    triples.prepare()
    writer = triples.writer()
    for sample in samples:
        writer.add(sample.split, triple_of(sample))
    writer.finish()


def write_samples(work: Path, samples: list[Sample]) -> None:
    (work / "samples.jsonl").write_text("".join(canonical_json(s.to_json()) + "\n" for s in samples), "utf-8")


def write_rejects(work: Path, rejects: list[Reject], tail: str = "") -> None:
    lines = "".join(canonical_json(r.to_json()) + "\n" for r in rejects)
    (work / "rejects.jsonl").write_text(lines + tail, "utf-8")


@pytest.fixture
def work(tmp_path: Path, storage: str) -> Path:
    """A work folder as encoding leaves it: three of the samples are rejected, one of them is missing.

    The triples are files on this machine and parts in a store, as they are when nothing else is asked for.
    """
    work = layout_of(tmp_path / "out" / "CLIP-Demo").work
    make_work(work, "files" if storage == "local" else "parts")
    return work


def make_work(work: Path, kind: ProcessedKind = "files") -> None:
    """Writes such a folder; see `work`."""
    (work / "processed").mkdir(parents=True)
    (work / "processed" / "encoding.json").write_text(json.dumps(ENCODING))
    samples = make_samples()
    write_samples(work, samples)
    rejected = [samples[20], samples[4], samples[40]]
    kept = [sample for sample in samples if sample not in rejected]
    make_triples(work / "processed", kept, kind)
    write_rejects(
        work,
        [
            Reject(rejected[0].key, "train", "decode", "unreadable", "moov atom not found"),
            Reject(rejected[1].key, "train", "find", "missing", "not there"),
            Reject(rejected[2].key, "val", "decode", "timeout", "60 s"),
        ],
    )


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Where the dataset goes."""
    return tmp_path / "out" / "CLIP-Demo"


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def layout_of(out: Path) -> Layout:
    return Layout(out.parent, out.name)


@dataclass(frozen=True)
class OfWork(Layout):
    """The layout of a dataset whose work folder lies elsewhere, so that several can share one."""

    shared: Path = field(kw_only=True)

    @property
    def work(self) -> Path:
        return self.shared


def run(work: Path, out: Path, workers: int | None = 1, **options: Any) -> pack.PackReport:
    layout, where = OfWork(out.parent, out.name, shared=work), RunOptions(workers=workers)
    return pack.pack_dataset(layout, SPEC, run=where, **{"per_shard": 10, **options})


def fresh(work: Path, out: Path) -> dict[str, bytes]:
    """What packing gives that knows nothing of earlier runs."""
    remove_folder(work / "shards")
    run(work, out)
    return files(out)
