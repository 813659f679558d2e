"""How each step grows with the number of samples: encode, pack, verify, evaluate, card, read.

    .venv/bin/python benchmarks/growth.py [--samples 1000 10000 100000]

Small images and a model of one layer, so that what is measured is the handling of samples. The exponent is the slope of
log(seconds) over log(samples), from all sizes, and from the last two: constant start-up makes the first one smaller.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.media import make_clip_model, make_images
from benchmarks.harness.rounds import Bench, Command

NAME = "CLIP-Growth"


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """The slope of a straight line through the logarithms: 1 where seconds are proportional to samples."""
    if len({size for size, _ in points}) < 2:
        raise ValueError(f"an exponent needs two sizes, got {points}")
    logs = [(math.log(size), math.log(seconds)) for size, seconds in points]
    mean_x, mean_y = (sum(values) / len(logs) for values in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def unpacked(out: Path) -> None:
    """Removes what an earlier run packed."""
    for folder in (out / NAME, out / "work" / NAME / "shards"):
        shutil.rmtree(folder, ignore_errors=True)


def aside(out: Path) -> None:
    """Renames what an earlier run encoded.

    Were it deleted, ext4 without a journal would take several times as long to make new files for some minutes.
    """
    if out.is_dir():
        out.rename(out.with_name(f"{out.name}-{len(list(out.parent.glob(f'{out.name}-*')))}"))


def read(folder: Path) -> None:
    """Two epochs, the second against the clock; the first indexes the tars."""
    from builders.torch_reader import EmbeddingReader

    reader = EmbeddingReader(folder, batch_size=256, length=1)
    count = sum(len(batch["text"]) for batch in reader)
    reader.set_epoch(1)
    began = time.perf_counter()
    again = sum(len(batch["text"]) for batch in reader)
    if again != count:
        raise SystemExit(f"{count} samples, then {again}")
    print(json.dumps({"units": count, "seconds": time.perf_counter() - began}))


def steps(out: Path, raw: Path, model: Path) -> dict[str, Command]:
    """The commands of one size, in their order."""
    python, named = sys.executable, ["--out", str(out), "--name", NAME]
    this = str(Path(__file__).resolve())
    encode = [python, "-m", "preprocess", "encode", "folder", "--raw", str(raw), "--model", str(model), *named]
    evaluate = [python, "-m", "dataset_cards", "evaluate", "folder", *named, "--overwrite"]
    argv: dict[str, list[str]] = {
        "encode": [*encode, "--split", "0.98,0.01,0.01"],
        "pack": [python, "-m", "preprocess", "shards", "folder", *named],
        "evaluate": evaluate,
        "card": [python, "-m", "dataset_cards", "card", "folder", *named],
        "verify": [python, "-m", "builders", "verify", str(out / NAME)],
        "read": [python, this, "--read", str(out / NAME)],
    }
    prepared = {"encode": [python, this, "--aside", str(out)], "pack": [python, this, "--unpacked", str(out)]}
    return {step: Command(step, "ours", words, prepare=prepared.get(step, ())) for step, words in argv.items()}


def measure(bench: Bench, sizes: list[int]) -> None:
    """One case for each step; its contenders are the sizes."""
    model = make_clip_model(bench.temporary / "model", "null")
    by_size = {}
    for size in sizes:
        raw = make_images(bench.temporary / f"raw{size}", size)
        by_size[size] = steps(bench.temporary / f"out{size}", raw, model)
    for step in by_size[sizes[0]]:
        contenders = [
            Command(f"{size:,} samples", "ours", one[step].argv, units=size, prepare=one[step].prepare)
            for size, one in by_size.items()
        ]
        case = bench.case(f"growth of {step}, {sizes[0]:,} to {sizes[-1]:,} samples", "samples", 1, contenders)
        points = [(size, one.seconds) for size, one in zip(sizes, case.contenders, strict=True) if one.runs]
        if len(points) > 1:
            case.figures["exponent"] = exponent(points)
            case.figures["exponent of the last two"] = exponent(points[-2:])


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--unpacked", out]:
            unpacked(Path(out))
        case ["--aside", out]:
            aside(Path(out))
        case ["--read", folder]:
            read(Path(folder))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--samples", type=int, nargs="+", default=[1_000, 10_000, 100_000])
            bench, options = Bench.from_arguments("growth", parser, rounds=1)
            with bench:
                measure(bench, sorted(options.samples))
                bench.write()


if __name__ == "__main__":
    main()
