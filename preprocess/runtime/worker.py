"""The life of a worker process of the local executor: takes tasks off a pipe, sends reports back."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler
from queue import SimpleQueue
from typing import Any

from preprocess.runtime.protocol import Watch


def work(pipe: Connection, fn: Callable[[Any, Watch], Iterator[Any]], environment: Mapping[str, str]) -> None:
    """Runs tasks until None arrives; sends `("item", key)`, `("report", …)`, `("end", None)` or `("error", …)`.

    Args:
        pipe: Tasks come in and messages go out.
        fn: What a task runs.
        environment: Variables of the parent now; the fork server has those of the time when it was started.
    """
    os.environ.clear()
    os.environ.update(environment)
    _die_with_parent()

    def watch(item: str | None) -> None:
        pipe.send(("item", item))

    tasks: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=_receive, args=(pipe, tasks), daemon=True).start()
    while (task := tasks.get()) is not None:
        try:
            for report in fn(task, watch):
                pipe.send(("report", report))
            pipe.send(("end", None))
        except Exception as error:  # handed to the parent, which raises it
            try:
                pipe.send(("error", portable(error)))
            except ConnectionError:  # the parent is gone
                return


def portable(error: Exception) -> Exception:
    """The error with its traceback as a note; what does not pickle becomes its text."""
    trace = "".join(traceback.format_exception(error))
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"In a worker process:\n{trace}")
    return error


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


def _die_with_parent() -> None:
    """Ends this process when the one that drives it is gone, even in the middle of a long decode."""
    driver = multiprocessing.parent_process()
    if driver is None:
        return

    def wait_for_the_end() -> None:
        driver.join()
        # Not `os._exit`, which `coverage` replaces by a function that is not safe while the main thread runs.
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_for_the_end, daemon=True).start()
