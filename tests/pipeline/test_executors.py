"""The local executor with real processes: what they report, and what a crash, a hang or a memory hog costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from preprocess.pipeline.executors import LocalExecutor, Loss, Watch, WorkerError

Task = tuple[str, ...]


def shout(task: Task, watch: Watch) -> Iterator[str]:
    """Handles items by what their name asks for."""
    for item in task:
        watch(item)
        if item.startswith("segfault"):
            os.kill(os.getpid(), signal.SIGSEGV)
        if item.startswith("exit"):
            os._exit(3)
        if item.startswith("hang"):
            time.sleep(600)
        if item.startswith("eat"):
            hog = bytearray(3 << 30)
            hog[::4096] = b"x" * len(hog[::4096])
            time.sleep(600)
        if item.startswith("raise"):
            raise OSError(28, "No space left on device", "a/file")
        yield item.upper()


@dataclass(frozen=True)
class DieBetweenItems:
    """A worker that dies before it begins, as when there is no memory for the model."""

    def __call__(self, task: Task, watch: Watch) -> Iterator[str]:
        os._exit(9)
        yield ""


class Losses(list[Loss]):
    """Notes each loss and hands back what comes after the lost item (the executor does not know the items)."""

    def __call__(self, task: Task, loss: Loss) -> Task | None:
        self.append(loss)
        return task[task.index(loss.item) + 1 :] or None


def keep_nothing(task: Task, loss: Loss) -> Task | None:
    raise AssertionError(f"nothing should be lost, got {loss}")


TASKS: list[Task] = [tuple(f"item{t}_{i}" for i in range(3)) for t in range(7)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_report_of_every_task_arrives(workers: int) -> None:
    reports = list(LocalExecutor(workers).run(TASKS, shout, keep_nothing))
    assert sorted(reports) == sorted(item.upper() for task in TASKS for item in task)


def test_more_workers_than_tasks_and_no_tasks_at_all() -> None:
    assert list(LocalExecutor(4).run([("a",)], shout, keep_nothing)) == ["A"]
    assert list(LocalExecutor(4).run([], shout, keep_nothing)) == []


@pytest.mark.parametrize(
    ("bad", "cause", "text"),
    [("segfault", "crashed", "SIGSEGV"), ("exit", "crashed", "exit code 3"), ("hang", "timeout", "0.5 s")],
)
def test_a_bad_item_costs_itself_only(bad: str, cause: str, text: str) -> None:
    losses = Losses()
    tasks = [("a", bad, "b"), ("c", "d"), (f"{bad}2",), ("e",)]
    reports = list(LocalExecutor(2, time_limit_s=0.5).run(tasks, shout, losses))
    assert sorted(reports) == ["A", "B", "C", "D", "E"]
    assert sorted(loss.item for loss in losses) == [bad, f"{bad}2"]
    assert {loss.cause for loss in losses} == {cause}
    assert all(text in loss.message for loss in losses)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="resident memory is read from /proc")
def test_an_item_that_eats_memory_is_stopped() -> None:
    losses = Losses()
    reports = list(LocalExecutor(1, memory_limit=1 << 30).run([("a", "eat", "b")], shout, losses))
    assert sorted(reports) == ["A", "B"]
    assert [(loss.item, loss.cause) for loss in losses] == [("eat", "out_of_memory")]


def echo(task: Task, watch: Watch) -> Iterator[str]:
    """Sends as much as it is sent."""
    for item in task:
        watch(item[:3])
        yield item


def test_tasks_and_reports_larger_than_a_pipe_do_not_wait_for_each_other() -> None:
    tasks: list[Task] = [tuple(f"{t}{i}" + "x" * 200_000 for i in range(8)) for t in range(6)]
    reports = sorted(LocalExecutor(2, time_limit_s=20).run(tasks, echo, keep_nothing))
    assert reports == sorted(item for task in tasks for item in task)


def test_an_exception_ends_the_run_and_keeps_its_type() -> None:
    with pytest.raises(OSError, match="No space left") as caught:
        list(LocalExecutor(2).run([("a",), ("raise",), ("b",)], shout, keep_nothing))
    assert caught.value.errno == 28


def test_workers_that_die_without_an_item_to_blame_end_the_run() -> None:
    with pytest.raises(WorkerError, match="exit code 9"):
        list(LocalExecutor(1).run([("a",)], DieBetweenItems(), keep_nothing))


def test_leaving_early_leaves_no_process_behind() -> None:
    import multiprocessing

    reports = LocalExecutor(2).run([("a", "hang")] * 4, shout, keep_nothing)
    assert next(reports) == "A"
    assert multiprocessing.active_children()
    reports.close()
    assert not multiprocessing.active_children()


PARENT = """
import sys, time
from collections.abc import Iterator
from preprocess.pipeline.executors import LocalExecutor

def sleep_on(task, watch):
    import os, time
    watch("x")
    yield os.getpid()
    time.sleep(600)

if __name__ == "__main__":
    for pid in LocalExecutor(1).run([("a",)], sleep_on, lambda task, loss: None):
        print(pid, flush=True)
"""


def test_workers_do_not_outlive_a_killed_parent(tmp_path: Path, root: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(root)}
    ) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists():
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker was still there ten seconds after its parent was killed")
