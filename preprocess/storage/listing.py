"""Which files there are, and whether they changed, from listings: no file is read."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from preprocess.storage.locations import filesystem_of, is_remote, reaching

Stamp = tuple[int, int | str]
"""Size in bytes, and modification time (ns) of a local file or ETag of an object: changes when the content does."""


def fingerprint(path: Path) -> Stamp:
    """What tells whether a file changed, without reading it.

    Raises:
        FileNotFoundError: There is no such file.
    """
    if is_remote(path):
        filesystem, remote = filesystem_of(path)
        return stamp_of(filesystem.info(remote))
    return local_fingerprint(path)


def local_fingerprint(path: Path | str) -> Stamp:
    """As `fingerprint`, of a file that is known to be on this machine."""
    stat = os.stat(path)  # noqa: PTH116 - twice per sample, and Path.stat is slower
    return stat.st_size, stat.st_mtime_ns


def fingerprints(folder: Path) -> dict[str, Stamp]:
    """Fingerprints of the files directly in a folder by name, from one listing; none where there is no folder."""
    if is_remote(folder):
        return {_name(entry): stamp_of(entry) for entry in _entries(folder)}
    try:
        with os.scandir(folder) as entries:
            stats = {entry.name: entry.stat() for entry in entries if _is_file(entry)}
    except FileNotFoundError:
        return {}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in stats.items()}


def total_size(folder: Path, paths: Iterable[str]) -> int | None:
    """Bytes of files below a folder, from a listing of each folder in a store; None if one of them does not exist."""
    if not is_remote(folder):
        try:
            return sum((folder / path).stat().st_size for path in paths)
        except FileNotFoundError:
            return None
    total, listed = 0, dict[str, dict[str, Stamp]]()
    for path in paths:
        parent, _, name = path.rpartition("/")
        if parent not in listed:
            listed[parent] = fingerprints(folder / parent if parent else folder)
        if name not in listed[parent]:
            return None
        total += listed[parent][name][0]
    return total


def file_names(folder: Path) -> list[str]:
    """Names of the files directly in a folder, sorted; none where there is no folder. No file is looked at."""
    if is_remote(folder):
        return sorted(map(_name, _entries(folder)))
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if _is_file(entry))
    except FileNotFoundError:
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def files_below(folder: Path) -> list[str]:
    """POSIX paths of all files below a remote folder, sorted, from one recursive listing.

    Raises:
        UserError: The store cannot be reached.
    """
    filesystem, root = filesystem_of(folder)
    with reaching(folder):
        return sorted(path[len(root) :].lstrip("/") for path in filesystem.find(root))


def _entries(folder: Path) -> list[dict[str, Any]]:
    filesystem, remote = filesystem_of(folder)
    with reaching(folder):
        try:
            found: list[dict[str, Any]] = filesystem.ls(remote, detail=True)
        except FileNotFoundError:
            return []
    root = remote.rstrip("/")
    return [entry for entry in found if entry["type"] == "file" and entry["name"].rstrip("/") != root]


def _name(entry: dict[str, Any]) -> str:
    return str(entry["name"]).rpartition("/")[2]


def stamp_of(info: dict[str, Any]) -> Stamp:
    """The fingerprint in what fsspec says of a file; -1 where a server does not say its size."""
    size = -1 if info.get("size") is None else int(info["size"])
    for field in (
        "ETag",
        "etag",
        "md5Hash",
        "blob_id",
        "last_commit",
        "LastModified",
        "Last-Modified",
        "mtime",
        "created",
    ):
        if info.get(field):
            return size, str(info[field])
    return size, ""


def is_utf8(name: str) -> bool:
    """Whether a file name is UTF-8; bytes that are not are surrogates in the names that Python gives."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
