"""How far latents that are encoded in chunks are from a single pass, and what memory each takes.

    .venv/bin/python benchmarks/latent_chunks.py [--seconds 9] [--size 64x96] [--precisions fp32 bf16] [--rounds 2]
    .venv/bin/python benchmarks/latent_chunks.py --video VIDEO --vae THUDM/CogVideoX-5b --size 480x720

The VAE's group norms take their statistics over a chunk, so the length of a chunk is part of the result. Without
`--vae` the architecture is CogVideoX's own with random weights, on a rendered video: that shows the mechanism and the
memory; only real weights show the distance that matters. The peer is the `encode` of diffusers, in a single pass.
Distances are of the means (the first 16 channels), relative to their standard deviation over the single pass. Figures
of memory are beyond what the loaded model takes: on the GPU, else resident in the process.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch

from benchmarks.harness.media import random_vae
from benchmarks.harness.peers import ROOT, why_missing
from benchmarks.harness.process import measure as run
from benchmarks.harness.rounds import Bench, Command
from preprocess.long_video.components import find_component, load_vae
from preprocess.long_video.demo import render_videos
from preprocess.long_video.devices import DTYPES
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.frames import episode_frames
from preprocess.long_video.latents import chunk_sizes, encode_chunks, model_input
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.long_video.segments import Segment
from preprocess.samples import Pixels

RANDOM = "random"
"""In place of a model: random weights."""

MEANS = 16
CHUNKS_S = (1, 2, 3)
SINGLE = "single.npy"


# --- tasks that run in processes of their own ------------------------------------------------------------------------


def encode(model: str, precision: str, pixels: Path, seconds: int, chunk_s: int) -> None:
    """Encodes in chunks, or in a single pass by diffusers if `chunk_s` is 0; prints how long that took.

    A single pass is kept beside the frames where none is there; chunks are compared with it.
    """
    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", getattr(torch, DTYPES[precision])
    vae = random_vae(device, dtype) if model == RANDOM else load_vae(find_component(model, "vae"), device, dtype)
    frames = np.load(pixels)
    began = time.perf_counter()
    sizes = chunk_sizes(len(frames), FrameFormat().fps * chunk_s) if chunk_s else [len(frames)]
    encoded, memory = peak_memory(vae, lambda: in_chunks(vae, frames, sizes) if chunk_s else in_one(vae, frames))
    took = time.perf_counter() - began
    facts = {"device": device, "chunks": len(sizes), "memory_mb": memory / 1e6}
    means, single = encoded.float()[:, :MEANS], pixels.with_name(f"{precision}-{SINGLE}")
    if chunk_s:
        facts |= distances(means, torch.from_numpy(np.load(single)))
    elif not single.is_file():
        np.save(single, means.numpy())
    print(json.dumps({"units": seconds, "seconds": took, "facts": facts}))


def in_chunks(vae: Any, frames: Pixels, sizes: list[int]) -> torch.Tensor:
    """As `long-video latents` encodes."""
    return encode_chunks(vae, np.split(frames, np.cumsum(sizes)[:-1]))


def in_one(vae: Any, frames: Pixels) -> torch.Tensor:
    """By the VAE's own function, which would cut the frames into batches of 8."""
    vae.num_sample_frames_batch_size = len(frames)
    with torch.inference_mode():
        latents: torch.Tensor = vae.encode(model_input(frames, vae.device, vae.dtype)).latent_dist.parameters
    return latents[0].transpose(0, 1).to("cpu", torch.bfloat16)


def distances(means: torch.Tensor, single: torch.Tensor) -> dict[str, float]:
    """Differences in standard deviations of the single pass, and the mean cosine of latent frames."""
    apart = ((means - single) / single.std()).abs()
    cosine = torch.nn.functional.cosine_similarity(means.flatten(1), single.flatten(1)).mean()
    return {"mean_distance": float(apart.mean()), "max_distance": float(apart.max()), "cosine": float(cosine)}


def peak_memory(vae: Any, action: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, int]:
    """The result, and the bytes it took beyond what was there: on the GPU, else resident in this process."""
    if vae.device.type == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        result = action()
        return result, torch.cuda.max_memory_allocated() - before
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # sets VmHWM, the peak, to what is resident now
    result = action()
    return result, max(0, _status("VmHWM") - before)


def _status(name: str) -> int:
    """Bytes that the kernel reports of this process."""
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


# --- side by side -----------------------------------------------------------------------------------------------------


def save_frames(path: Path, video: Path | None, seconds: int, size: str) -> Path:
    """The frames of the first seconds of a video, or of a rendered one, as an episode has them."""
    height, width = map(int, size.split("x"))
    if video is None:
        render_videos(path.parent)
        video = path.parent / "garden.mp4"
    starts = [SEGMENT_S * i + 0.5 for i in range(seconds // SEGMENT_S)]
    segments = [Segment(video.name, start, float("inf"), False, False, "") for start in starts]
    np.save(path, np.concatenate(list(episode_frames(video.parent, segments, FrameFormat(height=height, width=width)))))
    return path


def linked(model: str, folder: Path) -> str:
    """A link to the folder of a model, as commands are kept in the result; other names as they are."""
    source = Path(model).expanduser().resolve()
    if not source.is_dir():
        return model
    (folder / source.name).symlink_to(source)
    return str(folder / source.name)


def measure(bench: Bench, model: str, precision: str, pixels: Path, seconds: int, size: str) -> None:
    """One case for each precision."""
    task = [sys.executable, str(Path(__file__).resolve()), "--encode", model, precision, str(pixels), str(seconds)]
    lengths = [chunk_s for chunk_s in CHUNKS_S if chunk_s < seconds]
    commands = [Command(f"chunks of {chunk_s} s", "ours", [*task, str(chunk_s)]) for chunk_s in lengths]
    single = Command("single pass of diffusers", "peer", [*task, "0"])
    # What the chunks are compared with, whichever contenders are measured.
    run(single.argv, cwd=ROOT, time_limit_s=bench.time_limit_s)
    weights = "random weights" if model == RANDOM else Path(model).name
    title = f"latents of {seconds} s of {size} in chunks, {weights}, {precision}"
    case = bench.case(title, "s of video", seconds, [*commands, single])
    for one in case.contenders:
        if one.runs:
            case.figures[f"MB beyond the model, {one.name}"] = one.facts["memory_mb"]
        if one.runs and one.role == "ours":
            case.figures[f"mean distance, {one.name}"] = one.facts["mean_distance"]


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--encode", model, precision, pixels, seconds, chunk_s]:
            encode(model, precision, Path(pixels), int(seconds), int(chunk_s))
            return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--video", type=Path, help="a rendered one by default")
    parser.add_argument("--vae", default=RANDOM, help="folder or id on the Hub of the model; random weights by default")
    parser.add_argument("--seconds", type=int, default=9, help=f"of the video, a multiple of {SEGMENT_S}")
    parser.add_argument("--size", default="64x96", help="CogVideoX's own is 480x720: minutes a second on a CPU")
    parser.add_argument("--precisions", choices=sorted(DTYPES), nargs="+", default=["fp32", "bf16"])
    bench, options = Bench.from_arguments("latent_chunks", parser, rounds=2, packages=("diffusers",))
    if options.seconds < SEGMENT_S or options.seconds % SEGMENT_S:
        parser.error(f"--seconds must be a multiple of {SEGMENT_S}: {options.seconds}")
    with bench:
        if missing := why_missing("diffusers", "requirements-long-video.txt"):
            print(f"Nothing is measured: {missing}")
            return
        frames = save_frames(bench.temporary / "frames.npy", options.video, options.seconds, options.size)
        model = linked(options.vae, bench.temporary)
        for precision in options.precisions:
            measure(bench, model, precision, frames, options.seconds, options.size)
        bench.write()


if __name__ == "__main__":
    main()
