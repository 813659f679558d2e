"""Small datasets, packed by the project's own writer, for everything that reads a finished one."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from preprocess.formats import manifest, splits
from preprocess.formats.layout import Layout
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.triples import caption_text, npy_bytes, triple_meta
from preprocess.samples import DatasetSpec, Reject, Sample, canonical_json

SPEC = DatasetSpec(
    name="demo",
    title="Test",
    license="cc-by-4.0",
    citation="@misc{test, title = {A {T}est}, year = {2020}}",
    homepage="https://example.org/data",
    languages=("en",),
    task_categories=("video-classification", "feature-extraction"),
    raw_layout="",
)
ENCODING = {
    "encoder": {
        "model": "tiny-clip",
        "revision": None,
        "weights_sha256": "ab" * 32,
        "precision": "fp32",
        "dtype": "float16",
        "dim": 8,
        "normalized": False,
    },
    "sampling": {"kind": "fps", "value": 1.0},
    "preprocessing": {"shortest_edge": 64, "crop": [64, 64], "mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    "versions": {"av": "18.1.0", "ffmpeg": "8.0"},
}
Vectors = Callable[[int, Sample], np.ndarray]


def samples(n: int = 14, *, labels: int = 3) -> list[Sample]:
    """`n` samples: half train, a quarter each val and test; `labels` classes, or none."""
    shares = ("train", "train", "val", "test")
    return [
        Sample(
            key=f"clip_{i:03d}",
            split=shares[i % 4],
            media=f"videos/clip_{i:03d}.mp4",
            captions=(f"clip number {i}", f"the same clip {i} in other words"),
            label=f"class {i // 4 % labels}" if labels else None,
            meta={"videoID": f"clip {i}", "views": i * 10},
        )
        for i in range(n)
    ]


def random_vectors(i: int, sample: Sample) -> np.ndarray:
    """1 to 4 rows of 8 numbers, other ones for each sample."""
    return np.random.default_rng(i).standard_normal((1 + i % 4, 8)).astype(np.float16)


def pack(
    out: Path,
    all_samples: Sequence[Sample],
    vectors: Vectors = random_vectors,
    *,
    rejects: Sequence[Reject] = (),
    per_shard: int = 4,
    encoding: dict[str, object] = ENCODING,
    hub_name: str = "CLIP-Test",
    duration: Callable[[int], float] = lambda rows: rows - 0.5,
    spans: Callable[[int], list[list[float]]] | None = None,
) -> Layout:
    """Writes shards, `splits.csv`, `sizes.json`, `manifest.json` and `rejects.jsonl` below `out`."""
    place = Layout(out, hub_name)
    place.dataset.mkdir(parents=True, exist_ok=True)
    place.work.mkdir(parents=True, exist_ok=True)
    for old in place.dataset.glob("ds_*.tar"):
        old.unlink()
    by_key = {sample.key: (i, sample) for i, sample in enumerate(all_samples)}
    lost = {reject.key for reject in rejects}
    kept = {
        split: [s.key for s in all_samples if s.split == split and s.key not in lost]
        for split in ("train", "val", "test")
    }

    def parts(key: str) -> TripleBytes:
        i, sample = by_key[key]
        rows = vectors(i, sample)
        meta = triple_meta(
            *(sample, len(rows), np.arange(len(rows)) * 1.0, duration(len(rows)), False),
            spans=spans and spans(len(rows)),
        )
        text = caption_text(sample.captions, "first")
        return TripleBytes(npy_bytes(rows), text.encode(), canonical_json(meta).encode(), len(rows))

    shards = plan_shards(kept, per_shard=per_shard)
    reports = [write_shard(place.dataset, shard, map(parts, shard.names)) for shard in shards]
    place.dataset.joinpath("splits.csv").write_bytes(splits.splits_csv({r.file: r.split for r in reports}))
    place.dataset.joinpath("sizes.json").write_bytes(splits.sizes_json({r.file: r.samples for r in reports}))
    built = manifest.build(
        dataset=hub_name,
        encoding=encoding,
        caption_mode="first",
        order={"shuffle": True, "seed": 42, "per_shard": per_shard},
        meta_keys=manifest.meta_types(all_samples, "first"),
        inputs={split: sum(s.split == split for s in all_samples) for split in kept},
        rejects=rejects,
        shards=reports,
    )
    place.dataset.joinpath("manifest.json").write_bytes(manifest.manifest_json(built))
    lines = [json.dumps(reject.to_json()) for reject in rejects]
    place.dataset.joinpath("rejects.jsonl").unlink(missing_ok=True)
    if lines:
        place.dataset.joinpath("rejects.jsonl").write_text("".join(line + "\n" for line in lines))
    return place
