"""Writing and removing files: a file is written completely or not at all.

A local file is written under a temporary name beside the file it is to become, then renamed:

    processed/train/.video7010.json.9f1c2b7a64d0e583.tmp

An object is uploaded in one piece, which object stores show when it is complete. Both hold against a process that dies
at any point. Against a power failure, a local file and its name are on disk (fsync) when the call returns, except where
the caller asks for `durable=False` and calls `sync` once for many files.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, cast

from preprocess.storage.listing import file_names
from preprocess.storage.locations import filesystem_of, is_remote, reaching
from preprocess.storage.mapping import reading
from preprocess.storage.ranges import read_if_there
from preprocess.storage.stores import copies_within

TEMPORARY_PREFIX = "."
TEMPORARY_SUFFIX = ".tmp"
LOCK_FILE = ".lock"


def is_temporary(name: str) -> bool:
    """True for the names that `atomic_file` gives to local files that are not finished."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a file for writing that replaces `path` when the block ends, and is discarded when it raises.

    What goes to an object store is collected in a temporary file on this machine first: an upload that is under way
    cannot be taken back by every store.

    Args:
        durable: Whether content and name survive a power failure once the block has ended.

    Raises:
        OSError: As `open` and `os.replace` do; a local folder must exist.
        UserError: The object store refuses it.
    """
    if is_remote(path):
        with tempfile.NamedTemporaryFile(prefix="upload-") as spool:
            yield cast(BinaryIO, spool)
            spool.flush()
            filesystem, remote = filesystem_of(path)
            with reaching(path):
                filesystem.put_file(spool.name, remote)
        return
    temporary = _temporary_name(path)
    try:
        with named_errors(path), open(temporary, "xb") as file:  # noqa: PTH123
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105
        if durable:
            sync_names(path.parent)
    except BaseException:
        with suppress(OSError):  # the first error is the one to report; what stays is removed by the next run
            Path(temporary).unlink(missing_ok=True)
        raise


def write_atomic(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Writes a complete file, or nothing: readers see the old content or the new one. As `atomic_file`."""
    if is_remote(path):
        filesystem, remote = filesystem_of(path)
        with reaching(path):
            filesystem.pipe_file(remote, data)
        return
    with atomic_file(path, durable=durable) as file:
        file.write(data)


def sync_names(folder: Path) -> None:
    """Waits until the names in a local folder are on disk: a rename is not there before."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync(folder: Path) -> None:
    """Waits until everything that was written to the file system of a local folder is on disk (syncfs(2))."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        syncfs = getattr(ctypes.CDLL(None), "syncfs", None)  # Linux only
        if syncfs is None or syncfs(descriptor) != 0:
            os.sync()
    finally:
        os.close(descriptor)


def write_if_changed(path: Path, data: bytes) -> bool:
    """Like `write_atomic`, but leaves a file alone that has these bytes already. Returns whether it wrote.

    For files that one process at a time writes: what a killed one left of the file is removed.
    """
    if not is_remote(path):
        remove_temporary(path.parent, path.name)
    if read_if_there(path) == data:
        return False
    write_atomic(path, data)
    return True


def write_lines_if_changed(path: Path, lines: Callable[[], Iterable[bytes]]) -> bool:
    """As `write_if_changed`, of many lines, of which few are held at a time.

    Args:
        lines: Makes them; it is called again when they are to be written.
    """
    if not is_remote(path):
        remove_temporary(path.parent, path.name)
    if has_lines(path, lines()):
        return False
    with atomic_file(path) as file:
        file.writelines(lines())
    return True


def has_lines(path: Path, lines: Iterable[bytes]) -> bool:
    """Whether a file exists and has these lines and no others."""
    try:
        with reading(path) as file:
            return all(there == line for there, line in itertools.zip_longest(file, lines))
    except FileNotFoundError:
        return False


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Adds the path to an `OSError` that has none: writing to an open file does not say which file it is."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yields the path of a file that is to be written, in a folder of its own, and which replaces `path` at the end.

    For writers that open a file by its name, and choose the format by its suffix. `path` is local, in a folder that
    exists. What is written may also be a folder: then `path` does not exist when the block ends, or is an empty folder.
    """
    temporary = Path(_temporary_name(path))
    temporary.mkdir()
    try:
        yield temporary / path.name
        sync(temporary)
        (temporary / path.name).replace(path)
        sync_names(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields an empty local folder that becomes `path` when the block ends, and is removed when it raises.

    For writers that produce several files at once, such as `save_pretrained`. `path` is local, and does not exist when
    the block ends, or is an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(_temporary_name(path))
    temporary.mkdir()
    try:
        yield temporary
        sync(temporary)
        temporary.rename(path)
        sync_names(path.parent)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def publish(finished: Path, path: Path) -> None:
    """Moves a finished local file to `path` on the same file system, where it replaces what is there; by rename."""
    finished.replace(path)


def move_files(source: Path, target: Path, names: Sequence[str]) -> None:
    """Moves finished files from one folder into another of the same file system or store, replacing what is there.

    Local files are renamed. Objects are copied, within the store where it can, then removed; what is interrupted can be
    repeated with the names that are left.
    """
    if not names:
        return
    if not is_remote(source):
        for name in names:
            publish(source / name, target / name)
        return
    filesystem, remote = filesystem_of(source)
    old, new = ([f"{folder}/{name}" for name in names] for folder in (remote, filesystem_of(target)[1]))
    with reaching(target):
        if copies_within(filesystem):
            filesystem.copy(old, new)
        else:
            for source_file, target_file in zip(old, new, strict=True):
                filesystem.pipe_file(target_file, filesystem.cat_file(source_file))
        with suppress(FileNotFoundError):  # a request that was made again, after one that was carried out unanswered
            filesystem.rm(old)


def _temporary_name(path: Path) -> str:
    folder, name = os.path.split(path)  # three times per sample, and pathlib is slower
    return os.path.join(folder, f"{TEMPORARY_PREFIX}{name}.{os.urandom(8).hex()}{TEMPORARY_SUFFIX}")  # noqa: PTH118


def make_folder(path: Path) -> None:
    """Creates a folder and its parents where they are missing; an object store has no folders."""
    if not is_remote(path):
        path.mkdir(parents=True, exist_ok=True)


def remove_temporary(folder: Path, name: str | None = None) -> int:
    """Removes temporary files and folders that killed processes left in `folder` (not below it). Returns how many.

    In an S3 store these are uploads that were begun and not finished.

    Call it before work starts, never while another process writes into the folder.

    Args:
        folder: Need not exist.
        name: Only those that were to become the file or folder of this name; None for all.
    """

    def is_stale(found: str) -> bool:
        final, _, _ = found.removesuffix(TEMPORARY_SUFFIX).rpartition(".")
        return is_temporary(found) and name in (None, final.removeprefix(TEMPORARY_PREFIX))

    if is_remote(folder):
        if name is None:
            abort_uploads(folder)
        stale = [folder / found for found in file_names(folder) if is_stale(found)]
    else:
        stale = [path for path in folder.iterdir() if is_stale(path.name)] if folder.is_dir() else []
    for path in stale:
        if not is_remote(path) and path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            remove(path)
    return len(stale)


def abort_uploads(folder: Path) -> int:
    """Aborts uploads in pieces to an S3 folder (not below it) that were never finished. Returns how many.

    Nothing lists these pieces, and the store keeps and bills them. Where a store does not say which there are, or to
    whom, a rule of the bucket has to remove them.
    """
    filesystem, remote = filesystem_of(folder)
    if not hasattr(filesystem, "call_s3"):
        return 0
    bucket, _, prefix = f"{remote.rstrip('/')}/".partition("/")
    aborted = 0
    with reaching(folder), suppress(OSError):  # not permitted, or not implemented
        found = filesystem.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        for key, upload in ((one["Key"], one["UploadId"]) for one in found.get("Uploads", ())):
            if "/" not in key[len(prefix) :]:
                filesystem.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)
                aborted += 1
    return aborted


def remove(path: Path) -> None:
    """Removes a file, if it is there."""
    if not is_remote(path):
        path.unlink(missing_ok=True)
        return
    filesystem, remote = filesystem_of(path)
    with reaching(path), suppress(FileNotFoundError):
        filesystem.rm_file(remote)


def clear_folder(folder: Path) -> None:
    """Removes everything below a folder but its lock file."""
    if is_remote(folder):
        filesystem, remote = filesystem_of(folder)
        with reaching(folder), suppress(FileNotFoundError):
            filesystem.rm(remote, recursive=True)
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path.name != LOCK_FILE:
            path.unlink()
