"""What the checks of exports share: our command, run as a user would, and the rows that it has to give."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
HUB_SPLITS = {"val": "validation"}


def builders(*arguments: object) -> None:
    """Runs `python -m builders …` in the environment of the project."""
    line = [str(ROOT / ".venv/bin/python"), "-m", "builders", *map(str, arguments)]
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def compare_rows(rows: Iterable[Mapping[str, Any]], expected: Mapping[str, Mapping[str, Any]]) -> None:
    """Compares the rows of a Parquet export, in order, with the samples that `tarfile` reads."""
    wanted = [
        (HUB_SPLITS.get(split, split), sample, time)
        for split, samples in expected.items()
        for sample in samples.values()
        for time in sample["meta"]["timestamps"]
    ]
    sums: dict[str, float] = {}
    rows = list(rows)
    for row, (split, sample, time) in zip(rows, wanted, strict=True):
        meta = sample["meta"]
        assert (row["key"], row["split"], row["time"]) == (meta["key"], split, time)
        assert (row["label"], row["text"]) == (meta["label"], sample["text"])
        vector = np.asarray(row["embedding"], np.float64)
        assert vector.shape == (sample["shape"][1],)
        sums[meta["key"]] = sums.get(meta["key"], 0.0) + vector.sum()
    for samples in expected.values():
        for sample in samples.values():
            assert np.isclose(sums[sample["meta"]["key"]], sample["sum"])
