"""Limits of control groups: files as the kernel writes them, and a process that is put into a group."""

from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from preprocess.runtime import machine
from preprocess.runtime.cgroup import Limits, limits
from preprocess.runtime.options import RunOptions

GIB = 1 << 30
TREES = {
    "version 2, a pod": (
        "0::/kubepods/burstable/pod1\n",
        {
            "kubepods/memory.max": f"{8 * GIB}\n",
            "kubepods/burstable/cpu.max": "max 100000\n",
            "kubepods/burstable/pod1/cpu.max": "250000 100000\n",
            "kubepods/burstable/pod1/memory.max": "max\n",
        },
        Limits(2.5, 8 * GIB),
    ),
    "version 2, a container that sees its own group as the root": (
        "0::/\n",
        {"cpu.max": "150000 100000\n", "memory.max": f"{3 * GIB}\n"},
        Limits(1.5, 3 * GIB),
    ),
    "version 2, a group named from outside": (
        "0::/../../other\n",
        {"cpu.max": "400000 100000\n"},
        Limits(4.0, None),
    ),
    "version 1, a job": (
        "9:name=systemd:/\n4:memory:/slurm/job_7\n2:cpu,cpuacct:/slurm/job_7\n0::/\n",
        {
            "memory/memory.limit_in_bytes": "9223372036854771712\n",
            "memory/slurm/job_7/memory.limit_in_bytes": f"{5 * GIB}\n",
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/slurm/job_7/cpu.cfs_quota_us": "50000\n",
            "cpu,cpuacct/slurm/job_7/cpu.cfs_period_us": "100000\n",
        },
        Limits(0.5, 5 * GIB),
    ),
    "version 1, the path is that of the host": (
        "4:memory:/docker/0d1c7f\n",
        {"memory/memory.limit_in_bytes": f"{GIB}\n"},
        Limits(None, GIB),
    ),
    "no limits": ("0::/user.slice\n", {"user.slice/memory.max": "max\n"}, Limits()),
}


@pytest.mark.parametrize("name", TREES)
def test_the_least_limit_of_all_groups_counts(name: str, tmp_path: Path) -> None:
    groups, files, expected = TREES[name]
    (tmp_path / "groups").write_text(groups)
    for file, content in files.items():
        path = tmp_path / "mounted" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    assert limits(tmp_path / "groups", tmp_path / "mounted") == expected


def test_where_there_are_no_groups_nothing_is_limited(tmp_path: Path) -> None:
    assert limits(tmp_path / "groups", tmp_path) == Limits()


def test_workers_share_what_the_groups_allow(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = machine.usable_cores()
    monkeypatch.setattr(machine, "_limits", lambda: Limits(0.5, 5 * GIB))
    assert RunOptions().worker_count() == 1
    assert RunOptions().worker_memory() == int(5 * GIB * 0.8)
    monkeypatch.setattr(machine, "_limits", lambda: Limits(1000.0, None))
    assert RunOptions().worker_count() == cores


@contextmanager
def group(controller: str, file: str, value: int) -> Iterator[Path]:
    """A new group of version 1 with a limit."""
    folder = Path("/sys/fs/cgroup", controller, f"test-{uuid.uuid4().hex}")
    try:
        folder.mkdir()
        (folder / file).write_text(str(value))
    except OSError as error:
        with suppress(OSError):
            folder.rmdir()
        pytest.skip(f"no control group of version 1 can be made here: {error.strerror}")
    try:
        yield folder
    finally:
        folder.rmdir()


IN_GROUPS = """
import os, sys
from pathlib import Path
for group in map(Path, sys.argv[1:]):
    (group / "cgroup.procs").write_text(str(os.getpid()))
    if f"/{group.name}" not in Path("/proc/self/cgroup").read_text():
        sys.exit("another process moves this one to groups of its own")
print("moved")
from preprocess.runtime.options import RunOptions
print(RunOptions().worker_count(), RunOptions().worker_memory())
"""


def test_a_process_in_a_group_has_its_cores_and_memory(root: Path) -> None:
    with ExitStack() as made:
        groups = (
            made.enter_context(group("cpu", "cpu.cfs_quota_us", 100_000)),
            made.enter_context(group("memory", "memory.limit_in_bytes", 4 * GIB)),
        )
        line = [sys.executable, "-c", IN_GROUPS, *map(str, groups)]
        done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=280)
    if not done.stdout:
        pytest.skip(f"a process cannot be put into a control group here: {done.stderr.splitlines()[-1:]}")
    assert done.stdout.split() == ["moved", "1", str(int(4 * GIB * 0.8))], done.stderr
