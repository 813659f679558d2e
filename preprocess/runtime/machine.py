"""What this machine offers: cores and memory."""

from __future__ import annotations

import os

_MIN_WORKER_MEMORY = 2 << 30


def usable_cores() -> int:
    """Cores this process may use, which in a container can be fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_share(workers: int) -> int:
    """Bytes that one of `workers` processes may hold: an equal share of 80 % of the memory, at least 2 GiB."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return max(_MIN_WORKER_MEMORY, int(total * 0.8) // workers)
