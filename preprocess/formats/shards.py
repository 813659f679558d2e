"""Shards: which sample goes into which tar under which id (pure), and the writing of one tar.

The plan of a small dataset, two samples per shard:

    ds_00000.tar  train  vid_00000 … vid_00001
    ds_00001.tar  train  vid_00002
    ds_00002.tar  val    vid_00003
    ds_00003.tar  test   vid_00004 … vid_00005
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from preprocess.formats import members
from preprocess.formats.tar import end_of_archive, member
from preprocess.samples import SPLITS, ShardReport, Split
from preprocess.storage import atomic_file

PER_SHARD = 10_000
SEED = 42
SHARD_NAME = re.compile(r"ds_[0-9]{5,}\.tar")
_MIN_DIGITS = 5


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
    if per_shard < 1:
        raise ValueError(f"per_shard must be at least 1, got {per_shard}")
    ordered = {split: _ordered(names.get(split, ()), seed, shuffle) for split in SPLITS}
    chunks = [
        (split, chosen[i : i + per_shard])
        for split, chosen in ordered.items()
        for i in range(0, len(chosen), per_shard)
    ]
    id_digits = digits(first_id + sum(map(len, ordered.values())))
    file_digits = digits(first_shard + len(chunks))
    shards = []
    first = first_id
    for index, (split, chosen) in enumerate(chunks, first_shard):
        ids = tuple(row_id(first + i, id_digits) for i in range(len(chosen)))
        shards.append(Shard(f"ds_{index:0{file_digits}d}.tar", split, ids, tuple(chosen)))
        first += len(chosen)
    return shards


def _ordered(names: Iterable[str], seed: int, shuffle: bool) -> list[str]:
    """Sorted, or sorted by a hash: a shuffle that random number generators cannot change from version to version."""
    if not shuffle:
        return sorted(names)
    return sorted(names, key=lambda name: (hashlib.sha256(f"{seed}:{name}".encode()).digest(), name))


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
