"""What this machine offers: cores and memory."""

from __future__ import annotations

import functools
import math
import os

from preprocess.runtime import cgroup

_MIN_WORKER_MEMORY = 2 << 30

_granted: int | None = None
_granted_memory: int | None = None


def usable_cores() -> int:
    """Cores this process may use; in a container or on a cluster, these can be fewer than the machine has."""
    return _granted or _cores()


def grant(cores: int, memory: int | None = None) -> None:
    """Sets what this process, with its worker processes, may use from now on.

    Args:
        cores: How many.
        memory: Bytes; None for a share of the machine's that goes by the cores.
    """
    global _granted, _granted_memory
    _granted, _granted_memory = cores, memory


def memory_share(workers: int) -> int:
    """Bytes that one of `workers` processes may hold: an equal share of 80 % of the memory, at least 2 GiB.

    Of a process that was granted some of the cores or of the memory, the workers share that; in a container or a Slurm
    job, what that may use.
    """
    granted = _granted_memory or _memory() * min(1.0, usable_cores() / _cores())
    return max(_MIN_WORKER_MEMORY, int(granted * 0.8) // workers)


def _cores() -> int:
    there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(there, math.ceil(_limits().cores or there))


def _memory() -> int:
    """Bytes of memory: this machine's, or less if this process is in a container or a Slurm job that has less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    per_node, per_cpu, cpus = (
        int(value) if (value := os.environ.get(f"SLURM_{name}", "")).isdecimal() else 0
        for name in ("MEM_PER_NODE", "MEM_PER_CPU", "CPUS_ON_NODE")
    )
    of_job = (per_node or per_cpu * cpus) << 20  # Slurm counts in MiB
    return min(total, of_job or total, _limits().memory or total)


_limits = functools.cache(cgroup.limits)
