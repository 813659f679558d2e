"""A log of lines that a run writes as it goes on, on this machine or in an object store."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from preprocess.storage import atomic_file, is_remote, named_errors, reading, write_lines_if_changed
from preprocess.temporary import unnamed_file

_BLOCK = 1 << 20
_LINE = 512  # bytes that are read at first where a line begins
_LINES = 1 << 16  # bytes that are read where the line before was asked for, too


class AppendLog:
    """A file of lines that grows as a run goes on.

    A local line is in the file at once. Objects cannot be appended to, so there the lines are collected in a temporary
    file of this machine, and the object is uploaded again: not more often than every `INTERVAL_S`, nor for more than
    1 / `PAUSE` of the time, and by `flush`. A run that is killed forgets the lines since, and does again what they were
    about.

    Args:
        path: The file, which need not exist; None for a temporary file alone, without a name.
    """

    INTERVAL_S = 10.0
    PAUSE = 20.0
    """An upload is followed by a pause of so many times what it took."""

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._copy = None if path is not None and not is_remote(path) else _Copy()
        self._half_line_dropped = False
        self._pending = False
        self._uploaded, self._took = time.monotonic(), 0.0
        if path is not None and self._copy is not None:
            self._copy.fill(_content(path))

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Place and content of each line; half a line at the end, which a killed run left, is none."""
        place, rest = 0, b""
        with self._reading() as file:
            for block in _blocks(file):
                *whole, rest = (rest + block).split(b"\n")
                for line in whole:
                    yield place, line + b"\n"
                    place += len(line) + 1

    def read(self, places: Sequence[int]) -> list[bytes]:
        """The lines that begin at some places."""
        with self._reading() as file:
            return list(_lines_at(file, places))

    def append(self, line: bytes) -> int:
        """Adds a line, which ends in a newline. Returns its place."""
        if self._path is not None and self._copy is None:
            with named_errors(self._path), self._path.open("a+b", buffering=0) as stream:
                if not self._half_line_dropped:
                    _drop_half_line(stream)
                    self._half_line_dropped = True
                return _write_whole(stream, line)
        assert self._copy is not None
        place = self._copy.append(line)
        self._pending = True
        if time.monotonic() - self._uploaded >= max(self.INTERVAL_S, self.PAUSE * self._took):
            self.flush()
        return place

    def replace(self, lines: Callable[[], Iterable[bytes]]) -> None:
        """Makes these lines the whole file; the function is called again where the file does not have them yet."""
        if self._path is None or self._copy is None:
            assert self._path is not None, "a temporary log is only added to"
            write_lines_if_changed(self._path, lines)
            return
        after = _Copy()
        after.fill(lines())  # which may read lines of this log
        self._pending = self._pending or not _same(self._copy, after)
        self._copy = after
        self.flush()

    def flush(self) -> None:
        """Uploads what is not uploaded yet."""
        if self._path is None or self._copy is None or not self._pending:
            return
        began = time.monotonic()
        with atomic_file(self._path) as file:
            file.writelines(_blocks(self._copy.descriptor))
        self._uploaded, self._pending = time.monotonic(), False
        self._took = self._uploaded - began

    @contextmanager
    def _reading(self) -> Iterator[int | None]:
        """A descriptor to read from; None if the file does not exist."""
        if self._copy is not None:
            yield self._copy.descriptor
            return
        assert self._path is not None
        try:
            descriptor = os.open(self._path, os.O_RDONLY)
        except FileNotFoundError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class _Copy:
    """Lines in a temporary file."""

    def __init__(self) -> None:
        self._file = unnamed_file()
        self.descriptor = self._file.descriptor
        self._size = 0

    def append(self, data: bytes) -> int:
        """Returns where the data begins."""
        place, rest = self._size, memoryview(data)
        while rest:
            rest = rest[os.pwrite(self.descriptor, rest, place + len(data) - len(rest)) :]
        self._size += len(data)
        return place

    def fill(self, pieces: Iterable[bytes]) -> None:
        """Adds many pieces, in few writes."""
        held: list[bytes] = []
        size = 0
        for piece in pieces:
            held.append(piece)
            size += len(piece)
            if size >= _BLOCK:
                self.append(b"".join(held))
                held, size = [], 0
        self.append(b"".join(held))


def _content(path: Path) -> Iterator[bytes]:
    """The lines of an object, if there is one, many at a time; without half a line at the end."""
    rest = b""
    try:
        with reading(path) as file:
            for block in _blocks(file.fileno()):
                whole, newline, rest = (rest + block).rpartition(b"\n")
                yield whole + newline
    except FileNotFoundError:
        return


def _blocks(descriptor: int | None) -> Iterator[bytes]:
    place = 0
    while descriptor is not None and (block := os.pread(descriptor, _BLOCK, place)):
        yield block
        place += len(block)


def _lines_at(descriptor: int | None, places: Iterable[int]) -> Iterator[bytes]:
    """The lines that begin at some places; one behind the end of the file is empty."""
    first, window, behind = 0, b"", -1
    for place in places:
        start = place - first
        end = window.find(b"\n", start) + 1 if 0 <= start < len(window) else 0
        if not end:
            first, window = place, _from(descriptor, place, _LINES if place == behind else _LINE)
            start, end = 0, window.find(b"\n") + 1
        behind = first + end
        yield window[start:end]


def _from(descriptor: int | None, place: int, size: int) -> bytes:
    """The bytes behind a place, at least `size` or a whole line, where there are so many."""
    while descriptor is not None:
        found = os.pread(descriptor, size, place)
        if b"\n" in found or len(found) < size:
            return found
        size *= 8
    return b""


def _same(one: _Copy, other: _Copy) -> bool:
    pairs = itertools.zip_longest(_blocks(one.descriptor), _blocks(other.descriptor))
    return all(mine == theirs for mine, theirs in pairs)


def _drop_half_line(stream: FileIO) -> None:
    """Removes what stands behind the last newline: a killed run left it, and the next line would be behind it."""
    size = end = stream.tell()
    while end:
        first = max(0, end - _LINE)
        if place := os.pread(stream.fileno(), end - first, first).rfind(b"\n") + 1:
            end = first + place
            break
        end = first
    if end < size:
        stream.truncate(end)
        stream.seek(end)


def _write_whole(stream: FileIO, line: bytes) -> int:
    """Writes a line at the end of a file, or nothing: a run that fails may have more to add. Returns its place."""
    size, rest = stream.tell(), memoryview(line)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except OSError:
        with suppress(OSError):  # the first error is the one to report
            stream.truncate(size)
        raise
    return size
