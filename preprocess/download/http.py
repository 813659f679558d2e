"""One file over HTTP: resumed where it was interrupted, never mixed from two versions, complete or an error.

    with open_client() as client:
        fetch(client, "https://example.org/videos.zip", Path("raw/.downloads/videos.zip"))

The bytes that have arrived are in `videos.zip.part`; `videos.zip.json` beside it holds the address and the validator
(ETag or modification date) of the version they belong to. The next request asks for the rest of that version alone
(`Range` with `If-Range`, RFC 9110 section 13.1.5); a server that has another one sends it from the beginning.
"""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

from preprocess.addresses import public_address, scheme_of
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.layout import json_bytes, read_json
from preprocess.storage import publish, write_atomic

if TYPE_CHECKING:
    import httpx2

ATTEMPTS = 5
"""Requests in a row that bring no new byte before a download is given up."""

MAX_REDIRECTS = 5
MAX_WAIT_S = 600.0
"""Longest time that a server may ask to be left alone for within one run."""

_CONNECT_TIMEOUT_S = 30.0
_READ_TIMEOUT_S = 60.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRY_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,15})-\d{1,15}|\*)/(\d{1,15}|\*)")
_PAGE = re.compile(rb"\s*<(?:!doctype html|html)\b", re.IGNORECASE)

Progress = Callable[[int, int | None], None]
"""Is given the bytes that are there, and the size of the whole file where the server says it."""

Wait = Callable[[float], None]


class DownloadError(UserError):
    """One file could not be downloaded, or what arrived is not the file."""


class TransferError(Exception):
    """This request failed, another one may not.

    Attributes:
        after_s: Seconds that the server asks to wait; None if it does not say.
    """

    def __init__(self, cause: str, after_s: float | None = None) -> None:
        self.after_s = after_s
        super().__init__(cause)


@dataclass(frozen=True, slots=True)
class _Version:
    """What the bytes of a partial file belong to: written beside it before the first of them.

    Attributes:
        url: Address that was asked for.
        validator: Strong ETag, else the modification date; None if the server gives neither: then nothing is resumed.
        size: Bytes of the whole file, None if unknown.
    """

    url: str
    validator: str | None
    size: int | None


def open_client() -> httpx2.Client:
    """An HTTP client with the time limits of this module, and the proxies of the environment."""
    import httpx2

    timeout = httpx2.Timeout(_READ_TIMEOUT_S, connect=_CONNECT_TIMEOUT_S)
    return httpx2.Client(timeout=timeout, headers={"User-Agent": "video-embedding-datasets"})


def fetch(
    client: httpx2.Client,
    url: str,
    target: Path,
    *,
    sha256: str | None = None,
    md5: str | None = None,
    progress: Progress = lambda have, size: None,
    wait: Wait = time.sleep,
) -> None:
    """Downloads one file.

    Args:
        client: From `open_client`.
        url: An http or https address.
        target: A local path in a folder that exists. It appears when the file is complete and its checksum is right.
        sha256: Published checksum, in hexadecimal digits.
        md5: Likewise, where the publisher gives only that.
        progress: Called as bytes arrive.
        wait: How to wait before the next attempt.

    Raises:
        DownloadError: The address answers with an error or a web page, redirects too often, to another protocol or from
            https to http; the transfer fails `ATTEMPTS` times in a row; or the checksum is wrong. What arrived of an
            interrupted transfer stays, for the next run.
    """
    part, note = partial_files(target)
    failures = 0
    while True:
        before = _size(part)
        try:
            _continue(client, url, part, note, progress)
            break
        except TransferError as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{public_address(url)} could not be downloaded: {error}",
                    "Check the connection and run the same command again: the part that was downloaded is kept.",
                ) from error
            wait(min(2.0**failures, 60.0) if error.after_s is None else error.after_s)
    for name, expected in (("sha256", sha256), ("md5", md5)):
        if expected and (found := _digest(part, name)) != expected.lower():
            _discard(part, note)
            raise DownloadError(
                f"{public_address(url)} has the {name} {found}, the publisher's is {expected}",
                "Run the same command again; if it happens again, the file at that address has changed.",
            )
    publish(part, target)
    note.unlink(missing_ok=True)


def partial_files(target: Path) -> tuple[Path, Path]:
    """The file with the bytes that have arrived of `target`, and the file that says which version they belong to."""
    return target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.json")


def _continue(client: httpx2.Client, url: str, part: Path, note: Path, progress: Progress) -> None:
    """One request for what is missing of `part`; returns when it is complete."""
    known = _known(note, url)
    offset = _size(part) if known else 0
    if known and offset and offset == known.size:
        progress(offset, offset)
        return
    headers = {"Accept-Encoding": "identity"}
    if known and offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": str(known.validator)}
    with answer(client, url, headers) as response:
        version, start = _version(response, url), 0
        if response.status_code == 206:
            start = offset
            if version != known or _content_range(response)[0] != offset:
                _discard(part, note)
                raise TransferError("the server sent a part of another version", after_s=0)
        elif response.status_code == 416:  # the version that is there now is shorter
            _discard(part, note)
            raise TransferError("the file became shorter", after_s=0)
        elif response.status_code != 200:
            raise _refusal(response, url)
        _receive(response, url, part, note, version, start, progress)


def _receive(
    response: httpx2.Response, url: str, part: Path, note: Path, version: _Version, start: int, progress: Progress
) -> None:
    """Writes the body of a response behind the first `start` bytes of `part`."""
    import httpx2

    have = start
    try:
        blocks = response.iter_bytes()  # as they arrive: blocks of one size would lose the last, partial one
        first = next(blocks, b"")
        if not start:
            _check_is_no_page(response, url, first)  # before the bytes of an earlier transfer are overwritten
            _check_space(part, version.size, url)
            part.unlink(missing_ok=True)
            write_atomic(note, json_bytes(asdict(version)))
        progress(have, version.size)
        with part.open("ab") as file:
            while first:
                have += file.write(first)
                progress(have, version.size)
                first = next(blocks, b"")
    except httpx2.TransportError as error:
        raise TransferError(f"the transfer ended after {have:,} bytes ({type(error).__name__})") from error
    if version.size is not None and have != version.size:
        raise TransferError(f"the transfer ended after {have:,} of {version.size:,} bytes")


@contextmanager
def answer(client: httpx2.Client, url: str, headers: dict[str, str], method: str = "GET") -> Iterator[httpx2.Response]:
    """The answer to a request, its body unread, at the end of at most `MAX_REDIRECTS` redirects.

    Raises:
        TransferError: The server cannot be reached.
        DownloadError: It redirects too often, to another protocol or from https to http.
    """
    import httpx2

    here = url
    for _ in range(MAX_REDIRECTS + 1):
        request = client.build_request(method, here, headers=headers)
        try:
            response = client.send(request, stream=True, follow_redirects=False)
        except httpx2.TransportError as error:
            raise TransferError(f"{type(error).__name__} {error}".strip()) from error
        try:
            target = response.headers.get("Location")
            if response.status_code not in _REDIRECTS or target is None:
                yield response
                return
            here = _redirected(here, target)
        finally:
            response.close()
    raise DownloadError(
        f"{public_address(url)} redirects more than {MAX_REDIRECTS} times", "Download the file by hand."
    )


def _redirected(here: str, target: str) -> str:
    there = urljoin(here, target)
    if scheme_of(there) not in ("http", "https") or (scheme_of(here), scheme_of(there)) == ("https", "http"):
        raise DownloadError(
            f"{public_address(here)} redirects to {public_address(there)}, which is not followed",
            "Download the file by hand.",
        )
    return there


def _refusal(response: httpx2.Response, url: str) -> Exception:
    """The exception for a status that is not that of a file."""
    status = f"{response.status_code} {response.reason_phrase}".strip()
    if response.status_code not in _TRY_AGAIN:
        return DownloadError(
            f"{public_address(url)} answered {status}",
            "If the file has moved, download it by hand; the tree above shows where it belongs.",
        )
    after_s = _retry_after_s(response.headers.get("Retry-After"))
    if after_s is not None and after_s > MAX_WAIT_S:
        return DownloadError(
            f"{public_address(url)} answered {status} and asks to wait for {after_s:.0f} s",
            "Run the same command again then: the part that was downloaded is kept.",
        )
    return TransferError(f"the server answered {status}", after_s)


def _retry_after_s(value: str | None) -> float | None:
    """Seconds to wait, from a number of seconds or an HTTP date; None if there is neither."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        moment = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return max(0.0, (moment - datetime.datetime.now(datetime.UTC)).total_seconds())


def size_of_file(response: httpx2.Response, url: str) -> int | None:
    """Bytes of the whole file that a response is of, None if the server does not say."""
    return _version(response, url).size


def _version(response: httpx2.Response, url: str) -> _Version:
    if response.headers.get("Content-Encoding", "identity") != "identity":
        return _Version(url, None, None)  # neither sizes nor ranges are those of the file
    etag = response.headers.get("ETag", "")
    validator = etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified")
    length = response.headers.get("Content-Length", "")
    whole = int(length) if length.isdigit() else None
    return _Version(url, validator, _content_range(response)[1] if response.status_code == 206 else whole)


def _content_range(response: httpx2.Response) -> tuple[int | None, int | None]:
    """First byte and size of the whole file, of `Content-Range: bytes 1024-2047/4096`."""
    match = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    first, total = match.groups() if match else (None, None)
    return (int(first) if first else None), (int(total) if total and total != "*" else None)


def _check_is_no_page(response: httpx2.Response, url: str, begin: bytes) -> None:
    """Refuses the page of a captive portal, a login or a removed file, which arrive as if they were the file."""
    kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if kind in ("text/html", "application/xhtml+xml") or _PAGE.match(begin):
        raise DownloadError(
            f"{public_address(url)} answered with a web page instead of the file",
            "Open the address in a browser: the network may ask for a login, or the file may have moved.",
        )


def _check_space(part: Path, size: int | None, url: str) -> None:
    free = shutil.disk_usage(part.parent).free + _size(part)
    if size is not None and size > free:
        raise DownloadError(
            f"{public_address(url)} has {size:,} bytes, and {free:,} are free on the disk of {part.parent.parent}",
            "Free some space, or name a folder on another disk: RAW=<folder>.",
        )


def _known(note: Path, url: str) -> _Version | None:
    """The version of the bytes that are there, if they can be continued: same address, and a validator."""
    try:
        row: dict[str, Any] = read_json(note)
    except DamagedFileError:
        return None
    if row.get("url") != url or not isinstance(row.get("validator"), str):
        return None
    return _Version(url, row["validator"], row.get("size"))


def _digest(path: Path, name: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


def _discard(part: Path, note: Path) -> None:
    part.unlink(missing_ok=True)
    note.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
