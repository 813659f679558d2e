"""How stores are talked to: how long an answer may take, and how often a request is made again; decided here alone.

A request is made again after a time that doubles, up to 63 s in all, when the store answers 429, 500, 502, 503 or 504
or not at all, or when the connection breaks. botocore does so for S3 and gcsfs for GCS; fsspec does not for HTTP.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")

CONNECT_TIMEOUT_S = 30
READ_TIMEOUT_S = 60
"""Longest silence of a server in the middle of a file; how long a whole file takes is not limited here."""

ATTEMPTS = 7
"""Requests for the same thing, the first one included. AWS_MAX_ATTEMPTS says otherwise for S3."""

_HTTP = frozenset({"http", "https"})
_S3 = frozenset({"s3", "s3a"})
_BUSY = frozenset({429, 500, 502, 503, 504})


def store_options(scheme: str) -> dict[str, Any]:
    """Options of fsspec's file system for a scheme. What the user sets for fsspec, as in FSSPEC_S3, comes first."""
    if scheme in _HTTP:
        from aiohttp import ClientTimeout

        return {
            "client_kwargs": {
                "timeout": ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT_S, sock_read=READ_TIMEOUT_S)
            }
        }
    if scheme not in _S3:
        return {}
    from fsspec.config import conf

    settings: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S, "read_timeout": READ_TIMEOUT_S}
    if not os.environ.keys() & {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"}:
        # The other modes stop to retry when many requests fail at once, as the hundreds of a bulk read do.
        settings["retries"] = {"mode": "legacy", "total_max_attempts": ATTEMPTS}
    return {"config_kwargs": settings | conf.get("s3", {}).get("config_kwargs", {})}


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
