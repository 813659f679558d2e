"""DuckDB reads the Parquet of rows: every value, the query of the README, and the nearest row by its own distance."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb
from exported import ROOT, builders, compare_rows

REQUIREMENTS = ("duckdb", "numpy")

folder, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
with TemporaryDirectory() as temporary:
    builders("parquet", folder, "--out", f"{temporary}/rows")
    rows = []
    for split in ("train", "validation", "test"):
        found = duckdb.sql(f"SELECT * FROM '{temporary}/rows/{split}-*.parquet'")
        rows += [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]
    compare_rows(rows, expected)
    (query,) = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    answer = duckdb.sql(query.replace("rows/CLIP-Shapes", f"{temporary}/rows")).fetchall()
    assert answer == sorted((row["key"], row["time"]) for row in rows if row["label"] == "red circle")
    dim = len(rows[0]["embedding"])
    nearest = duckdb.sql(
        f"SELECT key, time FROM '{temporary}/rows/*.parquet' ORDER BY array_cosine_distance("
        f"embedding::FLOAT[{dim}], (SELECT embedding::FLOAT[{dim}] FROM '{temporary}/rows/*.parquet' "
        f"WHERE key = '{rows[3]['key']}' AND time = {rows[3]['time']})) LIMIT 1"
    ).fetchall()
    assert nearest == [(rows[3]["key"], rows[3]["time"])]
