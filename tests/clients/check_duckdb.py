"""DuckDB reads the Parquet of rows: every value, and the nearest rows of a row by its own distance."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from exported import builders, compare_rows

REQUIREMENTS = ("duckdb", "numpy")

folder, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
with TemporaryDirectory() as temporary:
    builders("parquet", folder, "--out", f"{temporary}/rows")
    rows = []
    for split in ("train", "validation", "test"):
        found = duckdb.sql(f"SELECT * FROM '{temporary}/rows/{split}-*.parquet'")
        rows += [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    compare_rows(rows, expected)
    dim = len(rows[0]["embedding"])
    nearest = duckdb.sql(
        f"SELECT key, time FROM '{temporary}/rows/*.parquet' ORDER BY array_cosine_distance("
        f"embedding::FLOAT[{dim}], (SELECT embedding::FLOAT[{dim}] FROM '{temporary}/rows/*.parquet' "
        f"WHERE key = '{rows[3]['key']}' AND time = {rows[3]['time']})) LIMIT 1"
    ).fetchall()
    assert nearest == [(rows[3]["key"], rows[3]["time"])]
