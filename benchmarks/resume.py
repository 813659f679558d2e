"""A finished build started again, and the listing of samples: seconds, and bytes of memory a sample.

    .venv/bin/python benchmarks/resume.py [--samples 100000] [--rows 545000 5000000]

The listing is that of a CSV table of URLs, so that millions of rows need no files. Memory a sample is the peak above
that of a table of 1,000 rows.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.growth import exponent, steps
from benchmarks.harness.media import make_clip_model, make_images
from benchmarks.harness.peers import ROOT
from benchmarks.harness.process import measure as run
from benchmarks.harness.rounds import OUT, Bench, Command

FEW = 1_000


def write_table(path: Path, rows: int) -> Path:
    """Rows of id, URL and caption."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["videoID", "videoLoc", "caption"])
        for number in range(rows):
            url = f"https://videos.example.org/{number % 1000:03d}/video{number:08d}.mp4"
            writer.writerow([f"video{number:08d}", url, f"a person is doing thing {number % 700}"])
    return path


def measure_resume(bench: Bench, samples: int) -> None:
    """`encode` and `shards` again, with nothing to do."""
    model = make_clip_model(bench.temporary / "model", "null")
    raw = make_images(bench.temporary / "raw", samples)
    made = steps(bench.temporary / "out", raw, model)
    for step in ("encode", "pack"):
        run(made[step].argv, cwd=ROOT)
    again = {
        "encode": [word for word in made["encode"].argv if word != "--overwrite"],
        "shards": list(made["pack"].argv),
    }
    for step, argv in again.items():
        title = f"{step} again on a finished build of {samples:,} samples"
        bench.case(title, "samples", samples, [Command("ours", "ours", argv)], show="seconds")


def measure_listing(bench: Bench, sizes: list[int]) -> None:
    """`samples` of tables of several sizes."""
    contenders = []
    for rows in (FEW, *sizes):
        table = write_table(bench.temporary / f"rows{rows}.csv", rows)
        argv = [sys.executable, "-m", "preprocess", "samples", "table", "--raw", str(table), "--out", OUT]
        contenders.append(Command(f"{rows:,} rows", "ours", [*argv, "--model", "tiny-clip"], units=rows))
    case = bench.case(f"samples of tables of up to {sizes[-1]:,} rows", "samples", 1, contenders)
    few, *ran = [one for one in case.contenders if one.runs]
    for one in ran:
        units = one.counted[0].units
        case.figures[f"s for {one.name}"] = one.seconds
        case.figures[f"bytes a sample at {one.name}"] = (one.peak_mb - few.peak_mb) * 2**20 / (units - FEW)
    if len(ran) > 1:
        case.figures["exponent"] = exponent([(one.counted[0].units, one.seconds) for one in ran])


def main() -> None:
    """Measures, prints, keeps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--rows", type=int, nargs="+", default=[545_000, 5_000_000])
    bench, options = Bench.from_arguments("resume", parser, rounds=2)
    with bench:
        measure_resume(bench, options.samples)
        measure_listing(bench, sorted(options.rows))
        bench.write()


if __name__ == "__main__":
    main()
