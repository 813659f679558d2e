"""Decoded frames from worker processes to the one that encodes: in shared memory as far as there is room.

Where there is none (Docker gives /dev/shm 64 MB), where it is full, or where the system has no such folder, the frames
go through the worker's pipe instead, which holds the worker back until they are taken. So what is in flight is bounded
by `limit` bytes, and one clip per worker.

    /dev/shm/ved-tmp-x3k9_a2f/    one folder per run; see `preprocess.temporary`
    ├── .lock                     held while a worker measures
    └── video7010.0               pixels of one clip, until they are taken
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess import temporary
from preprocess.samples import Pixels

LIMIT = 1 << 30
"""Most bytes in flight; a machine with less free shared memory gets half of what is free."""

_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class SentPixels:
    """Pixels on their way: in a file of shared memory, or carried along (`pixels`)."""

    shape: tuple[int, ...]
    dtype: str
    file: Path | None
    pixels: Pixels | None

    @property
    def nbytes(self) -> int:
        """Bytes of memory that the pixels take while they wait."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def take(self) -> Pixels:
        """The pixels, uint8 or float32 `(T, H, W, 3)`; frees the shared memory. To be called once."""
        if self.file is None:
            assert self.pixels is not None
            return self.pixels
        pixels = np.fromfile(self.file, np.dtype(self.dtype)).reshape(self.shape)
        self.file.unlink()
        return pixels


@dataclass(frozen=True, slots=True)
class FrameChannel:
    """The way from worker processes to this one; pickles.

    Attributes:
        folder: In shared memory; None where all pixels go through pipes.
        limit: Bytes that may be in `folder` at a time.
    """

    folder: Path | None
    limit: int

    def send(self, key: str, pixels: Pixels) -> SentPixels:
        """Puts pixels into shared memory if there is room, else into the message.

        Args:
            key: Unique in the run; a file that a failed worker left under this key is replaced.
            pixels: uint8 or float32 `(T, H, W, 3)`.
        """
        pixels = np.asarray(pixels)  # also of a long video whose rows are in a file
        file = None if self.folder is None else self._reserve(key, pixels.nbytes)
        if file is not None:
            try:
                # write() says that memory is short; a store into mapped pages would end the process with SIGBUS.
                with file.open("r+b") as stream:
                    stream.write(np.ascontiguousarray(pixels).data)
                return SentPixels(pixels.shape, pixels.dtype.name, file, None)
            except OSError:
                file.unlink(missing_ok=True)
        return SentPixels(pixels.shape, pixels.dtype.name, None, pixels)

    def _reserve(self, key: str, size: int) -> Path | None:
        """A file of this size that counts from now on, or None where the limit or the free space is too small."""
        assert self.folder is not None
        file = self.folder / key
        try:
            with (self.folder / _LOCK).open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # one worker at a time measures and reserves
                file.unlink(missing_ok=True)
                in_flight = _bytes_in(self.folder)
                if size == 0 or in_flight + size > self.limit or size > _free(self.folder):
                    return None
                with file.open("xb") as stream:
                    stream.truncate(size)
        except OSError:
            file.unlink(missing_ok=True)
            return None
        return file


@contextlib.contextmanager
def open_channel(root: Path = temporary.SHARED_MEMORY, limit: int = LIMIT) -> Iterator[FrameChannel]:
    """Makes the folder of a run in shared memory, and removes it with all that is in it when the block ends.

    Args:
        root: Where shared memory is; a folder that does not exist or is not writable means pipes alone.
        limit: Most bytes in flight in shared memory.
    """
    with contextlib.ExitStack() as until_end:
        try:
            folder = until_end.enter_context(temporary.own_folder(root))
            channel = FrameChannel(folder, min(limit, _free(folder) // 2))
        except OSError:
            channel = FrameChannel(None, 0)
        yield channel


def _bytes_in(folder: Path) -> int:
    total = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # taken meanwhile
                total += entry.stat().st_size
    return total


def _free(folder: Path) -> int:
    """Bytes that can still be written below `folder`."""
    space = os.statvfs(folder)
    return space.f_bavail * space.f_frsize
