"""Index and search at the size of Kinetics-700 at one frame per second, exact and approximate, and faiss beside it.

    .venv/bin/python benchmarks/search.py [--rows 1000000] [--approximate-rows 500000] [--rounds 3]

Synthetic videos of ten rows of 512 dimensions, in shards as a build writes them. A search goes from a query to moments,
and its seconds are the median of several queries in one process. The peer compares all rows, too, and returns the best
ones without moments: faiss with float16, a part of the rows for each core. What bounds a search by torch is one pass of
its products over all rows, in float16 and in bfloat16. Approximate search is that of the explorer, with lists of faiss;
the bound is faiss alone.

`--rows 1000000 5400000` adds the size of Kinetics-700: about 14 GB of disk and 12 GB of memory.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import json
import os
import re
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.harness.datasets import DIM, ROWS, make_packed
from benchmarks.harness.peers import why_missing
from benchmarks.harness.rounds import Bench, Command
from dataset_cards.evaluation.features import Matrix
from explorer.approximate import FILE, PROBES, ROWS_PER_VIDEO, ApproximateShortlist
from explorer.index import Index, open_index
from explorer.make_index import BLOCK_ROWS
from explorer.samples import Query
from explorer.search import Searcher

CENTERS = 2000
HITS = 10
QUERIES, APPROXIMATE_QUERIES = 5, 200
Search = Callable[[Matrix], object]


# --- searches, each in a process of its own --------------------------------------------------------------------------


def exact(index: Index) -> Search:
    """From a query to moments."""
    searcher = Searcher(index)
    return lambda vector: searcher.find(Query(vector, "row"), HITS)


def one_pass(index: Index, dtype: str) -> Search:
    """The products of all rows with the query by torch, in one of its number formats."""
    import torch

    with warnings.catch_warnings(action="ignore"):  # the file is mapped read-only, and nothing writes to it
        rows = torch.from_numpy(np.asarray(index.vectors)).to(getattr(torch, dtype))

    def search(vector: Matrix) -> object:
        query = torch.from_numpy(vector).to(rows.dtype)
        return [rows[i : i + BLOCK_ROWS] @ query for i in range(0, len(rows), BLOCK_ROWS)]

    return search


def all_rows_of_faiss(index: Index) -> Search:
    """All rows in float16, in as many parts as there are cores: faiss searches for one query with one thread a part."""
    faiss: Any = importlib.import_module("faiss")
    parts = faiss.IndexShards(DIM, True, True)  # with a thread for each part; numbers of rows go on from part to part
    for rows in np.array_split(index.vectors, os.cpu_count() or 1):
        part = faiss.IndexScalarQuantizer(DIM, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
        for i in range(0, len(rows), BLOCK_ROWS):
            part.add(np.ascontiguousarray(rows[i : i + BLOCK_ROWS], np.float32))
        parts.add_shard(part)
    return lambda vector: parts.search(vector[None], ROWS_PER_VIDEO * HITS)


def approximate(index: Index) -> Search:
    """The shortlist of the explorer, with the lists that are there."""
    shortlist = ApproximateShortlist(index)
    return lambda vector: shortlist.best(vector, HITS, None)


def lists_of_faiss(index: Index) -> Search:
    """As many rows from the same lists, by faiss alone."""
    faiss: Any = importlib.import_module("faiss")
    lists = faiss.read_index(str(index.folder / FILE))
    lists.nprobe = min(PROBES, lists.nlist)
    return lambda vector: lists.search(vector[None], ROWS_PER_VIDEO * HITS)


SEARCHES: dict[str, Callable[[Index], Search]] = {
    "exact": exact,
    "float16": functools.partial(one_pass, dtype="float16"),
    "bfloat16": functools.partial(one_pass, dtype="bfloat16"),
    "faiss": all_rows_of_faiss,
    "approximate": approximate,
    "lists": lists_of_faiss,
}


def search(way: str, folder: Path, queries: int) -> None:
    """Searches for rows of the dataset; prints the median of the seconds, after a search that is not counted."""
    index = _index(folder)
    run = SEARCHES[way](index)
    seconds = []
    for row in [0, *np.linspace(0, len(index.vectors) - 1, queries, dtype=int)]:
        vector = index.vectors[row].astype(np.float32)
        began = time.perf_counter()
        run(vector)
        seconds.append(time.perf_counter() - began)
    print(json.dumps({"seconds": statistics.median(seconds[1:])}))


def make_index(folder: Path) -> None:
    """Makes the index; prints how long that took."""
    report = json.loads((_index(folder).folder / "index.json").read_text())
    facts = {"samples": report["samples"], "gb": report["bytes"] / 1e9}
    print(json.dumps({"units": report["rows"], "seconds": report["seconds"], "facts": facts}))


def make_lists(folder: Path) -> None:
    """Makes the lists for approximate search; prints how long that took, recall, and what the explorer says of them."""
    index, printed = _index(folder), io.StringIO()
    began = time.perf_counter()
    with contextlib.redirect_stderr(printed):
        ApproximateShortlist(index)
    facts: dict[str, Any] = {"printed": printed.getvalue().strip()}
    if found := re.search(r"against exact search ([\d.]+)", facts["printed"]):
        facts["recall"] = float(found[1])
    print(json.dumps({"units": len(index.vectors), "seconds": time.perf_counter() - began, "facts": facts}))


def _index(folder: Path) -> Index:
    return open_index(str(folder), folder / "index")


# --- side by side -----------------------------------------------------------------------------------------------------

TASK = (sys.executable, str(Path(__file__).resolve()))


def make_dataset(bench: Bench, rows: int) -> Path:
    """A packed dataset with so many rows; the one that is there, if there is one."""
    folder = bench.temporary / f"rows{rows}" / "CLIP-Synthetic"
    return folder if folder.is_dir() else make_packed(folder, rows // ROWS, 10_000, centers=CENTERS)


def measure_exact(bench: Bench, rows: int) -> None:
    """Making the index, and exact search."""
    folder = make_dataset(bench, rows)
    forget = ["rm", "-rf", str(folder / "index")]
    making = Command("ours", "ours", [*TASK, "--index", str(folder)], prepare=forget)
    case = bench.case(f"index of {rows:,} rows", "rows", rows, [making], show="seconds")
    for one in case.contenders:
        if one.runs:
            case.figures["GB on disk"] = one.facts["gb"]
    _index(folder)  # is there even if making it was not measured
    given = [str(folder), str(QUERIES)]
    commands = [
        Command("ours", "ours", [*TASK, "--search", "exact", *given]),
        Command("faiss", "peer", [*TASK, "--search", "faiss", *given], absent=_absent()),
        Command("one pass in float16", "bound", [*TASK, "--search", "float16", *given]),
        Command("one pass in bfloat16", "bound", [*TASK, "--search", "bfloat16", *given]),
    ]
    case = bench.case(f"exact search in {rows:,} rows", "searches", 1, commands, show="seconds")
    for one in case.contenders:
        if one.runs and one.role == "bound":
            case.figures[f"s of {one.name}"] = one.seconds


def measure_approximate(bench: Bench, rows: int) -> None:
    """Making the lists, and approximate search."""
    folder = make_dataset(bench, rows)
    lists = _index(folder).folder / FILE
    argv, forget = [*TASK, "--lists", str(folder)], ["rm", "-f", str(lists)]
    making = Command("ours", "ours", argv, prepare=forget, absent=_absent())
    case = bench.case(f"lists for approximate search in {rows:,} rows", "rows", rows, [making], show="seconds")
    for one in case.contenders:
        if one.runs:
            case.figures["recall@10 against exact search"] = one.facts["recall"]
    given = [str(folder), str(APPROXIMATE_QUERIES)]
    commands = [
        Command("ours", "ours", [*TASK, "--search", "approximate", *given], absent=_absent()),
        Command("lists of faiss alone", "bound", [*TASK, "--search", "lists", *given], absent=_absent()),
    ]
    case = bench.case(f"approximate search in {rows:,} rows", "searches", 1, commands, show="seconds")
    case.note_bound()


def _absent() -> str:
    return why_missing("faiss", "requirements-explore.txt")


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--index", folder]:
            make_index(Path(folder))
        case ["--lists", folder]:
            make_lists(Path(folder))
        case ["--search", way, folder, queries]:
            search(way, Path(folder), int(queries))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--rows", type=int, nargs="*", default=[1_000_000])
            parser.add_argument("--approximate-rows", type=int, nargs="*", default=[500_000])
            bench, options = Bench.from_arguments("search", parser, packages=("faiss-cpu",))
            with bench:
                for rows in options.rows:
                    measure_exact(bench, rows)
                for rows in options.approximate_rows:
                    measure_approximate(bench, rows)
                bench.write()


if __name__ == "__main__":
    main()
