"""What an executor is: it runs tasks somewhere, hands back reports, and says which worker failed on which item.

A task is handed whole to one worker, where `fn(task, watch)` yields reports. Before an item that may fail, `fn` calls
`watch(key)`: from then on the time limit applies to that item, and a failure of the worker names it. `watch(None)`
says that the worker is between items.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

from preprocess.errors import UserError

T = TypeVar("T")
R = TypeVar("R")

Watch = Callable[[str | None], None]
"""Names the item that is worked on from now; None between items."""

Cause = Literal["crashed", "timeout", "out_of_memory"]


@dataclass(frozen=True, slots=True)
class WorkerFailure:
    """A worker that crashed or was stopped.

    Attributes:
        item: Key of the item it was working on; None when it was between items.
        cause: `crashed` (whatever the signal or exit code), or the limit for which it was stopped.
        message: What is known of it, for the ledger of rejects.
    """

    item: str | None
    cause: Cause
    message: str


@dataclass(frozen=True, slots=True)
class Machine:
    """What a slot offers that is a whole machine, or a share of one.

    Attributes:
        cores: For worker processes.
        gpus: That its process sees, as `cuda:0` and so on.
        ask: `ask(fn, *arguments)` gives what `fn` returns on such a machine.
    """

    cores: int
    gpus: int
    ask: Callable[..., Any]


class WorkerError(UserError):
    """Workers fail although no item is to blame, so that continuing would only repeat the failure."""


class Executor(Protocol):
    """Runs tasks; one that implements this protocol can be registered in `preprocess.runtime.executors`."""

    @property
    def slots(self) -> int:
        """How many tasks run at the same time."""
        ...

    @property
    def machine(self) -> Machine | None:
        """What each slot offers, where it is more than one process: `run_items` starts workers of its own there."""
        ...

    def run(
        self,
        tasks: Iterable[T],
        fn: Callable[[T, Watch], Iterator[R]],
        on_loss: Callable[[T, WorkerFailure], Sequence[T]],
    ) -> Generator[R, None, None]:
        """Yields the reports of all tasks, in any order between tasks.

        When a worker fails, the reports it had made are yielded first; then `on_loss(task, failure)` gives the tasks
        that replace the lost one. The first of them is the first task of a fresh worker. An exception that `fn` or
        `on_loss` raises ends the run and is raised here. Closing the iterator stops all workers.

        Args:
            tasks: What to run; may be read ahead of the work. Tasks, `fn` and reports must pickle.
            fn: Runs one task in a worker.
            on_loss: Called in this process.
        """
        ...
