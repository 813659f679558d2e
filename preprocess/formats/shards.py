"""Shards: which sample goes into which tar under which id (pure), and the writing of one tar.

The plan of a small dataset, two samples per shard:

    ds_00000.tar  train  vid_00000 … vid_00001
    ds_00001.tar  train  vid_00002
    ds_00002.tar  val    vid_00003
    ds_00003.tar  test   vid_00004 … vid_00005
"""

from __future__ import annotations

import hashlib
import itertools
import operator
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.formats import members
from preprocess.formats.tar import end_of_archive, member
from preprocess.samples import SPLITS, ShardReport, Split
from preprocess.storage import atomic_file

PER_SHARD = 10_000
SEED = 42
SHARD_NAME = re.compile(r"ds_[0-9]{5,}\.tar")
_MIN_DIGITS = 5
_HEAD = 8  # bytes of a hash by which names are sorted first
_AT_ONCE = 1 << 20  # numbers that are compared at a time


@dataclass(frozen=True, slots=True)
class Shard:
    """One tar to be.

    Attributes:
        file: Name of the tar, e.g. `ds_00000.tar`.
        split: The one split it holds.
        ids: Names of its members without extension, e.g. `vid_00000`, unique over the dataset.
        names: What was planned, one per id, in the order of the ids.
    """

    file: str
    split: Split
    ids: tuple[str, ...]
    names: tuple[str, ...]


class TripleBytes(NamedTuple):
    """The content of one triple as it goes into a tar.

    Attributes:
        n_frames: Rows of `npy`.
        more: The members that `preprocess.formats.members.MEMBERS` has besides these three, in its order.
    """

    npy: bytes
    txt: bytes
    json: bytes
    n_frames: int
    more: tuple[bytes, ...] = ()

    @property
    def contents(self) -> tuple[bytes, ...]:
        """The bytes of every member, in the order of a shard."""
        return (self.npy, self.txt, self.json, *self.more)


def plan_shards(
    names: Mapping[Split, Iterable[str]],
    *,
    per_shard: int = PER_SHARD,
    seed: int = SEED,
    shuffle: bool = True,
    first_shard: int = 0,
    first_id: int = 0,
) -> list[Shard]:
    """Cuts the samples of each split into shards and numbers them.

    The plan depends on nothing but its arguments: not on the order of the names, the machine or the version of Python.

    Args:
        names: Per split the keys of its samples (any unique strings).
        per_shard: Samples per tar; the last tar of a split may hold fewer.
        seed: Seed of the shuffle.
        shuffle: Whether to mix the samples of a split, else they are in order of their names.
        first_shard: Number of the first tar: how many there are already.
        first_id: Number of the first id, likewise.

    Returns:
        The shards of train, val, test, in this order; an empty split has none.

    Raises:
        ValueError: `per_shard` is below 1.
    """
    listed = {split: list(names.get(split, ())) for split in SPLITS}
    cuts = cut_shards({s: len(found) for s, found in listed.items()}, per_shard, first_shard, first_id)
    order = {split: order_of(found, seed, shuffle) for split, found in listed.items()}
    return [
        Shard(
            cut.file,
            cut.split,
            tuple(cut.ids),
            tuple(listed[cut.split][place] for place in order[cut.split][cut.start : cut.start + len(cut.ids)]),
        )
        for cut in cuts
    ]


class Names(Protocol):
    """Names that may be made when they are read, as often as they are."""

    def __len__(self) -> int:
        """How many there are."""
        ...

    def __iter__(self) -> Iterator[str]:
        """All of them, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Ids:
    """The names of members of consecutive rows, made when they are read."""

    numbers: range
    width: int

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[str]:
        return (row_id(number, self.width) for number in self.numbers)


class Cut(NamedTuple):
    """One tar to be: its name, its split, the place of its first row in the order of the split, the ids of its rows."""

    file: str
    split: Split
    start: int
    ids: Ids


def cut_shards(counts: Mapping[Split, int], per_shard: int, first_shard: int = 0, first_id: int = 0) -> list[Cut]:
    """Cuts as many rows of each split into tars, as `plan_shards` does.

    Raises:
        ValueError: `per_shard` is below 1.
    """
    if per_shard < 1:
        raise ValueError(f"per_shard must be at least 1, got {per_shard}")
    pieces = [(split, start) for split in SPLITS for start in range(0, counts[split], per_shard)]
    id_digits = digits(first_id + sum(counts.values()))
    file_digits = digits(first_shard + len(pieces))
    cuts = []
    for index, (split, start) in enumerate(pieces, first_shard):
        numbers = range(first_id, first_id + min(per_shard, counts[split] - start))
        cuts.append(Cut(f"ds_{index:0{file_digits}d}.tar", split, start, Ids(numbers, id_digits)))
        first_id = numbers.stop
    return cuts


def order_of(names: Names, seed: int, shuffle: bool) -> NDArray[np.unsignedinteger[Any]]:
    """The places of names when they are sorted, or sorted by a hash.

    The hash makes a shuffle that random number generators cannot change from version to version. Of the names, which
    are unique, as few as possible are held: there may be a hundred million.
    """
    kind = np.uint32 if len(names) < 1 << 32 else np.uint64
    if not shuffle:
        if all(one < following for one, following in itertools.pairwise(names)):
            return np.arange(len(names), dtype=kind)
        held = list(names)
        return np.array(sorted(range(len(held)), key=held.__getitem__), kind)

    def digest(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:{name}".encode()).digest()

    # Beginning of the hash and place in one number: sorted in place, which takes half the memory of argsort.
    width = len(names).bit_length()
    beginnings = (int.from_bytes(digest(name)[:_HEAD]) >> width << width for name in names)
    sorted_places = np.fromiter(map(operator.or_, beginnings, itertools.count()), np.uint64, len(names))
    sorted_places.sort()
    equal = _equal_beginnings(sorted_places, width)  # their runs go by the whole hash
    sorted_places &= np.uint64((1 << width) - 1)
    order: NDArray[np.unsignedinteger[Any]] = sorted_places.astype(kind)
    runs = np.split(equal, np.flatnonzero(np.diff(equal) > 1) + 1) if len(equal) else []
    tied = set(order[np.union1d(equal, equal + 1)].tolist())
    named = {place: name for place, name in enumerate(names) if place in tied} if tied else {}
    for run in runs:
        first, end = int(run[0]), int(run[-1]) + 2
        order[first:end] = sorted(order[first:end].tolist(), key=lambda place: (digest(named[place]), named[place]))
    return order


def _equal_beginnings(values: NDArray[np.uint64], width: int) -> NDArray[np.int64]:
    """The places of sorted numbers that differ from the next in the lowest `width` bits only."""
    found = [np.empty(0, np.int64)]
    for first in range(0, len(values) - 1, _AT_ONCE):
        block = values[first : first + _AT_ONCE + 1]
        found.append(np.flatnonzero((block[1:] ^ block[:-1]) < np.uint64(1 << width)) + first)
    return np.concatenate(found)


def row_id(number: int, width: int) -> str:
    """The name of the members of a row without extension, e.g. `vid_00000`."""
    return f"vid_{number:0{width}d}"


def digits(count: int) -> int:
    """Width of the largest of `count` numbers from 0, at least 5."""
    return max(_MIN_DIGITS, len(str(max(count - 1, 0))))


def write_shard(folder: Path, shard: Shard, parts: Iterable[TripleBytes]) -> ShardReport:
    """Writes one tar into `folder`; it appears complete, and its SHA-256 is computed on the way.

    Args:
        folder: Where `shard.file` goes.
        shard: Name, split and ids.
        parts: The triples, one per id, in order; read one at a time.

    Returns:
        What is in the tar.

    Raises:
        ValueError: The number of parts is not the number of ids.
    """
    digest = hashlib.sha256()
    size = frames = 0
    extensions = members.extensions()
    with atomic_file(folder / shard.file) as file:

        def write(data: bytes) -> None:
            nonlocal size
            file.write(data)
            digest.update(data)
            size += len(data)

        for id_, part in zip(shard.ids, parts, strict=True):
            for extension, data in zip(extensions, part.contents, strict=True):
                write(member(f"{id_}.{extension}", data))
            frames += part.n_frames
        write(end_of_archive(size))
    return ShardReport(shard.file, shard.split, len(shard.ids), frames, size, digest.hexdigest())
