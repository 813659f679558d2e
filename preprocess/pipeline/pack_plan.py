"""Which triples go into which shard, and a digest of everything that a shard is made from.

A plan is the numbers of the rows, in the order of the tars. What goes into a tar is read from the list of samples and
the indexes of the parts when its turn comes: a plan takes a few bytes a row, and a run holds the tars at work.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from preprocess.formats import members
from preprocess.formats.manifest import FORMAT_VERSION
from preprocess.formats.places import TriplePlace, TriplePlaces
from preprocess.formats.processed import Processed
from preprocess.formats.shards import Names, Shard, cut_shards, order_of
from preprocess.sample_table import keys_of, taken
from preprocess.samples import SPLITS, CaptionMode, Sample, Split, canonical_json

Rows = NDArray[np.integer[Any]]
"""Numbers of rows of `PackItems`."""


class Item(NamedTuple):
    """One triple of a shard: the sample, the index of its caption (None: by the caption mode), the processed triple."""

    sample: Sample
    caption: int | None
    place: TriplePlace

    @property
    def name(self) -> str:
        """The name of the row."""
        return row_name(self.sample.key, self.caption)


@dataclass(frozen=True, slots=True)
class PackSettings:
    """Settings that all shards of one run share; sent to the worker processes."""

    processed: Processed
    states: Path
    out: Path
    caption_mode: CaptionMode
    meta_keys: tuple[str, ...]
    dim: int
    dtype: str


class PackItems:
    """What is to be packed: a row for each sample, or one for each of its captions.

    Args:
        samples: Those that have a triple.
        places: Where these triples are.
        mode: The caption mode; `each` gives each caption a row.
    """

    def __init__(self, samples: Sequence[Sample], places: TriplePlaces, mode: CaptionMode) -> None:
        self._samples = samples
        self._places = places
        number = {split: i for i, split in enumerate(SPLITS)}
        self._split = np.fromiter((number[split] for _, split in keys_of(samples)), np.int8, len(samples))
        self._first: NDArray[np.int64] | None = None  # of the rows of each sample; None: its number is its row
        if mode == "each":
            counts = np.fromiter((len(sample.captions) for sample in samples), np.int64, len(samples))
            self._first = np.concatenate(([0], np.cumsum(counts)))

    def __len__(self) -> int:
        return len(self._samples) if self._first is None else int(self._first[-1])

    def of_split(self, split: Split) -> Rows:
        """The rows of a split, in the order of its samples."""
        splits = self._split if self._first is None else np.repeat(self._split, np.diff(self._first))
        rows = np.flatnonzero(splits == SPLITS.index(split))
        return rows.astype(np.uint32) if len(self) < 1 << 32 else rows

    def samples_of(self, rows: Rows) -> Rows:
        """The number of the sample of each row."""
        return rows if self._first is None else np.searchsorted(self._first, rows, side="right") - 1

    def names(self, rows: Rows) -> Iterator[str]:
        """The name of each row; of a table no `Sample` is made."""
        samples = self.samples_of(rows)
        for first in range(0, len(rows), _AT_ONCE):
            some = slice(first, first + _AT_ONCE)
            keys = keys_of(taken(self._samples, samples[some]))
            for (key, _), caption in zip(keys, self._captions(rows[some], samples[some]), strict=True):
                yield row_name(key, caption)

    def take(self, rows: Rows) -> list[Item]:
        """The items of some rows, in the order given.

        Raises:
            DamagedFileError: A triple has lost a file since it was found.
        """
        numbers = self.samples_of(rows)
        samples = list(taken(self._samples, numbers))  # of a table only now
        places = self._places.take(numbers, samples)
        captions = self._captions(rows, numbers)
        return [Item(*one) for one in zip(samples, captions, places, strict=True)]

    def find(self, names: Iterable[str | None]) -> list[Item | None]:
        """The items of some names; None for each that is not to be packed, and for None."""
        rows = [None if name is None else self.row_of.get(name) for name in names]
        found = iter(self.take(np.array([row for row in rows if row is not None], np.int64)))
        return [None if row is None else next(found) for row in rows]

    @functools.cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row of each name; a dict, which only a dataset that is appended to needs."""
        return {name: row for row, name in enumerate(self.names(np.arange(len(self))))}

    def _captions(self, rows: Rows, samples: Rows) -> list[int] | list[None]:
        return [None] * len(rows) if self._first is None else (rows - self._first[samples]).tolist()


_AT_ONCE = 65_536  # names that are made of an array of rows at a time


class Job(NamedTuple):
    """One shard to write, and its items."""

    shard: Shard
    items: tuple[Item, ...]

    @property
    def key(self) -> str:
        """The name of the tar."""
        return self.shard.file

    @property
    def split(self) -> Split:
        """The split that it holds."""
        return self.shard.split


class PlannedTar(NamedTuple):
    """A shard of a plan: the ids of its members, and the rows that they are made from."""

    file: str
    split: Split
    ids: Names
    rows: Rows


class Jobs(Sequence[Job]):
    """The shards of a plan; each is made of its samples when it is read.

    Args:
        items: What is packed.
        tars: In their order.
    """

    def __init__(self, items: PackItems, tars: Sequence[PlannedTar]) -> None:
        self.items = items
        self.tars = tars

    def __len__(self) -> int:
        return len(self.tars)

    @overload
    def __getitem__(self, index: int) -> Job: ...

    @overload
    def __getitem__(self, index: slice) -> list[Job]: ...

    def __getitem__(self, index: int | slice) -> Job | list[Job]:
        return [self._job(tar) for tar in self.tars[index]] if isinstance(index, slice) else self._job(self.tars[index])

    def only(self, files: frozenset[str]) -> Jobs:
        """The tars of these names."""
        return Jobs(self.items, [tar for tar in self.tars if tar.file in files])

    def ids(self) -> Iterator[tuple[str, str]]:
        """Name and id of each row."""
        for tar in self.tars:
            yield from zip(self.items.names(tar.rows), tar.ids, strict=True)

    def rows(self) -> int:
        """How many there are in all tars."""
        return sum(len(tar.rows) for tar in self.tars)

    def samples(self, split: Split) -> int:
        """How many samples of a split have a row."""
        rows = [tar.rows for tar in self.tars if tar.split == split]
        return len(np.unique(self.items.samples_of(np.concatenate(rows)))) if rows else 0

    def _job(self, tar: PlannedTar) -> Job:
        items = tuple(self.items.take(tar.rows))
        return Job(Shard(tar.file, tar.split, tuple(tar.ids), tuple(item.name for item in items)), items)


def plan_jobs(
    items: PackItems,
    *,
    per_shard: int,
    seed: int,
    shuffle: bool,
    first_shard: int = 0,
    first_id: int = 0,
    rows: NDArray[np.bool_] | None = None,
) -> Jobs:
    """Plans the shards of items, as `plan_shards`.

    Args:
        items: What is to be packed.
        per_shard, seed, shuffle, first_shard, first_id: As of `plan_shards`.
        rows: Which rows; None for all.
    """
    ordered: dict[Split, Rows] = {}
    for split in SPLITS:
        found = items.of_split(split)
        if rows is not None:
            found = found[rows[found]]
        ordered[split] = found[order_of(_Names(items, found), seed, shuffle)]
    cuts = cut_shards({split: len(found) for split, found in ordered.items()}, per_shard, first_shard, first_id)
    return Jobs(
        items, [PlannedTar(c.file, c.split, c.ids, ordered[c.split][c.start : c.start + len(c.ids)]) for c in cuts]
    )


class _Names:
    """The names of some rows, as `order_of` reads them."""

    def __init__(self, items: PackItems, rows: Rows) -> None:
        self._items = items
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[str]:
        return self._items.names(self._rows)


def row_name(key: str, caption: int | None) -> str:
    """The name of a row: the key of the sample, and the caption where each has a row. A key has no `:`."""
    return key if caption is None else f"{key}:{caption:05d}"


def rows_digest(settings: PackSettings, split: Split, ids: Sequence[str], items: Sequence[Item | None]) -> str:
    """A digest of everything that the rows of one tar are made from; None for a row that is of no concern."""
    shared: list[object] = [FORMAT_VERSION, settings.caption_mode, settings.meta_keys, settings.dim, settings.dtype]
    shared += [split, members.extensions()]
    digest = hashlib.sha256(canonical_json(shared).encode())
    for id_, item in zip(ids, items, strict=True):
        row = [id_] if item is None else [id_, item.caption, item.sample.to_json(), *item.place.stamp]
        digest.update(canonical_json(row).encode())
    return digest.hexdigest()


def job_digest(settings: PackSettings, job: Job) -> str:
    """A digest of everything that a shard is made from."""
    return rows_digest(settings, job.split, job.shard.ids, job.items)
