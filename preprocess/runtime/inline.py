"""Runs tasks in this process, one after another: for functions that hold a device, and for debugging."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import R, T, Watch, WorkerFailure


@dataclass(frozen=True, slots=True)
class InlineExecutor:
    """The caller's process. Time and memory limits do not apply, and a crash ends the run."""

    slots: int = 1
    machine: ClassVar[None] = None

    @classmethod
    def from_options(cls, options: RunOptions, preload: tuple[str, ...] = ()) -> InlineExecutor:
        """Makes the executor; neither workers nor limits apply here."""
        return cls()

    def run(
        self,
        tasks: Iterable[T],
        fn: Callable[[T, Watch], Iterator[R]],
        on_loss: Callable[[T, WorkerFailure], Sequence[T]],
    ) -> Generator[R, None, None]:
        """See `preprocess.runtime.protocol.Executor.run`; `on_loss` is never called."""
        for task in tasks:
            yield from fn(task, _ignore)


def _ignore(item: str | None) -> None:
    """No limits apply in this process."""
