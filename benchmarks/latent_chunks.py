"""How far latents that are encoded in chunks are from a single pass, and what memory each takes.

    .venv/bin/python benchmarks/latent_chunks.py [video] [--vae THUDM/CogVideoX-5b] [--seconds 3] [--size 480x720]

The VAE's group norms take their statistics over a chunk, so the length of a chunk is part of the result. Without
`--vae` the architecture is CogVideoX's own with random weights, on a rendered video: that shows the mechanism and the
memory; only real weights show the distance that matters. Distances are of the means (the first 16 channels), relative
to their standard deviation over the single pass.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from preprocess.console import table
from preprocess.long_video.components import find_component, load_vae, require
from preprocess.long_video.demo import render_videos
from preprocess.long_video.frames import FrameFormat, episode_frames
from preprocess.long_video.latents import chunk_sizes, encode_chunks
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.long_video.segments import Segment


def random_vae(dtype: torch.dtype) -> Any:
    """CogVideoX's encoder with random weights."""
    from diffusers import AutoencoderKLCogVideoX
    from diffusers.utils import logging

    logging.set_verbosity_error()  # that the cast to bfloat16 is for the whole model
    torch.manual_seed(0)
    vae: Any = AutoencoderKLCogVideoX()
    vae.decoder = None
    return vae.to(dtype).eval()


def peak_memory(vae: Any, action: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """The result, and the bytes it took beyond what was there: on the GPU, else resident in this process."""
    gc.collect()
    if vae.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = action()
        return result, torch.cuda.max_memory_allocated() - before
    done, before, most = threading.Event(), _resident(), 0

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, _resident())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        result = action()
    finally:
        done.set()
        watcher.join()
    return result, max(0, most - before)


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def main() -> None:
    """Prints one line per length of a chunk."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--vae")
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--size", default="64x96")
    parser.add_argument("--fp32", action="store_true")
    arguments = parser.parse_args()
    require("diffusers")
    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", torch.float32 if arguments.fp32 else torch.bfloat16
    vae = load_vae(find_component(arguments.vae, "vae"), device, dtype) if arguments.vae else random_vae(dtype)
    vae.to(device)
    height, width = map(int, arguments.size.split("x"))
    settings = FrameFormat(height=height, width=width)
    with tempfile.TemporaryDirectory() as temporary:
        video = arguments.video
        if video is None:
            render_videos(Path(temporary))
            video = Path(temporary) / "garden.mp4"
        count = arguments.seconds // SEGMENT_S
        segments = [Segment(video.name, SEGMENT_S * i + 0.5, float("inf"), False, False, "") for i in range(count)]
        pixels = np.concatenate(list(episode_frames(video.parent, segments, settings)))

    rows = []
    single: torch.Tensor | None = None
    for seconds in sorted({arguments.seconds, 3, 2, 1}, reverse=True):
        sizes = chunk_sizes(len(pixels), settings.fps * seconds)
        parts = np.split(pixels, np.cumsum(sizes)[:-1])
        encoded, memory = peak_memory(vae, lambda parts=parts: encode_chunks(vae, parts))
        means = encoded.float()[:, :16]
        single = means if single is None else single
        apart = (means - single) / single.std()
        cosine = torch.nn.functional.cosine_similarity(means.flatten(1), single.flatten(1)).mean()
        rows.append(
            (
                f"{seconds} s" + (" (single pass)" if len(sizes) == 1 else ""),
                len(sizes),
                f"{apart.abs().mean():.4f}",
                f"{apart.abs().max():.3f}",
                f"{cosine:.5f}",
                f"{memory / 1e6:,.0f} MB",
            )
        )
    print(f"{len(pixels)} frames of {height}x{width}, {arguments.vae or 'random weights'}, {dtype}, {device}")
    print(
        table([("chunk", "chunks", "mean |d|/std", "max |d|/std", "cosine", "memory"), *rows], frozenset(range(1, 6)))
    )


if __name__ == "__main__":
    main()
