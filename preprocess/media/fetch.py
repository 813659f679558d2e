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
from urllib.parse import unquote, urlsplit

from preprocess.errors import MediaError, UserError
from preprocess.samples import is_url

PROTOCOLS = frozenset({"file", "http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "hf", "ftp"})
"""Where media may come from. fsspec knows more, among them some that read instructions from the file they open."""

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
        MediaError: `missing` (a local file that is not there), `download_failed`.
        UserError: The package that speaks the URL's protocol is not installed.
    """
    if is_url(media):
        url = media
    elif not media or PurePosixPath(media).is_absolute() or ".." in PurePosixPath(media).parts or "\0" in media:
        raise MediaError("missing", f"{media!r} is no path below the raw folder")
    elif is_url(str(raw)):
        url = f"{str(raw).rstrip('/')}/{media}"
    else:
        url = None

    local = Path(raw, media) if url is None else _file_url_path(url)
    if local is not None:
        if not local.is_file():
            raise MediaError("missing", f"{_public_name(media)} is not there")
        yield local
        return
    assert url is not None
    with tempfile.TemporaryDirectory(prefix="media-") as folder:
        target = Path(folder, f"media{PurePosixPath(urlsplit(url).path).suffix}")
        _download(url, target)
        yield target


def _file_url_path(url: str) -> Path | None:
    """The path of a `file://` URL, written with %20 or without; None for any other."""
    if not url.lower().startswith("file://"):
        return None
    path = Path(url[len("file://") :])
    return path if path.exists() else Path(unquote(str(path)))


def _download(url: str, target: Path) -> None:
    from fsspec.core import url_to_fs

    scheme = url.partition("://")[0].lower()
    if "::" in url:
        raise MediaError("download_failed", "an address that leads through another ('::') is not followed")
    if scheme not in PROTOCOLS:
        raise MediaError("download_failed", f"{scheme}:// is not among {', '.join(sorted(PROTOCOLS))}")
    options: dict[str, Any] = {}
    if scheme in ("http", "https"):
        from aiohttp import ClientTimeout

        timeout = ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
        options["client_kwargs"] = {"timeout": timeout}
    try:
        filesystem, remote = url_to_fs(url, **options)
        filesystem.get_file(remote, str(target))
    except ImportError as error:
        raise UserError(
            f"{scheme}:// needs a package that is not installed ({error})", "Install it with pip."
        ) from error
    except Exception as error:  # every filesystem has exceptions of its own (aiohttp, botocore, OSError, …)
        raise MediaError(
            "download_failed", f"{_public_name(url)}: {type(error).__name__} {_status(error)}".strip()
        ) from error


def _status(error: Exception) -> str:
    """The server's status code, where the error has one."""
    return str(getattr(error, "status", "") or "")


def _public_name(media: str) -> str:
    """A name that may be published: of a URL no user, password or query, which may be a signature."""
    if not is_url(media):
        return media
    parts = urlsplit(media)
    if parts.scheme.lower() == "file":
        return PurePosixPath(parts.path).name
    return f"{parts.scheme}://{parts.hostname or ''}{parts.path}"
