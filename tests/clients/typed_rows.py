"""What `check_datasets_*.py` ask of a version of `datasets`: every sample, prepared and streamed, in typed columns.

And every row of the Parquet export.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow.parquet
from datasets import load_dataset
from exported import builders, compare_rows

SPLITS = {"val": "validation"}


def check() -> None:
    """Reads the folder of the command line, and compares it with what `tarfile` and `json` read."""
    folder, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
    with TemporaryDirectory() as cache:
        for streaming in (False, True):
            loaded = load_dataset(folder, streaming=streaming, cache_dir=cache)
            assert set(loaded) == {SPLITS.get(split, split) for split in expected}
            for split, samples in expected.items():
                compare(loaded[SPLITS.get(split, split)], samples)
        table = Path(cache) / "train.parquet"
        load_dataset(folder, split="train", cache_dir=cache).to_parquet(str(table))
        meta = pyarrow.parquet.read_schema(table).field("json").type
        types = {field.name: str(field.type) for field in meta}
        wanted = {"key": "string", "start_time": "double", "n_frames": "int64", "truncated": "bool", "score": "double"}
        assert {name: types[name] for name in wanted} == wanted, types
        assert meta.field("timestamps").type.value_type == "double"
        builders("parquet", folder, "--out", f"{cache}/rows")
        for streaming in (False, True):
            loaded = load_dataset(f"{cache}/rows", streaming=streaming, cache_dir=cache)
            rows = [row for split in expected for row in loaded[SPLITS.get(split, split)]]
            compare_rows(rows, expected)


def compare(rows: Any, samples: dict[str, dict[str, Any]]) -> None:
    """Compares the rows of a split with its samples, in order."""
    rows = list(rows)
    assert [row["__key__"] for row in rows] == list(samples)
    for row in rows:
        sample = samples[row["__key__"]]
        vectors = np.array(row["npy"], np.float64)
        assert list(vectors.shape) == sample["shape"]
        assert np.isclose(vectors.sum(), sample["sum"])
        assert (row["txt"], row["json"]) == (sample["text"], sample["meta"])
        assert row["__url__"].endswith(".tar")
