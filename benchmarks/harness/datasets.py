"""Triples and packed datasets of random vectors, as a build writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

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
ENCODING: dict[str, Any] = {
    "encoder": {"model": "none", "precision": "fp32", "dim": DIM, "dtype": "float16", "normalized": False},
    "sampling": {"kind": "fps", "value": 1.0},
    "preprocessing": {},
    "versions": {},
}


def keys(count: int) -> list[str]:
    """The keys of so many samples."""
    return [f"video{i:07d}" for i in range(count)]


def triples(
    names: Iterable[str], *, rows: int = ROWS, dim: int = DIM, dtype: str = "float16", centers: int = 0, seed: int = 0
) -> Iterator[tuple[Sample, Triple]]:
    """Samples of 20 classes with random vectors.

    Args:
        names: Their keys, of `keys`.
        rows: Vectors of each sample.
        dim: Their dimensions.
        dtype: Of the vectors.
        centers: Where it is not 0, the vectors of a sample have a cosine of about 0.5, as they are around one of so
            many directions.
        seed: Of the vectors.
    """
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((centers, dim), dtype=np.float32)
    for key in names:
        label = f"class {int(key.removeprefix('video')) % 20}"
        sample = Sample(key, "train", f"videos/{key}.mp4", ("a man is playing a guitar",), label=label)
        vectors = rng.standard_normal((rows, dim), dtype=np.float32)
        if centers:
            vectors += directions[rng.integers(centers)]
        meta = triple_meta(sample, rows, range(rows), float(rows), False)
        yield sample, Triple(key, vectors.astype(dtype), sample.captions[0], meta)


def make_processed(out: Path, count: int) -> Layout:
    """What `encode` leaves: a list of samples, the encoding, and three files for each sample."""
    layout = Layout(out, SPEC.title)
    (layout.processed / "train").mkdir(parents=True)
    layout.encoding.write_text(json.dumps(ENCODING))
    with layout.samples.open("w", encoding="utf-8") as listed:
        for sample, triple in triples(keys(count)):
            write_triple(layout.processed, "train", triple)
            listed.write(canonical_json(sample.to_json()) + "\n")
    return layout


def make_packed(
    folder: Path,
    count: int,
    per_shard: int = 2_500,
    *,
    shuffle: bool = False,
    rows: int = ROWS,
    dim: int = DIM,
    dtype: str = "float16",
    centers: int = 0,
    seed: int = 0,
) -> Path:
    """What `shards` and `card` leave: tars, tables, manifest, and the front matter of the card.

    Args:
        folder: Where it is made.
        count: Number of samples.
        per_shard: Samples per tar.
        shuffle: Whether the samples are in the order that `seed` gives.
        rows: As in `triples`; so are `dim`, `dtype`, `centers` and `seed`.
    """
    folder.mkdir(parents=True)
    types: MetaTypes = {}
    shards = []
    planned = plan_shards({"train": keys(count)}, per_shard=per_shard, seed=seed, shuffle=shuffle)
    names = (name for shard in planned for name in shard.names)
    made = triples(names, rows=rows, dim=dim, dtype=dtype, centers=centers, seed=seed)
    for shard in planned:
        parts = []
        for _, triple in islice(made, len(shard.names)):
            add_meta(types, triple.meta)
            text, meta = triple.text.encode(), canonical_json(triple.meta).encode()
            parts.append(TripleBytes(npy_bytes(triple.vectors), text, meta, rows))
        shards.append(write_shard(folder, shard, parts))
    example = [sample for sample, _ in triples(keys(1))]
    built = manifest.build(
        dataset=folder.name,
        encoding={**ENCODING, "encoder": {**ENCODING["encoder"], "dim": dim, "dtype": dtype}},
        caption_mode="first",
        order={"shuffle": shuffle, "seed": seed, "per_shard": per_shard},
        meta_keys=manifest.meta_types(example, "first"),
        inputs={"train": count},
        rejects=(),
        shards=shards,
    )
    (folder / "manifest.json").write_bytes(manifest.manifest_json(built))
    (folder / "splits.csv").write_bytes(splits_csv({s.file: s.split for s in shards}))
    (folder / "sizes.json").write_bytes(sizes_json({s.file: s.samples for s in shards}))
    (folder / "README.md").write_text(front_matter(card_data(SPEC, shards, dim=dim, dtype=dtype, types=types)))
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
