"""Files as memory: a local file where it lies, a remote one as a copy that nobody has to remove.

The copy is deleted as soon as it is mapped, and its bytes are freed when the last view of it is gone, or the process
dies. So a process that reads tars one after the other needs the disk of one of them.
"""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from preprocess.storage.locations import filesystem_of, is_remote, reaching
from preprocess.storage.stores import download

KEPT_BYTES = 8 << 30
"""Most bytes of copies that `keep_copies` keeps."""

_kept: dict[str, memoryview] = {}
_room = 0


def mapped(path: Path) -> memoryview:
    """The file as memory; unmapped when the last view of it is gone. A remote file is downloaded.

    Raises:
        FileNotFoundError: There is no such file.
        UserError: The store cannot be reached.
    """
    global _room
    name = str(path)
    if name in _kept:
        return _kept[name]
    with reading(path) as file:
        view = _map(file)
    if is_remote(path) and len(view) <= _room:
        _kept[name] = view
        _room -= len(view)
    return view


def reading(path: Path) -> BinaryIO:
    """Opens a file for reading; a remote one is downloaded to a copy that is deleted when it is closed.

    Raises:
        FileNotFoundError: The file does not exist.
        UserError: The store cannot be reached.
    """
    if not is_remote(path):
        return path.open("rb")
    # In a folder: file systems replace the file, and gcsfs removes it when it fails.
    with tempfile.TemporaryDirectory(prefix="download-") as folder:
        copy = Path(folder, "copy")
        filesystem, remote = filesystem_of(path)
        with reaching(path):
            found = _get(filesystem, remote, str(copy))
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return copy.open("rb")


@contextmanager
def keep_copies() -> Iterator[None]:
    """While the block runs, copies stay for those who read the same files again.

    They take `KEPT_BYTES` or half of the free disk at most; what is beyond is downloaded each time. The files must not
    change meanwhile.
    """
    global _room
    _room = min(KEPT_BYTES, shutil.disk_usage(tempfile.gettempdir()).free // 2)
    try:
        yield
    finally:
        _kept.clear()
        _room = 0


def _get(filesystem: object, remote: str, target: str) -> bool:
    """Downloads a file, if there is one."""
    try:
        download(filesystem, remote, target)
    except FileNotFoundError:
        return False
    return True


def _map(file: BinaryIO) -> memoryview:
    if not file.seek(0, 2):
        return memoryview(b"")
    return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
