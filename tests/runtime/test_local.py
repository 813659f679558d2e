"""The local executor with real processes: what they report, and what a crash, a hang or a memory hog costs."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocess.runtime.local import LocalExecutor, start_fork_server
from preprocess.runtime.protocol import Watch, WorkerFailure
from tests.processes import is_alive

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


class Losses(list[WorkerFailure]):
    """Notes each failure and hands back what comes after the lost item (the executor does not know the items)."""

    def __call__(self, task: Task, failure: WorkerFailure) -> list[Task]:
        self.append(failure)
        assert failure.item is not None
        rest = task[task.index(failure.item) + 1 :]
        return [rest] if rest else []


def keep_nothing(task: Task, failure: WorkerFailure) -> list[Task]:
    raise AssertionError(f"nothing should be lost, got {failure}")


TASKS: list[Task] = [tuple(f"item{t}_{i}" for i in range(3)) for t in range(7)]


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_every_report_of_every_task_arrives(workers: int) -> None:
    reports = list(LocalExecutor(workers).run(TASKS, shout, keep_nothing))
    assert sorted(reports) == sorted(item.upper() for task in TASKS for item in task)


def test_a_second_task_is_cut_when_the_first_has_reported() -> None:
    """What the first reports tell decides how large it is; then one waits for each worker."""
    cut: list[Task] = []

    def tasks() -> Iterator[Task]:
        for task in TASKS:
            cut.append(task)
            yield task

    reports = LocalExecutor(2).run(tasks(), shout, keep_nothing)
    next(reports)
    assert len(cut) == 2
    assert len(list(reports)) == 20
    assert cut == TASKS


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


class Unpicklable(Exception):
    def __init__(self, first: str, second: str) -> None:
        super().__init__(f"{first} {second}")


def fail_unpicklably(task: Task, watch: Watch) -> Iterator[str]:
    raise Unpicklable("two", "arguments")
    yield ""


def test_an_exception_that_does_not_pickle_still_says_what_happened() -> None:
    with pytest.raises(RuntimeError, match="Unpicklable: two arguments") as caught:
        list(LocalExecutor(1).run([("a",)], fail_unpicklably, keep_nothing))
    assert "fail_unpicklably" in caught.value.__notes__[0], "the worker's traceback comes along"


def who(task: Task, watch: Watch) -> Iterator[tuple[str, int]]:
    for item in task:
        watch(item)
        if item == "slow":
            time.sleep(600)
        yield item, os.getpid()
        watch(None)


def test_what_replaces_a_lost_task_is_run_by_a_fresh_worker() -> None:
    """A worker is killed from outside in the middle of an item; what `on_loss` gives first is a new worker's first."""
    pids: dict[str, int] = {}

    def replace(task: Task, failure: WorkerFailure) -> list[Task]:
        assert failure == WorkerFailure("slow", "crashed", "the process ended with signal SIGKILL")
        return [("again",), ("rest",)]

    reports = LocalExecutor(1).run([("a", "slow"), ("b",)], who, replace)
    for item, pid in reports:
        pids[item] = pid
        if item == "a":
            time.sleep(0.2)  # let it begin the next item
            os.kill(pid, signal.SIGKILL)
    assert list(pids) == ["a", "again", "rest", "b"]
    assert pids["again"] != pids["a"]


def test_every_worker_gets_a_task_before_one_gets_two() -> None:
    pids = {pid for _, pid in LocalExecutor(2).run([("a",), ("b",)], who, keep_nothing)}
    assert len(pids) == 2


def signals_blocked(task: Task, watch: Watch) -> Iterator[bool]:
    yield signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_ctrl_c_never_reaches_a_worker() -> None:
    assert list(LocalExecutor(1).run([("a",)], signals_blocked, keep_nothing)) == [True]
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ()), "but it reaches this process"


IMPORTS_A_LOCK = """
import signal
from preprocess.runtime.local import LocalExecutor

def signals_blocked(task, watch):
    yield signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())

if __name__ == "__main__":
    print(*LocalExecutor(1, preload=("makes_a_lock",)).run([("a",)], signals_blocked, lambda task, failure: []))
"""


def test_ctrl_c_never_reaches_a_worker_whatever_it_imports(tmp_path: Path, root: Path) -> None:
    module = "import multiprocessing\nLOCK = multiprocessing.get_context('spawn').Lock()"
    (tmp_path / "makes_a_lock.py").write_text(module)
    (tmp_path / "run.py").write_text(IMPORTS_A_LOCK)
    environment = {**os.environ, "PYTHONPATH": f"{root}:{tmp_path}"}
    done = subprocess.run([sys.executable, tmp_path / "run.py"], env=environment, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_leaving_early_leaves_no_process_behind() -> None:
    import multiprocessing

    before = set(multiprocessing.active_children())  # workers that another test keeps
    reports = LocalExecutor(2).run([("a", "hang")] * 4, shout, keep_nothing)
    assert next(reports) == "A"
    assert len(set(multiprocessing.active_children()) - before) == 2
    reports.close()
    assert not set(multiprocessing.active_children()) - before


PARENT = """
import sys, time
from collections.abc import Iterator
from preprocess.runtime.local import LocalExecutor

def sleep_on(task, watch):
    import os, time
    watch("x")
    yield os.getpid()
    time.sleep(600)

if __name__ == "__main__":
    for pid in LocalExecutor(1).run([("a",)], sleep_on, lambda task, failure: []):
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
        if not is_alive(worker):
            return
        time.sleep(0.1)
    os.kill(worker, signal.SIGKILL)
    pytest.fail("the worker was still there ten seconds after its parent was killed")


IMPORTING = """
import sys
from preprocess.runtime.local import LocalExecutor

def nothing(task, watch):
    yield task

if __name__ == "__main__":
    executor = LocalExecutor(2, preload=("numpy", "preprocess.samples"))
    print("started", flush=True)
    try:
        for _ in executor.run([("a",)] * 100_000, nothing, lambda task, failure: []):
            pass
    except KeyboardInterrupt:
        sys.exit(130)
"""


@pytest.mark.parametrize("delay_s", [0.05, 0.3, 1.0])
def test_ctrl_c_while_workers_start_prints_nothing(tmp_path: Path, root: Path, delay_s: float) -> None:
    script = tmp_path / "parent.py"
    script.write_text(IMPORTING)
    with subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,  # so that the signal reaches the whole group, as Ctrl-C does, and not this process
    ) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        time.sleep(delay_s)
        os.killpg(parent.pid, signal.SIGINT)
        _, errors = parent.communicate(timeout=280)
    assert (parent.returncode, errors) == (130, "")


def name_variable(task: Task, watch: Watch) -> Iterator[str]:
    yield os.environ.get(task[0], "not set")


def test_workers_have_the_environment_of_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not that of the time when the fork server started: credentials may be set in between, as in a notebook."""
    executor = LocalExecutor(1)
    assert list(executor.run([("VED_TEST",)], name_variable, keep_nothing)) == ["not set"]
    monkeypatch.setenv("VED_TEST", "set")
    assert list(executor.run([("VED_TEST",)], name_variable, keep_nothing)) == ["set"]


def test_a_fork_server_that_is_killed_is_replaced() -> None:
    """Also at the moment when it is asked for a worker, which then never reports its number."""
    from multiprocessing import forkserver

    start_fork_server(())
    server = forkserver._forkserver._forkserver_pid
    os.kill(server, signal.SIGSTOP)  # it takes the request, and ends before it answers
    threading.Timer(0.5, os.kill, (server, signal.SIGKILL)).start()
    assert list(LocalExecutor(1).run([("a",)], shout, keep_nothing)) == ["A"]
    assert forkserver._forkserver._forkserver_pid != server
