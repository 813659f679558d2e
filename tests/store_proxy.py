"""A proxy on 127.0.0.1 in front of a store's server: it counts requests, and answers some of them as a busy store does.

with s3_server() as bucket, Proxy.before(os.environ["AWS_ENDPOINT_URL"]) as proxy:
    proxy.faults = Faults(kinds=("slow_down", "reset"), share=0.3)
    ...
    proxy.counts        # Counter({"get": 12, "put": 3, "list": 2, "head": 1})
"""

from __future__ import annotations

import http.client
import os
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
ANSWERS = {"slow_down": (503, SLOW_DOWN), "unavailable": (503, b""), "too_many": (429, b""), "internal": (500, b"")}
KINDS = (*ANSWERS, "hang", "reset", "cut")
"""What can happen to a request: an answer, no answer at all, a connection that breaks before or within the answer."""


@dataclass
class Faults:
    """Which requests fail, and how: a fixed choice by method and address, so that a run can be repeated.

    Attributes:
        kinds: Of `KINDS`.
        share: Of the requests that fail when they are made for the first time.
        times: How often in a row each of these fails, with one kind after the other.
        ending: Only requests whose address ends so fail.
        hang_s: How long the connection of a request that is not answered stays open.
    """

    kinds: tuple[str, ...] = ()
    share: float = 0.0
    times: int = 1
    ending: str = ""
    hang_s: float = 30.0
    happened: Counter[str] = field(default_factory=Counter)
    _failed: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, request: str) -> str | None:
        """What happens to this request now."""
        number = zlib.crc32(request.encode())
        if not self.kinds or not request.endswith(self.ending) or number % 1000 >= 1000 * self.share:
            return None
        with self._lock:
            if self._failed[request] >= self.times:
                return None
            kind = self.kinds[(number + self._failed[request]) % len(self.kinds)]
            self._failed[request] += 1
            self.happened[kind] += 1
        return kind


def operation(method: str, path: str, headers: Any) -> str:
    """What a request asks of a store."""
    url = urlsplit(path)
    query = parse_qs(url.query, keep_blank_values=True)
    if "uploadType" in query:  # of GCS
        return "part" if "upload_id" in query else "put" if query["uploadType"] == ["multipart"] else "multipart"
    if "/rewriteTo/" in url.path:
        return "copy"
    if "uploads" in query or "uploadId" in query:
        return {"POST": "multipart", "PUT": "part", "DELETE": "abort", "GET": "list"}[method]
    if method == "GET" and ("list-type" in query or "prefix" in query or url.path.count("/") < 2):
        return "list"
    if method == "PUT" and "x-amz-copy-source" in headers:
        return "copy"
    return "delete" if "delete" in query else method.lower()


class Proxy:
    """See the module.

    Attributes:
        address: Of the proxy.
        faults: What it does to requests.
        counts: Requests by `operation`, those that failed included.
        on_request: Called with operation and path before a request is passed on; may block, or raise to cut it.
    """

    def __init__(self, target: str) -> None:
        self._host, self._port = urlsplit(target).hostname, urlsplit(target).port
        self.faults = Faults()
        self.counts: Counter[str] = Counter()
        self.log: list[tuple[str, str]] = []
        self.on_request: Any = None
        self._lock = threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def handle_any(self) -> None:
                proxy.answer(self)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = handle_any

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *args: None  # type: ignore[method-assign]
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    @classmethod
    @contextmanager
    def before(cls, target: str, variable: str = "AWS_ENDPOINT_URL") -> Iterator[Proxy]:
        """Stands in front of a server; an environment variable names it while the block runs.

        s3fs keeps file systems, with the endpoint of the time when they were made: those of before are forgotten.
        """
        from s3fs import S3FileSystem

        proxy = cls(target)
        thread = threading.Thread(target=proxy._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        before = os.environ.get(variable)
        os.environ[variable] = proxy.address
        S3FileSystem.clear_instance_cache()
        try:
            yield proxy
        finally:
            os.environ[variable] = before or ""
            S3FileSystem.clear_instance_cache()
            proxy._server.shutdown()
            proxy._server.server_close()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Passes one request on, or lets it fail."""
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        what = operation(request.command, request.path, request.headers)
        with self._lock:
            self.counts[what] += 1
            self.log.append((what, request.path))
        if self.on_request is not None:
            self.on_request(what, request.path)
        kind = self.faults.of(f"{request.command} {request.path}")
        if kind in ANSWERS:
            status, text = ANSWERS[kind]
            request.send_response(status)
            request.send_header("Content-Length", str(len(text)))
            request.end_headers()
            if request.command != "HEAD":
                request.wfile.write(text)
            return
        if kind == "hang":
            time.sleep(self.faults.hang_s)
        if kind in ("hang", "reset"):
            _reset(request)
            return
        connection = http.client.HTTPConnection(self._host or "", self._port, timeout=60)
        connection.request(request.command, request.path, body, dict(request.headers))
        found = connection.getresponse()
        data = found.read()
        if kind == "cut" and not data:  # the store has done what was asked, and nobody is told
            _reset(request)
            return
        request.send_response(found.status)
        for name, value in found.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "server", "date"):
                request.send_header(name, value)
        length = found.getheader("Content-Length") if request.command == "HEAD" else str(len(data))
        if length is not None and found.status != 204:
            request.send_header("Content-Length", length)
        request.end_headers()
        if kind == "cut":
            request.wfile.write(data[: len(data) // 2])
            _reset(request)
        else:
            request.wfile.write(data)
        connection.close()


def _reset(request: BaseHTTPRequestHandler) -> None:
    """Ends a connection as a router does that forgot it: RST, no FIN."""
    request.close_connection = True
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.connection.close()
