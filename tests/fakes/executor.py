"""A second executor, which shares no code with the project's: a fresh process per task, the last task first.

Every task, function and report is pickled on its way, as on a cluster. Select it by
`--executor tests.fakes.executor:FreshProcessExecutor.from_options`, or register it.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch, WorkerFailure


@dataclass
class _Running:
    process: Any
    task: Any
    item: str | None = None
    since: float = 0.0


class FreshProcessExecutor:
    """Obeys `preprocess.runtime.protocol.Executor` and takes every freedom that it leaves."""

    machine = None

    def __init__(self, slots: int, time_limit_s: float, preload: tuple[str, ...]) -> None:
        self.slots = slots
        self._time_limit_s = time_limit_s
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(list(preload))

    @classmethod
    def from_options(cls, options: RunOptions, preload: tuple[str, ...]) -> FreshProcessExecutor:
        return cls(options.worker_count(), options.time_limit_s, preload)

    def run(
        self,
        tasks: Iterable[Any],
        fn: Callable[[Any, Watch], Iterator[Any]],
        on_loss: Callable[[Any, WorkerFailure], Sequence[Any]],
    ) -> Iterator[Any]:
        waiting = list(tasks)  # popped from the end
        running: dict[Connection, _Running] = {}
        try:
            while waiting or running:
                while waiting and len(running) < self.slots:
                    pipe, one = self._start(waiting.pop(), fn)
                    running[pipe] = one
                for pipe in wait(list(running), timeout=0.1):
                    assert isinstance(pipe, Connection)
                    one = running[pipe]
                    try:
                        kind, value = pickle.loads(pipe.recv_bytes())
                    except EOFError:
                        kind, value = "failure", WorkerFailure(one.item, "crashed", "the process is gone")
                    if kind == "report":
                        yield value
                    elif kind == "item":
                        one.item, one.since = value, time.monotonic()
                    elif kind == "error":
                        raise value
                    else:
                        one.process.kill()
                        one.process.join()
                        del running[pipe]
                        if kind == "failure":
                            waiting += reversed(on_loss(one.task, value))
                for pipe, one in list(running.items()):
                    if one.item and time.monotonic() - one.since > self._time_limit_s and not pipe.poll():
                        one.process.kill()
                        one.process.join()
                        del running[pipe]
                        waiting += reversed(on_loss(one.task, WorkerFailure(one.item, "timeout", "took too long")))
        finally:
            for one in running.values():
                one.process.kill()
                one.process.join()

    def _start(self, task: Any, fn: Any) -> tuple[Connection, _Running]:
        ours, theirs = self._context.Pipe(duplex=False)
        # Not a daemon: a task may start processes of its own, as one that holds a GPU does.
        process = self._context.Process(target=_run_one, args=(theirs, pickle.dumps((fn, task)), dict(os.environ)))
        process.start()
        theirs.close()
        return ours, _Running(process, task)


def _run_one(pipe: Connection, work: bytes, environment: dict[str, str]) -> None:
    os.environ.update(environment)

    def send(kind: str, value: Any) -> None:
        pipe.send_bytes(pickle.dumps((kind, value)))

    fn, task = pickle.loads(work)
    try:
        for report in fn(task, lambda item: send("item", item)):
            send("report", report)
    except Exception as error:
        send("error", error)
    else:
        send("end", None)
