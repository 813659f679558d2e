"""Reading many parts of many files at once."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from preprocess.storage.locations import filesystem_of, is_remote, reaching
from preprocess.storage.stores import one_request

_MAX_GAP = 64 << 10  # bytes between two ranges that are cheaper to read than to ask for separately
_MAX_BLOCK = 32 << 20


def read_ranges(ranges: Sequence[tuple[Path | str, int, int | None]]) -> list[bytes]:
    """Reads parts of files: first byte, and the byte behind the last (None: to the end). A `str` is a local path.

    A local file is opened once. Of remote files, ranges that are close to one another come in one request, and requests
    run at the same time.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if not ranges or not is_remote(ranges[0][0]):
        return _read_local(ranges)
    return _read_remote(cast("Sequence[tuple[Path, int, int | None]]", ranges))


def _read_remote(ranges: Sequence[tuple[Path, int, int | None]]) -> list[bytes]:
    filesystem = filesystem_of(ranges[0][0])[0]
    blocks: list[tuple[str, int, int | None]] = []  # what is asked for
    inside: dict[int, tuple[int, int]] = {}  # which range is in which block, and where
    for i in sorted(range(len(ranges)), key=lambda i: (str(ranges[i][0]), ranges[i][1])):
        path, start, end = filesystem_of(ranges[i][0])[1], *ranges[i][1:]
        if blocks and end is not None:
            other, first, last = blocks[-1]
            if other == path and last is not None and start - last <= _MAX_GAP and end - first <= _MAX_BLOCK:
                blocks[-1] = (path, first, max(last, end))
                inside[i] = (len(blocks) - 1, start - first)
                continue
        blocks.append((path, start, end))
        inside[i] = (len(blocks) - 1, 0)
    # Of a whole file no range is asked for: that of an empty object is an error.
    starts = [start if start or end is not None else None for _, start, end in blocks]
    paths, ends = [path for path, _, _ in blocks], [end for _, _, end in blocks]
    data = filesystem.cat_ranges(paths, starts, ends, on_error="raise", **one_request(filesystem))
    result = []
    for i, (_, start, end) in enumerate(ranges):
        block, offset = inside[i]
        result.append(data[block][offset : None if end is None else offset + end - start])
    return result


def read_if_there(path: Path) -> bytes | None:
    """The content of a file, from one request; None where there is no file.

    Raises:
        UserError: The store cannot be reached.
    """
    if not is_remote(path):
        return path.read_bytes() if path.is_file() else None
    with reaching(path):
        try:
            return read_ranges([(path, 0, None)])[0]
        except FileNotFoundError:
            return None


def copy_range(filesystem: Any, path: str, start: int, end: int, target: Path) -> None:
    """Copies a range of a remote file to a local one, in requests of at most 32 MB.

    Args:
        filesystem: The fsspec file system.
        path: The file in it.
        start, end: First byte, and the byte behind the last.
        target: Is replaced.

    Raises:
        OSError: The server sends other bytes than were asked for, as those do that know no ranges.
    """
    with target.open("wb") as file:
        for first in range(start, end, _MAX_BLOCK):
            size = min(_MAX_BLOCK, end - first)
            data = filesystem.cat_file(path, start=first, end=first + size)
            if len(data) != size:
                raise OSError(f"{len(data):,} bytes for a range of {size:,}")
            file.write(data)


def _read_local(ranges: Sequence[tuple[Path | str, int, int | None]]) -> list[bytes]:
    found = [b""] * len(ranges)
    by_file: dict[Path | str, list[int]] = {}
    for i, (path, _, _) in enumerate(ranges):
        by_file.setdefault(path, []).append(i)
    for path, wanted in by_file.items():
        if len(wanted) == 1 and ranges[wanted[0]][1:] == (0, None):
            with open(path, "rb", buffering=0) as whole:  # noqa: PTH123 - twice per sample, and pathlib is slower
                found[wanted[0]] = whole.readall()
            continue
        with open(path, "rb") as file:  # noqa: PTH123
            for i in sorted(wanted, key=lambda i: ranges[i][1]):
                _, start, end = ranges[i]
                file.seek(start)
                found[i] = file.read() if end is None else file.read(end - start)
    return found
