"""How long indexing all of Kinetics-700 takes, and in how much memory: a synthetic train.csv of 545,000 rows.

    .venv/bin/python -m benchmarks.index_kinetics [--rows 545000] [--files 545000]

Prints seconds and peak memory of reading the table, listing the folder and yielding every sample. The names are made up
(seeded); `--files` empty clips are made in class folders of a temporary directory.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"


def make(raw: Path, rows: int, files: int) -> None:
    """Writes annotations/train.csv and the first `files` of its clips, empty, below `raw`."""
    rng = random.Random(0)
    (raw / "annotations").mkdir()
    labels = [f"doing thing {number}" for number in range(700)]
    for label in labels:
        (raw / "train" / label).mkdir(parents=True)
    with (raw / "annotations/train.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split", "is_cc"])
        for number in range(rows):
            label, start = rng.choice(labels), rng.randrange(600)
            video = "".join(rng.choices(LETTERS, k=11))
            writer.writerow([label, video, start, start + 10, "train", 0])
            if number < files:
                (raw / "train" / label / f"{video}_{start:06d}_{start + 10:06d}.mp4").touch()


def measure(raw: Path) -> None:
    """Runs in a process of its own, so that its peak memory is that of the index alone."""
    from preprocess import recipes
    from preprocess.samples import RecipeOptions

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    first = None
    count = 0
    for _ in recipes.load("kinetics700").samples(raw, RecipeOptions()):
        count += 1
        first = first or time.perf_counter() - started
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"samples": count, "first_s": first, "all_s": seconds, "peak_mb": peak, "idle_mb": before}))


def main() -> None:
    """Makes the files, measures, prints one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=545_000)
    parser.add_argument("--files", type=int, default=545_000)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        measure(options.measure)
        return
    with tempfile.TemporaryDirectory() as folder:
        make(Path(folder), options.rows, options.files)
        command = [sys.executable, "-m", "benchmarks.index_kinetics", "--measure", folder]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"{'rows of train.csv':28}{options.rows:>12,}")
    print(f"{'clips on disk':28}{options.files:>12,}")
    print(f"{'samples':28}{found['samples']:>12,}")
    print(f"{'until the first sample (s)':28}{found['first_s']:>12.1f}")
    print(f"{'all samples (s)':28}{found['all_s']:>12.1f}")
    print(f"{'samples/s':28}{found['samples'] / found['all_s']:>12,.0f}")
    print(f"{'peak memory (MB)':28}{found['peak_mb']:>12.0f}")
    print(f"{'of which before (MB)':28}{found['idle_mb']:>12.0f}")


if __name__ == "__main__":
    main()
