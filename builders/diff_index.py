"""The current rows of a dataset by key, as a table that fits into memory: 44 bytes per row, whatever the samples hold.

    key (digest)  content (digest)  tar  offset
    5d1c…         9b1d…             0    31232

A digest of 128 bits stands for the key and another one for everything in the row, so two datasets are compared without
holding either; a row that differs is read again from its place. Rows that later ones replace are not in the table.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from builders.hub import HF_URL, local_folder
from builders.shard_index import ShardIndex
from preprocess.console import progress
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.manifest import MANIFEST_FILE, Manifest, ShardEntry
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.tar import BLOCK, TarTriple, iter_triples
from preprocess.formats.triples import CAPTION_INDEX, parse_json
from preprocess.samples import JSON, Split
from preprocess.storage import MappedFiles
from preprocess.validation import shown

ROW = np.dtype([("key", "S16"), ("content", "S16"), ("tar", "<u4"), ("offset", "<u8")])
_VERIFY = "Run `python -m builders verify`."


class Row(NamedTuple):
    """One row of a tar, as it is.

    Attributes:
        caption: Number of the caption, where each has a row; else None.
        where: Tar and id, for errors.
    """

    id: str
    key: str
    caption: int | None
    split: Split
    meta: JSON
    triple: TarTriple
    where: str


@dataclass(frozen=True)
class Dataset:
    """A dataset to be compared, and the tars of it that are read.

    Attributes:
        address: As the user names it.
        folder: Where its tars are.
        manifest: Its manifest.
        replaced: Ids of the rows that later ones replace.
        files: The tars that are read.
    """

    address: str
    folder: Path
    manifest: Manifest
    replaced: frozenset[str]
    files: MappedFiles = field(default_factory=MappedFiles, repr=False, compare=False)

    @classmethod
    def open(cls, address: str) -> Dataset:
        """Reads the manifest; of a dataset on the Hub, nothing else is downloaded.

        Raises:
            UserError: There is no such dataset.
        """
        folder = local_folder(address, only=MANIFEST_FILE)
        manifest = read_manifest(folder / MANIFEST_FILE)
        return cls(address, folder, manifest, frozenset(replaced_rows(manifest)))

    def fetch(self, files: Sequence[str]) -> None:
        """Downloads tars of a dataset on the Hub, of the commit that the manifest is of."""
        if files and (match := HF_URL.fullmatch(self.address)):
            local_folder(f"hf://datasets/{match[1]}@{self.folder.name}", only=files)

    @cached_property
    def tars(self) -> list[Path]:
        """Its tars, in the order of the manifest."""
        return [self.folder / shard["file"] for shard in self.manifest["shards"]]

    @property
    def rows(self) -> int:
        """How many current rows it has."""
        return sum(shard["samples"] for shard in self.manifest["shards"]) - len(self.replaced)

    def read(self, row: NDArray[Any]) -> Row:
        """The row at a place of the table.

        Raises:
            DamagedFileError: Something else is there.
        """
        tar = int(row["tar"])
        shard, path = self.manifest["shards"][tar], self.tars[tar]
        triple = next(iter_triples(self.files.of(path)[int(row["offset"]) :], name=path))
        found = _row(triple, path, shard["split"])
        if _digest(_name(found).encode()) != bytes(row["key"]).ljust(16, b"\0"):  # NumPy drops zeros at the end
            raise DamagedFileError(path, triple.id, "is not the row that was read before", _VERIFY)
        return found


def read_tables(old: Dataset, new: Dataset) -> tuple[NDArray[Any], NDArray[Any]]:
    """The rows that may differ, each an array of `ROW` in the order of the tars.

    Tars that both manifests list with the same SHA-256 and split are not read, nor downloaded, except for rows that
    are replaced in one of the datasets alone.

    Raises:
        UserError: A tar is missing or damaged, or two current rows have the same key.
    """
    return _table(old, new), _table(new, old)


def _table(dataset: Dataset, other: Dataset) -> NDArray[Any]:
    wanted = list(_wanted(dataset, other))
    dataset.fetch([shard["file"] for _, shard, _ in wanted])
    parts = [np.empty(0, ROW)]
    with progress(sum(shard["bytes"] for _, shard, _ in wanted), "B", "compare", scaled=True) as bar:
        for number, shard, only in wanted:
            parts.append(np.array(list(_rows_of(dataset, number, only)), ROW))
            bar.update(shard["bytes"])
    table = np.concatenate(parts)
    if _repeats(np.sort(_halves(table)[0])) and _repeats(ordered := np.sort(table["key"])):
        twice = ordered[1:][ordered[1:] == ordered[:-1]]
        place = table[np.flatnonzero(table["key"] == twice[0])[1]]
        row = dataset.read(place)
        raise DamagedFileError(dataset.address, row.where, f"another row has the key {row.key!r} too", _VERIFY)
    return table


def _wanted(dataset: Dataset, other: Dataset) -> Iterator[tuple[int, ShardEntry, frozenset[str] | None]]:
    """Number and entry of the tars to read, and the ids of the rows that matter; None for all of them."""
    shared = {(shard["sha256"], shard["split"]) for shard in other.manifest["shards"]}
    only_here = sorted((int(id_.removeprefix("vid_")), id_) for id_ in other.replaced - dataset.replaced)
    first = 0
    for number, shard in enumerate(dataset.manifest["shards"]):
        start, first = first, first + shard["samples"]
        if (shard["sha256"], shard["split"]) not in shared:
            yield number, shard, None
        elif inside := only_here[bisect_left(only_here, (start, "")) : bisect_left(only_here, (first, ""))]:
            yield number, shard, frozenset(id_ for _, id_ in inside)


def _rows_of(dataset: Dataset, number: int, only: frozenset[str] | None) -> Iterator[tuple[bytes, bytes, int, int]]:
    """The entries of one tar."""
    shard = dataset.manifest["shards"][number]
    path = dataset.tars[number]
    try:
        index = ShardIndex(path, without=dataset.replaced)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "Copy or download the dataset again.") from None
    for i, id_ in enumerate(index.ids):
        if only is not None and id_ not in only:
            continue
        row = _row(index.triple(i), path, shard["split"])
        content = hashlib.blake2b(row.split.encode(), digest_size=16)
        for part in row.triple.parts:
            content.update(len(part).to_bytes(8, "little"))
            content.update(part)
        yield _digest(_name(row).encode()), content.digest(), number, int(index.places[i, :, 0].min()) - BLOCK


def _row(triple: TarTriple, path: Path, split: Split) -> Row:
    where = f"{path.name}: {triple.id}"
    meta = parse_json(triple.json, f"{path}: {triple.id}.json")
    key, caption = meta.get("key"), meta.get(CAPTION_INDEX)
    if not isinstance(key, str) or type(caption) not in (int, type(None)):
        problem = f"has key {shown(key)} and {CAPTION_INDEX} {shown(caption)}"
        raise DamagedFileError(path, f"{triple.id}.json", problem, _VERIFY)
    return Row(triple.id, key, caption, split, meta, triple, where)


def _name(row: Row) -> str:
    return row.key if row.caption is None else f"{row.key} {row.caption}"


def _digest(data: bytes) -> bytes:
    return hashlib.blake2b(data, digest_size=16).digest()


def common(old: NDArray[Any], new: NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the rows of the same key in both tables, in the order of the new one; each table has a key once."""
    (halves, rest), (wanted, wanted_rest) = _halves(old), _halves(new)
    order, asked = np.argsort(halves), np.argsort(wanted)
    halves, wanted = halves[order], wanted[asked]
    if _repeats(halves) or _repeats(wanted):  # different keys with the same half: expected once in 2**64 pairs
        _, mine, theirs = np.intersect1d(old["key"], new["key"], assume_unique=True, return_indices=True)
        again = np.argsort(theirs)
        return mine[again], theirs[again]
    at = np.searchsorted(halves, wanted)
    at[at == len(halves)] = 0
    there = halves[at] == wanted if len(halves) else np.zeros(len(wanted), bool)
    found = np.full(len(new), -1)
    found[asked[there]] = order[at[there]]
    theirs = np.flatnonzero(found >= 0)
    mine = found[theirs]
    same = rest[mine] == wanted_rest[theirs]
    return mine[same], theirs[same]


def _halves(table: NDArray[Any]) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """Both halves of each key as numbers, which NumPy sorts in a tenth of the time of bytes."""
    words = np.ascontiguousarray(table["key"]).view("<u8").reshape(-1, 2)
    return words[:, 0].copy(), words[:, 1].copy()


def _repeats(ordered: NDArray[Any]) -> bool:
    return bool((ordered[1:] == ordered[:-1]).any())
