"""Command-line options of every command that runs tasks: where, and how many at a time."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from preprocess.console import finite
from preprocess.errors import UserError
from preprocess.runtime.options import MAX_WORKERS

Workers = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_WORKERS, help="Worker processes. [default: one per core]", show_default=False),
]
Executor = Annotated[
    str,
    typer.Option(
        help="Where work runs: local (worker processes), inline (this process), ray (a cluster: that of RAY_ADDRESS, "
        "else one on this machine), or module:factory."
    ),
]
CpusPerActor = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=MAX_WORKERS,
        help="With --executor ray, cores of an actor. [default: those of its machine, or a share per GPU; where an "
        "actor takes a tar at a time, 1]",
        show_default=False,
    ),
]
GpusPerActor = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=MAX_WORKERS,
        help="With --executor ray, GPUs of an actor. [default: 1 where the cluster has any]",
        show_default=False,
    ),
]
MemoryPerActor = Annotated[
    float | None,
    typer.Option(
        callback=finite,
        help="With --executor ray, gigabytes reserved for an actor. [default: as large a share of its machine's memory "
        "as of its cores]",
        show_default=False,
    ),
]


def in_bytes(option: str, gigabytes: float | None) -> int | None:
    """Gigabytes of the command line.

    Raises:
        UserError: It is not a finite number.
    """
    if gigabytes is not None and not math.isfinite(gigabytes):
        raise UserError(f"{option} {gigabytes!r} is not a number of gigabytes", f"Use, for example, {option} 4.")
    return None if gigabytes is None else int(gigabytes * 1e9)
