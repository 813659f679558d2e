"""Polars reads the Parquet of rows, at once and by a lazy query, with the vectors as arrays of a fixed size."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import polars
from exported import builders, compare_rows

REQUIREMENTS = ("polars", "numpy")

folder, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
with TemporaryDirectory() as temporary:
    builders("parquet", folder, "--out", f"{temporary}/rows")
    tables = [polars.read_parquet(f"{temporary}/rows/{split}-*.parquet") for split in ("train", "validation", "test")]
    table = polars.concat(tables)
    dim = next(iter(expected["train"].values()))["shape"][1]
    assert table.schema["embedding"] == polars.Array(polars.Float16, dim)
    compare_rows(table.to_dicts(), expected)
    key = table["key"][5]
    lazy = polars.scan_parquet(f"{temporary}/rows/*.parquet").filter(polars.col("key") == key).collect()
    assert lazy["embedding"].to_list() == table.filter(polars.col("key") == key)["embedding"].to_list()
