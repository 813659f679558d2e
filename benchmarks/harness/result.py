"""The result of a benchmark and its file, `benchmarks/results/<name>.json`: the only place that knows its form.

A result has cases ("videos to triples, 200 clips"); a case has contenders on the same input; a contender has runs. The
ratio of a case is that of the project to the best peer, round by round.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

Role = Literal["ours", "peer", "bound", "apart"]
"""`apart` is ours with an option that no peer has, such as another number format, and is not compared with them."""

ROLES: tuple[Role, ...] = get_args(Role)


@dataclass(frozen=True)
class Run:
    """One run. `seconds` is what the rate is taken from: the wall time, or what the command says its work took."""

    round: int
    units: float
    seconds: float
    wall_s: float
    cpu_s: float
    peak_mb: float
    foreign_share: float
    disturbed: bool

    def __post_init__(self) -> None:
        for name in ("units", "seconds", "wall_s"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} of a run must be a positive number: {value!r}")
        if not 0 <= self.foreign_share <= 1:
            raise ValueError(f"foreign_share of a run must be from 0 to 1: {self.foreign_share!r}")

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.units / self.seconds


@dataclass(frozen=True)
class Contender:
    """Who ran what, disturbed runs included. `absent` says why a contender has no runs."""

    name: str
    role: Role
    command: str
    runs: tuple[Run, ...] = ()
    absent: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.role not in ROLES:
            raise ValueError(f"role of {self.name!r} must be one of {', '.join(ROLES)}: {self.role!r}")
        if bool(self.runs) == bool(self.absent):
            raise ValueError(f"{self.name!r} must have either runs or a reason why it has none")

    @property
    def counted(self) -> tuple[Run, ...]:
        """The last run of each round: that after which no repetition was needed, or possible."""
        last = {run.round: run for run in self.runs}
        return tuple(last[number] for number in sorted(last))

    @property
    def rate(self) -> float:
        """The median, in units a second."""
        return statistics.median(run.rate for run in self.counted)

    @property
    def seconds(self) -> float:
        """The median."""
        return statistics.median(run.seconds for run in self.counted)

    @property
    def peak_mb(self) -> float:
        """The largest of the counted runs."""
        return max(run.peak_mb for run in self.counted)

    @property
    def cpu_per_unit_s(self) -> float:
        """The median of the CPU seconds per unit, of whole processes."""
        return statistics.median(run.cpu_s / run.units for run in self.counted)


@dataclass(frozen=True)
class Spread:
    """Median and range of a ratio over the rounds."""

    median: float
    least: float
    most: float


@dataclass(frozen=True)
class Case:
    """Contenders on the same input. `unit` is what a rate counts; `figures` holds further numbers by their names."""

    title: str
    unit: str
    contenders: tuple[Contender, ...]
    figures: dict[str, float] = field(default_factory=dict)
    show: Literal["rate", "seconds"] = "rate"

    def best(self, role: Role) -> Contender | None:
        """The contender with the highest median rate."""
        ran = [one for one in self.contenders if one.role == role and one.runs]
        return max(ran, key=lambda one: one.rate, default=None)

    def note_bound(self) -> None:
        """Adds two figures: the share of the bound that the best of ours reaches, and the bound to the best peer."""
        ours, peer, bound = self.best("ours"), self.best("peer"), self.best("bound")
        if ours and bound:
            self.figures["share of the bound"] = ours.rate / bound.rate
        if peer and bound:
            self.figures["most that is possible to the best peer"] = bound.rate / peer.rate

    def ratio(self) -> Spread | None:
        """The best of ours to the best peer; None without a peer."""
        ours, peer = self.best("ours"), self.best("peer")
        return None if ours is None or peer is None else ratio(ours, peer)


def ratio(one: Contender, other: Contender) -> Spread:
    """How many times as fast the one is, round by round."""
    rounds = {run.round: run.rate for run in other.counted}
    ratios = [run.rate / rounds[run.round] for run in one.counted if run.round in rounds]
    if not ratios:
        raise ValueError(f"{one.name!r} and {other.name!r} share no round")
    return Spread(statistics.median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Result:
    """All cases of a benchmark, where and with what they were measured."""

    name: str
    date: str
    machine: dict[str, Any]
    versions: dict[str, dict[str, str]]
    cases: tuple[Case, ...]


def write_result(folder: Path, result: Result) -> Path:
    """Writes `<name>.json`, with the ratios beside the runs that they come from."""
    content = asdict(result)
    for case, written in zip(result.cases, content["cases"], strict=True):
        peer = case.best("peer")
        written["ratios_to_best_peer"] = {
            one.name: {"peer": peer.name, **asdict(ratio(one, peer))}
            for one in case.contenders
            if peer is not None and one.runs and one.role == "ours"
        }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result.name}.json"
    path.write_text(json.dumps(rounded(content), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def read_result(path: Path) -> Result:
    """Reads a file of `write_result`.

    Raises:
        ValueError: It has another form, or other ratios than its runs.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    cases = []
    for case in content.pop("cases"):
        kept = case.pop("ratios_to_best_peer")
        contenders = tuple(
            Contender(**{**one, "runs": tuple(Run(**run) for run in one["runs"])}) for one in case.pop("contenders")
        )
        cases.append(Case(**case, contenders=contenders))
        peer = cases[-1].best("peer")
        for one in contenders:
            if one.name in kept and peer is not None:
                known = {"peer": peer.name, **asdict(ratio(one, peer))}
                if not _close(kept[one.name], known):
                    raise ValueError(f"{path.name}: the ratio of {one.name!r} is {kept[one.name]}, not {known}")
    return Result(**content, cases=tuple(cases))


def results_in(folder: Path) -> list[Result]:
    """The results of a folder, by name; files of benchmarks with a form of their own are left out."""
    paths = sorted(folder.glob("*.json"))
    return [read_result(path) for path in paths if "cases" in json.loads(path.read_text(encoding="utf-8"))]


def _close(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return one.keys() == other.keys() and all(
        math.isclose(one[name], other[name], rel_tol=1e-3)
        if isinstance(other[name], float)
        else one[name] == other[name]
        for name in other
    )


def rounded(value: Any) -> Any:
    """Numbers to six digits: no timer measures more."""
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [rounded(one) for one in value]
    return value
