"""A whole small dataset, written by the project's own writers, for the tests to load, break and push."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.card_yaml import card_data, front_matter
from builders.json_types import MetaTypes, add_meta
from preprocess.errors import DamagedFileError
from preprocess.formats.manifest import build, manifest_json, meta_types
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.splits import sizes_json, splits_csv
from preprocess.formats.tar import iter_members
from preprocess.formats.triples import npy_bytes, parse_json, triple_meta
from preprocess.samples import JSON, SPLITS, DatasetSpec, Reject, Sample, Split, canonical_json

DIM = 16
SPEC = DatasetSpec(
    name="demo",
    title="Shapes",
    license="apache-2.0",
    citation="",
    homepage="",
    languages=("en",),
    task_categories=("video-classification",),
    raw_layout="",
)
ENCODING = {
    "encoder": {
        "model": "tiny-clip",
        "revision": None,
        "weights_sha256": "0" * 64,
        "precision": "fp32",
        "dtype": "float16",
        "dim": DIM,
        "normalized": False,
    },
    "sampling": {"kind": "fps", "value": 1},
    "preprocessing": {"shortest_edge": 32, "crop": [32, 32], "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
    "versions": {"av": "18.1.0"},
}
REJECT = Reject("lost_video", "train", "find", "missing", "no such file below the raw folder")

MakeDataset = Callable[..., Path]


def sample(split: Split, i: int, own: Sequence[JSON] = ()) -> Sample:
    """A sample with every awkward thing that metadata may hold: nulls, late keys' worth of types, non-ASCII."""
    return Sample(
        key=f"{split}_{i:03d}",
        split=split,
        media=f"{split}/{i}.mp4",
        captions=(f"a red circle moving left, number {i}", "ein roter Kreis — 赤い円"),
        label="red circle" if i % 2 else None,
        start_s=None if i < 3 else 0.5,
        meta={
            "score": 1 if i < 6 else i + 0.5,
            "note": None if i < 5 else "late",
            "tags": {"a": [i]},
            **(own[i] if own else {}),
        },
    )


def rows(split: Split, i: int) -> int:
    """Frames of a sample: 1 to 4."""
    return 1 + (i + SPLITS.index(split)) % 4


def vectors(split: Split, i: int, dim: int, dtype: str) -> np.ndarray[Any, Any]:
    """`(rows, dim)`, another one for every sample."""
    rng = np.random.default_rng([SPLITS.index(split), i])
    return rng.standard_normal((rows(split, i), dim)).astype(dtype)


def write_dataset(
    folder: Path,
    counts: Mapping[Split, int] = {"train": 8, "val": 3, "test": 2},
    *,
    per_shard: int = 5,
    dim: int = DIM,
    dtype: str = "float16",
    own: Sequence[JSON] = (),
) -> Path:
    """Writes `folder` as a build would: shards, tables, manifest, rejects, card; `own` are further keys per sample."""
    folder.mkdir(parents=True)
    samples = {sample(split, i).key: (split, i) for split, count in counts.items() for i in range(count)}
    names = {split: [key for key, (of, _) in samples.items() if of == split] for split in SPLITS}
    shards = []
    types: MetaTypes = {}
    for shard in plan_shards(names, per_shard=per_shard):
        parts = []
        for key in shard.names:
            split, i = samples[key]
            array = vectors(split, i, dim, dtype)
            meta = triple_meta(sample(split, i, own), len(array), np.arange(len(array)), float(len(array)), False)
            add_meta(types, meta)
            text = sample(split, i).captions[0].encode()
            parts.append(TripleBytes(npy_bytes(array), text, canonical_json(meta).encode(), len(array)))
        shards.append(write_shard(folder, shard, parts))
    manifest = build(
        dataset=folder.name,
        encoding={**ENCODING, "encoder": {**ENCODING["encoder"], "dim": dim, "dtype": dtype}},
        caption_mode="first",
        order={"shuffle": True, "seed": 42, "per_shard": per_shard},
        meta_keys=meta_types((sample(split, i, own) for split, i in samples.values()), "first"),
        inputs={split: count + (split == "train") for split, count in counts.items()},
        rejects=[REJECT],
        shards=shards,
    )
    (folder / "splits.csv").write_bytes(splits_csv({s.file: s.split for s in shards}))
    (folder / "sizes.json").write_bytes(sizes_json({s.file: s.samples for s in shards}))
    (folder / "manifest.json").write_bytes(manifest_json(manifest))
    (folder / "README.md").write_text(
        front_matter(card_data(SPEC, shards, dim=dim, dtype=dtype, types=types)) + "\n# CLIP-Shapes\n", encoding="utf-8"
    )
    (folder / "rejects.jsonl").write_text(canonical_json(REJECT.to_json()) + "\n", encoding="utf-8")
    return folder


def types_of(folder: Path) -> MetaTypes:
    """The types of the keys of every `.json` of a dataset that can be read."""
    types: MetaTypes = {}
    for tar in sorted(folder.glob("ds_*.tar")):
        with suppress(DamagedFileError):
            for member in iter_members(tar):
                with suppress(DamagedFileError):
                    if not member.name.endswith(".json"):
                        continue
                    add_meta(types, parse_json(bytes(member.data), member.name))
    return types


@pytest.fixture
def make_dataset(tmp_path: Path) -> MakeDataset:
    """Writes a dataset below the test's own folder."""

    def make(name: str = "CLIP-Shapes", **options: Any) -> Path:
        return write_dataset(tmp_path / "data" / name, **options)

    return make


@pytest.fixture
def dataset_spec() -> DatasetSpec:
    """The spec that the small dataset was written with."""
    return SPEC
