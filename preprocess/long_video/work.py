"""Tasks of keyed items in worker processes, where an item that takes its worker down becomes a Reject."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from preprocess.errors import Reason
from preprocess.pipeline.executors import Executor, Loss, Watch
from preprocess.samples import Reject


class Keyed(Protocol):
    """Anything with a key of its own: what is worked on, and what is reported of it."""

    @property
    def key(self) -> str:
        """Unique in a run."""
        ...


Item = TypeVar("Item", bound=Keyed)
Report = TypeVar("Report", bound=Keyed)

_LOSS_REASONS: dict[str, Reason] = {
    "crashed": "decoder_crashed",
    "timeout": "timeout",
    "out_of_memory": "out_of_memory",
}


@dataclass(frozen=True, slots=True)
class Task(Generic[Item]):
    """Items that one worker deals with, in this order."""

    items: tuple[Item, ...]


def run_tasks(
    executor: Executor,
    items: Sequence[Item],
    per_task: int,
    fn: Callable[[Task[Item], Watch], Iterator[Report | Reject]],
) -> Iterator[Report | Reject]:
    """Yields a report for each item; `fn` gives one for each, and says by `watch(key)` which it works on."""
    dealt_with: set[str] = set()
    lost: list[Reject] = []

    def lose(task: Task[Item], loss: Loss) -> Task[Item] | None:
        lost.append(Reject(loss.item, "train", "decode", _LOSS_REASONS[loss.cause], loss.message))
        dealt_with.add(loss.item)
        rest = tuple(item for item in task.items if item.key not in dealt_with)
        return Task(rest) if rest else None

    tasks: Iterable[Task[Item]] = (Task(tuple(items[i : i + per_task])) for i in range(0, len(items), per_task))
    for report in executor.run(tasks, fn, lose):
        dealt_with.add(report.key)
        while lost:
            yield lost.pop()
        yield report
    yield from lost
