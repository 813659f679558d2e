"""Runs the mutants of `mutants.toml`: each in a copy of the repository, against the tests that must notice it.

    python -m tests.mutants                 all of them; exit code 1 if one survives
    python -m tests.mutants -k sampling     those whose name or file contains the text

One mutant after another. The named tests must pass without a mutant, and run at all with it: a mutant that only
prevents its tests from starting has not been noticed by them.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import pytest

from tests.mutants.listed import ROOT, Mutant, missing_tests, read_mutants

Outcome = Literal["killed", "SURVIVED", "ERROR"]

TIME_LIMIT_S = 300.0
"""A mutant whose tests take longer is killed: it waits for something that does not come."""

MEMORY_LIMIT = 8 << 30
"""Bytes that a process of the tests may hold: a mutant that allocates without end must not take the machine down."""

_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "data", "dist", "__pycache__", ".*_cache", ".coverage*")
_PYTEST = ("-q", "-x", "-p", "no:cacheprovider", "--hypothesis-seed=0", "--hypothesis-profile=unshrunk")
_LIBRARIES = ("av", "datasets", "numpy", "PIL.Image", "pydantic", "sklearn.linear_model", "torch", "transformers")
_SECONDS = itertools.count(1_000_000_000)
_TESTS_FAILED = 1  # pytest's exit code; others say that tests were interrupted, not found or not collected


def run(mutants: Sequence[Mutant], root: Path = ROOT) -> Iterator[tuple[Mutant, Outcome, float, str]]:
    """Yields mutant, outcome, seconds, and the end of pytest's output for each.

    Raises:
        ValueError: A mutant does not apply, or a named test does not pass without any.
    """
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copy = Path(folder, root.name)
        shutil.copytree(root, copy, symlinks=True, ignore=_LEFT_OUT)
        code, output = run_tests(copy, sorted({test for mutant in mutants for test in mutant.tests}))
        if code:
            raise ValueError(f"the named tests do not pass without a mutant:\n{output}")
        for mutant in mutants:
            began = time.monotonic()
            outcome, output = try_mutant(mutant, copy)
            yield mutant, outcome, time.monotonic() - began, output


def try_mutant(mutant: Mutant, copy: Path) -> tuple[Outcome, str]:
    """Runs the tests of a mutant in a copy of the repository, which is sound before and after."""
    file = copy / mutant.file
    sound = file.read_bytes()
    _write(file, mutant.applied(copy).encode())
    try:
        code, output = run_tests(copy, mutant.tests)
    finally:
        _write(file, sound)
    noticed = code == _TESTS_FAILED or code < 0  # below 0: the process died of a signal
    return "killed" if noticed else "ERROR" if code else "SURVIVED", output


def _write(file: Path, content: bytes) -> None:
    """Writes a file of the copy, with a time of its own: bytecode is kept by length and time in seconds."""
    file.write_bytes(content)
    second = next(_SECONDS)
    os.utime(file, (second, second))


def run_tests(folder: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Exit code and end of the output of pytest in a copy of the repository.

    It runs in a fork of this process, which has the libraries loaded but nothing of the project: most tests take less
    time than these imports.
    """
    log = folder.parent / "output"
    child = os.fork()
    if not child:
        _be_pytest(folder, tests, log)
    ends = time.monotonic() + TIME_LIMIT_S
    while not (done := os.waitpid(child, os.WNOHANG))[0]:
        if time.monotonic() > ends:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return _TESTS_FAILED, f"stopped after {TIME_LIMIT_S:.0f} s"
        time.sleep(0.05)
    return os.waitstatus_to_exitcode(done[1]), log.read_text("utf-8", "replace")[-2000:]


def _be_pytest(folder: Path, tests: Sequence[str], log: Path) -> NoReturn:
    """Becomes a process that runs tests in `folder`; what belongs to the project is imported from there."""
    code = -1
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_LIMIT, MEMORY_LIMIT))
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        sys.modules["__main__"] = types.ModuleType("__main__")  # worker processes of the tests would import this runner
        for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
            del sys.modules[name]
        sys.path[:] = [str(folder), *(path for path in sys.path if Path(path).resolve() != ROOT)]
        os.environ["PYTHONPATH"] = str(folder)
        code = int(pytest.main([*_PYTEST, *tests]))
        sys.stdout.flush()
    finally:
        os._exit(code & 0xFF)


def main() -> int:
    """Prints a line per mutant and their number; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("-k", metavar="TEXT", default="", help="only mutants whose name or file contains this")
    wanted = parser.parse_args().k.lower()
    mutants = [mutant for mutant in read_mutants() if wanted in f"{mutant.name} {mutant.file}".lower()]
    if not mutants or (missing := missing_tests(mutants)):
        print(f"error: {'no such test: ' + ', '.join(missing) if mutants else 'no such mutant'}", file=sys.stderr)
        return 2
    importlib.import_module("tests.conftest")  # sets what libraries read when they are loaded
    for library in _LIBRARIES:
        importlib.import_module(library)
    counts: Counter[Outcome] = Counter()
    try:
        for mutant, outcome, seconds, output in run(mutants):
            counts[outcome] += 1
            print(f"{outcome:8}  {seconds:5.1f} s  {mutant.name}", flush=True)
            if outcome == "ERROR":
                print(output)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{counts['killed']} of {counts.total()} mutants killed")
    return 0 if counts["killed"] == counts.total() else 1


if __name__ == "__main__":
    sys.exit(main())
