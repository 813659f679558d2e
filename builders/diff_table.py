"""A comparison of two datasets as text for the terminal.

rows      5 added, 1 removed, 2 changed, 40 the same
manifest  versions.av: '18.0.0' → '18.1.0'

change   sample   split  rows     lowest   mean     differs
changed  video12  train  10 → 12  0.31207  0.91120  npy, n_frames, timestamps
added    video7   test   10
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from builders.diff import Change, Difference, OneSided, write_difference
from preprocess.console import printable, table
from preprocess.storage import atomic_file
from preprocess.validation import shown

_HEAD = ("change", "sample", "split", "rows", "lowest", "mean", "differs")
_Line = tuple[str, ...]


def describe(difference: Difference, limit: int, json_file: Path | None = None) -> str:
    """Counts, differences of the manifests, and the samples: the most changed, the first added and removed.

    Args:
        difference: Two datasets, compared.
        limit: Samples of each kind.
        json_file: Where to write all of them.
    """
    most = MostChanged(limit)
    if json_file is not None:
        with atomic_file(json_file) as file:
            write_difference(file, difference, most.add)
    elif limit:
        for change in difference.changed():
            most.add(change)
    counts = difference.counts
    words = {"added": "added", "removed": "removed", "changed": "changed", "same": "the same"}
    facts = [("rows", ", ".join(f"{counts[name]:,} {word}" for name, word in words.items()))]
    for field in difference.manifest:
        facts.append(("manifest" if len(facts) == 1 else "", f"{field.field}: {shown(field.old)} → {shown(field.new)}"))
    parts = [table([[printable(cell) for cell in fact] for fact in facts])]
    lines = [*map(_changed, most.sorted()), *_one_sided(difference, limit)]
    if lines:
        parts.append(table([_HEAD, *([printable(cell) for cell in line] for line in lines)]))
    left_out = sum(max(counts[name] - limit, 0) for name in ("added", "removed", "changed"))
    if left_out:
        parts.append(f"and {left_out:,} more: --limit, --json FILE")
    return "\n\n".join(parts)


class MostChanged:
    """Keeps the most changed samples of many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: list[Change] = []

    def add(self, change: Change) -> None:
        """Takes one more."""
        self._kept.append(change)
        if len(self._kept) > 2 * self._limit + 1000:
            self._kept = self.sorted()

    def sorted(self) -> list[Change]:
        """The most changed, first the one that changed most."""
        return heapq.nsmallest(self._limit, self._kept, key=lambda change: change.rank)


def _changed(change: Change) -> _Line:
    before, after = (f"{n:,}" for n in change.rows)
    rows = before if before == after else f"{before} → {after}"
    split = change.splits[1] if len(set(change.splits)) == 1 else " → ".join(change.splits)
    cosines = ("-" if value is None else f"{value:.5f}" for value in (change.lowest, change.mean))
    return "changed", _name(change), split, rows, *cosines, ", ".join(change.differs)


def _one_sided(difference: Difference, limit: int) -> Iterator[_Line]:
    for kind, samples in (("added", difference.added()), ("removed", difference.removed())):
        for sample in islice(samples, limit):
            yield kind, _name(sample), sample.split, f"{sample.rows:,}", "", "", ""


def _name(sample: Change | OneSided) -> str:
    return sample.key if sample.caption is None else f"{sample.key} (caption {sample.caption})"
