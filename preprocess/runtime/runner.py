"""Runs keyed items in tasks on an executor; an item that takes its worker down becomes a Reject.

    for report in run_items(samples, EncodeSamples(settings), RunOptions(workers=8)):
        ...                                                     # one report or Reject per sample, in any order

Blame: a worker that crashes or runs out of memory may have been killed from outside, so the item that it worked on is
tried again, alone in a fresh worker. Only when that worker fails too is the item rejected. A timeout rejects at once.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from preprocess.console import progress, waiting
from preprocess.errors import Reason
from preprocess.runtime.executors import make_executor
from preprocess.runtime.local import LocalExecutor
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Cause, Executor, Watch, WorkerError, WorkerFailure
from preprocess.samples import Reject, Split

PER_TASK = 32
"""Largest task: enough items to fill batches across videos, few enough to lose little with a worker."""

_FITTED = 0.5  # share of its items that a task has at least when it is cut to fill batches
_TASKS_PER_CORE = 4  # that an actor of a cluster is handed at once, so that few messages keep all of its cores at work
_MAX_DEATHS = 3  # per slot: failures in a row without a report and without an item to blame
_REASONS: dict[Cause, Reason] = {"crashed": "decoder_crashed", "timeout": "timeout", "out_of_memory": "out_of_memory"}


class Keyed(Protocol):
    """A report about an item."""

    @property
    def key(self) -> str:
        """Key of the item."""
        ...


class KeyedItem(Keyed, Protocol):
    """What is worked on; its key is unique in a run."""

    @property
    def split(self) -> Split:
        """For the Reject, should there be one."""
        ...


Item = TypeVar("Item", bound=KeyedItem)
Report = TypeVar("Report", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Task(Generic[Item]):
    """The unit of work: items that one worker processes in this order."""

    index: int
    items: tuple[Item, ...]


def run_items(
    items: Sequence[Item],
    fn: Callable[[Task[Item], Watch], Iterator[Report | Reject]],
    options: RunOptions,
    *,
    per_task: int = PER_TASK,
    preload: tuple[str, ...] = (),
    description: str | None = None,
    waiting_for: str = "starting workers",
    unit: str = " items",
    counted: str | None = None,
    fill: int = 0,
    direct: bool = False,
) -> Generator[Report | Reject, None, None]:
    """Yields one report or Reject per item, in any order.

    Args:
        items: With unique keys. They are read once, a task at a time, and only those of tasks at work are held.
        fn: Yields one report for each item of a task, and names by `watch(key)` the item it works on.
        options: The executor, workers and limits.
        per_task: Items in a task at most.
        preload: Modules that workers should have imported.
        description: Of the progress bar; None for no bar.
        waiting_for: What happens before the first report; shown until then, in place of the bar.
        unit: Of the items in the progress bar.
        counted: Attribute of the reports that is summed for a second rate, such as `frames`.
        fill: How much of `counted` is worked on together: of rows, those of a batch. A batch that is not full takes as
            long as one that is, so a task holds what fills batches, as far as the reports tell.
        direct: Whether an actor of a cluster runs `fn` itself, a task of `per_task` items at a time, and starts no
            worker processes: `fn` starts its own, or the work is of one core and decodes nothing.

    Raises:
        UserError: The executor is unknown, or workers fail without an item to blame (`WorkerError`).
    """
    executor = make_executor(options, preload)
    size = _TaskSize(fill, counted)
    if executor.machine is not None and not direct:
        fn = OnMachine(fn, options, per_task, preload, fill, counted)
        size.least = options.workers or executor.machine.cores
        per_task *= _TASKS_PER_CORE * size.least
    began = time.monotonic()
    reports = _tracked(executor, cut(items, executor.slots, per_task, size.of), fn, len(items))
    shown = description is not None
    with closing(reports), ExitStack() as line:
        with waiting(waiting_for, shown=shown):
            first = list(itertools.islice(reports, 1))
        bar = line.enter_context(progress(len(items), unit, description or "", shown=shown))
        for report in itertools.chain(first, reports):
            bar.update()
            size.add(report)
            if counted is not None:
                rate = size.total / max(time.monotonic() - began, 1e-9)
                bar.set_postfix_str(f"{rate:.0f} {counted}/s", refresh=False)
            yield report


@dataclass(slots=True)
class _TaskSize:
    """How many items a task holds, by what the reports tell of those before.

    Attributes:
        fill: How much of `counted` fills a batch; see `run_items`.
        counted: Attribute of the reports.
        least: Items in any case.
        reported: How many reports there were.
        total: Their sum of `counted`.
    """

    fill: int
    counted: str | None
    least: int = 1
    reported: int = 0
    total: int = 0

    def add(self, report: object) -> None:
        """Notes a report; a Reject counts nothing."""
        self.reported += 1
        if self.counted is not None:
            self.total += getattr(report, self.counted, 0)

    def of(self, share: int) -> int:
        """The size of a task that is to hold `share` items: about as many, that fill one batch or several.

        Each is taken to count as much as those that were reported did on average.
        """
        if not self.total or not self.fill:
            return max(self.least, share)
        each = self.total / self.reported
        wanted = max(self.least, share, int(self.fill / each))

        def fullness(items: int) -> tuple[float, int]:
            batches = math.ceil(items * each / self.fill)
            return items * each / (batches * self.fill), items

        return max(range(max(self.least, math.ceil(wanted * _FITTED)), wanted + 1), key=fullness)


def _tracked(
    executor: Executor,
    tasks: Iterator[Task[Item]],
    fn: Callable[[Task[Item], Watch], Iterator[Report | Reject]],
    count: int,
) -> Generator[Report | Reject, None, None]:
    """Yields one report or Reject of each of the `count` items in the tasks."""
    tracker: _Tracker[Item] = _Tracker(_MAX_DEATHS * executor.slots)
    with closing(executor.run(tracker.begin(tasks), fn, tracker.on_loss)) as reports:
        for report in reports:
            yield from tracker.take_rejects()
            if tracker.finish(report.key):  # an executor that lost sight of a worker may have run its task again
                yield report
        yield from tracker.take_rejects()
    if tracker.finished != count:
        name = type(executor).__name__
        raise RuntimeError(f"{name} ended with reports of {tracker.finished} of {count} items")


@dataclass(frozen=True, slots=True)
class OnMachine(Generic[Item, Report]):
    """What a slot runs that is a machine: the items of a task, cut into smaller tasks, in worker processes there.

    Blame, limits and restarts of workers are those of the local executor, so a machine that fails is all that the
    process which holds the run has to see.

    Attributes:
        fn: What the workers run.
        options: `workers` and `memory_limit` may be left to the machine.
        per_task: Items in one of the smaller tasks at most.
        preload: Modules that workers should have imported.
        fill, counted: As of `run_items`, for the smaller tasks.
    """

    fn: Callable[[Task[Item], Watch], Iterator[Report | Reject]]
    options: RunOptions
    per_task: int
    preload: tuple[str, ...] = ()
    fill: int = 0
    counted: str | None = None

    def __call__(self, task: Task[Item], watch: Watch) -> Iterator[Report | Reject]:
        """Yields a report or Reject for each item."""
        executor = _workers_here(self.options, self.preload)
        size = _TaskSize(self.fill, self.counted)
        tasks = cut(task.items, executor.slots, self.per_task, size.of)
        for report in _tracked(executor, tasks, self.fn, len(task.items)):
            size.add(report)
            yield report


@functools.cache
def _workers_here(options: RunOptions, preload: tuple[str, ...]) -> LocalExecutor:
    """Workers of this process, which load a model once for all tasks that the process is handed."""
    return LocalExecutor.from_options(options, preload).keeping_workers()


def cut(
    items: Sequence[Item], slots: int, per_task: int = PER_TASK, size_of: Callable[[int], int] = int
) -> Iterator[Task[Item]]:
    """Cuts items into tasks sized by what is left (guided self-scheduling), so that no slot is idle at the end.

    A task holds 1 / (2 · slots) of the remaining items, or as many as `size_of` makes of that number, and `per_task` at
    most. With one slot there is nothing to balance, and every task is as large as allowed.

    Examples:
        >>> [len(task.items) for task in cut(range(40), slots=2, per_task=8)]
        [8, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1]
    """
    index = first = 0
    while left := len(items) - first:
        share = min(per_task, left if slots == 1 else -(-left // (2 * slots)))
        size = min(per_task, left, size_of(share))
        yield Task(index, tuple(items[first : first + size]))
        index, first = index + 1, first + size


class _Tracker(Generic[Item]):
    """Tracks the items of tasks that are at work, and those of them on which a worker has failed once.

    Attributes:
        finished: How many items are finished.
    """

    def __init__(self, max_deaths: int) -> None:
        self.finished = 0
        self._open: set[str] = set()  # begun and not finished: a few tasks, however many items a run has
        self._suspects: set[str] = set()
        self._rejects: list[Reject] = []
        self._max_deaths = max_deaths
        self._deaths = 0  # in a row, without progress and without an item to blame

    def begin(self, tasks: Iterable[Task[Item]]) -> Iterator[Task[Item]]:
        """The tasks, whose items are tracked from then on."""
        for task in tasks:
            self._open.update(item.key for item in task.items)
            yield task

    def finish(self, key: str) -> bool:
        """Notes a report; False when the item was finished before."""
        self._deaths = 0
        if key not in self._open:
            return False
        self._open.remove(key)
        self.finished += 1
        return True

    def take_rejects(self) -> list[Reject]:
        """The rejects since the last call."""
        rejects, self._rejects = self._rejects, []
        return rejects

    def on_loss(self, task: Task[Item], failure: WorkerFailure) -> list[Task[Item]]:
        """The tasks that replace one whose worker failed: the item to blame, alone, and the other unfinished ones."""
        unfinished = [item for item in task.items if item.key in self._open]
        blamed = next((item for item in unfinished if item.key == failure.item), None)
        if blamed is None:
            self._count_death(failure)
        else:
            unfinished.remove(blamed)
            if self._may_try_again(blamed, failure):
                return [Task(task.index, tuple(items)) for items in ([blamed], unfinished) if items]
        return [Task(task.index, tuple(unfinished))] if unfinished else []

    def _may_try_again(self, item: Item, failure: WorkerFailure) -> bool:
        """Whether an item gets another worker; if not, it is rejected."""
        if failure.cause != "timeout" and item.key not in self._suspects:
            self._suspects.add(item.key)
            return True
        self._open.remove(item.key)
        self.finished += 1
        self._rejects.append(Reject(item.key, item.split, "decode", _REASONS[failure.cause], failure.message))
        return False

    def _count_death(self, failure: WorkerFailure) -> None:
        self._deaths += 1
        if self._deaths >= self._max_deaths:
            raise WorkerError(
                f"workers keep failing between items ({failure.message}), {self._deaths} times without progress",
                "Check that there is enough memory for the model, or use fewer --workers.",
            )
