"""A function of each of several tars, one a task: in this process, in worker processes, or on a cluster.

of_each_tar([TarItem(path) for path in paths], scan, run, "verify")     # what `scan` returns, in the order of the tars
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from preprocess.errors import UserError
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import Reject, Split


@dataclass(frozen=True, slots=True)
class TarItem:
    """A tar to read.

    Attributes:
        path: Where it is.
        split: Its split.
        samples: How many triples it has at most; 0 where that is not known.
    """

    path: Path
    split: Split = "train"
    samples: int = 0

    @property
    def key(self) -> str:
        """Its name."""
        return self.path.name


T = TypeVar("T")
AnyTar = TypeVar("AnyTar", bound=TarItem)


@dataclass(frozen=True, slots=True)
class _Read:
    """What was found in a tar."""

    key: str
    found: Any
    samples: int


@dataclass(frozen=True, slots=True)
class _ReadTars(Generic[AnyTar, T]):
    """What a process runs."""

    read: Callable[[AnyTar], T]

    def __call__(self, task: Task[AnyTar], watch: Watch) -> Iterator[_Read]:
        for tar in task.items:
            watch(tar.key)
            found = self.read(tar)
            watch(None)
            yield _Read(tar.key, found, tar.samples)


def of_each_tar(
    tars: Sequence[AnyTar],
    read: Callable[[AnyTar], T],
    run: RunOptions,
    description: str,
    preload: tuple[str, ...] = (),
) -> list[T]:
    """What a function finds in each tar, in the order of the tars.

    Args:
        tars: With different names.
        read: Must pickle, as what it returns.
        run: Where tars are read: worker processes (one local one is this process), or the actors of a cluster.
        description: Of the progress bar.
        preload: Modules that worker processes should have imported.

    Raises:
        UserError: A process died twice on a tar; or what `read` raises.
    """
    # Tars are mapped, and what is mapped counts as memory of a process, although it can be dropped at any time.
    where = replace(run.for_tars(), memory_limit=sys.maxsize)
    found: dict[str, T] = {}
    for report in run_items(
        tars,
        _ReadTars(read),
        where,
        per_task=1,
        preload=preload,
        description=description,
        unit=" tars",
        counted="samples" if any(tar.samples for tar in tars) else None,
        direct=True,
    ):
        if isinstance(report, Reject):
            raise UserError(
                f"a process that read {report.key} died twice: {report.message}", "Use fewer --workers, such as 1."
            )
        found[report.key] = report.found
    return [found[tar.key] for tar in tars]
