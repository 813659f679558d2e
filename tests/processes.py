"""Processes as Linux describes them in /proc."""

from __future__ import annotations

import contextlib
from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that `pid` started, also those that have ended and that it has not waited for."""
    with contextlib.suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def descendants(pid: int) -> list[int]:
    """The children of `pid`, theirs, and so on."""
    return [process for child in children(pid) for process in (child, *descendants(child))]


def stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the name: state, parent, group, session, …; [] where there is none."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return []


def parent(pid: int) -> int:
    """The process that started `pid`, or took its place."""
    return int(stat(pid)[1])


def is_alive(pid: int) -> bool:
    """Whether a process has yet to end; one that has ended keeps its number until its parent has waited for it.

    A worker that outlives its parent by a moment belongs to process 1, which in a container may wait for it seconds
    later, or never.
    """
    fields = stat(pid)
    return bool(fields) and fields[0] not in "ZX"
