"""Runtime options, which every command that runs workers shares; output bytes are unaffected by them."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from preprocess.errors import Reason, UserError
from preprocess.runtime.machine import memory_share, usable_cores

MIN_MEMORY = 64_000_000
"""Least memory limit of a worker, in bytes: Python with its libraries does not fit into less."""

MAX_BATCH_SIZE = 65_536
MAX_WORKERS = 4_096


@dataclass(frozen=True, slots=True)
class RunOptions:
    """Runtime options; output bytes unaffected. Validated on construction.

    Attributes:
        workers: Worker processes; None for one per core.
        device: `auto` (every GPU, else the CPU), `cpu`, `cuda` or `cuda:N`.
        batch_size: Rows per forward pass; None for the default of the device.
        time_limit_s: Seconds that one item may take.
        memory_limit: Bytes that one worker may hold; None for an equal share of 80 % of the memory of the machine,
            the container or the Slurm job.
        retry: Reasons of rejects that are tried again.
        executor: Name of the executor; see `preprocess.runtime.executors`.
        cpus_per_actor: On a Ray cluster, cores of one actor; None for all of a machine, or its share of them by GPUs.
        gpus_per_actor: On a Ray cluster, GPUs of one actor; None for one where the work needs a GPU, else none.
        memory_per_actor: On a Ray cluster, bytes that are reserved for one actor; None for as large a share of the
            machine's as that of its cores.

    Raises:
        UserError: A value is out of range.
    """

    workers: int | None = None
    device: str = "auto"
    batch_size: int | None = None
    time_limit_s: float = 600.0
    memory_limit: int | None = None
    retry: frozenset[Reason] = frozenset()
    executor: str = "local"
    cpus_per_actor: int | None = None
    gpus_per_actor: int | None = None
    memory_per_actor: int | None = None

    def __post_init__(self) -> None:
        if self.workers is not None and not 1 <= self.workers <= MAX_WORKERS:
            raise UserError(f"workers must be 1 to {MAX_WORKERS:,}, got {self.workers!r}", "Leave --workers out.")
        for option, count, least in (("cpus", self.cpus_per_actor, 1), ("gpus", self.gpus_per_actor, 0)):
            if count is not None and not least <= count <= MAX_WORKERS:
                raise UserError(
                    f"{option} per actor must be {least} to {MAX_WORKERS:,}, got {count!r}",
                    f"Leave --{option}-per-actor out.",
                )
        if self.batch_size is not None and not 1 <= self.batch_size <= MAX_BATCH_SIZE:
            raise UserError(
                f"batch size must be 1 to {MAX_BATCH_SIZE:,}, got {self.batch_size!r}", "Leave --batch-size out."
            )
        if not self.time_limit_s > 0:  # also refuses NaN; infinity means no limit
            raise UserError(
                f"time limit must be a number of seconds above 0, got {self.time_limit_s!r}",
                "Use, for example, --time-limit 600.",
            )
        for what, option, size in (
            ("limit must be at least {:g} GB per worker", "--max-memory", self.memory_limit),
            ("of an actor must be at least {:g} GB", "--memory-per-actor", self.memory_per_actor),
        ):
            if size is not None and size < MIN_MEMORY:
                raise UserError(
                    f"memory {what.format(MIN_MEMORY / 1e9)}, got {size / 1e9:g} GB",
                    f"Use, for example, {option} 4, or leave it out.",
                )

    def worker_count(self) -> int:
        """Worker processes, with the default resolved."""
        return self.workers or usable_cores()

    def worker_memory(self) -> int:
        """Bytes that one worker may hold, with the default resolved."""
        return self.memory_limit or memory_share(self.worker_count())

    def for_tars(self) -> RunOptions:
        """The options for work on whole tars: any time for each, one core per actor, this process for one worker."""
        inline = (self.workers, self.executor) == (1, "local")
        return dataclasses.replace(
            self,
            time_limit_s=math.inf,
            executor="inline" if inline else self.executor,
            cpus_per_actor=self.cpus_per_actor or 1,
        )


ONE_WORKER = RunOptions(workers=1)
