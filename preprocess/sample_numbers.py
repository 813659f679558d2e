"""The number of a sample, by its key, in 12 bytes a sample: what is known of many samples is then held in arrays.

numbers = SampleNumbers(samples)
numbers.of(["video7010", "gone"])       # array([3, -1])
numbers.among(["video7010"])            # bool (samples,): those that have one of these keys
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.batched import batched
from preprocess.sample_table import SampleTable, keys_of, taken
from preprocess.samples import SPLITS, Sample

ABSENT = -1
"""Instead of a number: no sample has this key."""

BLOCK = 16_384
"""Keys, or numbers, that are looked up together."""


class SampleNumbers:
    """Finds the numbers of samples by sorted hashes of their keys; the keys themselves stay where the samples are.

    Args:
        samples: With unique keys; a table sorted by split and key, as `plan.collected` gives it.

    Attributes:
        splits: int8 (samples,), the number of each one's split in `SPLITS`.
    """

    def __init__(self, samples: Sequence[Sample]) -> None:
        self.samples = samples
        self.splits = np.fromiter((SPLITS.index(split) for _, split in keys_of(samples)), np.int8, len(samples))
        self._hashes = _hashes((key for key, _ in keys_of(samples)), len(samples))
        self._order = self._hashes.argsort().astype(np.uint32 if len(samples) < 1 << 32 else np.uint64)
        self._hashes.sort()  # in place; which of two equal hashes comes first does not matter

    def __len__(self) -> int:
        return len(self.samples)

    def of(self, keys: Sequence[str]) -> NDArray[np.int64]:
        """The number of the sample with each of some keys, or `ABSENT`."""
        found: NDArray[np.int64] = np.full(len(keys), ABSENT, np.int64)
        wanted = _hashes(keys, len(keys))
        places = self._hashes.searchsorted(wanted)
        left = np.arange(len(keys))
        while True:  # usually once: a second sample has the same hash in one of 10^11 tables of 10,000 samples
            left = left[places[left] < len(self._hashes)]
            left = left[self._hashes[places[left]] == wanted[left]]
            if not len(left):
                return found
            numbers = self._order[places[left]].astype(np.int64)
            there = self.keys(numbers)
            same = np.fromiter((keys[i] == key for i, key in zip(left.tolist(), there, strict=True)), np.bool_)
            found[left[same]] = numbers[same]
            left = left[~same]
            places[left] += 1

    def keys(self, numbers: NDArray[np.integer[Any]]) -> Iterator[str]:
        """The keys of some samples."""
        return (key for key, _ in keys_of(taken(self.samples, numbers)))

    def among(self, keys: Iterable[str]) -> NDArray[np.bool_]:
        """For each sample, whether its key is one of these."""
        found = np.zeros(len(self), np.bool_)
        for block in batched(keys, BLOCK):
            numbers = self.of(block)
            found[numbers[numbers != ABSENT]] = True
        return found

    def by_key(self) -> Iterator[NDArray[np.int64]]:
        """All numbers in the order of the keys, a block at a time."""
        if not isinstance(self.samples, SampleTable):
            order = sorted(range(len(self)), key=lambda number: self.samples[number].key)
            yield from (np.array(block, np.int64) for block in batched(order, BLOCK))
            return
        ends = self.splits.searchsorted(np.arange(len(SPLITS)), side="right").tolist()
        ranges = [range(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        parts = ((keys_of(self.samples[one.start : one.stop]), one) for one in ranges)
        by_key = (((key, number) for (key, _), number in zip(*part, strict=True)) for part in parts)
        merged = (number for _, number in heapq.merge(*by_key))
        yield from (np.array(block, np.int64) for block in batched(merged, BLOCK))


def _hashes(keys: Iterable[str], count: int) -> NDArray[np.int64]:
    """Of this process alone: Python's hash of a text is another in each."""
    return np.fromiter(map(hash, keys), np.int64, count)
