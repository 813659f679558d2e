"""From what an annotation calls a file to a local file that FFmpeg can open.

with local_file("/data/msrvtt", "videos/video7010.mp4") as path: ...      # /data/msrvtt/videos/video7010.mp4
with local_file("s3://bucket/msrvtt", "videos/video7010.mp4") as path: ...   # a temporary copy, removed afterwards
with local_file("", "https://example.org/video7010.mp4") as path: ...        # likewise
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from preprocess.addresses import file_url_path, public_address, refusal, scheme_of
from preprocess.errors import MediaError, UserError
from preprocess.samples import is_url

CONNECT_TIMEOUT_S = 30
READ_TIMEOUT_S = 60
"""Longest silence of a server in the middle of a file; how long a whole file takes is not limited here."""


@contextmanager
def local_file(raw: str | Path, media: str) -> Iterator[Path]:
    """A local path of a sample's media, while the context lasts.

    Args:
        raw: The raw folder, or a URL that `media` is below.
        media: POSIX path below `raw`, or a URL of its own.

    Yields:
        The file itself where it is local (links inside the raw folder are followed: they are their owner's), else a
        temporary copy with the same suffix, which is removed afterwards.

    Raises:
        MediaError: `missing` (below `raw` there is no such file), `download_failed`.
        UserError: The package for the URL's protocol is not installed.
    """
    local, url = media_location(raw, media)
    if local is not None:
        if not local.is_file():
            raise MediaError("missing", f"{public_address(media)} does not exist")
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="media-") as folder:
        target = Path(folder, _file_name(urlsplit(url).path if is_url(media) else media))
        try:
            _download(url, target)
        except FileNotFoundError as error:
            if is_url(media):
                raise MediaError("download_failed", f"{public_address(url)}: FileNotFoundError") from error
            raise MediaError("missing", f"{media} does not exist") from error
        yield target


def media_location(raw: str | Path, media: str) -> tuple[Path | None, str]:
    """The local path of a sample's media, or None and its URL.

    Raises:
        MediaError: `missing`: the annotation names something that is not below the raw folder.
    """
    if is_url(media):
        return file_url_path(media), media
    if not media or PurePosixPath(media).is_absolute() or ".." in PurePosixPath(media).parts or "\0" in media:
        raise MediaError("missing", f"{media!r} is not a path below the raw folder")
    if is_url(str(raw)):
        url = f"{str(raw).rstrip('/')}/{media}"
        return file_url_path(url), url
    return Path(raw, media), ""


def _file_name(path: str) -> str:
    """The file's own name, which messages about it contain, or another with its suffix where that is too long."""
    name = PurePosixPath(path).name
    return name if 0 < len(name.encode()) <= 200 and name != ".." else f"media{PurePosixPath(path).suffix[:20]}"


def _download(url: str, target: Path) -> None:
    if problem := refusal(url):
        raise MediaError("download_failed", problem)
    try:
        filesystem, remote = open_filesystem(url)
        filesystem.get_file(remote, str(target))
    except ImportError as error:
        raise UserError(
            f"{scheme_of(url)}:// needs a package that is not installed ({error})", "Install it with pip."
        ) from error
    except FileNotFoundError:
        raise
    except Exception as error:  # every filesystem has exceptions of its own (aiohttp, botocore, OSError, …)
        raise MediaError(
            "download_failed", f"{public_address(url)}: {type(error).__name__} {_status(error)}".strip()
        ) from error


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, with time limits, and the path in it."""
    from fsspec.core import url_to_fs

    options: dict[str, Any] = {}
    if scheme_of(url) in ("http", "https"):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        options["client_kwargs"] = {"timeout": timeout}
    found: tuple[Any, str] = url_to_fs(url, **options)
    return found


def _status(error: Exception) -> str:
    """The server's status code, where the error has one."""
    return str(getattr(error, "status", "") or "")
