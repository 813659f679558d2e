"""The list of mutants stays up to date, and the runner tells killed from survived from broken."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants.listed import Mutant, missing_tests, read_mutants

MUTANTS = read_mutants()


def test_every_mutant_applies() -> None:
    """Its text is in the file once, and the file with the fault is Python; a wrong one is named in the error."""
    for mutant in MUTANTS:
        mutant.applied()
    names = [mutant.name for mutant in MUTANTS]
    assert len(set(names)) == len(names)


def test_every_named_test_exists() -> None:
    assert missing_tests(MUTANTS) == []


CODE = "def double(x):\n    return 2 * x\n\n\ndef half(x):\n    return x / 2\n"
TESTS = "import code_under_test\n\n\ndef test_double():\n    assert code_under_test.double(3) == 6\n"


def mutant(old: str, new: str, *tests: str) -> Mutant:
    return Mutant("m", "code_under_test.py", old, new, tests)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A repository with one module and one test."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "code_under_test.py").write_text(CODE)
    (tmp_path / "tests" / "test_code.py").write_text(TESTS)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "--import-mode=importlib"\n')
    # The profile of hypothesis that the runner asks for.
    (tmp_path / "tests" / "conftest.py").write_text(
        "from hypothesis import settings\nsettings.register_profile('unshrunk', deadline=None)\n"
    )
    return tmp_path


def test_the_runner_tells_what_became_of_a_mutant(tiny: Path, root: Path) -> None:
    """In a process of its own, as it forks."""
    code = f"""
from pathlib import Path
from tests.mutants.__main__ import run
from tests.mutants.listed import Mutant
def mutant(old, new):
    return Mutant(new, "code_under_test.py", old, new, ("tests/test_code.py::test_double",))
mutants = [mutant("2 * x", "3 * x"), mutant("x / 2", "x / 3"), mutant("2 * x", "x + x"), mutant("double", "triple")]
mutants.append(mutant("def double", "import nothing_of_this_name\\ndef double"))
for mutant, outcome, seconds, output in run(mutants, Path({str(tiny)!r})):
    print(outcome, "nothing_of_this_name" in output)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [
        "killed False",
        "SURVIVED False",
        "SURVIVED False",
        "killed False",
        "ERROR True",
    ], done.stderr
    assert (tiny / "code_under_test.py").read_text() == CODE


def test_tests_that_fail_without_a_mutant_kill_nothing(tiny: Path, root: Path) -> None:
    (tiny / "tests" / "test_code.py").write_text(TESTS.replace("6", "7"))
    code = f"""
from pathlib import Path
from tests.mutants.__main__ import run
from tests.mutants.listed import Mutant
list(run([Mutant("m", "code_under_test.py", "2 * x", "3 * x", ("tests/test_code.py",))], Path({str(tiny)!r})))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert "ValueError: the named tests do not pass without a mutant" in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("3 * x", "x", "0 times, should be once"),
        ("x", "y", "4 times, should be once"),
        ("2 * x", "2 * x", "changes nothing"),
        ("2 * x", "2 *", "does not parse"),
    ],
)
def test_a_text_that_has_changed_is_an_error(tiny: Path, old: str, new: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        mutant(old, new, "tests/test_code.py").applied(tiny)


def test_tests_that_do_not_exist_are_named(tiny: Path) -> None:
    names = ["tests/test_code.py", "tests/test_code.py::test_double[1]", "tests/test_code.py::test_x", "tests/none.py"]
    assert missing_tests([mutant("2 * x", "x", *names)], tiny) == ["tests/none.py", "tests/test_code.py::test_x"]
