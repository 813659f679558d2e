"""Embedding Atlas loads the Parquet of rows and projects its vectors, by the functions that its command line runs."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from embedding_atlas.cli import load_datasets
from embedding_atlas.projection import compute_projection
from exported import builders, compare_rows

REQUIREMENTS = ("embedding-atlas",)
INHERIT = True

folder, expected = sys.argv[1], json.loads(Path(sys.argv[2]).read_text())
with TemporaryDirectory() as temporary:
    builders("parquet", folder, "--out", f"{temporary}/rows")
    files = [f for split in ("train", "validation", "test") for f in sorted(Path(temporary, "rows").glob(f"{split}-*"))]
    table = load_datasets([str(file) for file in files])
    rows = table.to_dict("records")
    compare_rows(({**row, "label": row["label"] if isinstance(row["label"], str) else None} for row in rows), expected)
    placed = compute_projection(table, inputs="embedding", modality="vector", x="x", y="y", neighbors="neighbors")
    assert np.isfinite(placed[["x", "y"]].to_numpy(np.float64)).all()
    assert len(placed) == len(rows)
