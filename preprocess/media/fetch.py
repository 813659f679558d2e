"""From what an annotation calls a file to a local file that FFmpeg can open.

with local_file("/data/msrvtt", "videos/video7010.mp4") as path: ...      # /data/msrvtt/videos/video7010.mp4
with local_file("s3://bucket/msrvtt", "videos/video7010.mp4") as path: ...   # a temporary copy, removed afterwards
with local_file("", "https://example.org/video7010.mp4") as path: ...        # likewise
with local_file("/data", "0.tar#bytes=512-10879&name=a.mp4") as part: ...    # a range of /data/0.tar, where it lies
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from preprocess.addresses import file_url_path, public_address, refusal, scheme_of
from preprocess.errors import MediaError, UserError
from preprocess.media.local import FilePart, LocalMedia
from preprocess.os_errors import http_status
from preprocess.references import ByteRange, Cell, split_reference
from preprocess.samples import is_url
from preprocess.storage import copy_range, download, not_installed, patiently, read_cell, stamp_of, store_options

_kept = threading.local()


@contextmanager
def local_file(raw: str | Path, media: str, *, keep: bool = False) -> Iterator[LocalMedia]:
    """The media of a sample on this machine, while the context lasts.

    Args:
        raw: The raw folder, or a URL that `media` is below.
        media: POSIX path below `raw`, or a URL of its own; or a part of that file (`preprocess.references`).
        keep: The copy of a remote file stays until another one is asked for with `keep`, or the process ends: for files
            of which several windows are used one after the other. It is copied again when the file has changed.

    Yields:
        The file itself, or the range of it, where it is local (links inside the raw folder are followed: they are their
        owner's), else a temporary copy with the same suffix, which is removed afterwards. Of a part, nothing else is
        copied.

    Raises:
        MediaError: `missing` (below `raw` there is no such file, or the cell is empty), `unreadable` (a Parquet file
            that cannot be read), `download_failed`.
        UserError: The package for the URL's protocol is not installed.
    """
    file, part = split_reference(media)
    found, url = media_location(raw, file)
    local = None if found is None else Path(found)
    if local is not None and not local.is_file():
        raise MediaError("missing", f"{public_address(file)} does not exist")
    if local is not None and not isinstance(part, Cell):
        yield local if part is None else FilePart(local, part.start, part.end, part.name)
        return
    if keep and part is None:
        yield _kept_copy(url, file)
        return
    with tempfile.TemporaryDirectory(prefix="media-") as folder:
        target = Path(folder, _file_name(part.name) if part else _url_name(url, file))
        if isinstance(part, Cell):
            _copy_cell(local or url, file, part, target)
        elif isinstance(part, ByteRange):
            _download(
                url, file, lambda filesystem, remote: copy_range(filesystem, remote, part.start, part.end, target)
            )
        else:
            _download(url, file, lambda filesystem, remote: download(filesystem, remote, str(target)))
        yield target


def _kept_copy(url: str, file: str) -> Path:
    """The copy of a remote file that this thread keeps, made unless it is there."""

    def get(filesystem: Any, remote: str) -> None:
        key = (url, stamp_of(filesystem.info(remote)))
        if getattr(_kept, "key", None) == key:
            return
        drop_kept_copy()
        folder = tempfile.TemporaryDirectory(prefix="media-")
        path = Path(folder.name, _url_name(url, file))
        try:
            download(filesystem, remote, str(path))
        except BaseException:
            folder.cleanup()
            raise
        _kept.key, _kept.folder, _kept.path = key, folder, path

    _download(url, file, get)
    path: Path = _kept.path
    return path


def drop_kept_copy() -> None:
    """Removes the copy that `local_file` keeps for this thread."""
    if hasattr(_kept, "key"):
        _kept.folder.cleanup()
        _kept.__dict__.clear()


def _url_name(url: str, file: str) -> str:
    return _file_name(urlsplit(url).path if is_url(file) else file)


def _copy_cell(source: Path | str, file: str, cell: Cell, target: Path) -> None:
    """Writes the bytes of a cell to a file."""
    import pyarrow as pa

    def copy(filesystem: Any, path: str | Path) -> None:
        try:
            data = read_cell(filesystem, path, cell.row, cell.column)
        except (pa.ArrowException, IndexError, KeyError) as error:
            problem = " ".join(str(error).split())[:120]
            raise MediaError("unreadable", f"{public_address(file)} cannot be read ({problem})") from error
        if data is None:
            raise MediaError("missing", f"{public_address(file)} has no bytes in row {cell.row}, {cell.column!r}")
        target.write_bytes(data)

    if isinstance(source, Path):
        copy(None, source)
    else:
        _download(source, file, copy)


def media_location(raw: str | Path, media: str) -> tuple[str | Path | None, str]:
    """The local path of a sample's media, or None and its URL.

    Raises:
        MediaError: `missing`: the annotation names something that is not below the raw folder.
    """
    if is_url(media):
        return file_url_path(media), media
    if not media or media.startswith("/") or ".." in media.split("/") or "\0" in media:
        raise MediaError("missing", f"{media!r} is not a path below the raw folder")
    if is_url(str(raw)):
        url = f"{str(raw).rstrip('/')}/{media}"
        return file_url_path(url), url
    return os.path.join(raw, media), ""  # noqa: PTH118 - several times per sample, and a Path is slower


def _file_name(path: str) -> str:
    """The file's own name, which messages about it contain, or another with its suffix where that is too long."""
    name = PurePosixPath(path).name
    return name if 0 < len(name.encode()) <= 200 and name != ".." else f"media{PurePosixPath(path).suffix[:20]}"


def _download(url: str, file: str, get: Callable[[Any, str], None]) -> None:
    """Calls `get` with the file system of a URL and the path in it; its errors become those of `local_file`."""
    if problem := refusal(url):
        raise MediaError("download_failed", problem)
    try:
        filesystem, remote = open_filesystem(url)
        patiently(scheme_of(url), lambda: get(filesystem, remote))
    except ImportError as error:
        raise not_installed(scheme_of(url), error) from error
    except FileNotFoundError as error:
        if is_url(file):
            raise MediaError("download_failed", f"{public_address(url)}: FileNotFoundError") from error
        raise MediaError("missing", f"{file} does not exist") from error
    except (MediaError, UserError):
        raise
    except Exception as error:  # every filesystem has exceptions of its own (aiohttp, botocore, OSError, …)
        raise MediaError(
            "download_failed", f"{public_address(url)}: {type(error).__name__} {http_status(error)}".strip()
        ) from error


def open_filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, with its time limits and retries, and the path in it."""
    from fsspec.core import url_to_fs

    found: tuple[Any, str] = url_to_fs(url, **store_options(scheme_of(url)))
    return found
