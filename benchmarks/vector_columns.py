"""The column of vectors as `Array2D` and as nested lists: what `datasets` takes to prepare it and to read it.

    python benchmarks/vector_columns.py [python of another version of `datasets` …]

CPU seconds for 2,000 samples of (10, 512) float16: `load_dataset`; 300 rows one by one, and all by 100, as NumPy.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

ARRAY2D = """  - name: npy
    dtype:
      array2_d:
        shape:
        - null
        - 512
        dtype: float16
"""
NESTED = """  - name: npy
    list:
      list: float16
      length: 512
"""
READ = """
import sys, tempfile, time
import datasets
datasets.disable_progress_bars()
with tempfile.TemporaryDirectory() as cache:
    start = time.process_time()
    rows = datasets.load_dataset(sys.argv[1], split="train", cache_dir=cache)
    prepared = time.process_time()
    rows = rows.with_format("numpy")
    first = [rows[i]["npy"] for i in range(300)][0]
    by_one = time.process_time()
    for batch in rows.iter(100):
        batch["npy"]
    by_100 = time.process_time()
    streamed = next(iter(datasets.load_dataset(sys.argv[1], split="train", streaming=True, cache_dir=cache)))["npy"]
kinds = f"{first.dtype} {first.shape}, streamed {type(streamed).__name__} {getattr(streamed, 'dtype', '')}"
times = f"{prepared - start:6.2f} {by_one - prepared:6.2f} {by_100 - by_one:6.2f}"
print(f"{datasets.__version__:8} {sys.argv[2]:8} {times}  {kinds}")
"""


def main() -> None:
    """Prints a line for each version and column."""
    from tests.builders import conftest

    pythons = sys.argv[1:] or [sys.executable]
    conftest.rows = lambda split, i: 10
    print("datasets column   prepare  rows  by 100")
    with tempfile.TemporaryDirectory() as temporary:
        for name, column in (("Array2D", ARRAY2D), ("lists", NESTED)):
            folder = conftest.write_dataset(
                Path(temporary, name), {"train": 2000, "val": 1, "test": 1}, per_shard=1000, dim=512
            )
            readme = folder / "README.md"
            assert ARRAY2D in readme.read_text()
            readme.write_text(readme.read_text().replace(ARRAY2D, column))
        for python in pythons:
            for name in ("Array2D", "lists"):
                subprocess.run([python, "-c", READ, str(Path(temporary, name)), name], check=True)


if __name__ == "__main__":
    main()
