"""How stores are talked to: how long an answer may take, and how often a request is made again; decided here alone.

A request is made again after a time that doubles, up to 63 s in all, when the store answers 429, 500, 502, 503 or 504
or not at all, or when the connection breaks. botocore does so for S3, gcsfs (5 times) for GCS, and Azure's library (3
times, not after 429, and twice when a connection breaks within an answer) for Azure; fsspec does not for HTTP.
"""

from __future__ import annotations

import logging
import os
import random
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from preprocess.errors import UserError

T = TypeVar("T")

CONNECT_TIMEOUT_S = 30
READ_TIMEOUT_S = 60
"""Longest silence of a server in the middle of a file; how long a whole file takes is not limited here."""

ATTEMPTS = 7
"""Requests for the same thing, the first one included. AWS_MAX_ATTEMPTS says otherwise for S3."""

_HTTP = frozenset({"http", "https"})
_S3 = frozenset({"s3", "s3a"})
_GCS = frozenset({"gs", "gcs"})
_AZURE = frozenset({"az", "abfs"})
_AZURE_BLOCKS = 1
"""Blocks of 4 MB of a file that are on their way at the same time. Of several, those that fail after the first are
tracebacks on stderr; adlfs' own choice, 128, takes 512 MB of memory."""

# When this module is imported, because worker processes are sent paths that are open already.
# By default gcsfs asks for the type of a bucket over gRPC, which emulators and accounts without a further permission
# refuse: one warning per request. In zonal buckets, it writes objects that are visible before they are complete.
os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
for _package in ("gcsfs", "azure"):  # they log the errors that they raise, gcsfs with a traceback
    logging.getLogger(_package).setLevel(logging.CRITICAL)

_EXTRAS = dict.fromkeys(_GCS, "gcs") | dict.fromkeys(_AZURE, "azure")
_BUSY = frozenset({429, 500, 502, 503, 504})


def store_options(scheme: str) -> dict[str, Any]:
    """Options of fsspec's file system for a scheme. What the user sets for fsspec, as in FSSPEC_S3, comes first."""
    if scheme in _HTTP:
        return {"client_kwargs": {"timeout": _timeout()}}
    if scheme in _GCS:
        return {"requests_timeout": _timeout()} | _settings(_GCS, "requests_timeout")
    if scheme in _AZURE:
        return {"max_concurrency": _AZURE_BLOCKS} | _settings(_AZURE, "max_concurrency")
    if scheme in _S3:
        settings: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
        if not os.environ.keys() & {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"}:
            # The other modes stop to retry when many requests fail at once, as the hundreds of a bulk read do.
            settings["retries"] = {"mode": "legacy", "total_max_attempts": ATTEMPTS}
        return {"config_kwargs": settings | _settings(_S3, "config_kwargs").get("config_kwargs", {})}
    return {}


def _timeout() -> Any:
    from aiohttp import ClientTimeout

    return ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)


def _settings(schemes: Iterable[str], option: str) -> dict[str, Any]:
    """The option, if the user sets it for fsspec."""
    from fsspec.config import conf

    said = [conf[scheme][option] for scheme in schemes if option in conf.get(scheme, {})]
    return {option: said[0]} if said else {}


def not_installed(scheme: str, error: ImportError) -> UserError:
    """What to raise when the package for a scheme is missing."""
    extra = _EXTRAS.get(scheme)
    return UserError(
        f"{scheme}:// needs a package that is not installed ({error})",
        f"Run pip install -r requirements-{extra}.txt, or install video-embedding-datasets[{extra}]."
        if extra
        else "Install it with pip.",
    )


def download(filesystem: Any, remote: str, target: str) -> None:
    """Copies a file of a store to this machine. gcsfs asks for its size first (two requests), unless told not to."""
    filesystem.get_file(remote, target, **({"concurrency": 1} if _GCS.intersection(filesystem.protocol) else {}))


def copies_within(filesystem: Any) -> bool:
    """Whether the store itself copies files, and has done so when the call returns. adlfs does not wait for Azure."""
    return not _AZURE.intersection(filesystem.protocol)


def one_request(filesystem: Any) -> dict[str, Any]:
    """Options of reading a whole file that is small: s3fs asks for its size first, unless it may read one part only."""
    return {"max_concurrency": 1} if _S3.intersection(filesystem.protocol) else {}


def patiently(scheme: str, call: Callable[[], T]) -> T:
    """Calls, and over HTTP calls again while the server is busy or breaks off; other file systems do so themselves.

    A server that refuses connections, or that there is none of, is not asked again.

    Args:
        scheme: Of the address.
        call: Can be repeated.
    """
    for attempt in range(ATTEMPTS - 1 if scheme in _HTTP else 0):
        try:
            return call()
        except Exception as error:  # aiohttp's, and those of the sockets below it
            if not _is_passing(error):
                raise
        time.sleep(random.uniform(0.5, 1.0) * 2**attempt)  # noqa: S311 - so that many processes do not ask at once
    return call()


def _is_passing(error: Exception) -> bool:
    import aiohttp

    if isinstance(error, aiohttp.ClientResponseError):
        return error.status in _BUSY
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return False
    breaks = (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, TimeoutError, ConnectionResetError)
    return isinstance(error, breaks)
