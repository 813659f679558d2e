"""On a CUDA GPU: videos to triples beside the slower of decoding alone and encoding alone, and the GPU's utilization.

    .venv/bin/python benchmarks/gpu.py [--clips 400] [--workers 8 16] [--models B/32 L/14]

Without CUDA it prints one line and measures nothing. Utilization is the mean of what `nvidia-smi` says, every 0.5 s,
from the first moment at which it is above 0 to the last. Also says whether the rows of a video have the same bytes
whatever was encoded beside it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.media import make_clip_model, make_clips
from benchmarks.harness.peers import ROOT
from benchmarks.harness.rounds import OUT, Bench, Command

ROWS = 256


def busy_percent(samples: list[int]) -> float:
    """The mean utilization between the first and the last moment of work.

    Examples:
        >>> busy_percent([0, 0, 50, 0, 100, 0])
        50.0
    """
    at_work = [i for i, value in enumerate(samples) if value > 0]
    between = samples[at_work[0] : at_work[-1] + 1] if at_work else [0]
    return sum(between) / len(between)


def watched(argv: list[str]) -> None:
    """Runs a command while it samples the GPU; prints its wall time and the utilization."""
    samples: list[int] = []
    done = threading.Event()

    def watch() -> None:
        query = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
        while not done.wait(0.5):
            said = subprocess.run(query, capture_output=True, text=True).stdout.split()
            samples.extend([int(said[0])] if said and said[0].isdigit() else [])

    thread = threading.Thread(target=watch)
    thread.start()
    began = time.perf_counter()
    try:
        subprocess.run(argv, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    finally:
        seconds = time.perf_counter() - began
        done.set()
        thread.join()
    print(json.dumps({"facts": {"gpu_busy_percent": busy_percent(samples)}, "seconds": seconds}))


def encode_only(model: str, videos: int) -> None:
    """Ten frames for each video, in batches as a build has them; prints how long that took."""
    import numpy as np
    import torch

    from preprocess.encoders.devices import choose_precision
    from preprocess.encoders.models import resolve
    from preprocess.encoders.registry import load_encoder

    encoder = load_encoder(resolve(model), "cuda", choose_precision("auto", "cuda"), ROWS)
    pixels = np.random.default_rng(0).integers(0, 256, (ROWS, *encoder.frame_shape), dtype=np.uint8)
    encoder.encode(pixels)
    torch.cuda.synchronize()
    began = time.perf_counter()
    batches = -(-10 * videos // ROWS)
    for _ in range(batches):
        encoder.encode(pixels)
    torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    print(json.dumps({"units": batches * ROWS / 10, "seconds": seconds}))


def _decode(paths: list[Path], model: str, barrier: Any) -> None:
    from benchmarks.encode import decode_all

    decode_all(paths, model, "torch", barrier.wait)
    barrier.wait()


def decode_only(model: str, videos: Path, workers: int) -> None:
    """All videos, by so many processes; prints how long that took, without their start."""
    paths = sorted(videos.glob("*.mp4"))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(workers + 1)
    processes = [context.Process(target=_decode, args=(paths[i::workers], model, barrier)) for i in range(workers)]
    for process in processes:
        process.start()
    barrier.wait()
    began = time.perf_counter()
    barrier.wait()
    print(json.dumps({"units": len(paths), "seconds": time.perf_counter() - began}))
    for process in processes:
        process.join()


def same_bytes(videos: Path, model: Path, folder: Path) -> float:
    """The share of the first 20 videos whose rows have the same bytes when nothing else is encoded beside them."""
    few = folder / "few"
    few.mkdir()
    for path in sorted(videos.glob("*.mp4"))[:20]:
        shutil.copyfile(path, few / path.name)
    rows: list[dict[str, bytes]] = []
    for raw in (few, videos):
        out = folder / f"out-{raw.name}"
        encode = ["encode", "folder", "--raw", str(raw), "--model", str(model), "--out", str(out), "--device", "cuda"]
        subprocess.run(
            [sys.executable, "-m", "preprocess", *encode, "--processed", "files"],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        rows.append({path.name: path.read_bytes() for path in out.glob("work/*/processed/*/*.npy")})
    return sum(rows[1].get(name) == data for name, data in rows[0].items()) / len(rows[0])


def measure(bench: Bench, clips: int, workers: list[int], sizes: list[str]) -> None:
    """One case for each model and number of processes."""
    this = str(Path(__file__).resolve())
    videos = bench.temporary / "videos"
    make_clips(videos, clips)
    for size in sizes:
        model = make_clip_model(bench.temporary / f"model-{size.replace('/', '-')}", size)
        for count in workers:
            encode = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", str(videos), "--out", OUT]
            encode += ["--model", str(model), "--device", "cuda", "--workers", str(count)]
            alone = [sys.executable, this, "--decode-only", str(model), str(videos), str(count)]
            only = [sys.executable, this, "--encode-only", str(model), str(clips)]
            case = bench.case(
                f"videos to triples on a GPU, ViT-{size}, {count} decode processes",
                "videos",
                clips,
                [
                    Command("ours", "ours", [sys.executable, this, "--watched", *encode]),
                    Command("decode only", "bound", alone),
                    Command("encode only", "bound", only),
                ],
            )
            by_name = {one.name: one for one in case.contenders if one.runs}
            if len(by_name) == 3:
                slower = min(by_name["decode only"].rate, by_name["encode only"].rate)
                case.figures["share of the slower of both alone"] = by_name["ours"].rate / slower
                case.figures["frames/s"] = 10 * by_name["ours"].rate
                case.figures["GPU busy %"] = by_name["ours"].facts["gpu_busy_percent"]
        share = same_bytes(videos, model, bench.temporary / f"model-{size.replace('/', '-')}")
        bench.add_figures(share_of_videos_with_the_same_bytes_alone=share)


def main() -> None:
    """Measures, prints, keeps; or says that there is no GPU."""
    match sys.argv[1:]:
        case ["--watched", *argv]:
            watched(argv)
        case ["--encode-only", model, videos]:
            encode_only(model, int(videos))
        case ["--decode-only", model, videos, workers]:
            decode_only(model, Path(videos), int(workers))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--clips", type=int, default=400)
            parser.add_argument("--workers", type=int, nargs="+", default=[8, 16])
            parser.add_argument("--models", nargs="+", default=["B/32", "L/14"], choices=["B/32", "L/14"])
            bench, options = Bench.from_arguments("gpu", parser, rounds=2)
            import torch

            with bench:
                if not torch.cuda.is_available():
                    print("no CUDA GPU on this machine: nothing to measure")
                    return
                measure(bench, options.clips, options.workers, options.models)
                bench.write()


if __name__ == "__main__":
    main()
