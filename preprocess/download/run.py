"""Downloads the raw files that a recipe declares and that are missing, and unpacks archives."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from preprocess import console
from preprocess.addresses import public_address
from preprocess.download.http import DownloadError, Wait, fetch, open_client
from preprocess.download.state import DOWNLOADS, State, temporary_place
from preprocess.download.unpack import Unpacked, unpack
from preprocess.errors import UserError
from preprocess.readers.annotations import read_text
from preprocess.run_files import exclusive
from preprocess.samples import RemoteFile
from preprocess.storage import LOCK_FILE, is_remote, location, publish

if TYPE_CHECKING:
    import httpx2

_MAX_ARCHIVES = 10_000
"""Most addresses of one list."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A declared file that was downloaded, or the error that prevented it."""

    remote: RemoteFile
    error: DownloadError | None = None


def raw_folder(raw: str) -> Path:
    """The local folder to download into.

    Raises:
        UserError: It is an address, or a file.
    """
    folder = location(raw)
    if is_remote(folder):
        raise UserError(f"{public_address(raw)} is not a local folder", "Download to one, then copy it there.")
    folder = folder.expanduser()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder", "Name the folder for the raw files: RAW=<folder>.")
    return folder


def free_bytes(folder: Path) -> int:
    """Free space on the disk of a folder, which need not exist yet."""
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    return shutil.disk_usage(there).free


def to_download(found: Sequence[State], only: Sequence[str]) -> list[RemoteFile]:
    """What is to be downloaded: not there, with a direct address, and matched by a pattern where there are any.

    Args:
        found: The state of all declared files.
        only: Patterns (`fnmatch`) of `RemoteFile.path`.

    Raises:
        UserError: A pattern matches no declared file.
    """
    for pattern in only:
        if not any(fnmatchcase(state.remote.path, pattern) for state in found):
            known = ", ".join(state.remote.path for state in found)
            raise UserError(f"--only {pattern!r} matches nothing", f"The files are: {known}.")
    return [
        state.remote
        for state in found
        if state.status != "found"
        and state.remote.kind != "page"
        and (not only or any(fnmatchcase(state.remote.path, pattern) for pattern in only))
    ]


def download(remotes: Iterable[RemoteFile], raw: Path, wait: Wait = time.sleep) -> Iterator[Outcome]:
    """Downloads files one after another; one that fails does not keep the others from it.

    Args:
        remotes: From `to_download`.
        raw: A local folder; created where it is missing.
        wait: How to wait where a server asks for it.

    Yields:
        What became of each.

    Raises:
        UserError: Another run downloads into this folder.
        OSError: As writing files does.
    """
    downloads = raw / DOWNLOADS
    with exclusive(downloads, str(raw)), open_client() as client:
        for remote in remotes:
            try:
                _obtain(client, remote, raw, temporary_place(remote, downloads), wait)
            except DownloadError as error:
                yield Outcome(remote, error)
            else:
                yield Outcome(remote)
        _remove_empty(downloads)


def _obtain(client: httpx2.Client, remote: RemoteFile, raw: Path, here: Path, wait: Wait) -> None:
    here.parent.mkdir(parents=True, exist_ok=True)
    if not here.exists():
        _fetch(client, remote.url, here, remote, wait)
    if remote.kind == "file":
        target = raw / remote.path
        target.parent.mkdir(parents=True, exist_ok=True)
        publish(here, target)
    elif remote.kind == "archive":
        _unpack(here, raw / remote.into)
        here.unlink()
    else:
        for url in archives(here, remote.url):
            archive = here.with_name(url.rpartition("/")[2])
            done = archive.with_name(f"{archive.name}.done")
            if not done.exists():
                if not archive.exists():
                    _fetch(client, url, archive, None, wait)
                _unpack(archive, raw / remote.into)
                done.touch()
                archive.unlink()
        for done in here.parent.glob("*.done"):
            done.unlink()
        here.unlink()


def _fetch(client: httpx2.Client, url: str, target: Path, remote: RemoteFile | None, wait: Wait) -> None:
    sums = {"sha256": remote.sha256, "md5": remote.md5} if remote else {}
    with console.progress(None, "B", target.name, scaled=True) as bar:

        def progress(have: int, size: int | None) -> None:
            if not bar.n:
                bar.initial = bar.n = have  # of an earlier run: no part of the rate
            bar.total = size
            bar.update(have - bar.n)

        fetch(client, url, target, **sums, progress=progress, wait=wait)


def _unpack(archive: Path, folder: Path) -> Unpacked:
    with console.progress(None, " files", f"unpack {archive.name}") as bar:
        return unpack(archive, folder, bar.update)


def archives(path: Path, source: str) -> list[str]:
    """The addresses of archives in a list, which must be on the host that the list came from.

    Raises:
        DownloadError: A line is something else.
    """
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    host = urlsplit(source).netloc
    for line in lines:
        parts = urlsplit(line)
        name = parts.path.rpartition("/")[2]
        plain = name and not name.startswith(".") and not parts.query and not parts.fragment
        if parts.scheme not in ("http", "https") or parts.netloc != host or not plain:
            path.unlink()
            raise DownloadError(
                f"{public_address(source)} lists {line[:200]!r}, which is not a file on {host}", "Download it by hand."
            )
    names = [line.rpartition("/")[2] for line in lines]
    if not lines or len(lines) > _MAX_ARCHIVES or len(set(names)) < len(names):
        path.unlink()
        raise DownloadError(f"{public_address(source)} is not a list of different archives", "Download it by hand.")
    return lines


def _remove_empty(downloads: Path) -> None:
    """Removes the folder for unfinished downloads when it is empty."""
    for folder in sorted((p for p in downloads.rglob("*") if p.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    if [path.name for path in downloads.iterdir()] == [LOCK_FILE]:
        (downloads / LOCK_FILE).unlink()
        downloads.rmdir()
