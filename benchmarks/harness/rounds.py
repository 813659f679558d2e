"""Runs the contenders of a case in turn, round after round, and keeps what each run used.

    bench = Bench.from_arguments("encode", __doc__, parser)       # adds --rounds, --warmup, --results
    bench.case("videos to triples, 200 clips", "videos", 200, [Command("ours", "ours", [...]), ...])
    bench.write()                                                 # results/encode.json, and a table

A command's rate counts its whole wall time; one that prints a last line of JSON, `{"units": 100, "seconds": 0.5}`, says
itself how long its work took, and `{"facts": {...}}` is kept beside its runs (of a float, the median). A run beside
which others used more than `FOREIGN_LIMIT` of the cores is repeated.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from benchmarks.harness.machine import PACKAGES, machine, versions
from benchmarks.harness.peers import PEERS, ROOT, peer_python
from benchmarks.harness.process import CommandFailedError, Used, measure
from benchmarks.harness.result import Case, Contender, Result, Role, Run, read_result, write_result
from benchmarks.harness.table import lines
from preprocess.console import table

FOREIGN_LIMIT = 0.05
REPEATS = 3
OUT = "{out}"
"""In a command: a folder of the run's own, which is removed after it."""

SHORT_S = 1.0
"""The kernel counts busy time in ticks of 10 ms on each core: a shorter run is not judged by it."""


@dataclass(frozen=True)
class Command:
    """A contender. `units`: how many it does where they are fewer than the others'; `absent`: why it cannot run."""

    name: str
    role: Role
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    units: float | None = None
    absent: str = ""
    prepare: Sequence[str] = ()
    """A command to run before each run, not measured: that which the run resumes."""


class Bench:
    """One benchmark: its cases as they are measured, its temporary folder, its result file."""

    def __init__(
        self,
        name: str,
        *,
        rounds: int,
        warmup: bool,
        repeats: int,
        time_limit_s: float,
        results: Path,
        only: Sequence[str] = ("",),
        add: bool = False,
        packages: Sequence[str] = (),
    ) -> None:
        self.time_limit_s = time_limit_s
        self.name, self.rounds, self.warmup, self.repeats = name, rounds, warmup, repeats
        self.results, self.only, self.add = results, only, add
        self.packages = (*PACKAGES, *packages)
        self.cases: list[Case] = []
        self.temporary = Path(tempfile.mkdtemp(prefix=f"bench-{name}-"))

    @classmethod
    def from_arguments(
        cls,
        name: str,
        parser: argparse.ArgumentParser,
        *,
        rounds: int = 3,
        warmup: bool = False,
        packages: Sequence[str] = (),
    ) -> tuple[Bench, argparse.Namespace]:
        """Adds the options that all benchmarks share, and parses the command line.

        Args:
            name: Of the result.
            parser: Of the benchmark's own options.
            rounds: Default of `--rounds`, where the variable ROUNDS is not set.
            warmup: Default of `--warmup`.
            packages: Further packages whose versions are kept.
        """
        parser.add_argument(
            "--rounds",
            type=int,
            default=int(os.environ.get("ROUNDS") or rounds),
            help="runs of each contender, in turn (the variable ROUNDS sets it for all benchmarks)",
        )
        parser.add_argument(
            "--warmup", action=argparse.BooleanOptionalAction, default=warmup, help="a round not counted"
        )
        parser.add_argument("--repeats", type=int, default=REPEATS, help="of a run that others disturbed, at most")
        parser.add_argument("--time-limit", type=float, default=3600, help="seconds that one run may take")
        parser.add_argument(
            "--results", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the result"
        )
        parser.add_argument("--only", nargs="+", default=[""], help="the contenders whose names contain one of these")
        parser.add_argument("--add", action="store_true", help="keep the cases of the last result that this one lacks")
        options = parser.parse_args()
        if options.rounds < 1:
            parser.error(f"--rounds must be at least 1: {options.rounds}")
        made = cls(
            name,
            rounds=options.rounds,
            warmup=options.warmup,
            repeats=options.repeats,
            time_limit_s=options.time_limit,
            results=options.results,
            only=options.only,
            add=options.add,
            packages=packages,
        )
        made._result()  # what `--add` cannot be added to is refused before hours of measuring
        return made, options

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)

    def case(
        self,
        title: str,
        unit: str,
        units: float,
        commands: Sequence[Command],
        *,
        show: Literal["rate", "seconds"] = "rate",
        figures: Mapping[str, float] | None = None,
        rounds: int | None = None,
    ) -> Case:
        """Measures the commands in turn, and prints a line for each run."""
        print(f"-- {title}", flush=True)
        runs: dict[str, list[Run]] = {one.name: [] for one in commands}
        absent = {one.name: one.absent for one in commands if one.absent}
        facts: dict[str, list[dict[str, Any]]] = {one.name: [] for one in commands}
        wanted = [one for one in commands if any(part in one.name for part in self.only)]
        for number in range(0 if self.warmup else 1, (rounds or self.rounds) + 1):
            for one in wanted:
                if one.name in absent:
                    continue
                try:
                    repeated = self._repeated(one, number, units)
                    runs[one.name] += [run for run, _ in repeated]
                    if number:
                        facts[one.name].append(repeated[-1][1])  # of the run that counts
                except CommandFailedError as error:
                    # A peer that fails is a finding; the project that fails is a fault.
                    if one.role in ("ours", "apart"):
                        raise
                    absent[one.name] = f"fails: {_cause(self._relative(str(error)))}"
                    print(f"   {one.name}: {absent[one.name]}", flush=True)
        contenders = tuple(
            Contender(
                one.name,
                one.role,
                self._relative(" ".join(self._short(word) for word in one.argv)),
                () if one.name in absent else tuple(run for run in runs[one.name] if run.round),
                absent.get(one.name, ""),
                of_all_rounds(facts[one.name]),
            )
            for one in wanted
        )
        self.cases.append(Case(title, unit, contenders, dict(figures or {}), show))
        return self.cases[-1]

    def _repeated(self, one: Command, number: int, units: float) -> list[tuple[Run, dict[str, Any]]]:
        """The runs of one command in one round: repeated, a bounded number of times, while others disturb it."""
        found = []
        for _ in range(1 + self.repeats):
            used, said = self._once(one)
            disturbed = used.foreign_share > FOREIGN_LIMIT and used.wall_s >= SHORT_S
            run = Run(
                round=number,
                units=float(said.get("units", one.units or units)),
                seconds=float(said.get("seconds", used.wall_s)),
                wall_s=used.wall_s,
                cpu_s=used.cpu_s,
                peak_mb=used.peak_mb,
                foreign_share=used.foreign_share,
                disturbed=disturbed,
            )
            found.append((run, dict(said.get("facts", {}))))
            print(
                f"   {number} {one.name:42} {run.seconds:9.2f} s {run.rate:12.2f}/s  CPU {run.cpu_s:8.2f} s "
                f"{run.peak_mb:8.0f} MB  others {run.foreign_share:5.1%}{'  disturbed' if disturbed else ''}",
                flush=True,
            )
            if not disturbed or number == 0:
                break
        return found

    def _once(self, one: Command) -> tuple[Used, dict[str, Any]]:
        out = Path(tempfile.mkdtemp(prefix="run-", dir=self.temporary))
        try:
            if one.prepare:
                self._measure(one.prepare, one.env, out)
            used = self._measure(one.argv, one.env, out)
        finally:
            shutil.rmtree(out, ignore_errors=True)
        last = (used.stdout.strip().splitlines() or [""])[-1]
        said = json.loads(last) if last.startswith("{") else {}
        return used, said if isinstance(said, dict) else {}

    def _measure(self, argv: Sequence[str], env: Mapping[str, str], out: Path) -> Used:
        words = [word.replace(OUT, str(out)) for word in argv]
        return measure(words, cwd=ROOT, env=env, time_limit_s=self.time_limit_s)

    def _short(self, word: str) -> str:
        return word if len(word) < 200 and "\n" not in word else "..."

    def _relative(self, text: str) -> str:
        """No path of this machine gets into a result."""
        for path, name in (
            (str(self.temporary), "$TMP"),
            (str(PEERS), "$PEERS"),
            (sys.executable, ".venv/bin/python"),
            (str(ROOT), "."),
            (str(Path.home()), "~"),
        ):
            text = text.replace(path, name)
        return text

    def add_figures(self, **figures: float) -> None:
        """Adds to the numbers of the case that was measured last; `_` in a name is shown as a space."""
        self.cases[-1].figures.update({name.replace("_", " "): value for name, value in figures.items()})

    def write(self) -> Path:
        """Prints the table and writes the result."""
        for case in self.cases:
            print(f"\n{case.title}")
            print(table(lines(case), right=frozenset({1, 2, 3, 4, 5})))
            print("".join(f"{name}: {value:.4g}\n" for name, value in case.figures.items()), end="")
        return write_result(self.results, self._result())

    def _result(self) -> Result:
        environments = {"project": sys.executable, "peers": peer_python()}
        result = Result(
            self.name,
            datetime.datetime.fromtimestamp(time.time(), datetime.UTC).date().isoformat(),
            machine(),
            {name: versions(path, self.packages) for name, path in environments.items() if Path(path).is_file()},
            tuple(self.cases),
        )
        return with_cases_of(self.results, result) if self.add else result


def of_all_rounds(facts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Facts of several runs as one: the median of a float, which was measured; of anything else the last value."""
    last = {name: value for of_run in facts for name, value in of_run.items()}
    return {
        name: statistics.median(of_run[name] for of_run in facts if name in of_run) if type(value) is float else value
        for name, value in last.items()
    }


def with_cases_of(folder: Path, result: Result) -> Result:
    """A result with the cases of the last one that it lacks, in the order of that one; new cases follow.

    Raises:
        ValueError: That one was measured on another machine or with other versions.
    """
    path = folder / f"{result.name}.json"
    if not path.is_file():
        return result
    before = read_result(path)
    for name in ("machine", "versions"):
        if getattr(before, name) != getattr(result, name):
            raise ValueError(f"{path.name} has another {name}: {getattr(before, name)}, not {getattr(result, name)}")
    by_title = {case.title: case for case in (*before.cases, *result.cases)}
    return replace(result, cases=tuple(by_title.values()))


def _cause(message: str) -> str:
    """The last line that names an error, else the last line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    named = [line for line in lines if re.search(r"error|exit code|did not end", line, re.IGNORECASE)]
    return (named or lines or ["?"])[-1][-300:]
