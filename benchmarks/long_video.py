"""Long videos: memory of `encode` over the length of a video, and latents per second of video.

    .venv/bin/python benchmarks/long_video.py [--minutes 10 60] [--latent-seconds 6 24]

The long videos are the packets of a short one, repeated: 340 x 256, 25 frames a second, sampled at 1 frame a second by
ViT-B/32 with random weights. Latents are those of CogVideoX's VAE with random weights, in chunks of 1 s at 16 frames a
second, at `--latent-size`, as `long-video latents` makes them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.media import make_clip_model, random_vae, render, repeat_video
from benchmarks.harness.peers import why_missing
from benchmarks.harness.rounds import OUT, Bench, Command

CLIP_S = 10
LATENT_FPS = 16


def latents(seconds: int, size: str) -> None:
    """Encodes so many seconds of random frames in chunks of 1 s; prints how long that took, without loading."""
    import numpy as np
    import torch

    from preprocess.long_video.latents import chunk_sizes, encode_chunks

    vae = random_vae("cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16)
    height, width = map(int, size.split("x"))
    rng = np.random.default_rng(0)

    sizes = chunk_sizes(LATENT_FPS * seconds + 1, LATENT_FPS)
    chunks = (rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8) for count in sizes)
    began = time.perf_counter()
    encoded = encode_chunks(vae, chunks)
    print(
        json.dumps(
            {
                "units": seconds,
                "seconds": time.perf_counter() - began,
                "facts": {"shape": list(encoded.shape), "device": str(vae.device)},
            }
        )
    )


def measure_encode(bench: Bench, minutes: list[int]) -> None:
    """One video of each length through `encode`; the memory must not grow with the length."""
    model = make_clip_model(bench.temporary / "model")
    clip = bench.temporary / "clip.mp4"
    render(clip, CLIP_S, 256, 340)
    contenders = []
    for length in minutes:
        folder = bench.temporary / f"videos{length}"
        folder.mkdir()
        repeat_video(clip, folder / "long.mp4", 60 * length // CLIP_S)
        argv = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", str(folder), "--model", str(model)]
        contenders.append(Command(f"{length} min", "ours", [*argv, "--out", OUT], units=60 * length))
    case = bench.case(f"one video of {minutes[0]} to {minutes[-1]} min through encode", "s of video", 1, contenders)
    for one in case.contenders:
        if one.runs:
            case.figures[f"MB at {one.name}"] = one.peak_mb


def measure_latents(bench: Bench, seconds: list[int], size: str) -> None:
    """Latents of each length; the memory must not grow with the length."""
    this = str(Path(__file__).resolve())
    reason = why_missing("diffusers", "requirements-long-video.txt")
    contenders = [
        Command(f"{length} s", "ours", [sys.executable, this, "--latents", str(length), size], absent=reason)
        for length in seconds
    ]
    case = bench.case(f"latents of CogVideoX's VAE, {size}", "s of video", 1, contenders)
    for one in case.contenders:
        if one.runs:
            case.figures[f"MB at {one.name}"] = one.peak_mb


def main() -> None:
    """Measures, prints, keeps."""
    if sys.argv[1:2] == ["--latents"]:
        latents(int(sys.argv[2]), sys.argv[3])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, nargs="+", default=[10, 60])
    parser.add_argument("--latent-seconds", type=int, nargs="+", default=[6, 24])
    parser.add_argument("--latent-size", default="64x96", help="CogVideoX's own is 480x720: minutes a second on a CPU")
    bench, options = Bench.from_arguments("long_video", parser, rounds=2)
    with bench:
        measure_encode(bench, sorted(options.minutes))
        measure_latents(bench, sorted(options.latent_seconds), options.latent_size)
        bench.write()


if __name__ == "__main__":
    main()
