"""What this machine offers: cores and memory."""

from __future__ import annotations

import os

_MIN_WORKER_MEMORY = 2 << 30

_granted: int | None = None


def usable_cores() -> int:
    """Cores this process may use, which in a container or on a cluster can be fewer than the machine has."""
    return _granted or _cores()


def grant_cores(count: int) -> None:
    """Sets how many cores this process, with its worker processes, may use from now on."""
    global _granted
    _granted = count


def memory_share(workers: int) -> int:
    """Bytes that one of `workers` processes may hold: an equal share of 80 % of the memory, at least 2 GiB.

    Of a process that may use some of the cores, the workers share as much of the memory.
    """
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    granted = min(1.0, usable_cores() / _cores())
    return max(_MIN_WORKER_MEMORY, int(total * 0.8 * granted) // workers)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
