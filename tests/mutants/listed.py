"""The mutants of `mutants.toml`: small faults, each in one place of the code, that a named test must notice.

    [[mutant]]
    name = "sampling: a frame that is not shown yet"
    file = "preprocess/media/sampling.py"
    old = 'times_s + TIME_NOISE_S'
    new = 'times_s - TIME_NOISE_S'
    tests = ["tests/media/test_sampling.py"]

`old` occurs exactly once in the file; a test is a file or a node id of pytest, the narrowest that suffices.
"""

from __future__ import annotations

import ast
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LIST = Path(__file__).with_name("mutants.toml")


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        name: What the code does wrong; unique.
        file: POSIX path of the changed file below the root of the repository.
        old: Text that occurs exactly once in it.
        new: What replaces that text.
        tests: At least one of these must fail.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def applied(self, root: Path = ROOT) -> str:
        """The text of the file with the fault.

        Raises:
            ValueError: The text to replace is not there, or several times; or the result is not Python.
        """
        text = (root / self.file).read_text("utf-8")
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.name}: {self.file} contains {self.old!r} {count} times, should be once")
        mutated = text.replace(self.old, self.new)
        if mutated == text:
            raise ValueError(f"{self.name}: changes nothing")
        if self.file.endswith(".py"):
            try:
                ast.parse(mutated)
            except SyntaxError as error:
                raise ValueError(f"{self.name}: {self.file} does not parse any more ({error})") from None
        return mutated


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """The mutants of a list, in its order; an unknown or missing field is an error."""
    entries = tomllib.loads(path.read_text("utf-8"))["mutant"]
    return [Mutant(**{**entry, "tests": tuple(entry["tests"])}) for entry in entries]


def missing_tests(mutants: list[Mutant], root: Path = ROOT) -> list[str]:
    """The named tests that do not exist, by file and function; parameters are left to pytest."""
    functions: dict[str, set[str]] = {}
    missing = []
    for test in sorted({test for mutant in mutants for test in mutant.tests}):
        file, _, function = test.partition("::")
        if file not in functions:
            path = root / file
            tree = ast.parse(path.read_text("utf-8")) if path.is_file() else ast.Module([], [])
            functions[file] = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
        if not functions[file] or (function and function.partition("[")[0] not in functions[file]):
            missing.append(test)
    return missing
