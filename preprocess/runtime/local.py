"""Worker processes on this machine, which may crash, hang or exceed their memory without ending the run.

for report in LocalExecutor(workers=2).run(tasks, fn, on_loss): ...
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import forkserver, resource_tracker
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, ClassVar, Generic

from preprocess import interrupts, temporary
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Cause, R, T, Watch, WorkerError, WorkerFailure
from preprocess.runtime.worker import work

_TICK_S = 0.25  # how often limits are checked
_QUEUE = 2  # tasks a worker holds: the one it works on and the next, so that it never waits for the parent
_STARTS = 5  # attempts to start a worker
_LAST_IMPORT = "preprocess.runtime.block_sigint"


@dataclass(frozen=True, slots=True)
class LocalExecutor:
    """Worker processes on this machine.

    Args:
        workers: How many.
        time_limit_s: Longest time one item may take.
        memory_limit: Bytes of resident memory one worker may hold (watched on Linux), or None.
        preload: Modules that workers find imported, so that replacing a failed one takes milliseconds.
        kept: Workers that wait for the next run; see `keeping_workers`.
    """

    machine: ClassVar[None] = None

    workers: int
    time_limit_s: float = 600.0
    memory_limit: int | None = None
    preload: tuple[str, ...] = ()
    kept: _Kept | None = None

    @classmethod
    def from_options(cls, options: RunOptions, preload: tuple[str, ...] = ()) -> LocalExecutor:
        """Makes the executor with all defaults resolved, and begins to import `preload` in the background."""
        start_fork_server(preload)
        return cls(options.worker_count(), options.time_limit_s, options.worker_memory(), preload)

    def keeping_workers(self) -> LocalExecutor:
        """The same; workers wait for the next call of `run` with the same function, with what they have loaded.

        They end with this process. Calls of `run` follow each other, each read to its end.
        """
        return dataclasses.replace(self, kept=_Kept())

    @property
    def slots(self) -> int:
        """One task per worker."""
        return self.workers

    def run(
        self,
        tasks: Iterable[T],
        fn: Callable[[T, Watch], Iterator[R]],
        on_loss: Callable[[T, WorkerFailure], Sequence[T]],
    ) -> Generator[R, None, None]:
        """See `preprocess.runtime.protocol.Executor.run`."""
        start_fork_server(self.preload)
        pool = self.kept.workers_of(fn) if self.kept else []
        yield from _Run(self, iter(tasks), fn, on_loss, pool).reports()


def start_fork_server(preload: Sequence[str]) -> None:
    """Starts the process that workers are forked from; the first call decides what it imports, in the background.

    A fork server has the libraries loaded once and is single-threaded: workers start in milliseconds, and no lock of
    another thread is copied in a locked state. It inherits a mask that blocks SIGINT, and so do its workers from their
    first instruction: Ctrl-C is handled by this process alone, also while they import.
    """
    resource_tracker.ensure_running()  # on its own: starting it resets the mask
    multiprocessing.get_context("forkserver").set_forkserver_preload([*preload, _LAST_IMPORT])
    with _signals_deferred(), temporary.passed_on():
        forkserver.ensure_running()


def _stop_fork_server() -> None:
    """Ends the fork server, which may still import, and libraries write into the temporary folder as they load."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)
    if pid is not None:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


temporary.before_removal(_stop_fork_server)


@contextlib.contextmanager
def _signals_deferred() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait until the block ends; the fork server that starts in it keeps Ctrl-C blocked."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, interrupts.SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(slots=True, eq=False)
class _Worker(Generic[T]):
    """The parent's side of one process: what it was given, and since when it works on what."""

    process: Any
    pipe: Connection
    tasks: deque[T] = field(default_factory=deque)
    item: str | None = None
    since: float = 0.0


class _Kept:
    """Workers that wait for more tasks of one function."""

    def __init__(self) -> None:
        self._fn: Any = None
        self._workers: list[_Worker[Any]] = []

    def workers_of(self, fn: Any) -> list[_Worker[Any]]:
        """The workers that run `fn`; workers of another function are ended first."""
        if self._fn is not fn:
            for worker in self._workers:
                _kill(worker)
            self._fn, self._workers = fn, []
        return self._workers


class _Run(Generic[T, R]):
    """One call of `LocalExecutor.run`: a pool, and the tasks that have yet to be handed out."""

    def __init__(
        self,
        limits: LocalExecutor,
        tasks: Iterator[T],
        fn: Callable[[T, Watch], Iterator[R]],
        on_loss: Callable[[T, WorkerFailure], Sequence[T]],
        pool: list[_Worker[T]],
    ) -> None:
        self._limits = limits
        self._tasks = tasks
        self._again: deque[T] = deque()  # what failed workers left; goes before new tasks
        self._fn = fn
        self._on_loss = on_loss
        self._next_check = 0.0
        self._context = multiprocessing.get_context("forkserver")
        self._pool = pool

    def reports(self) -> Iterator[R]:
        done = False
        try:
            self._start_workers()
            while any(worker.tasks for worker in self._pool):
                yield from self._listen()
                self._check_limits()
            done = True
        finally:
            if not done or not self._limits.kept:
                for worker in self._pool:
                    worker.process.kill()  # all at once, then wait for each
                for worker in self._pool:
                    _kill(worker)
                self._pool.clear()

    def _next_task(self) -> T | None:
        return self._again.popleft() if self._again else next(self._tasks, None)

    def _start_workers(self) -> None:
        """Fills the pool: a task for every worker comes before a second one for any."""
        while len(self._pool) < self._limits.workers and (task := self._next_task()) is not None:
            ours, theirs = self._context.Pipe()
            with temporary.passed_on():
                environment = dict(os.environ)
            process = self._context.Process(target=work, args=(theirs, self._fn, environment), daemon=True)
            _start(process)
            theirs.close()
            worker: _Worker[T] = _Worker(process, ours)
            self._pool.append(worker)
            self._hand(worker, task)
        for idle in [worker for worker in self._pool if not worker.tasks]:
            if (task := self._next_task()) is not None:
                self._hand(idle, task)

    def _hand(self, worker: _Worker[T], task: T) -> None:
        worker.tasks.append(task)
        with contextlib.suppress(OSError):  # it has just died, which `_listen` is about to see: its tasks are kept
            worker.pipe.send(task)

    def _fill(self, worker: _Worker[T]) -> None:
        while len(worker.tasks) < _QUEUE and (task := self._next_task()) is not None:
            self._hand(worker, task)

    def _listen(self) -> Iterator[R]:
        by_handle: dict[Any, _Worker[T]] = {worker.pipe: worker for worker in self._pool}
        for handle in wait(list(by_handle), timeout=_TICK_S):
            worker = by_handle[handle]
            try:
                kind, value = worker.pipe.recv()
            except (EOFError, OSError):  # everything it had sent has been read by now
                self._lost(worker, "crashed", f"the process ended with {_exit_text(worker)}")
                continue
            if kind == "item":
                worker.item, worker.since = value, time.monotonic()
            elif kind == "report":
                yield value
                self._fill(worker)  # not before the first report: it tells how large the next task should be
            elif kind == "end":
                worker.tasks.popleft()
                worker.item = None
                self._fill(worker)
                if not worker.tasks and not self._limits.kept:
                    _dismiss(worker)
                    self._pool.remove(worker)
            else:
                raise value

    def _check_limits(self) -> None:
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + _TICK_S
        for worker in list(self._pool):
            if worker.item is None or worker.pipe.poll():  # what waits in the pipe may say that the item is done
                continue
            if now - worker.since > self._limits.time_limit_s:
                self._lost(worker, "timeout", f"not done after {self._limits.time_limit_s:g} s")
            elif self._limits.memory_limit is not None and _resident(worker.process.pid) > self._limits.memory_limit:
                gigabytes = self._limits.memory_limit / 1e9
                self._lost(worker, "out_of_memory", f"more than {gigabytes:.1f} GB in one process")

    def _lost(self, worker: _Worker[T], cause: Cause, message: str) -> None:
        self._pool.remove(worker)
        _kill(worker)
        if not worker.tasks:  # it was kept for more, and has lost nothing
            return
        current, *waiting = worker.tasks
        replacements = self._on_loss(current, WorkerFailure(worker.item, cause, message))
        self._again.extendleft(reversed([*replacements, *waiting]))
        self._start_workers()  # the first replacement goes to the fresh worker


def _start(process: Any) -> None:
    """Starts a process; if the fork server is killed meanwhile, with a new one."""
    for left in reversed(range(_STARTS)):
        try:
            with _signals_deferred():  # half a start leaves a worker that reports an end of file
                process.start()
            return
        except (EOFError, ConnectionError, FileNotFoundError) as error:
            if not left:
                raise WorkerError(
                    f"worker processes cannot be started, as their server ends each time ({type(error).__name__})",
                    "Check that there is enough memory, or use --executor inline.",
                ) from error
            time.sleep(_TICK_S)


def _dismiss(worker: _Worker[Any]) -> None:
    """Lets a worker without tasks end."""
    with contextlib.suppress(OSError):  # it was killed after its last report
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
    """Resident bytes of a process; 0 where /proc is not available."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except (OSError, IndexError):
        return 0
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
