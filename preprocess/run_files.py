"""What a run keeps in its folder while it runs: a log that grows, and a lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path

from preprocess.addresses import public_address
from preprocess.errors import UserError
from preprocess.storage import LOCK_FILE, file_names, is_remote, named_errors, write_atomic, write_if_changed
from preprocess.temporary import shared_folder


class AppendLog:
    """A file of lines that grows as a run goes on.

    A local line is in the file at once. Objects cannot be appended to, so there the file is uploaded again: not more
    often than every `INTERVAL_S`, and by `flush`. A run that is killed forgets the lines since, and does again what
    they were about.
    """

    INTERVAL_S = 10.0

    def __init__(self, path: Path, content: bytes = b"") -> None:
        """`content` is what the file contains already."""
        self._path = path
        self._content = bytearray(content) if is_remote(path) else None
        self._uploaded = time.monotonic()
        self._pending = False

    def append(self, line: bytes) -> None:
        """Adds a line, which ends in a newline."""
        if self._content is None:
            with named_errors(self._path), self._path.open("ab", buffering=0) as stream:
                _write_whole(stream, line)
            return
        self._content += line
        self._pending = True
        if time.monotonic() - self._uploaded >= self.INTERVAL_S:
            self.flush()

    def replace(self, content: bytes) -> None:
        """Makes this the whole file."""
        write_if_changed(self._path, content)
        if self._content is not None:
            self._content, self._pending = bytearray(content), False

    def flush(self) -> None:
        """Uploads what is not uploaded yet."""
        if self._content is not None and self._pending:
            write_atomic(self._path, bytes(self._content))
            self._uploaded, self._pending = time.monotonic(), False


def _write_whole(stream: FileIO, line: bytes) -> None:
    """Writes a line at the end of a file, or nothing: a run that fails may still have lines to add."""
    size, rest = stream.tell(), memoryview(line)
    try:
        while rest:
            rest = rest[stream.write(rest) :]
    except OSError:
        with suppress(OSError):  # the first error is the one to report
            stream.truncate(size)
        raise


@contextmanager
def exclusive(folder: Path, name: str) -> Iterator[None]:
    """Prevents a second run from writing into a folder, which is created where it is missing.

    The lock of a remote folder is a file in this user's temporary folder on this machine: it excludes a second run of
    the same user on the same machine, and no other. Two machines must not write to the same remote folder at once.

    Args:
        name: What another run is said to be working on.

    Raises:
        UserError: Another run is at work, or a remote folder cannot be reached.
    """
    if is_remote(folder):
        file_names(folder)  # a wrong bucket or missing credentials are found before any work is done
        file = _remote_lock_file(folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / LOCK_FILE
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"another run is working on {public_address(name)}", "Wait for it, or let this one write elsewhere."
            ) from error
        yield


def _remote_lock_file(folder: Path) -> Path:
    locks = shared_folder() / f"video-embedding-datasets-{os.getuid()}"
    locks.mkdir(mode=0o700, exist_ok=True)
    if locks.stat().st_uid != os.getuid():
        raise UserError(f"{locks} belongs to another user", "Set TMPDIR to a folder of your own.")
    return locks / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.lock"
