"""Starts a command, kills it at a moment of its work, waits for its processes, and looks at what is left.

    step = Step("encode", command, prepare)
    calm = undisturbed(step, folder)                       # how much it computes, and the files it ends with
    kill_and_finish(step, calm, kills, folder)             # killed after each other, then run to its end: the same

A moment is a share of the processor time that the undisturbed run takes, over all of its processes: that is where the
run is in its work, however busy the machine is.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tests.processes import children, is_alive, stat

ROOT = Path(__file__).resolve().parent.parent.parent
SHARED_MEMORY = Path("/dev/shm")
INTERRUPTED = "interrupted. Run the same command again to continue: finished work is kept.\n"
GONE_WITHIN_S = 30.0
ABOUT_THE_RUN = {"build_report.json", ".lock"}
"""Files with clock times, and locks."""

Target = Literal["tree", "parent", "worker", "helper"]
TARGETS: tuple[Target, ...] = ("tree", "parent", "worker")
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Kill:
    """What receives which signal, and when: as a share of the undisturbed run's processor time."""

    target: Target
    number: signal.Signals
    share: float

    @property
    def leaves_temporary_files(self) -> bool:
        """Nobody is left to remove them; the next run does."""
        return self.number == signal.SIGKILL and self.target in ("tree", "parent")

    def __str__(self) -> str:
        return f"{self.number.name} to the {self.target} at {self.share:.0%}"


@dataclass(frozen=True)
class Step:
    """A command that can be killed.

    Attributes:
        name: For messages.
        command: Gives the arguments of Python, for a folder.
        prepare: Puts what the command needs into a folder, which it creates.
        workers: Whether it has worker processes.
        environment: More variables, for a folder.
        more: What else is compared beside the files of the folder.
    """

    name: str
    command: Callable[[Path], Sequence[object]]
    prepare: Callable[[Path], object]
    workers: bool = True
    environment: Callable[[Path], dict[str, str]] = lambda folder: {}
    more: Callable[[Path], object] = lambda folder: None


class Run:
    """One process with all that it starts, in a session of its own."""

    def __init__(self, step: Step, folder: Path, home: Path) -> None:
        self.errors = home / "stderr.txt"
        for name in ("tmp", "home"):
            (home / name).mkdir(parents=True, exist_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("COVERAGE", "XDG_"))},
            "HOME": str(home / "home"),
            "TMPDIR": str(home / "tmp"),
            "PYTHONPATH": str(ROOT),
            **step.environment(folder),
        }
        with self.errors.open("wb") as errors, (home / "stdout.txt").open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *map(str, step.command(folder))],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                start_new_session=True,
            )
        self.ended_by: int | None = None

    @property
    def session(self) -> int:
        return self.process.pid

    def reached(self, processor_s: float) -> bool:
        """Waits until the run has used so much processor time; False when it ends before."""
        while self.process.poll() is None:
            if self._handles_signals() and _processor_s(self.session) >= processor_s:
                return True
            time.sleep(0.004)  # how often is looked, not how long is waited
        return False

    def _handles_signals(self) -> bool:
        """Whether the command has control: before, the interpreter itself starts."""
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{self.session}/status").read_text().splitlines():
                if line.startswith("SigCgt:"):
                    return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
        return False

    def send(self, kill: Kill, rng: random.Random) -> bool:
        """Sends the signal, to a worker as soon as there is one; False where there is no such process any more."""
        while self.process.poll() is None:
            helpers = children(self.session)
            pids = {
                "tree": [self.session],
                "parent": [self.session],
                "helper": helpers,
                "worker": [pid for helper in helpers for pid in children(helper)],
            }[kill.target]
            if pids:
                with contextlib.suppress(ProcessLookupError):
                    (os.killpg if kill.target == "tree" else os.kill)(rng.choice(pids), kill.number)
                    return True
            time.sleep(0.004)
        return False

    def end(self) -> tuple[int, str]:
        """Waits for the command and for all that it started; its exit code and what it wrote to stderr."""
        code = self.process.wait(timeout=240)
        deadline = time.monotonic() + GONE_WITHIN_S
        while left := _session(self.session):
            if time.monotonic() > deadline:
                names = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ") for pid in left]
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
                raise AssertionError(f"still there after {GONE_WITHIN_S:g} s: {names}")
            time.sleep(0.02)
        return code, self.errors.read_text()


State = tuple[dict[str, str], object]
"""Digests of files by path, and what a step adds to them."""


@dataclass(frozen=True)
class Calm:
    """An undisturbed run: its processor time, and the state it ends with."""

    processor_s: float
    state: State


def undisturbed(step: Step, folder: Path) -> Calm:
    """Runs the step to its end."""
    with shared_memory_kept(), new_home() as home:
        step.prepare(folder / "data")
        run = Run(step, folder / "data", home)
        used = 0.0
        while run.process.poll() is None:
            used = max(used, _processor_s(run.session))
            time.sleep(0.01)
        code, errors = run.end()
        assert (code, errors) == (0, ""), f"{step.name} itself fails: {code} {errors}"
        assert not temporary_files(home), f"{step.name} leaves temporary files: {temporary_files(home)}"
    return Calm(used, state(step, folder / "data"))


def kill_and_finish(step: Step, calm: Calm, kills: Sequence[Kill], folder: Path, seed: int = 0) -> list[str]:
    """Kills a step again and again, then runs it to its end, and asserts that nothing shows.

    Where it came to its end in between, it begins anew.

    Returns:
        The kills that hit a process.
    """
    rng = random.Random(f"{step.name} {seed}")
    data, hit, since = folder / "data", [], list[str]()
    with shared_memory_kept(), new_home() as home:
        step.prepare(data)
        for kill in [*kills, None]:
            before = temporary_files(home)
            run = Run(step, data, home)
            sent = kill is not None and run.reached(kill.share * calm.processor_s) and run.send(kill, rng)
            code, errors = run.end()
            what = f"{step.name}, {kill if sent else 'left alone'} after {since}"
            check_end(kill if sent else None, code, errors, what)
            left = temporary_files(home) - (set() if code == 0 else before)
            if not (sent and kill and kill.leaves_temporary_files):
                assert not left, f"{what}: left {left}"
            if sent:
                hit.append(str(kill))
                since.append(str(kill))
            if code == 0:
                assert not (files := differing(state(step, data), calm.state)), f"{what}: other bytes in {files}"
                shutil.rmtree(data)
                step.prepare(data)
                since.clear()
    shutil.rmtree(folder)
    return hit


@contextlib.contextmanager
def new_home() -> Iterator[Path]:
    """A folder with TMPDIR and HOME of some runs. Its path is short: multiprocessing puts sockets into TMPDIR."""
    short = "/tmp" if os.access("/tmp", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="kills-", dir=short) as home:
        yield Path(home)


def temporary_files(home: Path) -> set[Path]:
    """What is in the TMPDIR of the runs."""
    return set((home / "tmp").rglob("*"))


def check_end(kill: Kill | None, code: int, errors: str, what: str) -> None:
    """What a command promises: it goes on without a worker, and ends with one line where it is itself meant."""
    what = f"{what}: exit code {code}, {errors!r}"
    if kill is not None and kill.target == "helper":  # Python itself warns of its resource tracker
        assert code == 0, what
        assert "Traceback" not in errors, what
    elif kill is None or kill.target == "worker":
        assert (code, errors) == (0, ""), what
    elif kill.number == signal.SIGKILL:
        assert code in (0, -signal.SIGKILL), what
        assert "Traceback" not in errors, what
    elif code:  # 0 where the signal came after the last line of the command
        assert (code, errors) == (128 + kill.number, INTERRUPTED), what


def differing(one: State, other: State) -> list[str]:
    """The files and folders that are not the same, and what a step adds to them."""
    files = sorted(path for path in {*one[0], *other[0]} if one[0].get(path) != other[0].get(path))
    return files + (["what the step adds"] if one[1] != other[1] else [])


def state(step: Step, folder: Path) -> State:
    """Every file with its SHA-256, and every folder: temporary ones would show."""
    paths = [path for path in sorted(folder.rglob("*")) if path.name not in ABOUT_THE_RUN]
    return {str(path.relative_to(folder)): _digest(path, folder) for path in paths}, step.more(folder)


def _digest(path: Path, folder: Path) -> str:
    if path.is_dir():
        return "folder"
    data = path.read_bytes().replace(os.fsencode(folder), b"<folder>")
    if path.suffix == ".json":  # videos that a step renders itself are noted with their modification time
        data = re.sub(rb"\b[0-9]{19}\b", b"<ns>", data)
    if path.name.endswith(".tar.json"):  # the note of a shard: it says when the triples and the tar were written
        data = json.dumps(json.loads(path.read_bytes())["report"]).encode()
    return hashlib.sha256(data).hexdigest()


def moments(count: int, seed: object) -> list[float]:
    """Seeded shares of a run, spread over it: one in each of `count` equal parts, in any order."""
    rng = random.Random(str(seed))
    shares = [(i + rng.random()) / count for i in range(count)]
    rng.shuffle(shares)
    return shares


def kills_of(count: int, seed: object, targets: Sequence[Target] = TARGETS) -> list[Kill]:
    """Every target with every signal in turn, at moments spread over the run."""
    kinds = [(target, number) for number in SIGNALS for target in targets]
    random.Random(f"kinds {seed}").shuffle(kinds)
    return [Kill(*kinds[i % len(kinds)], share) for i, share in enumerate(moments(count, seed))]


@contextlib.contextmanager
def shared_memory_kept() -> Iterator[None]:
    """Asserts that the block leaves no semaphore and no shared memory; what a living process uses is its own matter."""
    before = _shared_memory()
    yield
    if new := _shared_memory() - before:
        used = {path for path in new if _is_used(path)}
        assert not new - used, f"left in shared memory: {sorted(map(str, new - used))}"


def _shared_memory() -> set[Path]:
    """Semaphores, blocks and folders, by the names that Python, joblib, torch and this project give them."""
    return {path for name in ("sem.*", "psm_*", "loky*", "torch_*", "ved-tmp-*") for path in SHARED_MEMORY.glob(name)}


def _is_used(path: Path) -> bool:
    """Whether a living process has a file of shared memory mapped, or the lock of a folder."""
    if path.is_dir():
        try:
            with (path / ".ved-lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        return False
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with contextlib.suppress(OSError):
            if str(path) in maps.read_text():
                return True
    return not path.exists()


# --- /proc ------------------------------------------------------------------------------------------------------------


def _processor_s(pid: int) -> float:
    """Processor time of a process and of all that it started, in seconds."""
    fields = stat(pid)
    own = sum(map(int, fields[11:15])) / _TICKS if fields else 0.0
    return own + sum(map(_processor_s, children(pid)))


def _session(session: int) -> list[int]:
    """The living processes of a session; a zombie is not one."""
    pids = [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]
    return [pid for pid in pids if is_alive(pid) and (fields := stat(pid)) and int(fields[3]) == session]
