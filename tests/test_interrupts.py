"""What Ctrl-C and SIGTERM do to a process, wherever in its work they arrive."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LINE = "interrupted. Run the same command again to continue: finished work is kept.\n"

START = """
import os, signal, sys
from preprocess.interrupts import Interrupted, as_one_line, end_at_once
SIGNAL = int(sys.argv[1])
"""
AT_WORK = """
with as_one_line(before_end=lambda: print("before end")):
    try:
        signal.raise_signal(SIGNAL)
        print("not reached")
    finally:
        print("cleaned up", flush=True)
"""
TWICE = """
with as_one_line(before_end=lambda: print("before end", flush=True)):
    try:
        signal.raise_signal(SIGNAL)
    finally:
        signal.raise_signal(SIGNAL)
        print("not reached")
"""
IN_A_CALLBACK = """
class Loud:
    def __del__(self):
        signal.raise_signal(SIGNAL)
        print("not reached")
with as_one_line(before_end=lambda: print("before end", flush=True)):
    loud = Loud()
    del loud
    print("not reached")
"""
REPORTED_AS_ANOTHER = """
with as_one_line():
    try:
        signal.raise_signal(SIGNAL)
    except BaseException as error:
        raise ValueError("something else") from error
"""
IN_AN_IMPORT = """
from pathlib import Path
Path(sys.argv[2], "slow_module.py").write_text(
    "import signal, sys\\n"
    "try:\\n"
    "    signal.raise_signal(int(sys.argv[1]))\\n"
    "except BaseException:\\n"
    "    print('swallowed')\\n"
)
sys.path.insert(0, sys.argv[2])
with as_one_line(before_end=lambda: print("before end", flush=True)):
    import slow_module
    print("not reached")
"""
AT_START = """
end_at_once()
try:
    signal.raise_signal(SIGNAL)
finally:
    print("not reached")
"""
AT_EXIT = """
import atexit
with as_one_line(before_end=lambda: print("before end", flush=True)):
    atexit.register(lambda: (signal.raise_signal(SIGNAL), print("not reached")))
"""


def run(code: str, *arguments: object, root: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-c", START + code, *map(str, arguments)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=100)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("code", "printed"),
    [
        (AT_WORK, "cleaned up\n"),
        (TWICE, "before end\n"),
        (IN_A_CALLBACK, "before end\n"),
        (REPORTED_AS_ANOTHER, ""),
        (IN_AN_IMPORT, "before end\n"),
        (AT_START, ""),
        (AT_EXIT, "before end\n"),
    ],
    ids=["at work", "twice", "in a callback", "reported as another", "in an import", "at start", "at exit"],
)
def test_one_line_and_the_exit_code(code: str, printed: str, root: Path, tmp_path: Path) -> None:
    assert run(code, 2, tmp_path, root=root) == (130, printed, LINE)
    assert run(code, 15, tmp_path, root=root) == (143, printed, LINE)


HANDLED = """
with as_one_line():
    try:
        signal.raise_signal(SIGNAL)
    except KeyboardInterrupt:
        print("closed")
"""
IGNORED = """
signal.signal(SIGNAL, signal.SIG_IGN)  # as nohup does
end_at_once()
with as_one_line():
    signal.raise_signal(SIGNAL)
    print("went on")
"""


def test_what_handles_or_ignores_it_is_not_interrupted(root: Path) -> None:
    assert run(HANDLED, 2, root=root) == (0, "closed\n", "")
    assert run(IGNORED, 2, root=root) == (0, "went on\n", "")
    assert run(IGNORED, 15, root=root) == (0, "went on\n", "")


FORKED = """
import tempfile, time
from preprocess import temporary

def child():
    print("started", flush=True)
    time.sleep(100)

with as_one_line(before_end=temporary.remove_own_folder):
    temporary.use_own_folder()
    import multiprocessing
    context = multiprocessing.get_context("fork")
    process = context.Process(target=child)
    process.start()
    time.sleep(0.5)
    os.kill(process.pid, SIGNAL)
    process.join()
    print(process.exitcode, os.path.isdir(tempfile.gettempdir()), flush=True)
"""


def test_a_forked_process_neither_prints_nor_cleans_up_for_its_parent(root: Path) -> None:
    assert run(FORKED, 15, root=root) == (0, "started\n-15 True\n", "")
    code, printed, errors = run(FORKED, 2, root=root)
    assert (code, printed) == (0, "started\n1 True\n")
    assert errors.rstrip().endswith("KeyboardInterrupt")
    assert LINE not in errors


FORKED_AND_KILLED_AT_ONCE = """
import time
import multiprocessing

with as_one_line(before_end=lambda: print("before end", flush=True)):
    context = multiprocessing.get_context("fork")
    expected = {-SIGNAL, 1} if SIGNAL == signal.SIGINT else {-SIGNAL}  # 1: it was at work, and left by an exception
    for _ in range(300):
        process = context.Process(target=time.sleep, args=(1000,))
        process.start()
        os.kill(process.pid, SIGNAL)
        process.join(30)
        assert process.exitcode in expected, process.exitcode
        process.close()
"""


def test_a_signal_right_after_the_fork_is_not_lost(root: Path) -> None:
    """As of a pool that is terminated when another of its workers has done all: it would be waited for without end."""
    assert run(FORKED_AND_KILLED_AT_ONCE, 15, root=root) == (0, "", "")
    code, printed, errors = run(FORKED_AND_KILLED_AT_ONCE, 2, root=root)
    assert (code, printed) == (0, "")
    assert LINE not in errors
