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


class MappedFiles:
    """Keeps the files in memory that were used last, and closes the others: a mapped file is an open one.

    By default, Linux allows a process 1,024 open files, and macOS 256. Copies of remote files stay, as they would have
    to be downloaded again. A process that this is sent to maps the files itself.

    Args:
        limit: Most local files that are mapped at a time.
    """

    def __init__(self, limit: int = 64) -> None:
        self._limit = limit
        self._local: dict[Path, memoryview] = {}  # in the order of their last use
        self._copies: dict[Path, memoryview] = {}

    def of(self, path: Path) -> memoryview:
        """The file, as of `mapped`; it stays open as long as a view of it is held."""
        if path in self._copies:
            return self._copies[path]
        view = self._local.pop(path, None)
        if view is None:
            view = mapped(path)
        if is_remote(path):
            self._copies[path] = view
            return view
        self._local[path] = view
        if len(self._local) > self._limit:
            del self._local[next(iter(self._local))]
        return view

    def __reduce__(self) -> tuple[type[MappedFiles], tuple[int]]:
        return MappedFiles, (self._limit,)


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
