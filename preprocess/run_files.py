"""The lock that a run keeps in its folder while it runs."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preprocess.addresses import public_address
from preprocess.errors import UserError
from preprocess.storage import LOCK_FILE, file_names, is_remote
from preprocess.temporary import shared_folder


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
