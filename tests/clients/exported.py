"""What the checks of exports share: our command, run as a user would, and the rows that it has to give."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent.parent
HUB_SPLITS = {"val": "validation"}


def builders(*arguments: object) -> None:
    """Runs `python -m builders …` in the environment of the project."""
    line = [str(ROOT / ".venv/bin/python"), "-m", "builders", *map(str, arguments)]
    subprocess.run(line, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@dataclass
class Sample:
    """One sample as `tarfile`, `np.load` and `json` read it."""

    split: str
    vectors: Any = None
    text: str = ""
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def windows(self) -> list[tuple[str, list[float]]]:
        """Its timed captions, with their windows cut to the video; those of which nothing is left are not there."""
        timed = zip(self.meta["captions"], self.meta.get("caption_timestamps") or [], strict=False)
        cut = ((caption, [start, min(end, self.meta["duration"])]) for caption, (start, end) in timed)
        return [(caption, window) for caption, window in cut if window[1] > window[0]]


def read_samples(folder: str) -> dict[str, Sample]:
    """Every sample of a dataset by key."""
    found: dict[str, Sample] = {}
    for line in Path(folder, "splits.csv").read_text().splitlines()[1:]:
        file, split = line.split(",")
        of_tar: dict[str, Sample] = {}
        with tarfile.open(Path(folder, file)) as tar:
            for info in tar:
                id_, _, extension = info.name.partition(".")
                content = tar.extractfile(info).read()  # type: ignore[union-attr]
                sample = of_tar.setdefault(id_, Sample(split))
                if extension == "npy":
                    sample.vectors = np.load(io.BytesIO(content))
                elif extension == "txt":
                    sample.text = content.decode()
                else:
                    sample.meta = json.loads(content)
        found |= {sample.meta["key"]: sample for sample in of_tar.values()}
    return found


def write_query_features(folder: Path, queries: Iterable[int], dim: int) -> None:
    """Features of queries as the projects' own text encoders write them, which the loaders want beside ours."""
    folder.mkdir(parents=True)
    for qid in queries:
        tokens = np.random.default_rng(qid).standard_normal((5, dim)).astype(np.float32)
        np.savez(folder / f"qid{qid}.npz", last_hidden_state=tokens, pooler_output=tokens[0])


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
