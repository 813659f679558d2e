"""The table in README.md, from `benchmarks/results/`: `python -m benchmarks.harness.table` writes it.

| what | ours | best peer | ratio (range of the rounds) | memory, ours and peer | also |
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from benchmarks.harness.peers import ROOT
from benchmarks.harness.result import Case, Contender, Result, ratio, results_in

BEGIN, END = "<!-- benchmarks -->\n", "<!-- /benchmarks -->"
HEAD = (
    "| what | ours | best peer | ratio (range) | memory, ours / peer | also |",
    "|---|---:|---:|---:|---:|---|",
)
NOTHING = "No result is kept yet: `make bench` measures.\n"


def table_of(results: list[Result]) -> str:
    """One row per case, after a line that says where it was measured."""
    if not results:
        return NOTHING
    places = sorted({_place(result) for result in results})
    return "\n".join([*places, "", *HEAD, *(row(case) for result in results for case in result.cases), ""])


def row(case: Case) -> str:
    """The row of a case: the best of ours, the best peer, and what the case says besides."""
    ours, peer, spread = case.best("ours"), case.best("peer"), case.ratio()
    compared = "" if spread is None else f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})"
    memory = " / ".join(f"{one.peak_mb:,.0f} MB" for one in (ours, peer) if one is not None)
    also = [f"{name} {value:.3g}" for name, value in case.figures.items()]
    also += [f"{one.name}: {one.absent}" for one in case.contenders if one.absent]
    if any(run.disturbed for one in (ours, peer) if one is not None for run in one.counted):
        also.append("other processes ran meanwhile")
    cells = [case.title, _speed(ours, case), _speed(peer, case), compared, memory, "; ".join(also)]
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def lines(case: Case) -> list[tuple[object, ...]]:
    """The rows of the printed table: the best peer is what the ratios refer to."""
    peer = case.best("peer")
    rows: list[tuple[object, ...]] = [
        ("", f"{case.unit}/s", "seconds", f"CPU s/{case.unit.rstrip('s')}", "MB", "× best peer (range)")
    ]
    for one in case.contenders:
        if not one.runs:
            rows.append((one.name, one.absent[:80] or "-", "", "", "", ""))
            continue
        spread = ratio(one, peer) if peer and one.role != "apart" else None
        compared = f"{spread.median:.2f} ({spread.least:.2f} to {spread.most:.2f})" if spread else ""
        if peer is one:
            compared = "best peer"
        rows.append(
            (
                one.name,
                f"{one.rate:,.2f}",
                f"{one.seconds:.3f}",
                f"{one.cpu_per_unit_s:.4g}",
                f"{one.peak_mb:,.0f}",
                compared,
            )
        )
    return rows


def with_table(page: str, table: str) -> str:
    """The page with the table between its markers.

    Raises:
        ValueError: The page does not have each marker once.
    """
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        raise ValueError(f"the page must have {BEGIN.strip()} and {END} once")
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table + END + rest.partition(END)[2]


def _speed(one: Contender | None, case: Case) -> str:
    if one is None:
        return ""
    value = f"{_number(one.seconds)} s" if case.show == "seconds" else f"{_number(one.rate)} {case.unit}/s"
    return f"{value} ({one.name})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _cell(text: str) -> str:
    """Text without what would end a cell, break the line or be markup."""
    escaped = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return escaped.replace("<", "&lt;").replace("`", "\\`").replace("*", "\\*").replace("_", "\\_")


def _place(result: Result) -> str:
    machine = result.machine
    parts = [f"{machine['cores']} cores of {machine['cpu']}", f"{machine['memory_gb']} GB", *machine["gpus"]]
    if "amx_bf16" in machine["flags"]:
        parts.insert(1, "AMX")
    versions = result.versions.get("project", {})
    parts += [f"{name} {versions[name]}" for name in ("python", "torch") if name in versions]
    return _cell("Measured on " + ", ".join(parts) + ".")


def main() -> int:
    """Writes the table; `--check` only says whether it is up to date, with exit code 1 if not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--page", type=Path, default=ROOT / "README.md")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    page = options.page.read_text(encoding="utf-8")
    made = with_table(page, table_of(results_in(options.results)))
    if options.check:
        return int(made != page)
    if made != page:
        options.page.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
