"""End to end: videos per second from files to triples, beside what people write by hand and other projects.

    .venv/bin/python benchmarks/encode.py [--clips 200 1000] [--slow-clips 40] [--rounds 3]

Clips of 10 s, 340 x 256, 25 frames a second, sampled at 1 frame a second; ViT-B/32 with random weights, made from its
config, so that nothing is downloaded. Each run is a whole process, the model's start included. The bound is what the
cores can do when all of them only decode, and then only encode, the same videos; between start and end a run is at most
that fast. How fast the matrix products of the tower alone are says what another engine could gain. Contenders of about
one video a second get `--slow-clips` videos, in the first case only. OpenVINO in int8 runs beside the others, and is
not compared with peers, whose number format is another.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.media import make_clip_model, make_clips
from benchmarks.harness.peers import ROOT, SCRIPTS, peer_python, why_absent
from benchmarks.harness.result import Role, ratio
from benchmarks.harness.rounds import OUT, Bench, Command

SECONDS = 10
"""Of each clip; with one frame a second, also its frames."""
FRAMES_PER_BATCH = 32
INT8 = "int8"


# --- the bound: all cores only decode, or only encode -----------------------------------------------------------------


def batches(videos: int) -> int:
    """Full batches that hold the frames of so many videos."""
    return math.ceil(videos * SECONDS / FRAMES_PER_BATCH)


def decode_all(paths: list[Path], model: str, engine: str, precision: str, ready: Callable[[], object]) -> None:
    """Decodes and resizes the frames of videos, as a build does."""
    from preprocess.encoders.models import resolve
    from preprocess.encoders.registry import encoder_spec
    from preprocess.media.sampling import Sampling
    from preprocess.media.transforms import resize_crop
    from preprocess.media.video import read_video

    transform = resize_crop(encoder_spec(resolve(model)).preprocessing)
    read_video(paths[0], Sampling.fps(1), transform=transform)
    ready()
    for path in paths:
        read_video(path, Sampling.fps(1), transform=transform)


def encode_all(paths: list[Path], model: str, engine: str, precision: str, ready: Callable[[], object]) -> None:
    """Encodes as many frames as the videos have, in full batches."""
    import numpy as np
    import torch

    from preprocess.encoders import registry
    from preprocess.encoders.devices import choose_precision
    from preprocess.encoders.models import resolve

    torch.set_num_threads(1)
    files = resolve(model)
    kind: dict[str, Any] = {} if engine == "torch" else {"engine": engine}
    encoder = registry.load_encoder(files, "cpu", choose_precision(precision, "cpu"), FRAMES_PER_BATCH, **kind)
    pixels = np.random.default_rng(0).integers(0, 256, (FRAMES_PER_BATCH, 224, 224, 3), dtype=np.uint8)
    encoder.encode(pixels)
    ready()
    for _ in range(batches(len(paths))):
        encoder.encode(pixels)


def multiply_all(paths: list[Path], model: str, engine: str, precision: str, ready: Callable[[], object]) -> None:
    """The products of the tower's matrices alone, by oneDNN: what no engine can leave out in this number format.

    Of the last layer, whose only row that is used is that of the class token, the products after its attention are of
    that row alone.
    """
    import torch

    torch.set_num_threads(1)
    vision = json.loads((Path(model) / "config.json").read_text())["vision_config"]
    width, wide, patch = vision["hidden_size"], vision["intermediate_size"], vision["patch_size"]
    patches = (vision["image_size"] // patch) ** 2
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    tokens = FRAMES_PER_BATCH * (patches + 1)
    shapes = [(width, width)] * 4 + [(width, wide), (wide, width)]
    layer = [(torch.randn(tokens, a, dtype=dtype), torch.nn.Linear(a, b, dtype=dtype)) for a, b in shapes]
    last = [*layer[:3], *((x[:FRAMES_PER_BATCH], linear) for x, linear in layer[3:])]
    first = [(torch.randn(FRAMES_PER_BATCH * patches, 3 * patch**2, dtype=dtype), torch.nn.Linear(3 * patch**2, width))]
    products = [*((x, linear.to(dtype)) for x, linear in first), *layer * (vision["num_hidden_layers"] - 1), *last]
    with torch.inference_mode():
        for x, linear in products:
            linear(x)
        ready()
        for _ in range(batches(len(paths))):
            for x, linear in products:
                linear(x)


BOUNDS = {"decode": decode_all, "encode": encode_all, "multiply": multiply_all}


def _bound_worker(task: str, paths: list[Path], model: str, engine: str, precision: str, barrier: Any) -> None:
    BOUNDS[task](paths, model, engine, precision, barrier.wait)
    barrier.wait()


def bound(task: str, videos: Path, model: str, engine: str, precision: str) -> None:
    """Prints how long all cores take together, without the start."""
    paths = sorted(videos.glob("*.mp4"))
    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(cores + 1)
    workers = [
        context.Process(target=_bound_worker, args=(task, paths[i::cores], model, engine, precision, barrier))
        for i in range(cores)
    ]
    for worker in workers:
        worker.start()
    barrier.wait()
    began = time.perf_counter()
    barrier.wait()
    seconds = time.perf_counter() - began
    for worker in workers:
        worker.join()
    done: float = len(paths)
    if task != "decode":
        done = sum(batches(len(paths[i::cores])) for i in range(cores)) * FRAMES_PER_BATCH / SECONDS
    print(json.dumps({"units": done, "seconds": seconds}))


# --- the contenders ---------------------------------------------------------------------------------------------------


@functools.cache
def engines() -> tuple[str, ...]:
    """Those that `encode` knows and that are installed."""
    helped = subprocess.run(
        [sys.executable, "-m", "preprocess", "encode", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    if "--engine" not in helped:
        return ("torch",)
    installed = subprocess.run([sys.executable, "-c", "import openvino"], cwd=ROOT, capture_output=True).returncode == 0
    return ("torch", "openvino") if installed else ("torch",)


def kinds(precision: str) -> list[tuple[str, str]]:
    """Engines and number formats: that of the peers, and int8 where it can be had."""
    found = [(engine, precision) for engine in engines()]
    return [*found, ("openvino", INT8)] if "openvino" in engines() else found


def commands(videos: Path, model: Path, precision: str) -> list[Command]:
    """Ours with each engine, and the peers that are fast enough for all videos."""
    encode = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", str(videos), "--model", str(model)]
    found = []
    for engine, number_format in kinds(precision):
        kind = [] if engine == "torch" else ["--engine", engine]
        kind += ["--precision", INT8] if number_format == INT8 else []
        role: Role = "apart" if number_format == INT8 else "ours"
        found.append(Command(f"ours, {engine} {number_format}", role, [*encode, "--out", OUT, *kind]))
    script = [peer_python(), str(SCRIPTS / "encode_script.py"), str(videos), str(model), OUT, precision]
    daft = [peer_python(), str(SCRIPTS / "encode_daft.py"), str(videos), str(model), OUT, precision, str(SECONDS)]
    found.append(Command(f"strong script, {precision}", "peer", script, absent=why_absent("av, torch, transformers")))
    found.append(Command(f"Daft, {precision}", "peer", daft, absent=why_absent("daft")))
    return found


def slow_commands(videos: Path, sampled: Path, model: Path, units: int) -> list[Command]:
    """Peers of about one video a second, on fewer videos."""
    scripts = {
        "clip-video-encode": ("encode_cve.py", [videos], "clip_video_encode"),
        "dinotool, given the sampled frames": ("encode_dinotool.py", [sampled], "dinotool"),
        "plain PyAV + transformers, fp32": ("encode_plain.py", [videos, model], "av, transformers"),
    }
    return [
        Command(
            name,
            "peer",
            [peer_python(), str(SCRIPTS / script), *map(str, given), OUT],
            units=units,
            absent=why_absent(module),
        )
        for name, (script, given, module) in scripts.items()
    ]


def bound_commands(videos: Path, model: Path, precision: str) -> list[Command]:
    """Decoding alone, and encoding alone with each engine."""

    def alone(task: str, engine: str = "torch", number_format: str = precision) -> list[str]:
        script = str(Path(__file__).resolve())
        return [sys.executable, script, "--task", task, str(videos), str(model), engine, number_format]

    found = [Command("decode only", "bound", alone("decode"))]
    found.append(Command("matrix products only", "bound", alone("multiply")))
    for engine, number_format in kinds(precision):
        found.append(Command(f"encode only, {engine} {number_format}", "bound", alone("encode", engine, number_format)))
    return found


def make_sampled(videos: Path, folder: Path, count: int) -> None:
    """The first videos with one frame a second only, for a peer that encodes every frame of a file."""
    import av

    folder.mkdir()
    for path in sorted(videos.glob("*.mp4"))[:count]:
        with av.open(str(path)) as source, av.open(str(folder / path.name), "w") as target:
            stream: Any = target.add_stream("libx264", rate=1, options={"preset": "veryfast", "crf": "18"})
            stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
            for number, frame in enumerate(source.decode(video=0)):
                if number % 25 == 0:
                    target.mux(stream.encode(av.VideoFrame.from_ndarray(frame.to_ndarray(format="rgb24"))))
            target.mux(stream.encode(None))


def measure(bench: Bench, clips: list[int], slow_clips: int) -> None:
    """One case for each number of clips."""
    from preprocess.encoders.devices import choose_precision

    precision = choose_precision("auto", "cpu")
    model = make_clip_model(bench.temporary / "model")
    few, sampled = bench.temporary / "few", bench.temporary / "sampled"
    make_clips(few, min(slow_clips, clips[0]), SECONDS)
    make_sampled(few, sampled, slow_clips)
    for count in clips:
        videos = bench.temporary / f"videos{count}"
        make_clips(videos, count, SECONDS)
        contenders = [*commands(videos, model, precision), *bound_commands(videos, model, precision)]
        if count == clips[0]:
            contenders += slow_commands(few, sampled, model, min(slow_clips, count))
        case = bench.case(f"videos to triples, {count:,} clips, ViT-B/32 on the CPU", "videos", count, contenders)
        rates = {one.name: one.rate for one in case.contenders if one.runs}
        if "decode only" not in rates:  # left out by --only
            continue
        by_name = {one.name: one for one in case.contenders if one.runs}
        first = by_name.get(f"ours, torch {precision}")
        for engine, number_format in kinds(precision):
            said = f"{engine} {INT8}" if number_format == INT8 else engine
            ours, alone = f"ours, {engine} {number_format}", f"encode only, {engine} {number_format}"
            if ours in rates and alone in rates:
                most = 1 / (1 / rates["decode only"] + 1 / rates[alone])
                case.figures[f"{said}: videos/s of the bound"] = most
                case.figures[f"{said}: share of the bound"] = rates[ours] / most
                if number_format != INT8:
                    share = rates[alone] / rates["matrix products only"]
                    case.figures[f"{said}: encoding alone to its matrix products alone"] = share
            if first and ours in by_name and by_name[ours] is not first:
                case.figures[f"{said} to torch"] = ratio(by_name[ours], first).median
        for name in ("clip-video-encode",):
            if name in by_name and first:
                case.figures[f"torch to {name}"] = ratio(first, by_name[name]).median


def main() -> None:
    """Measures, prints, keeps."""
    if sys.argv[1:2] == ["--task"]:
        task, videos, model, engine, precision = sys.argv[2:]
        bound(task, Path(videos), model, engine, precision)
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--slow-clips", type=int, default=40)
    bench, options = Bench.from_arguments("encode", parser)
    with bench:
        measure(bench, options.clips, options.slow_clips)
        bench.write()


if __name__ == "__main__":
    main()
