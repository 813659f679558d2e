"""Reading the bytes of single cells of a Parquet file, page by page.

The cells of a column come in order most of the time: consecutive samples are consecutive rows. So the place behind the
last cell is kept, one per thread, and the next cell is read from there; only a row further up begins its row group
again. A page and a dictionary are the least that Parquet can read: they hold one row group of the column at most, which
`datasets` writes with up to 100 MB.
"""

from __future__ import annotations

import bisect
import itertools
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocess.storage.listing import fingerprint

_BUFFER = 1 << 20  # bytes of a column that are read ahead
_kept = threading.local()


def read_cell(filesystem: Any, path: str | Path, row: int, column: str) -> bytes | None:
    """The bytes in one cell of a Parquet file.

    Args:
        filesystem: The fsspec file system of a remote file; None for a local path.
        path: The file.
        row: Counted from 0 over the whole file.
        column: Of bytes, or of structs with a field `bytes`, as `datasets` stores media.

    Returns:
        None where the cell is empty.

    Raises:
        IndexError: There is no such row.
        KeyError: There is no such column, or it has no bytes.
        pyarrow.ArrowException: The file is damaged.
    """
    stamp = fingerprint(path) if isinstance(path, Path) else None
    key = (str(path), column, stamp)
    reader = getattr(_kept, "reader", None)
    if reader is None or reader.key != key:
        close_cells()
        reader = _kept.reader = _Column(key, filesystem.open(path, "rb") if filesystem else open(path, "rb"), column)  # noqa: PTH123, SIM115
    try:
        found: bytes | None = reader.read(row)
    except BaseException:
        close_cells()
        raise
    return found


def close_cells() -> None:
    """Closes the file that this thread has open between two calls of `read_cell`."""
    reader = getattr(_kept, "reader", None)
    _kept.reader = None
    if reader is not None:
        reader.close()


class _Column:
    """A column of an open Parquet file, and the place in it behind the last cell that was read."""

    def __init__(self, key: object, stream: Any, column: str) -> None:
        import pyarrow.parquet as pq

        self.key = key
        self._stream = stream
        try:
            # Without pre_buffer and with a buffer, the pages of a row group are read one after the other.
            self._file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=_BUFFER)
            leaves = {self._file.schema.column(i).path for i in range(len(self._file.schema))}
            self._leaf = next((leaf for leaf in (f"{column}.bytes", column) if leaf in leaves), None)
            if self._leaf is None:
                raise KeyError(f"no bytes in a column {column!r}")
            sizes = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        except BaseException:
            stream.close()
            raise
        self._firsts = list(itertools.accumulate(sizes, initial=0))
        self._rows: Iterator[Any] = iter(())
        self._group = self._next = -1

    def read(self, row: int) -> bytes | None:
        """The bytes of one row."""
        if not 0 <= row < self._firsts[-1]:
            raise IndexError(f"row {row} of {self._firsts[-1]}")
        group = bisect.bisect_right(self._firsts, row) - 1
        if group != self._group or row < self._next:
            self._rows = self._file.iter_batches(batch_size=1, row_groups=[group], columns=[self._leaf])
            self._group, self._next = group, self._firsts[group]
        while self._next < row:
            next(self._rows)
            self._next += 1
        value = next(self._rows).column(0)[0].as_py()
        self._next += 1
        if isinstance(value, dict):
            value = value["bytes"]
        if value is not None and not isinstance(value, bytes):
            raise KeyError(f"a {type(value).__name__} in row {row}, no bytes")
        return value

    def close(self) -> None:
        """Closes the file."""
        self._file.close()
        self._stream.close()
