"""`builders diff` of datasets of which every row differs: seconds per row, memory, tables of millions of rows.

    .venv/bin/python benchmarks/diff.py [samples]

The datasets have 100 tars, as many as a million samples have, in different orders, with small vectors. The tables of
millions of rows are random: comparing them does not depend on what the rows hold. Processor time, one process.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from builders.diff import Difference, compare
from builders.diff_index import ROW, common
from preprocess.console import table
from preprocess.formats.manifest import build, manifest_json
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.triples import npy_bytes, triple_meta
from preprocess.samples import Sample, canonical_json

TARS, ROWS, DIM = 100, 2, 8
ENCODING = {"encoder": {"dim": DIM, "dtype": "float16"}, "sampling": {}, "preprocessing": {}, "versions": {}}


def make_dataset(folder: Path, count: int, seed: int) -> None:
    """Tars and manifest; the seed decides order and vectors."""
    per_shard = max(1, count // TARS)
    rng = np.random.default_rng(seed)
    reports = []
    for shard in plan_shards({"train": [f"video{i}" for i in range(count)]}, per_shard=per_shard, seed=seed):
        parts = []
        for key in shard.names:
            sample = Sample(key, "train", f"videos/{key}.mp4", ("a man is playing a guitar",))
            meta = triple_meta(sample, ROWS, range(ROWS), float(ROWS), False)
            vectors = rng.standard_normal((ROWS, DIM)).astype(np.float16)
            parts.append(TripleBytes(npy_bytes(vectors), b"a man", canonical_json(meta).encode(), ROWS))
        reports.append(write_shard(folder, shard, parts))
    manifest = build(
        dataset="CLIP-Bench",
        encoding=ENCODING,
        caption_mode="first",
        order={"shuffle": True, "seed": seed, "per_shard": per_shard},
        meta_keys=dict.fromkeys(meta, "string"),
        inputs={"train": count},
        rejects=[],
        shards=reports,
    )
    (folder / "manifest.json").write_bytes(manifest_json(manifest))


def seconds(action: Callable[[], Any]) -> tuple[float, Any]:
    """Processor time and result."""
    began = time.process_time()
    result = action()
    return time.process_time() - began, result


def random_table(count: int, seed: int) -> NDArray[Any]:
    """A table of `count` keys, the same for every seed, in another order with other contents."""
    rows = np.empty(count, ROW)
    keys = np.random.default_rng(0).bytes(16 * count)
    rows["key"] = np.random.default_rng(seed).permutation(np.frombuffer(keys, "S16"))
    rows["content"] = np.frombuffer(np.random.default_rng(seed).bytes(16 * count), "S16")
    return rows


def peak_mb() -> float:
    """The most memory that this process held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Prints a table."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    lines: list[tuple[object, ...]] = [("step", "rows", "seconds", "µs per row", "peak MB of the process")]

    def note(step: str, rows: int, took: float) -> None:
        lines.append((step, f"{rows:,}", f"{took:.1f}", f"{1e6 * took / rows:.1f}", f"{peak_mb():,.0f}"))

    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, version) for version in ("old", "new")]
        for seed, folder in enumerate(folders):
            folder.mkdir()
            make_dataset(folder, count, seed)
        took, difference = seconds(lambda: compare(*map(str, folders)))
        assert isinstance(difference, Difference)
        note("read both datasets", 2 * count, took)
        took, counts = seconds(lambda: difference.counts)
        assert counts == {"came": 0, "went": 0, "changed": count, "same": 0}, json.dumps(counts)
        note("find what changed", count, took)
        took, changed = seconds(lambda: sum(1 for _ in difference.changed()))
        assert changed == count
        note("read and compare the changed rows", count, took)
    for millions in (1, 5):
        size = millions * 1_000_000
        tables = [random_table(size, seed) for seed in (1, 2)]
        took, places = seconds(lambda: common(*tables))  # noqa: B023 - called at once
        assert len(places[0]) == size
        note("match two tables", size, took)
    print(table(lines))


if __name__ == "__main__":
    main()
