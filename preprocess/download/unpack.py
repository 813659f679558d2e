"""Archives to files: zip and tar, regular files only, none outside the folder that is meant.

    unpack(Path("raw/.downloads/MSRVTT.zip"), Path("raw"))    # raw/MSRVTT/videos/all/video0.mp4, …

Each file appears when it is complete, and one that is there with the same size is left alone, so unpacking can be
interrupted and run again. Links and devices are never created. An archive directly inside the archive (CaltechDATA
publishes a tar in a zip) is unpacked where it lies.
"""

from __future__ import annotations

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from preprocess.download.http import DownloadError
from preprocess.storage import atomic_file, is_utf8

ARCHIVE_SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz")

_BLOCK = 1 << 20
_DAMAGE = (zipfile.BadZipFile, tarfile.TarError, zlib.error, LZMAError, EOFError, NotImplementedError)


@dataclass(frozen=True, slots=True)
class Unpacked:
    """What became of the members of an archive: files written, files that were there, links and the like left out."""

    written: int = 0
    kept: int = 0
    left_out: int = 0

    def __add__(self, other: Unpacked) -> Unpacked:
        return Unpacked(self.written + other.written, self.kept + other.kept, self.left_out + other.left_out)


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry: its name, its size, and how to open it; None for what is not a regular file."""

    name: str
    size: int
    open: Callable[[], IO[bytes] | None] | None


def unpack(archive: Path, folder: Path, each: Callable[[], object] = lambda: None) -> Unpacked:
    """Unpacks an archive.

    Args:
        archive: A zip or tar, compressed or not; its content decides, not its name.
        folder: Where its paths are relative to; created where it is missing.
        each: Called after each member.

    Raises:
        DownloadError: It is not an archive, it is damaged, a path leads out of `folder`, a file of another size exists
            already, or the disk is too small.
    """
    return _unpack(archive, folder, each, nested=True)


def _unpack(archive: Path, folder: Path, each: Callable[[], object], *, nested: bool) -> Unpacked:
    done, inner = Unpacked(), []
    with _members(archive) as members:
        for member in members:
            path = _target(archive, member, folder)
            if path is None or member.open is None:
                done += Unpacked(left_out=1)
            elif _is_there(path, member, archive):
                done += Unpacked(kept=1)
            else:
                _write(path, member, archive)
                done += Unpacked(written=1)
            if nested and path is not None and path.name.lower().endswith(ARCHIVE_SUFFIXES):
                inner.append(path)
            each()
    for path in inner:
        done += _unpack(path, path.parent, each, nested=False)
        path.unlink()
    return done


@contextmanager
def _members(archive: Path) -> Iterator[Iterator[_Member]]:
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as pack:
                yield _zip_members(pack)
        else:
            with tarfile.open(archive, "r:*") as pack:
                yield _tar_members(pack)
    except _DAMAGE as error:
        raise DownloadError(
            f"{archive.name} is not a whole zip or tar ({type(error).__name__}: {error})",
            f"Remove {archive} and run the same command again.",
        ) from error


def _zip_members(pack: zipfile.ZipFile) -> Iterator[_Member]:
    for entry in pack.infolist():
        kind = stat.S_IFMT(entry.external_attr >> 16)  # 0 where the zip was not made on Unix
        regular = not entry.is_dir() and kind in (0, stat.S_IFREG)
        if regular and entry.flag_bits & 1:
            raise zipfile.BadZipFile(f"{entry.filename} is encrypted")
        if not entry.is_dir():
            yield _Member(entry.filename, entry.file_size, partial(pack.open, entry) if regular else None)


def _tar_members(pack: tarfile.TarFile) -> Iterator[_Member]:
    for entry in pack:
        if not entry.isdir():
            yield _Member(entry.name, entry.size, partial(pack.extractfile, entry) if entry.isreg() else None)


def _target(archive: Path, member: _Member, folder: Path) -> Path | None:
    """Where a member goes; None for what operating systems add to archives (`__MACOSX/`, `.DS_Store`).

    Raises:
        DownloadError: The name leads out of the folder, or cannot be that of a file.
    """
    parts = PurePosixPath(member.name).parts
    unsafe = not parts or member.name.startswith("/") or ".." in parts or "\\" in member.name or "\0" in member.name
    if unsafe or not is_utf8(member.name) or any(len(part.encode()) > 255 for part in parts):
        raise DownloadError(
            f"{archive.name} holds {member.name[:200]!r}, which is not a path below its folder",
            "Do not use this archive; download it from its publisher again.",
        )
    if any(part.startswith(".") or part == "__MACOSX" for part in parts):
        return None
    return folder.joinpath(*parts)


def _is_there(path: Path, member: _Member, archive: Path) -> bool:
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_file() and path.stat().st_size == member.size:
        return True
    raise DownloadError(
        f"{path} exists already and is not the file that {archive.name} holds ({member.size:,} bytes)",
        "Move it elsewhere and run the same command again.",
    )


def _write(path: Path, member: _Member, archive: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        blocking = next((parent for parent in path.parents if parent.is_file()), path.parent)
        raise DownloadError(f"{blocking} is a file, not a folder", "Move it elsewhere and run again.") from error
    if member.size > (free := shutil.disk_usage(path.parent).free):
        raise DownloadError(
            f"{archive.name} holds {member.name} with {member.size:,} bytes, and {free:,} are free on the disk",
            "Free some space and run the same command again: unpacking continues where it stopped.",
        )
    source = member.open() if member.open else None
    if source is None:
        raise tarfile.ReadError(f"{member.name} has no content")
    with source, atomic_file(path) as file:
        shutil.copyfileobj(source, file, _BLOCK)
        if file.tell() != member.size:
            raise tarfile.ReadError(f"{member.name} ends after {file.tell():,} of {member.size:,} bytes")
