"""A web server on 127.0.0.1 that behaves as told: ranges, versions, cuts, errors, redirects."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Served:
    """One file, and how it is served.

    `cuts` are the bytes after which the next answers break off, `answers` the statuses and headers of the next ones.
    """

    data: bytes
    kind: str = "application/octet-stream"
    ranges: bool = True
    validators: bool = True
    heeds_if_range: bool = True
    length: bool = True
    cuts: list[int] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def etag(self) -> str:
        return f'"{hashlib.sha256(self.data).hexdigest()[:16]}"'


class Site:
    """What the server serves, and what it was asked for: the path of each HEAD, path and headers of each GET."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.files: dict[str, Served] = {}
        self.heads: list[str] = []
        self.requests: list[tuple[str, dict[str, str]]] = []

    def serve(self, path: str, data: bytes, **how: Any) -> str:
        self.files[f"/{path}"] = Served(data, **how)
        return f"{self.address}/{path}"

    def asked(self, path: str) -> list[str | None]:
        """The `Range` of each request for a file."""
        return [headers.get("Range") for requested, headers in self.requests if requested == f"/{path}"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def log_message(self, *arguments: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        """As GET, without the body."""
        self.do_GET()

    def do_GET(self) -> None:
        if self.command == "HEAD":
            self.site.heads.append(self.path)
        else:
            self.site.requests.append((self.path, dict(self.headers)))
        served = self.site.files.get(self.path)
        if served is None:
            self.answer(404, {}, b"")
        elif served.answers:
            self.answer(*served.answers.pop(0), b"")
        else:
            self.send(served)

    def send(self, served: Served) -> None:
        start, status = 0, 200
        headers = {"Content-Type": served.kind} | ({"ETag": served.etag} if served.validators else {})
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        same = self.headers.get("If-Range", served.etag) == served.etag or not served.heeds_if_range
        end = len(served.data)
        if served.ranges:
            headers["Accept-Ranges"] = "bytes"
        if match and served.ranges and same:
            start, status = int(match[1]), 206
            end = min(int(match[2]) + 1, end) if match[2] else end
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(served.data)}"
            if start >= len(served.data):
                self.answer(416, {"Content-Range": f"bytes */{len(served.data)}"}, b"")
                return
        body = served.data[start:end]
        if served.cuts and self.command != "HEAD":
            self.answer(status, headers, body, until=served.cuts.pop(0))
        else:
            self.answer(status, headers, body, length=served.length)

    def answer(
        self, status: int, headers: dict[str, str], body: bytes, *, until: int | None = None, length: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if length:
            self.send_header("Content-Length", str(len(body)))
        self.close_connection = until is not None or not length
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:until])


class Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up early, as these do, is not an error."""


@pytest.fixture
def site() -> Iterator[Site]:
    server = Server(("127.0.0.1", 0), Handler)
    site = Site(f"http://127.0.0.1:{server.server_address[1]}")
    server.RequestHandlerClass = type("Handler", (Handler,), {"site": site})
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield site
    server.shutdown()
    thread.join()
    server.server_close()
