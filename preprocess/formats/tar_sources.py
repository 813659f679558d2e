"""Where the bytes of a tar come from: a buffer, such as a mapped file, or a stream that is read once, forwards."""

from __future__ import annotations

import mmap
from collections.abc import Callable
from typing import BinaryIO

_CHUNK = 16 << 20  # a stream is never asked for more at once, whatever a header claims

Take = Callable[[int], bytes | memoryview]
"""The next so many bytes, or what is left of them."""

Skip = Callable[[int], bool]
"""Passes over so many bytes; whether they were there."""


def from_buffer(buffer: bytes | bytearray | memoryview | mmap.mmap) -> tuple[Take, Skip]:
    """Reads a buffer: what is taken are views of it."""
    view = memoryview(buffer)
    position = 0

    def take(n: int) -> memoryview:
        nonlocal position
        start = position
        position = start + n
        return view[start:position]

    return take, lambda n: len(take(n)) == n


def from_stream(stream: BinaryIO) -> tuple[Take, Skip]:
    """Reads a stream; one that can seek does not read what is skipped."""

    def take(n: int) -> bytes:
        data = stream.read(min(n, _CHUNK))
        if len(data) == n or not data:
            return data
        pieces = [data]  # a pipe or a socket gives what it has
        missing = n - len(data)
        while missing and (data := stream.read(min(missing, _CHUNK))):
            pieces.append(data)
            missing -= len(data)
        return b"".join(pieces)

    def skip(n: int) -> bool:
        if end is None:
            while n and (data := stream.read(min(n, _CHUNK))):
                n -= len(data)
            return n == 0
        return stream.seek(n, 1) <= end

    end = _length(stream)
    return take, skip


def _length(stream: BinaryIO) -> int | None:
    """The position behind the last byte of a stream that can seek; a stream may say that it can, and refuse."""
    try:
        if not stream.seekable():
            return None
        here = stream.tell()
        end = stream.seek(0, 2)
        stream.seek(here)
    except (AttributeError, OSError, ValueError):
        return None
    return end
