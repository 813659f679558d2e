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
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import UserError
from preprocess.samples import SPLITS, Sample, Split, canonical_json

_BLOCK = 16_384  # rows that are written, or read, at a time


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


def chosen(samples: Sequence[Sample], which: NDArray[np.bool_]) -> Sequence[Sample]:
    """The samples for which `which` is true."""
    if isinstance(samples, SampleTable):
        return samples[np.flatnonzero(which)]
    return list(itertools.compress(samples, which))


class SampleTable(Sequence[Sample]):
    """Samples as rows of an Arrow table; slices are views.

    Args:
        table: With the columns of `_schema`.
        rows: Which of its rows, in which order.
    """

    def __init__(self, table: Any, rows: range | NDArray[np.integer[Any]]) -> None:
        self._table = table
        self._rows = rows

    @classmethod
    def of(cls, samples: Iterable[Sample]) -> SampleTable:
        """Writes samples to a temporary file, a block at a time, and sorts them by split and key.

        Raises:
            UserError: A key that occurs twice.
        """
        import pyarrow as pa

        with tempfile.NamedTemporaryFile(prefix="samples-", suffix=".arrow") as file:
            with pa.ipc.new_file(file, _schema()) as writer:
                stream = iter(samples)
                while block := list(itertools.islice(stream, _BLOCK)):
                    writer.write_batch(_batch(block))
            file.flush()
            table = pa.ipc.open_file(pa.memory_map(file.name)).read_all()
        return cls(table, _sorted_rows(table))

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice | NDArray[np.integer[Any]]) -> SampleTable: ...

    def __getitem__(self, index: int | slice | NDArray[np.integer[Any]]) -> Sample | SampleTable:
        if isinstance(index, slice):
            return SampleTable(self._table, self._rows[index])
        if isinstance(index, np.ndarray):
            if not isinstance(self._rows, range):
                return SampleTable(self._table, self._rows[index])
            return SampleTable(self._table, index * self._rows.step + self._rows.start)
        row = int(self._rows[index])
        return next(iter(SampleTable(self._table, range(row, row + 1))))

    def __iter__(self) -> Iterator[Sample]:
        for (lines,) in self._blocks(["line"]):
            for line in lines:
                yield Sample.from_json(json.loads(line))

    def keys(self) -> Iterator[tuple[str, Split]]:
        """Key and split of each sample."""
        for keys, splits in self._blocks(["key", "split"]):
            for key, split in zip(keys, splits, strict=True):
                yield key, SPLITS[split]

    def media(self) -> Iterator[tuple[str, str]]:
        """Key and media of each sample."""
        for keys, media in self._blocks(["key", "media"]):
            yield from zip(keys, media, strict=True)

    def _blocks(self, names: Sequence[str]) -> Iterator[list[list[Any]]]:
        """Values of some columns, a block of rows at a time."""
        table = self._table.select(names)
        for first in range(0, len(self._rows), _BLOCK):
            rows = self._rows[first : first + _BLOCK]
            if isinstance(rows, range) and rows.step == 1:
                found = table.slice(rows.start, len(rows))
            else:
                found = table.take(np.asarray(rows))
            yield [column.to_pylist() for column in found.columns]


def _sorted_rows(table: Any) -> range | NDArray[np.integer[Any]]:
    """The rows by split and key; a range if they lie in that order."""
    import pyarrow.compute as pc

    count = len(table)
    small = np.uint32 if count < 1 << 32 else np.uint64
    order = pc.sort_indices(table.select(["key"]), [("key", "ascending")]).to_numpy().astype(small)
    for first in range(0, count, _BLOCK):
        keys = table["key"].take(order[max(0, first - 1) : first + _BLOCK]).combine_chunks()
        place = pc.index(pc.equal(keys[1:], keys[:-1]), True).as_py()
        if place >= 0:
            key = keys[place].as_py()
            times = pc.sum(pc.equal(table["key"], key)).as_py()
            raise UserError(f"the key {key!r} occurs {times} times", "Give every sample a unique key.")
    splits = table["split"].to_numpy()[order]
    rows = np.concatenate([order[splits == number] for number in range(len(SPLITS))])
    blocks = ((first, rows[first : first + _BLOCK]) for first in range(0, count, _BLOCK))
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
