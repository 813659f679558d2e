"""`builders diff` of two datasets of which every row differs, and the matching of tables of millions of rows.

    .venv/bin/python benchmarks/diff.py [--samples 100000] [--table-rows 1000000 5000000] [--rounds 3]

The datasets have 100 tars, as many as a million samples have, in different orders, with small vectors. The peer is what
one writes by hand: `tarfile`, and all rows of both in dictionaries. The tables are random, as comparing them does not
depend on what the rows hold; the peer is the join of pyarrow. Figures say what each step took.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.rounds import Bench, Command
from benchmarks.pack import parts_of
from builders.diff import compare
from builders.diff_index import ROW, common
from dataset_cards.evaluation.features import unit

TARS, ROWS, DIM = 100, 2, 8
Places = tuple[NDArray[np.int64], NDArray[np.int64]]


# --- tasks that run in processes of their own ------------------------------------------------------------------------


def diff_ours(old: Path, new: Path) -> dict[str, float]:
    """Compares two datasets; the seconds of each step, how many rows changed, and the lowest of their cosines."""
    began = time.perf_counter()
    difference = compare(str(old), str(new))
    read = time.perf_counter()
    counts = difference.counts
    found = time.perf_counter()
    lowest = [change.lowest for change in difference.changed() if change.lowest is not None]
    if counts != {"added": 0, "removed": 0, "changed": len(lowest), "same": 0}:
        raise SystemExit(f"{len(lowest)} rows were compared: {counts}")
    steps = {"read_s": read - began, "find_s": found - read, "compare_s": time.perf_counter() - found}
    return {**steps, "changed": len(lowest), "lowest": min(lowest)}


def diff_by_hand(old: Path, new: Path) -> dict[str, float]:
    """The same with both datasets in memory."""
    before, after = (
        {json.loads(parts[2])["key"]: parts for tar in sorted(folder.glob("*.tar")) for parts in parts_of(tar)}
        for folder in (old, new)
    )
    changed = [key for key, parts in after.items() if key in before and before[key] != parts]
    lowest = [_lowest_cosine(before[key], after[key]) for key in changed]
    return {"changed": len(changed), "lowest": min(lowest)}


def _lowest_cosine(old: tuple[bytes, bytes, bytes], new: tuple[bytes, bytes, bytes]) -> float:
    """The lowest cosine of rows of the same time."""
    one, other = (
        dict(zip(json.loads(meta)["timestamps"], unit(np.load(io.BytesIO(npy)).astype(np.float32)), strict=True))
        for npy, _, meta in (old, new)
    )
    return min(float(one[at] @ other[at]) for at in one.keys() & other.keys())


def random_table(count: int, seed: int) -> NDArray[Any]:
    """A table of `count` keys, the same for every seed, in another order with other contents."""
    rows = np.empty(count, ROW)
    keys = np.random.default_rng(0).bytes(16 * count)
    rows["key"] = np.random.default_rng(seed).permutation(np.frombuffer(keys, "S16"))
    rows["content"] = np.frombuffer(np.random.default_rng(seed).bytes(16 * count), "S16")
    return rows


def match_arrow(old: NDArray[Any], new: NDArray[Any]) -> Places:
    """Places of the rows of the same key in both tables, in the order of the new one, by a join of pyarrow."""
    import pyarrow as pa

    tables = []
    for name, rows in (("old", old), ("new", new)):
        data = pa.py_buffer(np.ascontiguousarray(rows["key"]))
        keys = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(rows), [None, data])
        tables.append(pa.table({"key": keys, name: np.arange(len(rows))}))
    joined = tables[1].join(tables[0], "key", join_type="inner").sort_by("new")
    return joined["old"].to_numpy(), joined["new"].to_numpy()


DIFFS: dict[str, Callable[[Path, Path], dict[str, float]]] = {
    "ours": diff_ours,
    "tarfile and dictionaries": diff_by_hand,
}
MATCHES: dict[str, Callable[[NDArray[Any], NDArray[Any]], Places]] = {"ours": common, "join of pyarrow": match_arrow}


def diff(way: str, old: Path, new: Path) -> None:
    """Compares two datasets; prints how long that took."""
    began = time.perf_counter()
    facts = DIFFS[way](old, new)
    print(json.dumps({"units": facts["changed"], "seconds": time.perf_counter() - began, "facts": facts}))


def match_tables(way: str, count: int) -> None:
    """Matches two tables of the same keys; prints how long that took."""
    old, new = (random_table(count, seed) for seed in (1, 2))
    MATCHES[way](old[:1], old[:1])  # what it imports does not count
    began = time.perf_counter()
    mine, theirs = MATCHES[way](old, new)
    seconds = time.perf_counter() - began
    if not (len(theirs) == count and (old["key"][mine] == new["key"]).all()):
        raise SystemExit(f"{way} matches {len(theirs)} of {count} rows, or others")
    print(json.dumps({"seconds": seconds}))


# --- side by side -----------------------------------------------------------------------------------------------------


def contenders(task: str, ways: dict[str, Any], *given: str) -> list[Command]:
    """Ours and the peer."""
    argv = [sys.executable, str(Path(__file__).resolve()), task]
    return [Command(way, "ours" if way == "ours" else "peer", [*argv, way, *given]) for way in ways]


def measure(bench: Bench, samples: int, table_rows: list[int]) -> None:
    """A case for the datasets, and one for each size of the tables."""
    from benchmarks.harness.datasets import make_packed

    folders = []
    for seed, name in enumerate(("old", "new")):
        folder = bench.temporary / name / "CLIP-Bench"
        per_shard = max(1, samples // TARS)
        folders.append(make_packed(folder, samples, per_shard, shuffle=True, rows=ROWS, dim=DIM, seed=seed))
    commands = contenders("--diff", DIFFS, *map(str, folders))
    case = bench.case(f"diff of two datasets of {samples:,} rows that all differ", "rows", samples, commands)
    for one in case.contenders:
        if one.role == "ours" and one.runs:
            case.figures.update({f"s to {step}": one.facts[f"{step}_s"] for step in ("read", "find", "compare")})
    for count in table_rows:
        bench.case(f"match of two tables of {count:,} rows", "rows", count, contenders("--match", MATCHES, str(count)))


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--diff", way, old, new]:
            diff(way, Path(old), Path(new))
        case ["--match", way, count]:
            match_tables(way, int(count))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--samples", type=int, default=100_000)
            parser.add_argument("--table-rows", type=int, nargs="*", default=[1_000_000, 5_000_000])
            bench, options = Bench.from_arguments("diff", parser)
            with bench:
                measure(bench, options.samples, options.table_rows)
                bench.write()


if __name__ == "__main__":
    main()
