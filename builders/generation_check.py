"""Checks the ids and keys of a dataset over all its tars, and what its manifest says of generations.

    vid_00017 of generation 1, key "video7010"  →  vid_00096 of generation 2, key "video7010"

`preprocess.formats.manifest` has checked what the manifest alone can tell: that each generation has its tars, and that
rows are replaced by rows of a later one. Here the tars decide. A generation that is listed as two, cut between two
tars, cannot be told from two appends: ids, tars and current rows are those of either.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from builders.findings import Finding, Findings
from builders.shard_check import ShardScan
from preprocess.formats.generations import replaced_rows, tars_by_generation
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.shards import digits, row_id
from preprocess.formats.splits import SPLITS_FILE
from preprocess.samples import SPLITS, Split


def by_generation(scans: Sequence[ShardScan], manifest: Manifest | None) -> list[list[ShardScan]]:
    """The tars of each generation; those that no generation names are with the last one."""
    generations = tars_by_generation(manifest or {}, [])
    number_of = {file: number for number, files in enumerate(generations) for file in files}
    grouped: list[list[ShardScan]] = [[] for _ in generations]
    for scan in scans:
        grouped[number_of.get(scan.file, -1)].append(scan)
    return grouped


def check_ids(scans: Sequence[ShardScan], manifest: Manifest | None) -> Iterator[Finding]:
    """Ids count up from zero over all tars, without gaps or duplicates, padded alike; keys are unique.

    A key may be that of several rows if the manifest says that all but one of them are replaced.

    Args:
        scans: In the order of the tars' names.
        manifest: Of the dataset.
    """
    yield from _check_widths(by_generation(scans, manifest))
    numbers = np.concatenate([scan.numbers for scan in scans]) if scans else np.empty(0, np.int64)
    yield from _check_repeats(scans, numbers, _numbers(replaced_rows(manifest or {})))
    first = 0
    for scan in scans:
        found = Findings(scan.file)
        steps = np.diff(scan.numbers, prepend=first - 1)
        for i in np.flatnonzero(steps != 1)[:20]:
            id_, step = f"vid_{scan.numbers[i]:05d}", int(steps[i])
            if step > 1:
                found.add("id_gap", f"{step - 1:,} numbers before it are missing", id_)
            elif step < 0:
                found.add("id_order", f"follows vid_{scan.numbers[i] - step:05d}", id_)
        yield from found
        first = int(scan.numbers[-1]) + 1 if scan.samples else first


def _check_widths(generations: Sequence[Sequence[ShardScan]]) -> Iterator[Finding]:
    """Ids have the width of the largest one that there was when they were given."""
    total = 0
    for number, scans in enumerate(generations, 1):
        widths = sorted(set().union(*(scan.widths for scan in scans)))
        total += sum(scan.samples for scan in scans)
        fits = widths[0] >= len(str(total - 1)) if len(generations) == 1 and widths else widths == [digits(total)]
        if len(widths) > 1 or (widths and not fits):
            of = f" of generation {number}" * (len(generations) > 1)
            yield Finding(
                ".", "id_width", f"ids{of} have {' and '.join(map(str, widths))} digits, for {total:,} samples"
            )


def _numbers(ids: Mapping[str, str]) -> dict[int, int]:
    return {int(old.removeprefix("vid_")): int(new.removeprefix("vid_")) for old, new in ids.items()}


def _check_repeats(
    scans: Sequence[ShardScan], numbers: NDArray[np.int64], replaced: Mapping[int, int]
) -> Iterator[Finding]:
    found = Findings(".")
    values, counts = np.unique(numbers, return_counts=True)
    for number in values[counts > 1]:
        files = [scan.file for scan in scans if number in scan.numbers]
        found.add("id_twice", f"vid_{number:05d} is in {' and '.join(files)}{' twice' * (len(files) == 1)}")
    current = Counter(key for number, key in _rows(scans) if key is not None and number not in replaced)
    for key, count in current.items():
        if count > 1:
            found.add("key_twice", f"key {key!r} occurs {count} times")
    yield from found


def _rows(scans: Sequence[ShardScan]) -> Iterator[tuple[int, str | None]]:
    """Number and key of each row."""
    for scan in scans:
        yield from zip(scan.numbers.tolist(), scan.keys, strict=True)


def check_generations(
    scans: Sequence[ShardScan], splits: Mapping[str, Split] | None, manifest: Manifest
) -> Iterator[Finding]:
    """Tars of a generation come by split, and a row is replaced by a row of the same sample.

    Args:
        scans: In the order of the tars' names.
        splits: Of splits.csv; None if it cannot be read.
        manifest: Of the dataset.
    """
    generations = by_generation(scans, manifest)
    told = Findings(SPLITS_FILE)
    for files in generations:
        for one, two in pairwise(scan.file for scan in files if scan.file in (splits or {})):
            if splits and SPLITS.index(splits[one]) > SPLITS.index(splits[two]):
                told.add("splits_csv", f"{two} holds {splits[two]} and follows {one}, which holds {splits[one]}")
    yield from told
    if len(generations) < 2:
        return
    replaced = _numbers(replaced_rows(manifest))
    ends = np.cumsum([sum(scan.samples for scan in files) for files in generations])
    keys = dict(_rows(scans))
    added: list[set[str | None]] = [{key for _, key in _rows(files)} for files in generations]
    found = Findings(MANIFEST_FILE)
    for old, new in replaced.items():
        before, after = keys.get(old), keys.get(new)
        if before is None or after is None or before == after:
            continue  # what cannot be read has been reported
        generation = int(np.searchsorted(ends, new, side="right"))
        ids = f"{row_id(old, 5)} is said to be replaced by {row_id(new, 5)}"
        if before.partition(" ")[0] != after.partition(" ")[0]:
            found.add("generations", f"{ids}, but the keys are {before!r} and {after!r}")
        elif before in added[min(generation, len(added) - 1)]:
            found.add("generations", f"{ids}, but another row of generation {generation + 1} has its key {before!r}")
    if manifest["caption_mode"] == "each":
        found.extend("generations", _mixed(generations, replaced))
    yield from found


def _mixed(generations: Sequence[Sequence[ShardScan]], replaced: Mapping[int, int]) -> Iterator[str]:
    """Samples with current rows in several generations: every row has all captions, so they change together."""
    of_sample: dict[str, int] = {}
    for generation, scans in enumerate(generations, 1):
        for number, key in _rows(scans):
            if key is not None and number not in replaced:
                sample = key.partition(" ")[0]
                if of_sample.setdefault(sample, generation) != generation:
                    yield f"{sample!r} has rows in generations {of_sample[sample]} and {generation}, none is replaced"
