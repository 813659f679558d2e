"""The places of many triples in little memory: the indexes of all parts as rows of an Arrow file that is mapped.

    key        part  offset  sizes             sha256
    video7010  0     1536    [10368, 25, 402]  9b1d…        a `PartEntry`; `part` is the number of its file

The rows are joined with sorted samples by sorting them, too; no dict of keys is held.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.batched import batched
from preprocess.formats import parts
from preprocess.formats.parts import PartEntry
from preprocess.formats.places import NONE
from preprocess.sample_table import MappedColumns, SampleTable, keys_of
from preprocess.samples import SPLITS, Split

_WRITTEN = 65_536  # rows of a batch of the file


@dataclass(frozen=True, slots=True)
class PartTable:
    """The entries of all parts below a processed folder.

    Attributes:
        columns: Of the mapped file; the rows of a split follow each other, in the order of `SPLITS`.
        names: File names of the parts.
        counts: Rows of each split, in the order of `SPLITS`.
    """

    columns: MappedColumns
    names: Sequence[str]
    counts: Sequence[int]

    @classmethod
    def of(cls, folder: Path, names: dict[Split, list[str]]) -> PartTable:
        """Reads the indexes of the parts of each split into a temporary file.

        Raises:
            DamagedFileError: A part is not valid.
        """
        import pyarrow as pa

        every = [name for split in SPLITS for name in names[split]]
        numbers = itertools.count()
        counts = []
        with tempfile.NamedTemporaryFile(prefix="parts-", suffix=".arrow") as file:
            with pa.ipc.new_file(file, _schema()) as writer:
                for split in SPLITS:
                    rows = _rows(folder / split, names[split], numbers)
                    count = 0
                    for block in batched(rows, _WRITTEN):
                        count += len(block)
                        writer.write_batch(_batch(block))
                    counts.append(count)
            file.flush()
            return cls(MappedColumns.mapped(file.name), every, counts)

    def __len__(self) -> int:
        return len(self.columns)

    def read(self, rows: NDArray[np.integer[Any]]) -> list[PartEntry]:
        """The entries of some rows, in the order given."""
        blocks = self.columns.read(rows, ["part", "offset", "sizes", "sha256"])
        return [
            PartEntry(self.names[part], offset, tuple(sizes), sha256)
            for block in blocks
            for part, offset, sizes, sha256 in zip(*block, strict=True)
        ]

    def rows_of(self, samples: SampleTable) -> NDArray[np.integer[Any]]:
        """For each sample the row of its triple, or `NONE`.

        A triple may be in two parts, with the same bytes; its row is the last then.

        Args:
            samples: Sorted by split and key, as a table of a recipe or of `samples.jsonl` is.
        """
        found: NDArray[np.integer[Any]] = np.full(len(samples), NONE, np.int32 if len(self) < 1 << 31 else np.int64)
        wanted = ((SPLITS.index(split), key) for key, split in keys_of(samples))
        number, sample = 0, next(wanted, None)
        for place, row in self._sorted():
            while sample is not None and sample < place:
                number, sample = number + 1, next(wanted, None)
            if sample == place:
                found[number] = row
        return found

    def _sorted(self) -> Iterator[tuple[tuple[int, str], int]]:
        """Number of the split and key, and the row, of each entry, sorted."""
        import pyarrow as pa
        import pyarrow.compute as pc

        batches, first = list(self.columns.batches), 0
        for split, count in enumerate(self.counts):
            held: list[Any] = []
            while sum(map(len, held)) < count:  # batches of a split hold no row of another
                held.append(batches.pop(0))
            order = pc.sort_indices(pa.chunked_array([batch.column("key") for batch in held], pa.string())).to_numpy()
            rows = order.astype(np.uint32 if len(self) < 1 << 32 else np.uint64)
            del order
            rows += rows.dtype.type(first)  # in place: there may be a hundred million
            done = 0
            for (keys,) in self.columns.read(rows, ["key"]):
                for key, row in zip(keys, rows[done : done + len(keys)].tolist(), strict=True):
                    yield (split, key), row
                done += len(keys)
            first += count


Row = tuple[str, int, int, tuple[int, ...], str]


def _rows(folder: Path, names: Sequence[str], numbers: Iterator[int]) -> Iterator[Row]:
    """The rows of the parts of a split; each part takes the next number."""
    for name, entries in zip(names, parts.indexes(folder, names), strict=True):
        number = next(numbers)
        for key, entry in entries:
            assert entry.part == name, "the indexes come in the order of the names"
            yield key, number, entry.offset, entry.sizes, entry.sha256


def _schema() -> Any:
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.string()),
            ("part", pa.int32()),
            ("offset", pa.int64()),
            ("sizes", pa.list_(pa.int64())),
            ("sha256", pa.string()),
        ]
    )


def _batch(rows: Iterable[Row]) -> Any:
    import pyarrow as pa

    columns = zip(*rows, strict=True)
    return pa.record_batch([pa.array(c, f.type) for c, f in zip(columns, _schema(), strict=True)], schema=_schema())
