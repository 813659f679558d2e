"""How much there is to download, asked of the servers before the first large file is.

size = remaining([RemoteFile("https://example.org/paths.txt", "train/", kind="list", …)], Path("raw"))
# Size(bytes=451_233_001_472, unknown=0)
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from preprocess import console
from preprocess.download.http import (
    DownloadError,
    TransferError,
    Wait,
    answer,
    fetch,
    open_client,
    partial_files,
    size_of_file,
)
from preprocess.download.run import archives
from preprocess.download.state import DOWNLOADS, temporary_place
from preprocess.samples import RemoteFile

if TYPE_CHECKING:
    import httpx2

ASK_ABOVE = 10_000_000_000
"""Bytes above which a download has to be confirmed."""

ASK_ABOVE_UNKNOWN = 10
"""Files of unknown size above which it has to be confirmed as well: a list of archives whose server gives no sizes."""

_THREADS = 16
"""Requests under way at once: a list has hundreds of archives, and each takes a tenth of a second to be asked for."""


@dataclass(frozen=True, slots=True)
class Size:
    """What is left to download.

    Attributes:
        bytes: Of the files whose size is known.
        unknown: How many files a server gives no size of.
    """

    bytes: int
    unknown: int

    @property
    def is_large(self) -> bool:
        """Whether it has to be confirmed."""
        return self.bytes > ASK_ABOVE or self.unknown > ASK_ABOVE_UNKNOWN

    def __str__(self) -> str:
        if not self.unknown:
            return console.human_bytes(self.bytes)
        files = f"{self.unknown:,} file{'s' * (self.unknown > 1)} of unknown size"
        return f"{console.human_bytes(self.bytes)} and {files}" if self.bytes else files


def remaining(remotes: Iterable[RemoteFile], raw: Path, wait: Wait = time.sleep) -> Size:
    """The size of what `download` would transfer: without what has arrived in an earlier run.

    An address that does not answer counts as unknown; the download itself reports why.

    Args:
        remotes: From `to_download`.
        raw: A local folder, which need not exist; nothing is written into it.
        wait: How to wait where a server asks for it.
    """
    with open_client() as client, tempfile.TemporaryDirectory() as temporary:
        pending: list[tuple[str, Path]] = []
        unknown = 0
        for remote in remotes:
            here = temporary_place(remote, raw / DOWNLOADS)
            if remote.kind != "list":
                pending.append((remote.url, here))
                continue
            try:
                urls = _listed(client, remote, here, Path(temporary), wait)
            except DownloadError:
                unknown += 1
                continue
            pending += [(url, here.with_name(url.rpartition("/")[2])) for url in urls]
        pending = [(url, here) for url, here in pending if not _arrived(here)]
        with (
            ThreadPoolExecutor(_THREADS) as threads,
            console.progress(len(pending), " files", "sizes", shown=len(pending) > _THREADS) as bar,
        ):
            known = []
            for size in threads.map(lambda item: _left(client, *item), pending):
                known.append(size)
                bar.update()
    return Size(sum(size for size in known if size is not None), unknown + known.count(None))


def _listed(client: httpx2.Client, remote: RemoteFile, here: Path, temporary: Path, wait: Wait) -> list[str]:
    if here.exists():
        return archives(here, remote.url)
    copy = temporary / "list"
    copy.unlink(missing_ok=True)
    fetch(client, remote.url, copy, wait=wait)
    return archives(copy, remote.url)


def _arrived(here: Path) -> bool:
    return here.exists() or here.with_name(f"{here.name}.done").exists()


def _left(client: httpx2.Client, url: str, here: Path) -> int | None:
    """Bytes that are missing of one file, None if the server does not say."""
    try:
        with answer(client, url, {"Accept-Encoding": "identity"}, "HEAD") as response:
            size = size_of_file(response, url) if response.status_code == 200 else None
    except (TransferError, DownloadError):
        return None
    part, _ = partial_files(here)
    return None if size is None else max(0, size - (part.stat().st_size if part.is_file() else 0))
