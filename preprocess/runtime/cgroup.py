"""Cores and memory that the control groups of this process allow it, in a container, a pod or a batch job.

Linux does not subtract them from what a process can ask of the machine: `os.sched_getaffinity` has all cores of the
node where a pod with `cpu: 4` runs, and `sysconf` all of its memory. Files and their units are those of
<https://docs.kernel.org/admin-guide/cgroup-v2.html> and, of version 1, <https://docs.kernel.org/admin-guide/cgroup-v1>.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_GROUPS = Path("/proc/self/cgroup")
_MOUNTED = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Limits:
    """What control groups allow; None where they allow all.

    Attributes:
        cores: CPU seconds per second, of all threads.
        memory: Bytes.
    """

    cores: float | None = None
    memory: int | None = None


def limits(groups: Path = _GROUPS, mounted: Path = _MOUNTED) -> Limits:
    """The least of the limits of the groups that a process is in, and of those around them.

    Args:
        groups: The file that names the groups of the process.
        mounted: The folder where groups are mounted: of version 2 itself, of version 1 each controller below it.
    """
    cores, memory = [], []
    for folder in _folders(groups, mounted):
        quota = _words(folder / "cpu.max") or [
            *_words(folder / "cpu.cfs_quota_us"),
            *_words(folder / "cpu.cfs_period_us"),
        ]
        match quota:
            case [used, period] if used.isdecimal() and period.isdecimal():  # else "max" or -1: no limit
                cores.append(int(used) / int(period))
        sizes = (*_words(folder / "memory.max"), *_words(folder / "memory.limit_in_bytes"))
        memory += [int(size) for size in sizes if size.isdecimal()]
    return Limits(min(cores, default=None), min(memory, default=None))


def _folders(groups: Path, mounted: Path) -> Iterator[Path]:
    """The folders of the groups and of those around them; in a container, of those that it sees."""
    try:
        lines = groups.read_text().splitlines()
    except OSError:  # not Linux, or hidden
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        group = PurePosixPath(name.lstrip("/"))
        if ".." in group.parts:  # it is named from outside of the container
            group = PurePosixPath()
        yield from (mounted / controllers / one for one in (group, *group.parents))


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:  # this group, or this version, has no such file
        return []
