"""Makes the n-th operation of one kind on the files of a test fail, as a full or broken disk does.

It wraps what Python code writes files with: `open`, `os.open`, the writes of a file, `os.replace`, `os.rename`,
`os.mkdir`, `os.fsync`. It does not reach libraries that call the operating system themselves: FFmpeg, Arrow, torch,
safetensors, numpy's `tofile`.

The operations are counted over all processes of a command, in a file. Only the standard library is used: worker
processes import this module before anything else (`site/sitecustomize.py`).
"""

from __future__ import annotations

import builtins
import errno
import fcntl
import io
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

VARIABLE = "INJECTED_FAULT"

KINDS = ("create", "read", "write", "rename", "mkdir", "sync")

LASTING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""A disk that is full stays full: every later operation of the kind fails, too."""

_open, _os_open, _os_write, _fsync = io.open, os.open, os.write, os.fsync
_replace, _rename, _mkdir, _sendfile = os.replace, os.rename, os.mkdir, getattr(os, "sendfile", None)


@dataclass(frozen=True)
class Fault:
    """Which operation fails, and how.

    Attributes:
        kind: One of `KINDS`.
        number: From 1; 0 counts only.
        error: Number of the error.
        roots: Operations on files below these folders count.
        counter: A file for the counts, outside of the roots.
    """

    kind: str
    number: int
    error: int
    roots: tuple[str, ...]
    counter: str

    def to_text(self) -> str:
        return json.dumps(asdict(self))


def counts(counter: str) -> dict[str, int]:
    """How many operations of each kind there were."""
    with _open(counter, "rb") as file:
        return {name: file.read().count(bytes([i])) for i, name in enumerate(KINDS) if file.seek(0) == 0}


def install(fault: Fault) -> None:
    """Wraps the operations in this process and in those that it forks."""

    def below(path: Any) -> bool:
        if isinstance(path, int):
            try:
                path = os.readlink(f"/proc/self/fd/{path}")  # noqa: PTH115 - pathlib opens nothing of its own
            except OSError:
                return False
        name = os.path.abspath(os.fsdecode(path))  # noqa: PTH100 - links are not followed
        return any(name == root or name.startswith(root + os.sep) for root in fault.roots)

    def due(kind: str, path: Any) -> bool:
        if not below(path):
            return False
        descriptor = _os_open(fault.counter, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            _os_write(descriptor, bytes([KINDS.index(kind)]))
            if kind != fault.kind or not fault.number:
                return False
            done = os.pread(descriptor, 1 << 20, 0).count(bytes([KINDS.index(kind)]))
        finally:
            os.close(descriptor)
        return done == fault.number or (done > fault.number and fault.error in LASTING)

    def refuse(path: Any = None) -> OSError:
        return OSError(fault.error, os.strerror(fault.error), *([os.fspath(path)] if path is not None else []))

    def before(kind: str, call: Callable[..., Any], at: int = 0) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **more: Any) -> Any:
            if due(kind, arguments[at]):
                raise refuse(arguments[at] if kind not in ("sync", "write") else None)
            return call(*arguments, **more)

        return wrapped

    class File(io.FileIO):
        """A file whose writes may fail, after half of the bytes."""

        def write(self, data: Any) -> int:
            if due("write", self.name):
                super().write(bytes(data)[: len(data) // 2])
                raise refuse()
            return super().write(data)

    def opened(
        file: Any, mode: str = "r", buffering: int = -1, encoding: Any = None, errors: Any = None,
        newline: Any = None, closefd: bool = True, opener: Any = None,
    ) -> Any:  # fmt: skip
        writes = any(letter in mode for letter in "wxa+")
        if isinstance(file, int) or not below(file):
            return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        if due("create" if writes else "read", file):
            raise refuse(file)
        if not writes:
            return _open(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = File(file, mode.replace("b", "").replace("t", ""), opener=opener)
        if buffering == 0:
            return raw
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    def os_opened(path: Any, flags: int, *arguments: Any, **more: Any) -> int:
        writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if not flags & os.O_DIRECTORY and due("create" if writes else "read", path):
            raise refuse(path)
        return _os_open(path, flags, *arguments, **more)

    builtins.open = io.open = opened  # type: ignore[assignment]
    os.open = os_opened
    os.write = before("write", _os_write)
    os.replace, os.rename = before("rename", _replace, 1), before("rename", _rename, 1)
    os.mkdir, os.fsync = before("mkdir", _mkdir), before("sync", _fsync)
    if _sendfile is not None:
        os.sendfile = before("write", _sendfile)


def install_from_environment() -> None:
    """Does so in a process that was started with the variable."""
    if text := os.environ.get(VARIABLE):
        value = json.loads(text)
        install(Fault(**{**value, "roots": tuple(value["roots"])}))
