"""Says when the coverage floor in pyproject.toml can be raised: `python .ci/floor.py`, after `coverage combine`."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from decimal import ROUND_FLOOR, Decimal
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SLACK = Decimal("0.5")


def new_floor(total: Decimal, floor: Decimal) -> Decimal | None:
    """The floor to write, or None where the current one is within `SLACK` percentage points of the total."""
    return total.quantize(Decimal("0.1"), ROUND_FLOOR) if total - floor > SLACK else None


def main() -> int:
    """Prints the suggestion, if there is one; the check itself is `coverage report`'s `fail_under`."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"), parse_float=Decimal)
    floor = Decimal(settings["tool"]["coverage"]["report"]["fail_under"])
    command = [sys.executable, "-m", "coverage", "report", "--format=total", "--fail-under=0"]
    total = Decimal(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip())
    raised = new_floor(total, floor)
    if raised is not None:
        print(f"Coverage is {total} %, the floor {floor} %: set fail_under = {raised} in pyproject.toml.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
