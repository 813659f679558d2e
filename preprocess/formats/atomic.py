"""Files that are either whole or not there: written under a temporary name, then renamed.

A temporary name, beside the file it is to become:

    processed/train/.video7010.json.9f1c2b7a64d0e583.tmp

This holds against a process that dies at any point. It does not call fsync: after a power cut a file may be empty,
which its reader reports.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

TEMPORARY_PREFIX = "."
TEMPORARY_SUFFIX = ".tmp"


def is_temporary(name: str) -> bool:
    """True for the names that `atomic_file` gives to files that are not finished."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """Opens a file for writing that takes the place of `path` when the block ends, and vanishes when it raises.

    Raises:
        OSError: As `open` and `os.replace` do; the folder must exist.
    """
    temporary = path.with_name(f"{TEMPORARY_PREFIX}{path.name}.{os.urandom(8).hex()}{TEMPORARY_SUFFIX}")
    try:
        with open(temporary, "xb") as file:  # noqa: PTH123 - three times per sample, and Path.open is slower
            yield file
        os.replace(temporary, path)  # noqa: PTH105
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes) -> None:
    """Writes a whole file, or nothing: whoever looks sees the old content or the new one."""
    with atomic_file(path) as file:
        file.write(data)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Like `write_atomic`, but leaves a file alone that has these bytes already. Returns whether it wrote."""
    try:
        if path.read_bytes() == data:
            return False
    except FileNotFoundError:
        pass
    write_atomic(path, data)
    return True


def remove_temporary(folder: Path) -> int:
    """Removes what killed processes left in `folder` (not below it). Returns how many files.

    Call it before work starts, never while another process writes into the folder.
    """
    if not folder.is_dir():
        return 0
    stale = [entry.path for entry in os.scandir(folder) if is_temporary(entry.name)]
    for path in stale:
        Path(path).unlink(missing_ok=True)
    return len(stale)
