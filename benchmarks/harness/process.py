"""One run of a command: wall time, CPU time and peak memory of its process tree, and what else used the CPU.

    used = measure(["python", "-c", "print(1)"], cwd=Path("."))
    used.wall_s, used.cpu_s, used.peak_mb, used.foreign_share      # 0.02, 0.02, 9.1, 0.0

The caller becomes the reaper of processes that outlive their parents (fork servers), so their CPU time counts too.
Memory is the sum of the proportional set sizes (PSS), sampled: shared pages count once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
SAMPLE_S = 0.25
"""Between two looks at the memory, at least."""

COST = 100
"""A look is followed by a pause of so many times what it took of a core: reading the maps of large processes takes tens
of milliseconds, and every 0.25 s that would be 8 % of two cores."""

RISE = 1.02
"""The maps are read when the resident pages, which take microseconds to read, are this many times what they were."""

GRACE_S = 5.0
"""What processes that outlive the command may take to end; then they are killed."""


@dataclass(frozen=True)
class Used:
    """What one run used. `foreign_share` is the part of all cores that others used meanwhile, from 0 to 1."""

    wall_s: float
    cpu_s: float
    peak_mb: float
    foreign_share: float
    stdout: str


class CommandFailedError(Exception):
    """The command ended with another exit code than 0; the message holds the end of what it printed."""


def measure(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str] | None = None, time_limit_s: float = 3600
) -> Used:
    """Runs a command to its end.

    Args:
        argv: Program and arguments.
        cwd: Working directory.
        env: Variables in addition to those of this process.
        time_limit_s: After that it is killed.

    Raises:
        CommandFailedError: Its exit code is not 0, or it did not end in time.
    """
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
        others = _below_this_process(set())
        busy, own, began = busy_s(), os.times(), time.perf_counter()
        process = subprocess.Popen(
            argv,
            cwd=cwd,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        with _MemoryWatch(others) as memory:
            late = threading.Event()
            alarm = threading.Timer(time_limit_s, _kill_session, (process.pid, late))
            alarm.start()
            try:
                _, status, usage = os.wait4(process.pid, 0)
            except BaseException:  # such as KeyboardInterrupt: nothing of the run goes on without this process
                _kill_session(process.pid, late)
                raise
            finally:
                alarm.cancel()
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu = usage.ru_utime + usage.ru_stime + _reap_the_rest(others)
        harness = sum(os.times()[:2]) - sum(own[:2])
        elapsed = time.perf_counter() - began
        foreign = foreign_share(busy_s() - busy, cpu + harness, elapsed, os.cpu_count() or 1)
        stdout.seek(0)
        printed = stdout.read().decode(errors="replace")
        if late.is_set():
            raise CommandFailedError(f"it did not end within {time_limit_s:g} s")
        if process.returncode != 0:
            stderr.seek(0)
            end = (stderr.read().decode(errors="replace").strip() or printed.strip())[-1500:]
            raise CommandFailedError(f"exit code {process.returncode}: {end}")
    return Used(wall, cpu, memory.peak_mb, foreign, printed)


def _kill_session(leader: int, done: threading.Event) -> None:
    done.set()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(leader, signal.SIGKILL)


def foreign_share(busy: float, own: float, wall: float, cores: int) -> float:
    """The part of all cores that went to others: busy seconds of the machine without those of the run, of 0 to 1.

    Example:
        Two cores, busy for 12 s in 10 s, 11 s of which are the run's: `foreign_share(12, 11, 10, 2) == 0.05`.
    """
    if wall <= 0 or cores < 1:
        raise ValueError(f"a run takes time on at least one core: {wall = }, {cores = }")
    return min(1.0, max(0.0, busy - own) / (wall * cores))


def busy_s(stat: str | None = None) -> float:
    """Seconds that all cores were busy since the machine started, time stolen by other machines included.

    Args:
        stat: The text of `/proc/stat`; read where it is not given.
    """
    first = (stat or Path("/proc/stat").read_text(encoding="ascii")).splitlines()[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, first[1:9])  # guests are part of user
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def tree_of(root: int, parents: Mapping[int, int]) -> set[int]:
    """A process and its descendants; `parents` maps every process to its parent."""
    found = {root}
    while more := {pid for pid, parent in parents.items() if parent in found and pid not in found}:
        found |= more
    return found


class _MemoryWatch:
    """Samples the memory of all processes below this one, without `others`, until it is left."""

    def __init__(self, others: set[int]) -> None:
        self.peak_mb = 0.0
        self._others = others
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        highest = 0
        while True:
            began = time.thread_time()
            pids = _below_this_process(self._others)
            resident = _resident_pages(pids)
            if resident > highest * RISE:
                highest = resident
                self.peak_mb = max(self.peak_mb, _memory_mb(pids))
            if self._done.wait(max(SAMPLE_S, COST * (time.thread_time() - began))):
                return


def _below_this_process(others: set[int]) -> set[int]:
    """The processes of the run: as their reaper, this process has orphans below it too."""
    return tree_of(os.getpid(), _parents()) - {os.getpid()} - others


def _parents() -> dict[int, int]:
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text(errors="replace")
            except OSError:  # ended meanwhile
                continue
            parents[int(folder.name)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def _resident_pages(pids: Iterable[int]) -> int:
    """Pages of all processes; those that they share count once for each."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # ended meanwhile
            total += int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return total


def _memory_mb(pids: Iterable[int]) -> float:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:  # ended meanwhile
            continue
        total += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
    return total / 1024


def _reap_the_rest(others: set[int]) -> float:
    """CPU seconds of the processes that outlived the command; those that do not end are killed."""
    cpu, until = 0.0, time.monotonic() + GRACE_S
    while left := _below_this_process(others):
        for pid in left:
            if time.monotonic() > until:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            try:
                ended, _, usage = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:  # the child of another
                continue
            cpu += usage.ru_utime + usage.ru_stime if ended else 0.0
        time.sleep(0.01)
    return cpu
