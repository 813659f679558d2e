"""Triples and packed datasets of random vectors, as a build writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from builders.card_yaml import card_data, front_matter
from builders.json_types import MetaTypes, add_meta
from preprocess.formats import manifest
from preprocess.formats.layout import Layout
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.splits import sizes_json, splits_csv
from preprocess.formats.triple_files import write_triple
from preprocess.formats.triples import npy_bytes, triple_meta
from preprocess.samples import DatasetSpec, Sample, Triple, canonical_json

SPEC = DatasetSpec("bench", "CLIP-Bench", "mit", "", "", ("en",), ("other",), "")
ROWS, DIM = 10, 512
ENCODING = {
    "encoder": {"model": "none", "precision": "fp32", "dim": DIM, "dtype": "float16", "normalized": False},
    "sampling": {"kind": "fps", "value": 1.0},
    "preprocessing": {},
    "versions": {},
}


def triples(count: int, rows: int = ROWS, dtype: str = "float16") -> Iterator[tuple[Sample, Triple]]:
    """Samples of 20 classes, each with `rows` random vectors."""
    rng = np.random.default_rng(0)
    for i in range(count):
        key = f"video{i:07d}"
        label = f"class {i % 20}"
        sample = Sample(key, "train", f"videos/{key}.mp4", ("a man is playing a guitar",), label=label)
        vectors = rng.standard_normal((rows, DIM), dtype=np.float32).astype(dtype)
        yield (
            sample,
            Triple(key, vectors, sample.captions[0], triple_meta(sample, rows, range(rows), float(rows), False)),
        )


def make_processed(out: Path, count: int) -> Layout:
    """What `encode` leaves: a list of samples, the encoding, and three files for each sample."""
    layout = Layout(out, SPEC.title)
    (layout.processed / "train").mkdir(parents=True)
    layout.encoding.write_text(json.dumps(ENCODING))
    with layout.samples.open("w", encoding="utf-8") as listed:
        for sample, triple in triples(count):
            write_triple(layout.processed, "train", triple)
            listed.write(canonical_json(sample.to_json()) + "\n")
    return layout


def make_packed(folder: Path, count: int, per_shard: int = 2_500, dtype: str = "float16") -> Path:
    """What `shards` and `card` leave: tars, tables, manifest, and the front matter of the card."""
    folder.mkdir(parents=True)
    types: MetaTypes = {}
    shards = []
    made = triples(count, dtype=dtype)
    for shard in plan_shards({"train": [f"video{i:07d}" for i in range(count)]}, per_shard=per_shard, shuffle=False):
        parts = []
        for _ in shard.names:
            _, triple = next(made)
            add_meta(types, triple.meta)
            text, meta = triple.text.encode(), canonical_json(triple.meta).encode()
            parts.append(TripleBytes(npy_bytes(triple.vectors), text, meta, ROWS))
        shards.append(write_shard(folder, shard, parts))
    example = [sample for sample, _ in triples(1)]
    built = manifest.build(
        dataset=folder.name,
        encoding=ENCODING,
        caption_mode="first",
        order={"shuffle": False, "seed": 42, "per_shard": per_shard},
        meta_keys=manifest.meta_types(example, "first"),
        inputs={"train": count},
        rejects=(),
        shards=shards,
    )
    (folder / "manifest.json").write_bytes(manifest.manifest_json(built))
    (folder / "splits.csv").write_bytes(splits_csv({s.file: s.split for s in shards}))
    (folder / "sizes.json").write_bytes(sizes_json({s.file: s.samples for s in shards}))
    (folder / "README.md").write_text(front_matter(card_data(SPEC, shards, dim=DIM, dtype=dtype, types=types)))
    return folder


def as_hub_cache(folder: Path, cache: Path) -> Path:
    """The dataset as the Hub's client keeps it: blobs, and a snapshot of links to them."""
    blobs, snapshot = cache / "blobs", cache / "snapshots" / ("0" * 40)
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(folder.iterdir())):
        blob = blobs / f"{number:064x}"
        blob.hardlink_to(path)
        (snapshot / path.name).symlink_to(Path("..", "..", "blobs", blob.name))
    return snapshot
