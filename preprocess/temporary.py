"""Temporary folders that do not outlive their process: a killed one's are removed by the next.

/tmp/ved-x3k9_a2f/         of one process
├── .lock                  held while it lives; the kernel releases it, however the process dies
└── …                      sockets of worker processes, downloads, uploads
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from multiprocessing.util import Finalize
from pathlib import Path
from typing import IO

_LOCK = ".ved-lock"
_PREFIX = "ved-tmp-"
_LONGEST = 107 - len("/pymp-12345678/listener-12345678")  # bytes: multiprocessing puts sockets into such a folder

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - not a temporary folder: memory that processes share

_shared_folder: Path | None = None
_own_folder = contextlib.ExitStack()

remove_own_folder = _own_folder.close
before_removal = _own_folder.callback
"""Has a function called before the folder of `use_own_folder` is removed, such as one that ends who uses it."""


class UnnamedFile:
    """A temporary file without a name; see `unnamed_file`.

    Attributes:
        descriptor: To read and write it.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        weakref.finalize(self, os.close, descriptor)


def unnamed_file() -> UnnamedFile:
    """A temporary file that is closed with the last reference to it, and of which nothing is left however that ends."""
    with tempfile.TemporaryFile() as file:
        return UnnamedFile(os.dup(file.fileno()))


@contextlib.contextmanager
def own_folder(root: Path) -> Iterator[Path]:
    """Makes a folder below `root` for as long as the block runs, and removes those of killed processes.

    A process that is forked within the block uses the folder, and does not remove it.

    Args:
        root: An existing folder, which processes may share.

    Raises:
        OSError: `root` does not exist or is not writable.
    """
    remove_leftovers(root)
    lock = None
    while lock is None:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
        lock = _lock(folder)  # None where another process took this folder for a leftover
    owner = os.getpid()
    try:
        with lock:
            yield folder
    finally:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)


def remove_leftovers(root: Path) -> int:
    """Removes what killed processes of this user left below `root`. Returns how many folders there were."""
    removed = 0
    for folder in root.glob(f"{_PREFIX}????????"):
        with contextlib.suppress(OSError):  # another user's, or just removed
            if not (folder / _LOCK).exists():
                folder.rmdir()  # its process was killed before it made the lock: else it is not empty, and stays
            elif (lock := _lock(folder, wait=False)) is not None:
                with lock:
                    shutil.rmtree(folder)
                removed += 1
    return removed


def _lock(folder: Path, wait: bool = True) -> IO[bytes] | None:
    """The open lock of a folder; None where another process has it, or has removed the folder meanwhile."""
    path = folder / _LOCK
    with contextlib.ExitStack() as on_failure, contextlib.suppress(BlockingIOError, FileNotFoundError):
        file = on_failure.enter_context(path.open("ab"))
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if os.path.samestat(os.fstat(file.fileno()), path.stat()):
            on_failure.pop_all()
            return file
    return None


def use_own_folder() -> None:
    """Lets this process put all its temporary files into a folder of its own, which is removed when it ends.

    What killed processes left is removed now, in shared memory too. A process that ends in another way than Python's
    calls `remove_own_folder`.
    """
    global _shared_folder
    remove_leftovers(SHARED_MEMORY)
    with contextlib.suppress(OSError):  # no writable folder: what needs one will say so
        own = str(_own_folder.enter_context(own_folder(shared_folder())))
        if len(os.fsencode(own)) <= _LONGEST:
            _shared_folder, tempfile.tempdir = shared_folder(), own
    Finalize(None, remove_own_folder, exitpriority=-1_000)  # after multiprocessing has removed its sockets


def shared_folder() -> Path:
    """The folder for temporary files that processes share, such as `/tmp`."""
    return _shared_folder or Path(tempfile.gettempdir())


@contextlib.contextmanager
def passed_on() -> Iterator[None]:
    """While the block runs, `TMPDIR` names the folder of this process, for the processes that start in it."""
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = tempfile.gettempdir()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
