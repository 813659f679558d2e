"""Start-up: seconds to the list of datasets, and from the start of `encode` to its first triple.

    .venv/bin/python benchmarks/startup.py [--clips 40] [--rounds 5]

The first triple is there when the first batch has been encoded, by ViT-B/32 with random weights. What comes before a
batch is measured by an only image, in batches of one. What importing torch takes is the bound for an engine that needs
it; that for one that needs torchvision and transformers, too, is beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.encode import engines
from benchmarks.harness.media import make_clip_model, make_clips, make_images
from benchmarks.harness.peers import ROOT
from benchmarks.harness.rounds import OUT, Bench, Command

LIMIT_S = 600.0
IMPORTS = {
    "import of torch alone": "torch",
    "imports of torch, torchvision and transformers": (
        "torch, torchvision.transforms.v2.functional, transformers.models.clip.modeling_clip"
    ),
}


def first_triple(out: Path, argv: list[str]) -> None:
    """Runs a command to its end; prints how long it took until there was a triple below `out`."""
    began = time.perf_counter()
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        seconds = None
        while seconds is None and process.poll() is None and time.perf_counter() - began < LIMIT_S:
            if next(out.glob("work/*/processed/*/*.json"), None) is not None:
                seconds = time.perf_counter() - began
            time.sleep(0.01)
    if process.returncode or seconds is None:
        raise SystemExit(f"exit code {process.returncode}; first triple after {seconds} s")
    print(json.dumps({"units": 1, "seconds": seconds}))


def contenders(raw: Path, model: Path, *more: str) -> list[Command]:
    """`encode` of a folder, by each engine."""
    watch = [sys.executable, str(Path(__file__).resolve()), "--first", OUT]
    encode = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", str(raw), "--model", str(model)]
    line = [*watch, *encode, "--out", OUT, *more]
    return [
        Command(f"ours, {engine}", "ours", line if engine == "torch" else [*line, "--engine", engine])
        for engine in engines()
    ]


def main() -> None:
    """Measures, prints, keeps."""
    if sys.argv[1:2] == ["--first"]:
        first_triple(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    bench, options = Bench.from_arguments("startup", parser, rounds=5, warmup=True)
    with bench:
        listed = Command("ours", "ours", [sys.executable, "-m", "preprocess", "list"])
        bench.case("python -m preprocess list", "lists", 1, [listed], show="seconds")
        model = make_clip_model(bench.temporary / "model")
        videos, image = bench.temporary / "videos", bench.temporary / "image"
        make_clips(videos, options.clips)
        make_images(image, 1)
        bounds = [Command(name, "bound", [sys.executable, "-c", f"import {what}"]) for name, what in IMPORTS.items()]
        ours = contenders(videos, model)
        bench.case("start of encode to its first triple", "starts", 1, [*ours, *bounds], show="seconds")
        ours = contenders(image, model, "--batch-size", "1")
        bench.case("start of encode to the triple of an only image", "starts", 1, [*ours, *bounds], show="seconds")
        bench.write()


if __name__ == "__main__":
    main()
