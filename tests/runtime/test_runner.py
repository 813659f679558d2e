"""Keyed items on executors: every item gets one report, and blame falls on an item only when it fails alone."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import UnknownNameError, UserError
from preprocess.runtime.executors import find_executor, make_executor, register_executor
from preprocess.runtime.inline import InlineExecutor
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch, WorkerError
from preprocess.runtime.runner import OnMachine, Task, cut, run_items
from preprocess.samples import Reject
from tests.fakes.executor import FreshProcessExecutor
from tests.runtime.items import Item

ELSEWHERE = "tests.fakes.executor:FreshProcessExecutor.from_options"


@dataclass(frozen=True)
class Done:
    key: str
    pid: int
    alone: bool


@dataclass(frozen=True)
class Counted:
    key: str
    rows: int


@dataclass(frozen=True)
class Work:
    """Handles items by what their name asks for; `folder` remembers across processes how often each was begun."""

    folder: Path

    def __call__(self, task: Task[Item], watch: Watch) -> Iterator[Done]:
        for item in task.items:
            watch(item.key)
            with (self.folder / item.key).open("a") as log:
                print("begun", file=log)
            first = self.begun(item.key) == 1
            if "crash" in item.key or ("unlucky" in item.key and first):
                os.kill(os.getpid(), signal.SIGKILL)
            if "hang" in item.key:
                time.sleep(600)
            watch(None)
            if "between" in item.key:
                os._exit(9)
            yield Done(item.key, os.getpid(), len(task.items) == 1)

    def begun(self, key: str) -> int:
        return (self.folder / key).read_text().count("begun")


def run(folder: Path, keys: list[str], **options: object) -> dict[str, Done | Reject]:
    wanted = RunOptions(**{"workers": 2, "time_limit_s": 5.0, **options})  # type: ignore[arg-type]
    reports = list(run_items([Item(key) for key in keys], Work(folder), wanted, per_task=4))
    assert sorted(report.key for report in reports) == sorted(keys), "one report of each item"
    return {report.key: report for report in reports}


@pytest.mark.parametrize("executor", ["local", ELSEWHERE])
def test_a_worker_killed_from_outside_costs_nothing(tmp_path: Path, executor: str) -> None:
    keys = ["a", "unlucky1", "b", "c", "unlucky2", "d"]
    reports = run(tmp_path, keys, executor=executor, workers=1)  # tasks of four
    assert not [report for report in reports.values() if isinstance(report, Reject)]
    for key in ("unlucky1", "unlucky2"):
        again = reports[key]
        assert isinstance(again, Done)
        assert again.alone, "it was tried again in a task of its own"
        assert Work(tmp_path).begun(key) == 2


@pytest.mark.parametrize("executor", ["local", ELSEWHERE])
def test_an_item_is_rejected_when_it_fails_twice_or_takes_too_long(tmp_path: Path, executor: str) -> None:
    reports = run(tmp_path, ["a", "crash", "b", "hang", "c"], executor=executor, time_limit_s=1.0, workers=1)
    rejects = {key: report for key, report in reports.items() if isinstance(report, Reject)}
    assert {key: (one.reason, one.stage, one.split) for key, one in rejects.items()} == {
        "crash": ("decoder_crashed", "decode", "val"),
        "hang": ("timeout", "decode", "val"),
    }
    assert (Work(tmp_path).begun("crash"), Work(tmp_path).begun("hang")) == (2, 1)
    assert all(Work(tmp_path).begun(key) <= 2 for key in "abc"), "only what was not finished is begun again"


def test_workers_that_keep_dying_between_items_end_the_run(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match=r"exit code 9.*3 times without progress. Check that there is enough memory"):
        run(tmp_path, ["between"], workers=1)


def test_deaths_are_counted_anew_after_progress(tmp_path: Path) -> None:
    """Five workers die between items, but each after a report: that is progress, not a loop."""
    items = [Item(f"k{i}") for i in range(6)]
    reports = list(run_items(items, OneReportThenDeath(), RunOptions(workers=1), per_task=6))
    assert Counter(report.key for report in reports) == {item.key: 1 for item in items}


@dataclass(frozen=True)
class OneReportThenDeath:
    def __call__(self, task: Task[Item], watch: Watch) -> Iterator[Done]:
        yield Done(task.items[0].key, os.getpid(), False)
        if len(task.items) > 1:
            os._exit(1)


class Forgetful(InlineExecutor):
    """Runs each task twice, as a cluster may that lost sight of a node; or, when told so, the first one only."""

    def run(self, tasks, fn, on_loss):  # type: ignore[no-untyped-def]
        for task in tasks:
            yield from fn(task, lambda key: None)
            yield from fn(task, lambda key: None)


class Lazy(InlineExecutor):
    def run(self, tasks, fn, on_loss):  # type: ignore[no-untyped-def]
        yield from fn(next(iter(tasks)), lambda key: None)


def test_a_report_that_comes_twice_counts_once_and_a_missing_one_is_noticed(tmp_path: Path) -> None:
    register_executor("forgetful", lambda options, preload: Forgetful())
    register_executor("lazy", lambda options, preload: Lazy())
    assert len(run(tmp_path, list("abcdef"), executor="forgetful")) == 6
    with pytest.raises(RuntimeError, match="Lazy ended with reports of 4 of 6 items"):
        run(tmp_path, list("abcdef"), executor="lazy")


def test_inline_runs_here(tmp_path: Path) -> None:
    reports = run(tmp_path, ["a", "b"], executor="inline")
    assert {report.pid for report in reports.values() if isinstance(report, Done)} == {os.getpid()}


@given(st.integers(0, 300), st.integers(1, 40), st.integers(1, 40))
def test_tasks_hold_every_item_once_in_order_and_shrink(n: int, slots: int, per_task: int) -> None:
    tasks = list(cut(range(n), slots, per_task))  # type: ignore[type-var]
    assert [item for task in tasks for item in task.items] == list(range(n))
    assert [task.index for task in tasks] == list(range(len(tasks)))
    sizes = [len(task.items) for task in tasks]
    assert all(1 <= size <= per_task for size in sizes)
    assert sizes == sorted(sizes, reverse=True)
    if slots > 1 and n >= 2 * slots:
        assert sizes[-1] == 1, "the last task cannot keep one worker busy for long"


def test_tasks_are_cut_by_what_is_left() -> None:
    """Each takes a share of 1 / (2 · slots), so that slots that are slower still get one more in the end."""
    items = [Item(str(i)) for i in range(40)]
    sizes = {slots: [len(task.items) for task in cut(items, slots, 8)] for slots in (1, 2, 4)}
    assert sizes == {
        1: [8, 8, 8, 8, 8],
        2: [8, 8, 6, 5, 4, 3, 2, 1, 1, 1, 1],
        4: [5, 5, 4, 4, 3, 3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1],
    }
    for count in range(12):  # also where fewer are left than a task has at least
        tasks = list(itertools.islice(cut(items[:count], 2, 8, lambda share: max(share, 5)), 20))
        assert [item for task in tasks for item in task.items] == items[:count]
        assert all(task.items for task in tasks)
        assert all(len(task.items) >= 5 for task in tasks[:-1])


def test_tasks_hold_what_fills_batches() -> None:
    """As far as the reports tell: ten rows an item, so three fit into a batch of 32, sixteen into five."""
    sizes: list[int] = []

    def ten_rows(task: Task[Item], watch: Watch) -> Iterator[Counted]:
        sizes.append(len(task.items))
        for item in task.items:
            yield Counted(item.key, 10)

    register_executor("two slots", lambda options, preload=(): InlineExecutor(slots=2))
    items = [Item(str(i)) for i in range(100)]
    options = RunOptions(executor="two slots")
    assert len(list(run_items(items, ten_rows, options, per_task=50, counted="rows", fill=32))) == 100
    assert sizes[0] == 25, "by what is left"
    assert sizes[1:] == [16, 15, 9, 9, 6, 3, 3, 3, 3, 3, 3, 2]
    sizes.clear()
    assert len(list(run_items(items, ten_rows, options, per_task=50, counted="rows"))) == 100
    assert min(sizes) == 1


@dataclass(frozen=True)
class TenRows:
    """Ten rows an item; notes in `folder` how many items each task holds."""

    folder: Path

    def __call__(self, task: Task[Item], watch: Watch) -> Iterator[Counted]:
        with (self.folder / "sizes").open("a") as log:
            print(len(task.items), file=log)
        for item in task.items:
            yield Counted(item.key, 10)


@pytest.mark.parametrize(("fill", "least"), [(32, 3), (0, 1)])
def test_a_machine_of_a_cluster_fills_batches_too(tmp_path: Path, fill: int, least: int) -> None:
    """It cuts what it is handed into tasks of its own."""
    machine = OnMachine(TenRows(tmp_path), RunOptions(workers=2), 50, fill=fill, counted="rows")
    items = tuple(Item(str(i)) for i in range(100))
    assert len(list(machine(Task(0, items), lambda key: None))) == 100
    sizes = sorted(map(int, (tmp_path / "sizes").read_text().split()))
    assert sum(sizes) == 100
    assert sizes[1] == least, "the last task of all may hold fewer"


# --- choosing an executor, and the options ----------------------------------------------------------------------------


def test_executors_are_chosen_by_name() -> None:
    assert isinstance(make_executor(RunOptions(executor="inline")), InlineExecutor)
    assert isinstance(make_executor(RunOptions(executor=ELSEWHERE)), FreshProcessExecutor)
    with pytest.raises(UnknownNameError, match=r"unknown executor 'locl'. Did you mean 'local'"):
        find_executor("locl")
    for name in ("no_such_module:make", "preprocess.errors:no_such_name", ":x"):
        with pytest.raises(UserError, match="cannot be loaded"):
            find_executor(name)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers must be 1 to 4,096, got 0"),
        ({"workers": 10**9}, "got 1000000000"),
        ({"batch_size": 10**9}, "batch size must be 1 to 65,536, got 1000000000"),
        ({"batch_size": 0}, "got 0"),
        ({"time_limit_s": 0.0}, "time limit must be a number of seconds above 0, got 0.0"),
        ({"time_limit_s": -1.0}, "got -1.0"),
        ({"time_limit_s": float("nan")}, "got nan"),
        ({"memory_limit": 1_000_000}, "at least 0.064 GB per worker, got 0.001 GB"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, float], message: str) -> None:
    with pytest.raises(UserError, match=message):
        RunOptions(**options)  # type: ignore[arg-type]


def test_defaults_are_resolved() -> None:
    assert RunOptions().worker_count() >= 1
    assert RunOptions(workers=3).worker_count() == 3
    assert RunOptions(workers=3, memory_limit=10**9).worker_memory() == 10**9
    assert RunOptions(workers=1).worker_memory() >= RunOptions(workers=2).worker_memory() >= 2 << 30


@pytest.mark.parametrize(
    ("given", "share"),
    [
        ({"SLURM_MEM_PER_NODE": "4000"}, 3_355_443_200),
        ({"SLURM_MEM_PER_CPU": "1000", "SLURM_CPUS_ON_NODE": "4"}, 3_355_443_200),
        ({"SLURM_MEM_PER_NODE": "100"}, 2 << 30),
        ({"SLURM_MEM_PER_NODE": str(10**9)}, None),
        ({"SLURM_MEM_PER_NODE": "0"}, None),
        ({"SLURM_MEM_PER_CPU": "1000"}, None),
        ({"SLURM_CPUS_ON_NODE": "4"}, None),
        ({"SLURM_MEM_PER_NODE": "UNLIMITED"}, None),
    ],
)
def test_workers_share_the_memory_of_their_slurm_job(
    given: dict[str, str], share: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_MEM_PER_NODE", "SLURM_MEM_PER_CPU", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    of_machine = RunOptions(workers=1).worker_memory()
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert RunOptions(workers=1).worker_memory() == (share or of_machine)
