"""Errors of the operating system as one line: the path, what the system says, and what to do.

error: /data/out/CLIP-Shapes: Read-only file system. Make it writable, or choose another folder, then run the same …
"""

from __future__ import annotations

import errno
import os
import re
import socket

from preprocess.errors import UserError

_AGAIN = "run the same command again: finished work is kept"

_REMEDIES = {
    errno.ENOSPC: f"Free some space, then {_AGAIN}.",
    errno.EDQUOT: f"Free some of your quota, then {_AGAIN}.",
    errno.EFBIG: f"Choose a folder on another file system, or raise the limit (ulimit -f), then {_AGAIN}.",
    errno.EROFS: f"Make it writable, or choose another folder, then {_AGAIN}.",
    errno.EACCES: f"Change its permissions, or choose another path, then {_AGAIN}.",
    errno.EPERM: f"Change its permissions, or choose another path, then {_AGAIN}.",
    errno.EIO: f"Check the disk or its connection, then {_AGAIN}.",
    errno.ESTALE: f"Check that the network file system is mounted, then {_AGAIN}.",
    errno.ENOENT: f"Check the path, then {_AGAIN}.",
    errno.ENOTDIR: "Check the path: a part of it is a file, not a folder.",
    errno.EISDIR: "Check the path: it is a folder, not a file.",
    errno.EEXIST: f"Move what is there away, or choose another path, then {_AGAIN}.",
    errno.ENOTEMPTY: f"Move what is there away, or choose another path, then {_AGAIN}.",
    errno.ELOOP: "Check the symbolic links of the path.",
    errno.ENAMETOOLONG: "Choose a shorter path.",
    errno.EMFILE: f"Raise the limit of open files (ulimit -n) or use fewer --workers, then {_AGAIN}.",
    errno.ENFILE: f"Close other programs, or raise the system's limit of open files, then {_AGAIN}.",
    errno.ENOMEM: f"Close other programs or use fewer --workers, then {_AGAIN}.",
    errno.EAGAIN: f"Raise the limit of processes (ulimit -u) or use fewer --workers, then {_AGAIN}.",
    errno.EADDRINUSE: "Choose another port, or stop the program that uses it.",
}

_WORDS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up"}
"""Of the commonest causes, in the words that a reader would search for."""

_RUST = re.compile(r"\(os error ([0-9]+)\)(?: at path \"([^\"]+)\")?")
"""How libraries that are written in Rust (safetensors, tokenizers) report what the system refused."""

_CLIENTS = ("aiohttp.", "azure.", "botocore.", "gcsfs.", "google.auth.")
"""Modules of the clients of object stores, whose errors are not all derived from `OSError`."""

_OF_THE_MACHINE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN})


def as_user_error(error: OSError) -> UserError:
    """The cause and the remedy of an error that the operating system, or a library in its name, reports.

    Examples:
        >>> str(as_user_error(OSError(errno.ENAMETOOLONG, "File name too long", "/data/aaa")))
        '/data/aaa: File name too long. Choose a shorter path.'
    """
    if is_network(error):
        remedy = f"Check the network and the credentials, then {_AGAIN}."
        return UserError(f"the connection failed ({_says(error)})", remedy)
    path = error.filename2 if error.filename2 is not None else error.filename
    where = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else ""
    remedy = _REMEDIES.get(error.errno or 0, f"Run the command with --debug for the traceback, or {_AGAIN}.")
    if error.errno in _WORDS:
        return UserError(f"{_WORDS[error.errno]} ({where or _says(error)})", remedy)
    return UserError(f"{where}: {_says(error)}" if where else _says(error), remedy)


def os_error_in(error: Exception) -> OSError | None:
    """The error of the operating system, or of a connection, that an exception is or mentions in its text."""
    if isinstance(error, OSError):
        return error
    if type(error).__module__.startswith(_CLIENTS):
        return ConnectionError(f"{type(error).__name__} {http_status(error)}".strip())
    match = _RUST.search(str(error))
    return OSError(int(match[1]), os.strerror(int(match[1])), match[2]) if match else None


def http_status(error: BaseException) -> str:
    """The server's status code, where an error of a client has one."""
    return next((str(found) for name in ("status", "status_code", "code") if (found := getattr(error, name, None))), "")


def is_network(error: BaseException) -> bool:
    """Whether a connection failed, and not something on this machine."""
    return isinstance(error, ConnectionError | TimeoutError | socket.gaierror) and error.filename is None


def is_of_files(error: BaseException) -> bool:
    """Whether the operating system refused something on this machine, such as writing to a full disk.

    Libraries derive exceptions of their own from `OSError`; those have no number.
    """
    return isinstance(error, OSError) and error.errno is not None and not is_network(error)


def is_of_machine(error: BaseException) -> bool:
    """Whether an error in reading one file concerns all files: too many are open, or memory or a mount is lost."""
    return isinstance(error, OSError) and error.errno in _OF_THE_MACHINE


def _says(error: OSError) -> str:
    text = " ".join((error.strerror or str(error)).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:299]}…"
