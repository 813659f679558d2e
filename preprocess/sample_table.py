"""Many samples in little memory: rows of an Arrow file that is mapped, made into `Sample`s when they are read.

    key        split  media                 line
    video7010  0      videos/video7010.mp4  {"key": "video7010", "split": "train", "media": …}, as in samples.jsonl

The file has lost its name by the time it is read, so that nothing is left of it when the process ends.
"""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from preprocess.batched import batched
from preprocess.errors import UserError
from preprocess.samples import SPLITS, Sample, Split, canonical_json

AS_OBJECTS = 100_000
"""Samples up to which a list of objects is faster than a table, and small enough."""

_WRITTEN = 65_536  # rows of a batch of the file
_READ = 16_384  # rows that are read at a time


def keys_of(samples: Sequence[Sample]) -> Iterator[tuple[str, Split]]:
    """Key and split of each sample; of a table without making `Sample`s."""
    if isinstance(samples, SampleTable):
        return samples.keys()
    return ((sample.key, sample.split) for sample in samples)


def media_of(samples: Sequence[Sample]) -> Iterator[tuple[str, str]]:
    """Key and media of each sample; of a table without making `Sample`s."""
    if isinstance(samples, SampleTable):
        return samples.media()
    return ((sample.key, sample.media) for sample in samples)


def lines_of(samples: Sequence[Sample]) -> Iterator[str]:
    """The line of `samples.jsonl` of each sample; of a table without making `Sample`s."""
    if isinstance(samples, SampleTable):
        return samples.lines()
    return (canonical_json(sample.to_json()) for sample in samples)


def chosen(samples: Sequence[Sample], which: NDArray[np.bool_]) -> Sequence[Sample]:
    """The samples for which `which` is true."""
    if isinstance(samples, SampleTable):
        return samples if which.all() else samples[np.flatnonzero(which)]
    return list(itertools.compress(samples, which))


def taken(samples: Sequence[Sample], numbers: NDArray[np.integer[Any]]) -> Sequence[Sample]:
    """The samples of these numbers, in this order."""
    if isinstance(samples, SampleTable):
        return samples[numbers]
    return [samples[number] for number in numbers.tolist()]


@dataclass(frozen=True, slots=True)
class MappedColumns:
    """The batches of a mapped file.

    Rows are gathered batch by batch: Arrow itself would first join all of a column, which then would be in memory.

    Attributes:
        batches: Arrow record batches.
        starts: Number of the first row of each.
    """

    batches: Sequence[Any]
    starts: NDArray[np.int64]

    @classmethod
    def mapped(cls, path: str) -> MappedColumns:
        """Maps an Arrow file, which may lose its name then."""
        import pyarrow as pa

        batches = pa.ipc.open_file(pa.memory_map(path)).read_all().to_batches()
        lengths = [len(batch) for batch in batches]
        return cls(batches, np.cumsum([0, *lengths[:-1]], dtype=np.int64))

    def __len__(self) -> int:
        return int(self.starts[-1]) + len(self.batches[-1]) if self.batches else 0

    def read(self, rows: range | NDArray[np.integer[Any]], names: Sequence[str]) -> Iterator[list[NDArray[Any]]]:
        """Values of some columns in the order of the rows, a block at a time; as arrays of objects."""
        import pyarrow as pa

        for first in range(0, len(rows), _READ):
            block = np.asarray(rows[first : first + _READ], np.int64)
            batch_of = np.searchsorted(self.starts, block, side="right") - 1
            by_batch = np.argsort(batch_of, kind="stable")
            found = [np.empty(len(block), object) for _ in names]
            for places in np.split(by_batch, np.flatnonzero(np.diff(batch_of[by_batch])) + 1):
                number = batch_of[places[0]]
                inside = pa.array(block[places] - self.starts[number])
                for values, name in zip(found, names, strict=True):
                    values[places] = self.batches[number].column(name).take(inside).to_pylist()
            yield found


class SampleTable(Sequence[Sample]):
    """Samples as rows of a mapped file; slices are views.

    Args:
        columns: Those of `_schema`.
        rows: Which of the rows, in which order.
    """

    def __init__(self, columns: MappedColumns, rows: range | NDArray[np.integer[Any]]) -> None:
        self._columns = columns
        self._rows = rows

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> SampleTable:
        """Writes samples to a temporary file, a batch at a time, and sorts them by split and key.

        Raises:
            UserError: A key that occurs twice.
        """
        import pyarrow as pa

        with tempfile.NamedTemporaryFile(prefix="samples-", suffix=".arrow") as file:
            with pa.ipc.new_file(file, _schema()) as writer:
                for block in batched(samples, _WRITTEN):
                    writer.write_batch(_batch(block))
            file.flush()
            columns = MappedColumns.mapped(file.name)
        return cls(columns, sorted_rows(columns))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice | NDArray[np.integer[Any]]) -> SampleTable: ...

    def __getitem__(self, index: int | slice | NDArray[np.integer[Any]]) -> Sample | SampleTable:
        if isinstance(index, slice):
            return SampleTable(self._columns, self._rows[index])
        if isinstance(index, np.ndarray):
            if not isinstance(self._rows, range):
                return SampleTable(self._columns, self._rows[index])
            return SampleTable(self._columns, index * self._rows.step + self._rows.start)
        row = int(self._rows[index])
        return next(iter(SampleTable(self._columns, range(row, row + 1))))

    def __iter__(self) -> Iterator[Sample]:
        return (Sample.from_json(json.loads(line)) for line in self.lines())

    def lines(self) -> Iterator[str]:
        """The line of `samples.jsonl` of each sample."""
        for (lines,) in self._columns.read(self._rows, ["line"]):
            yield from lines

    def keys(self) -> Iterator[tuple[str, Split]]:
        """Key and split of each sample."""
        for keys, splits in self._columns.read(self._rows, ["key", "split"]):
            for key, split in zip(keys, splits, strict=True):
                yield key, SPLITS[split]

    def media(self) -> Iterator[tuple[str, str]]:
        """Key and media of each sample."""
        for keys, media in self._columns.read(self._rows, ["key", "media"]):
            yield from zip(keys, media, strict=True)


def sorted_rows(columns: MappedColumns) -> range | NDArray[np.integer[Any]]:
    """The rows by split and key; a range if they lie in that order.

    Raises:
        UserError: A key that occurs twice.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    count = len(columns)
    keys = pa.chunked_array([batch.column("key") for batch in columns.batches])
    order = pc.sort_indices(keys).to_numpy().astype(np.uint32 if count < 1 << 32 else np.uint64)
    last = None
    for (block,) in columns.read(order, ["key"]):
        for key in block:
            if key == last:
                rows = np.flatnonzero(np.concatenate([pc.equal(chunk, key).to_numpy(False) for chunk in keys.chunks]))
                (media,) = next(columns.read(rows[:3], ["media"]))
                of = f"of {', '.join(media)}{' and others' if len(rows) > 3 else ''}"
                raise UserError(f"the key {key!r} occurs {len(rows)} times: {of}", "Give every sample a unique key.")
            last = key
    splits = np.concatenate([batch.column("split").to_numpy() for batch in columns.batches])[order]
    rows = np.concatenate([order[splits == number] for number in range(len(SPLITS))])
    blocks = ((first, rows[first : first + _READ]) for first in range(0, count, _READ))
    as_they_lie = all(np.array_equal(block, np.arange(first, first + len(block))) for first, block in blocks)
    return range(count) if as_they_lie else rows


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema([("key", pa.string()), ("split", pa.int8()), ("media", pa.string()), ("line", pa.string())])


def _batch(samples: Sequence[Sample]) -> Any:
    import pyarrow as pa

    columns = (
        [sample.key for sample in samples],
        [SPLITS.index(sample.split) for sample in samples],
        [sample.media for sample in samples],
        [canonical_json(sample.to_json()) for sample in samples],
    )
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _schema(), strict=True)], schema=_schema())
