"""The prepared frames of a long video in a temporary file: the memory of a worker does not grow with its length.

rows = rows_for((3600, 224, 224, 3), np.uint8)      # 542 MB: a `RowsOnDisk`; up to `HELD_BYTES` an array
rows[0:2] = image
take_rows(rows, np.array([0, 1, 2]), out=batch)
"""

from __future__ import annotations

import math
import os
from typing import Any, cast

import numpy as np
from numpy.typing import DTypeLike, NDArray

from preprocess.samples import Pixels
from preprocess.temporary import unnamed_file

HELD_BYTES = 64 << 20
"""Frames of one view of a video that are held in memory."""


class RowsOnDisk:
    """Rows of one shape and type that are written and read one at a time; as much of an array as encoding needs.

    Attributes:
        shape: Of all rows.
        dtype: Of their values.
    """

    def __init__(self, shape: tuple[int, ...], dtype: DTypeLike) -> None:
        self.shape = shape
        self.dtype = np.dtype(dtype)
        self._file = unnamed_file()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def ndim(self) -> int:
        """Number of dimensions."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return len(self) * self._row_bytes

    @property
    def _row_bytes(self) -> int:
        return math.prod(self.shape[1:]) * self.dtype.itemsize

    def __setitem__(self, rows: slice, image: NDArray[Any]) -> None:
        """Makes some rows this image.

        Raises:
            OSError: The disk is full.
        """
        data = np.ascontiguousarray(image, self.dtype).data.cast("B")
        for row in range(*rows.indices(len(self))):
            written = 0
            while written < len(data):
                written += os.pwrite(self._file.descriptor, data[written:], row * len(data) + written)

    def take(self, rows: NDArray[np.integer[Any]], out: Pixels) -> None:
        """Reads some rows, which have been written."""
        for row, target in zip(rows.ravel().tolist(), out.reshape(-1, *self.shape[1:]), strict=True):
            data = os.pread(self._file.descriptor, self._row_bytes, row * self._row_bytes)
            target[...] = np.frombuffer(data, self.dtype).reshape(self.shape[1:])

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Pixels:
        """All rows, in memory."""
        out = np.empty(self.shape, self.dtype)
        self.take(np.arange(len(self)), out)
        return out if dtype is None else out.astype(dtype)


def rows_for(shape: tuple[int, ...], dtype: DTypeLike) -> Pixels:
    """Where the rows of one view of a video go: an array, or, of a long one, `RowsOnDisk`."""
    if math.prod(shape) * np.dtype(dtype).itemsize <= HELD_BYTES:
        return np.empty(shape, dtype)
    return cast(Pixels, RowsOnDisk(shape, dtype))


def take_rows(pixels: Pixels | RowsOnDisk, rows: NDArray[np.integer[Any]], out: Pixels) -> None:
    """Copies some rows: of shape `(N,)`, or `(N, frames of a clip)`."""
    if isinstance(pixels, RowsOnDisk):
        pixels.take(rows, out)
    else:
        np.take(pixels, rows, axis=0, out=out, mode="clip")  # "raise" copies twice
