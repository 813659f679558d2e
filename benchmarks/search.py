"""Index and exact search at the size of Kinetics-700 at one frame per second, and faiss beside it.

    .venv/bin/python benchmarks/search.py [--rows 1000000 5400000] [--faiss-rows 500000] [--rounds 5]

Shards of synthetic videos of ten rows are written by the project's own writer. Their index is made, then searched in
several rounds, each in a process of its own: one pass over all rows in float16 and in bfloat16, and a whole search,
from query to moments. `benchmarks/results/search.json` keeps every number, with machine, versions and load. 5,400,000
rows of 512 need about 14 GB of disk and 12 GB of memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.console import table
from preprocess.formats import manifest, splits
from preprocess.formats.layout import write_json
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.triples import npy_bytes, triple_meta
from preprocess.samples import Sample, canonical_json

RESULTS = Path(__file__).resolve().parent / "results" / "search.json"
DIM = 512
ROWS_PER_VIDEO = 10
CENTERS = 2000
SPREAD = 1.0
"""Length of the noise around a center of length 1: rows of one center have a cosine of about 0.5."""

QUERIES = 5
FAISS_QUERIES = 200


def videos(count: int) -> Iterator[NDArray[np.float16]]:
    """The rows `(ROWS_PER_VIDEO, DIM)` of each video: one center, and noise for each row."""
    rng = np.random.default_rng(0)
    centers = rng.standard_normal((CENTERS, DIM), np.float32) / DIM**0.5
    for first in range(0, count, 4096):
        chosen = centers[rng.integers(CENTERS, size=min(4096, count - first))]
        noise = rng.standard_normal((len(chosen), ROWS_PER_VIDEO, DIM), np.float32)
        yield from (chosen[:, None] + SPREAD / DIM**0.5 * noise).astype(np.float16)


def write_dataset(folder: Path, rows: int) -> None:
    """A packed dataset of one split."""
    count = rows // ROWS_PER_VIDEO
    width = len(str(count))
    shards = plan_shards({"train": [f"v{i:0{width}d}" for i in range(count)]}, shuffle=False)
    times = np.arange(ROWS_PER_VIDEO, dtype=np.float64)
    made = videos(count)

    def parts(keys: tuple[str, ...]) -> Iterator[TripleBytes]:
        for key in keys:
            sample = Sample(key=key, split="train", media=f"{key}.mp4", captions=("a video",))
            meta = triple_meta(sample, ROWS_PER_VIDEO, times, float(ROWS_PER_VIDEO), False)
            yield TripleBytes(npy_bytes(next(made)), b"a video", canonical_json(meta).encode(), ROWS_PER_VIDEO)

    reports = [write_shard(folder, shard, parts(shard.names)) for shard in shards]
    example = [Sample(key="v", split="train", media="v.mp4", captions=("a video",))]
    built = manifest.build(
        dataset=folder.name,
        encoding=_encoding(),
        caption_mode="first",
        order={"shuffle": False, "seed": 42, "per_shard": 10_000},
        meta_keys=manifest.meta_types(example, "first"),
        inputs={"train": count},
        rejects=(),
        shards=reports,
    )
    (folder / splits.SPLITS_FILE).write_bytes(splits.splits_csv({r.file: r.split for r in reports}))
    (folder / manifest.MANIFEST_FILE).write_bytes(manifest.manifest_json(built))


def _encoding() -> dict[str, Any]:
    return {
        "encoder": {
            "model": "synthetic",
            "revision": None,
            "weights_sha256": "0" * 64,
            "precision": "fp32",
            "dtype": "float16",
            "dim": DIM,
            "normalized": False,
        },
        "sampling": {"kind": "fps", "value": 1.0},
        "preprocessing": {},
        "versions": {},
    }


def make_index(folder: Path) -> dict[str, Any]:
    """What making the index took; in a process of its own, so that the peak of memory is that of the index."""
    from explorer.index import open_index

    report = json.loads((open_index(str(folder), folder / "index").folder / "index.json").read_text())
    return {
        "samples": report["samples"],
        "index_s": report["seconds"],
        "index_gb": round(report["bytes"] / 1e9, 3),
        "peak_memory_gb": round(report["peak_memory_bytes"] / 1e9, 3),
    }


def measure_search(folder: Path) -> dict[str, Any]:
    """Seconds of one pass in each number format, and of a whole search: the medians of several queries."""
    import torch

    from explorer.index import open_index
    from explorer.make_index import BLOCK_ROWS
    from explorer.samples import Query
    from explorer.search import Searcher

    index = open_index(str(folder), folder / "index")
    queries = [Query(index.vectors[i].astype(np.float32), "row") for i in _spread(len(index.vectors), QUERIES)]

    def scan(rows: torch.Tensor) -> Callable[[Query], object]:
        def one_pass(query: Query) -> object:
            vector = torch.from_numpy(query.vector).to(rows.dtype)
            return [rows[i : i + BLOCK_ROWS] @ vector for i in range(0, len(rows), BLOCK_ROWS)]

        return one_pass

    with warnings.catch_warnings(action="ignore"):  # the file is mapped read-only, and nothing writes to it
        stored = torch.from_numpy(np.asarray(index.vectors))
    found = {"float16_s": timed(scan(stored), queries)}
    found["bfloat16_s"] = timed(scan(stored.to(torch.bfloat16)), queries)
    searcher = Searcher(index)
    found["search_s"] = timed(lambda query: searcher.find(query, 10), queries)
    return {"load": os.getloadavg()[0], "threads": torch.get_num_threads(), **found}


def measure_faiss(folder: Path) -> dict[str, Any]:
    """Seconds of building the lists, recall against exact search, seconds of a query."""
    import contextlib
    import io

    from explorer.approximate import ApproximateShortlist
    from explorer.index import open_index

    index = open_index(str(folder), folder / "index")
    printed = io.StringIO()
    started = time.perf_counter()
    with contextlib.redirect_stderr(printed):
        shortlist = ApproximateShortlist(index)
    seconds = time.perf_counter() - started
    queries = [index.vectors[i].astype(np.float32) for i in _spread(len(index.vectors), FAISS_QUERIES)]
    query_s = timed(lambda query: shortlist.best(query, 10, None), queries)
    return {"build_s": round(seconds, 1), "printed": printed.getvalue().strip(), "query_s": query_s}


def timed(run: Callable[[Any], object], queries: list[Any]) -> float:
    """The median of the seconds of each query, after one that is not counted."""
    run(queries[0])
    seconds = []
    for query in queries:
        started = time.perf_counter()
        run(query)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def _spread(rows: int, count: int) -> list[int]:
    return [int(i) for i in np.linspace(0, rows - 1, count)]


def in_own_process(task: str, folder: Path) -> dict[str, Any]:
    """The result of a task of `TASKS`, run by this script in another process."""
    done = subprocess.run([sys.executable, __file__, "--task", task, str(folder)], stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


TASKS = {"index": make_index, "search": measure_search, "faiss": measure_faiss}


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    wanted = {"amx_bf16", "avx512_bf16", "avx512_fp16", "avx512f", "avx2"}
    return {
        "cpu": facts.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "flags": sorted(wanted & set(facts.get("flags", "").split())),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "numpy", "faiss-cpu")},
    }


def measure(rows: int, rounds: int, faiss_rows: int) -> dict[str, Any]:
    """Everything about a dataset of one size, which is removed afterwards."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "CLIP-Synthetic"
        folder.mkdir()
        started = time.perf_counter()
        write_dataset(folder, rows)
        found = {"rows": rows, "dim": DIM, "write_s": round(time.perf_counter() - started, 1)}
        found |= in_own_process("index", folder)
        for tar in folder.glob("ds_*.tar"):  # the search needs the index alone
            tar.unlink()
        if rows == faiss_rows:
            return found | in_own_process("faiss", folder)
        of_rounds = [in_own_process("search", folder) for _ in range(rounds)]
        best = {name: min(one[name] for one in of_rounds) for name in ("float16_s", "bfloat16_s", "search_s")}
        middle = {name: statistics.median(one[name] for one in of_rounds) for name in best}
        return found | {"best": best, "median": middle, "rounds": of_rounds}


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000, 5_400_000])
    parser.add_argument("--faiss-rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--task", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        print(json.dumps(TASKS[options.task[0]](Path(options.task[1]))))
        return
    started = time.perf_counter()
    searched = [measure(rows, options.rounds, 0) for rows in options.rows]
    faiss = measure(options.faiss_rows, 0, options.faiss_rows) if options.faiss_rows else None
    head = ("rows", "index", "on disk", "peak memory", "float16", "bfloat16", "search")
    lines = [
        (
            one["rows"],
            f"{one['index_s']:.1f} s",
            f"{one['index_gb']:.2f} GB",
            f"{one['peak_memory_gb']:.2f} GB",
            *(f"{one['median'][name]:.3f} s" for name in ("float16_s", "bfloat16_s", "search_s")),
        )
        for one in searched
    ]
    print(table([head, *lines], frozenset(range(7))))
    if faiss:
        print(f"{faiss['printed']}; {1000 * faiss['query_s']:.2f} ms a query")
    minutes = (time.perf_counter() - started) / 60
    print(f"{minutes:.1f} minutes; medians of {options.rounds} rounds; load {os.getloadavg()[0]:.1f}")
    result = {"machine": machine(), "minutes": round(minutes, 1), "exact": searched, "faiss": faiss}
    RESULTS.parent.mkdir(exist_ok=True)
    write_json(RESULTS, result)


if __name__ == "__main__":
    main()
