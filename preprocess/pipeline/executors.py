"""Runs tasks in worker processes that may crash, hang or eat memory; knows nothing of video.

A task is handed whole to one worker, where `fn(task, watch)` yields reports as it goes. Before each item that may go
wrong, `fn` calls `watch(name)`: from then on the item has its time limit, and if the worker dies the item is to blame.
`on_loss(task, loss)` is then asked what is left of the task.

    for report in LocalExecutor(workers=2).run(chunks, EncodeChunk(...), on_loss): ...
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Generic, Literal, Protocol, TypeVar

from preprocess.errors import EmbeddingDatasetError

Task = TypeVar("Task")
Report = TypeVar("Report")
Watch = Callable[[str | None], None]
"""Names the item that is worked on from now; None when the worker is between items."""

_TICK_S = 0.25  # how often limits are looked at
_QUEUE = 2  # tasks a worker holds: the one it works on and the next, so that it never waits for the parent
_BLAMELESS_DEATHS = 3  # a task whose worker dies between items is tried this often


@dataclass(frozen=True, slots=True)
class Loss:
    """A worker that was lost, and the item it was working on."""

    item: str
    cause: Literal["crashed", "timeout", "out_of_memory"]
    message: str


class WorkerError(EmbeddingDatasetError):
    """Workers die although no item is to blame, so that going on would only repeat it."""


class Executor(Protocol):
    """Where tasks run. Reports come as they are made, in no fixed order between tasks."""

    def run(
        self,
        tasks: Iterable[Task],
        fn: Callable[[Task, Watch], Iterator[Report]],
        on_loss: Callable[[Task, Loss], Task | None],
    ) -> Iterator[Report]:
        """Yields every report of every task; calls `on_loss` for each item that took its worker down."""
        ...


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Worker processes on this machine.

    Args:
        workers: How many.
        time_limit_s: Longest time one item may take.
        memory_limit: Bytes of resident memory one worker may hold (watched on Linux), or None.
        preload: Modules that workers find imported, so that replacing a lost one takes milliseconds.
    """

    workers: int
    time_limit_s: float = 600.0
    memory_limit: int | None = None
    preload: tuple[str, ...] = ()

    def warm_up(self) -> None:
        """Begins to import `preload` in the background, while this process does other things."""
        multiprocessing.get_context("forkserver").set_forkserver_preload(list(self.preload))
        forkserver.ensure_running()

    def run(
        self,
        tasks: Iterable[Task],
        fn: Callable[[Task, Watch], Iterator[Report]],
        on_loss: Callable[[Task, Loss], Task | None],
    ) -> Iterator[Report]:
        """See `Executor.run`. An exception that `fn` raises ends the run and is raised here."""
        self.warm_up()
        yield from _Run(self, iter(tasks), fn, on_loss).reports()


@dataclass(slots=True)
class _Worker(Generic[Task]):
    """The parent's side of one process: what it was given, and since when it works on what."""

    process: Any
    pipe: Connection
    tasks: deque[Task] = field(default_factory=deque)
    item: str | None = None
    since: float = 0.0


class _Run(Generic[Task, Report]):
    """One call of `LocalExecutor.run`: a pool, and the tasks that have yet to be handed out."""

    def __init__(
        self,
        limits: LocalExecutor,
        tasks: Iterator[Task],
        fn: Callable[[Task, Watch], Iterator[Report]],
        on_loss: Callable[[Task, Loss], Task | None],
    ) -> None:
        self._limits = limits
        self._tasks = tasks
        self._again: deque[Task] = deque()  # what dead workers left; goes before new tasks
        self._fn = fn
        self._on_loss = on_loss
        self._blameless = 0
        self._next_look = 0.0
        # A fork server has the libraries loaded once and is single-threaded: workers start in milliseconds, and no lock
        # of another thread is copied in a locked state.
        self._context = multiprocessing.get_context("forkserver")
        self._pool: list[_Worker[Task]] = []

    def reports(self) -> Iterator[Report]:
        try:
            for _ in range(self._limits.workers):
                if (task := self._next_task()) is None:
                    break
                self._hire(task)
            while self._pool:
                yield from self._listen()
                self._look_at_limits()
        finally:
            for worker in self._pool:
                _kill(worker)

    def _next_task(self) -> Task | None:
        return self._again.popleft() if self._again else next(self._tasks, None)

    def _hire(self, task: Task) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_work, args=(theirs, self._fn), daemon=True)
        process.start()
        theirs.close()
        worker: _Worker[Task] = _Worker(process, ours)
        self._pool.append(worker)
        self._hand(worker, task)
        self._fill(worker)

    def _hand(self, worker: _Worker[Task], task: Task) -> None:
        worker.tasks.append(task)
        worker.pipe.send(task)

    def _fill(self, worker: _Worker[Task]) -> None:
        while len(worker.tasks) < _QUEUE and (task := self._next_task()) is not None:
            self._hand(worker, task)

    def _listen(self) -> Iterator[Report]:
        by_handle: dict[Any, _Worker[Task]] = {w.pipe: w for w in self._pool}
        for handle in wait(list(by_handle), timeout=_TICK_S):
            worker = by_handle[handle]
            try:
                kind, value = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker, "crashed", f"the process ended with {_exit_text(worker)}")
                continue
            if kind == "item":
                worker.item, worker.since = value, time.monotonic()
            elif kind == "report":
                yield value
            elif kind == "end":
                worker.tasks.popleft()
                worker.item = None
                self._blameless = 0
                self._fill(worker)
                if not worker.tasks:
                    _dismiss(worker)
                    self._pool.remove(worker)
            else:
                raise value

    def _look_at_limits(self) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _TICK_S
        for worker in list(self._pool):
            if worker.item is None or worker.pipe.poll():  # what waits in the pipe may say that the item is done
                continue
            if now - worker.since > self._limits.time_limit_s:
                self._lost(worker, "timeout", f"not done after {self._limits.time_limit_s:g} s")
            elif self._limits.memory_limit is not None and _resident(worker.process.pid) > self._limits.memory_limit:
                gigabytes = self._limits.memory_limit / 1e9
                self._lost(worker, "out_of_memory", f"more than {gigabytes:.1f} GB in one process")

    def _lost(self, worker: _Worker[Task], cause: Literal["crashed", "timeout", "out_of_memory"], message: str) -> None:
        self._pool.remove(worker)
        _kill(worker)
        current, *waiting = worker.tasks
        if worker.item is None:
            self._blameless += 1
            if self._blameless >= _BLAMELESS_DEATHS:
                raise WorkerError(f"workers die before they begin ({message}); is there enough memory for the model?")
            rest: Task | None = current
        else:
            rest = self._on_loss(current, Loss(worker.item, cause, message))
        self._again.extend([*([] if rest is None else [rest]), *waiting])
        if (task := self._next_task()) is not None:
            self._hire(task)


def _work(pipe: Connection, fn: Callable[[Any, Watch], Iterator[Any]]) -> None:
    """The life of a worker process. Ctrl-C is the parent's business; its death is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()

    def watch(item: str | None) -> None:
        pipe.send(("item", item))

    tasks: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks), daemon=True).start()
    while (task := tasks.get()) is not None:
        try:
            for report in fn(task, watch):
                pipe.send(("report", report))
            pipe.send(("end", None))
        except (BrokenPipeError, ConnectionError):
            return
        except Exception as error:  # handed to the parent, which raises it
            pipe.send(("error", error))


def _receive(pipe: Connection, tasks: SimpleQueue[Any]) -> None:
    """Takes tasks off the pipe at once: were they left there, parent and worker could both wait to be read."""
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            task = None
        tasks.put(task)
        if task is None:
            return


def die_with_parent() -> None:
    """Ends this process when the one that drives it is gone, even in the middle of a long decode."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return

    def wait_for_the_end() -> None:
        driver.join()
        os._exit(1)

    threading.Thread(target=wait_for_the_end, daemon=True).start()


def _dismiss(worker: _Worker[Any]) -> None:
    worker.pipe.send(None)
    worker.process.join(5)
    _kill(worker)


def _kill(worker: _Worker[Any]) -> None:
    if worker.process.is_alive():
        worker.process.kill()
    worker.process.join()
    worker.pipe.close()


def _exit_text(worker: _Worker[Any]) -> str:
    worker.process.join(1)
    code = worker.process.exitcode
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def _resident(pid: int) -> int:
    """Resident bytes of a process; 0 where /proc does not say."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
