"""How long indexing all of Kinetics-700 takes, and in how much memory: a synthetic train.csv of 545,000 rows.

    .venv/bin/python benchmarks/index_kinetics.py [--rows 545000] [--files 545000] [--rounds 3]

Reading the table, listing the folder and yielding every sample; the bound reads the table and lists the folder alone.
The names are made up (seeded); `--files` empty clips are made in class folders of a temporary directory. The figures
say after how many seconds the first sample came, and how much memory the process had before it began.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.rounds import Bench, Command

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-"
TABLE = "annotations/train.csv"


def make(raw: Path, rows: int, files: int) -> Path:
    """Writes annotations/train.csv and the first `files` of its clips, empty, below `raw`."""
    rng = random.Random(0)
    (raw / "annotations").mkdir(parents=True)
    labels = [f"doing thing {number}" for number in range(700)]
    for label in labels:
        (raw / "train" / label).mkdir(parents=True)
    with (raw / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["label", "youtube_id", "time_start", "time_end", "split", "is_cc"])
        for number in range(rows):
            label, start = rng.choice(labels), rng.randrange(600)
            video = "".join(rng.choices(LETTERS, k=11))
            writer.writerow([label, video, start, start + 10, "train", 0])
            if number < files:
                (raw / "train" / label / f"{video}_{start:06d}_{start + 10:06d}.mp4").touch()
    return raw


def index(raw: Path) -> None:
    """Takes every sample of the recipe; prints how many there were, and how long that took."""
    from preprocess import recipes
    from preprocess.samples import RecipeOptions

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began = time.perf_counter()
    samples = recipes.load("kinetics700").samples(raw, RecipeOptions())
    next(samples)
    first = time.perf_counter() - began
    count = 1 + sum(1 for _ in samples)
    seconds = time.perf_counter() - began
    print(json.dumps({"units": count, "seconds": seconds, "facts": {"first_s": first, "mb_before": before}}))


def list_alone(raw: Path) -> None:
    """Reads the rows of the table and lists the files of the folder; prints how long that took."""
    began = time.perf_counter()
    with (raw / TABLE).open(newline="", encoding="utf-8") as file:
        _, *rows = csv.reader(file)
    found = sum(len(files) for _, _, files in os.walk(raw))
    print(json.dumps({"units": len(rows), "seconds": time.perf_counter() - began, "facts": {"files": found}}))


def measure(bench: Bench, rows: int, files: int) -> None:
    """The one case."""
    raw = make(bench.temporary / "raw", rows, files)
    task = [sys.executable, str(Path(__file__).resolve())]
    ours = Command("ours", "ours", [*task, "--index", str(raw)])
    bound = Command("csv.reader and os.walk alone", "bound", [*task, "--list", str(raw)])
    case = bench.case(f"index of Kinetics-700: {rows:,} rows, {files:,} clips", "samples", rows, [ours, bound])
    case.note_bound()
    for one in case.contenders:
        if one.role == "ours" and one.runs:
            until, before = one.facts["first_s"], one.facts["mb_before"]
            case.figures.update(
                {"s for all samples": one.seconds, "s until the first sample": until, "MB before": before}
            )


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--index", raw]:
            index(Path(raw))
        case ["--list", raw]:
            list_alone(Path(raw))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--rows", type=int, default=545_000)
            parser.add_argument("--files", type=int, default=545_000)
            bench, options = Bench.from_arguments("index_kinetics", parser)
            with bench:
                measure(bench, options.rows, options.files)
                bench.write()


if __name__ == "__main__":
    main()
