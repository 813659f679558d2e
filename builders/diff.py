"""Compares two datasets: which samples were added, removed or changed, and by how much.

    difference = compare("data/CLIP-Shapes", "hf://datasets/me/CLIP-Shapes@v1")
    difference.counts                 {"added": 5, "removed": 1, "changed": 2, "same": 40}
    next(difference.changed()).lowest 0.31207, the lowest cosine of rows of the same time

Samples are identified by their keys: ids, tars and order may differ. Rows that later ones replace do not count.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from builders.diff_index import Dataset, Row, common, read_tables
from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.manifest import Manifest
from preprocess.formats.triples import Vectors, npy_vectors
from preprocess.samples import JSON, canonical_json


@dataclass(frozen=True, slots=True)
class OneSided:
    """A row of one dataset only.

    Attributes:
        caption: Number of the caption, where each has a row; else None.
        rows: Rows of its `.npy`.
    """

    key: str
    caption: int | None
    id: str
    split: str
    rows: int


@dataclass(frozen=True, slots=True)
class Change:
    """A row of both datasets, with other content.

    Attributes:
        caption: Number of the caption, where each has a row; else None.
        ids, splits, rows: Before and after; `rows` are those of its `.npy`.
        differs: What differs: `split`, members (`npy`, `txt`), keys of the `.json`.
        compared: Rows of the same timestamp in both.
        lowest, mean: Of their cosines; None if there are none, or if the vectors have other dimensions.
    """

    key: str
    caption: int | None
    ids: tuple[str, str]
    splits: tuple[str, str]
    rows: tuple[int, int]
    differs: tuple[str, ...]
    compared: int
    lowest: float | None
    mean: float | None

    @property
    def rank(self) -> tuple[float, float, str, int]:
        """Sorts the most changed first: no rows to compare, then the lowest cosine."""
        lowest, mean = (-2.0 if value is None else value for value in (self.lowest, self.mean))
        return lowest, mean, self.key, self.caption or 0


@dataclass(frozen=True, slots=True)
class Field:
    """A value that the manifests state differently; None where one has no such field."""

    field: str
    old: Any
    new: Any


@dataclass(frozen=True)
class Difference:
    """Two datasets, compared; the samples are read when they are asked for.

    Attributes:
        old, new: The datasets.
        manifest: What their manifests state differently.
        tables: Their rows that may differ; see `diff_index.read_tables`.
    """

    old: Dataset
    new: Dataset
    manifest: tuple[Field, ...]
    tables: tuple[NDArray[Any], NDArray[Any]]

    @property
    def counts(self) -> dict[str, int]:
        """Number of rows that were added, removed, changed, or are the same."""
        added, removed, changed = len(self._added), len(self._removed), len(self._changed[0])
        return {"added": added, "removed": removed, "changed": changed, "same": self.new.rows - added - changed}

    def __bool__(self) -> bool:
        """Whether there is any difference."""
        counts = self.counts
        return bool(self.manifest or counts["added"] or counts["removed"] or counts["changed"])

    def added(self) -> Iterator[OneSided]:
        """What only the new dataset has, in the order of its tars."""
        return (_sample(self.new.read(row)) for row in self._added)

    def removed(self) -> Iterator[OneSided]:
        """What only the old dataset has, in the order of its tars."""
        return (_sample(self.old.read(row)) for row in self._removed)

    def changed(self) -> Iterator[Change]:
        """What both have with other content, in the order of the tars of the new one."""
        for old, new in zip(*self._changed, strict=True):
            yield _change(self.old.read(old), self.new.read(new))

    @cached_property
    def _common(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        return common(*self.tables)

    @cached_property
    def _added(self) -> NDArray[Any]:
        return np.delete(self.tables[1], self._common[1])

    @cached_property
    def _removed(self) -> NDArray[Any]:
        return np.delete(self.tables[0], self._common[0])

    @cached_property
    def _changed(self) -> tuple[NDArray[Any], NDArray[Any]]:
        old, new = (table[places] for table, places in zip(self.tables, self._common, strict=True))
        other = old["content"] != new["content"]
        return old[other], new[other]


def compare(old: str, new: str) -> Difference:
    """Compares two datasets.

    Args:
        old: Folder of a packed dataset, or `hf://datasets/<org>/<name>[@<revision>]`.
        new: Likewise.

    Raises:
        UserError: One of them does not exist, or is damaged.
    """
    datasets = Dataset.open(old), Dataset.open(new)
    fields = tuple(_fields(*(dataset.manifest for dataset in datasets)))
    return Difference(*datasets, fields, read_tables(*datasets))


def write_difference(
    file: BinaryIO, difference: Difference, seen: Callable[[Change], object] = lambda change: None
) -> None:
    """Writes everything as one JSON object, sample by sample, a line each.

    Args:
        file: Opened for writing.
        difference: What to write.
        seen: Called with each changed sample, so that they need not be read twice.
    """
    head: JSON = {
        "old": difference.old.address,
        "new": difference.new.address,
        "counts": difference.counts,
        "manifest": [asdict(field) for field in difference.manifest],
    }
    file.write(canonical_json(head)[:-1].encode())

    def watched() -> Iterator[Change]:
        for change in difference.changed():
            seen(change)
            yield change

    lists: Mapping[str, Iterable[Any]] = {
        "changed": watched(),
        "added": difference.added(),
        "removed": difference.removed(),
    }
    for name, records in lists.items():
        file.write(f', "{name}": ['.encode())
        for i, record in enumerate(records):
            file.write(f"{',' if i else ''}\n{canonical_json(asdict(record))}".encode())
        file.write(b"]")
    file.write(b"}\n")


# --- manifests --------------------------------------------------------------------------------------------------------


def _fields(old: Manifest, new: Manifest) -> Iterator[Field]:
    """What two manifests state differently, apart from the list of tars; of generations, their number."""
    flat = [dict(_flat("", _without_tars(manifest))) for manifest in (old, new)]
    for name in dict.fromkeys([*flat[0], *flat[1]]):
        before, after = (values.get(name) for values in flat)
        if before != after:
            yield Field(name, before, after)


def _without_tars(manifest: Manifest) -> JSON:
    rest = {name: value for name, value in manifest.items() if name not in ("shards", "generations")}
    return {**rest, "generations": len(manifest.get("generations", [None]))}


def _flat(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The leaves of nested objects by their path, `encoder.model`; a list is a leaf."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(f"{name}.{key}" if name else key, inner)


# --- samples ----------------------------------------------------------------------------------------------------------


def _sample(row: Row) -> OneSided:
    return OneSided(row.key, row.caption, row.id, row.split, len(_vectors(row)))


def _change(old: Row, new: Row) -> Change:
    vectors = _vectors(old), _vectors(new)
    cosines = row_cosines(vectors[0], _times(old, vectors[0]), vectors[1], _times(new, vectors[1]))
    return Change(
        key=new.key,
        caption=new.caption,
        ids=(old.id, new.id),
        splits=(old.split, new.split),
        rows=(len(vectors[0]), len(vectors[1])),
        differs=tuple(_differing(old, new)),
        compared=len(cosines),
        lowest=round(float(cosines.min()), 6) if len(cosines) else None,
        mean=round(float(cosines.mean()), 6) if len(cosines) else None,
    )


def _differing(old: Row, new: Row) -> Iterator[str]:
    if old.split != new.split:
        yield "split"
    for member, before, after in zip(members.MEMBERS, old.triple.parts, new.triple.parts, strict=True):
        if before != after and member.extension != "json":
            yield member.extension
    if old.triple.json != new.triple.json:
        keys = [key for key in dict.fromkeys([*old.meta, *new.meta]) if not _equal(old.meta, new.meta, key)]
        yield from keys or ["json"]  # the same values in another order or notation


def _equal(old: JSON, new: JSON, key: str) -> bool:
    return key in old and key in new and json.dumps(old[key]) == json.dumps(new[key])  # 1 is not 1.0, nor true


def _vectors(row: Row) -> Vectors:
    return npy_vectors(row.triple.npy, f"{row.where}.npy")


def _times(row: Row, vectors: Vectors) -> NDArray[np.float64]:
    try:
        times = np.asarray(row.meta["timestamps"], np.float64)
        if times.shape != (len(vectors),):
            raise ValueError(f"{times.shape} for {len(vectors)} rows")
    except (KeyError, TypeError, ValueError) as error:
        problem = f"timestamps cannot be read ({error!r:.100})"
        raise DamagedFileError(f"{row.where}.json", "", problem, "Run `python -m builders verify`.") from None
    return times


def row_cosines(
    old: Vectors, old_times_s: NDArray[np.float64], new: Vectors, new_times_s: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Cosines of the rows that have the same timestamp, in order of time.

    Args:
        old, new: `(T, D)` each; of other dimensions, no rows correspond.
        old_times_s, new_times_s: Seconds, one per row, increasing.

    Returns:
        float64 `(rows in common,)`. A row of zeros has cosine 1 to another one, and 0 to any other row.
    """
    if old.shape[1] != new.shape[1]:
        return np.empty(0)
    if not np.array_equal(old_times_s, new_times_s):
        _, mine, theirs = np.intersect1d(old_times_s, new_times_s, return_indices=True)
        old, new = old[mine], new[theirs]
    a, b = old.astype(np.float64), new.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    product = lengths[0] * lengths[1]
    cosines: NDArray[np.float64] = np.divide((a * b).sum(axis=1), product, out=np.zeros(len(a)), where=product > 0)
    cosines[(lengths[0] == 0) & (lengths[1] == 0)] = 1.0
    np.clip(cosines, -1.0, 1.0, out=cosines)
    return cosines
