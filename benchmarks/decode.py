"""Decoding to 224 x 224 RGB: `read_video` beside a sequential PyAV decode and torchcodec, one thread each.

    python -m benchmarks.decode                # rendered clips, all cases
    python -m benchmarks.decode --repeats 11 --video some.mp4

All three take the same frames (checked) and resize them with the same transform. Runs are interleaved, so that a busy
machine slows all alike; trust the ratios. A row of the table:

    10 s 340x256, GOP 12, fps=1   ours   18.9 ms   18.5 to 20.1   3.11
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Annotated, cast

import av
import numpy as np
import typer
from numpy.typing import NDArray

from preprocess.console import new_app, run, table
from preprocess.media.frames import Transform
from preprocess.media.sampling import Sampling, wanted
from preprocess.media.transforms import resize_crop
from preprocess.media.video import read_video
from preprocess.samples import Preprocessing

CLIP = Preprocessing(224, (224, 224), (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
CASES = {
    # name: (seconds, height, width, GOP, sampling)
    "10 s 340x256, GOP 250, fps=1": (10, 256, 340, 250, Sampling.fps(1)),
    "10 s 340x256, GOP 250, 32 frames": (10, 256, 340, 250, Sampling.num_frames(32)),
    "10 s 340x256, GOP 12, fps=1": (10, 256, 340, 12, Sampling.fps(1)),
    "30 s 1280x720, GOP 250, fps=1": (30, 720, 1280, 250, Sampling.fps(1)),
}
Pixels = NDArray[np.uint8]


def render(path: Path, seconds: int, height: int, width: int, gop: int) -> None:
    """A clip with drifting texture, a moving box and film grain: motion to predict and detail to code."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (height // 8 + 60, width // 8 + 60, 3), dtype=np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1)
    grain = random.integers(0, 24, (4, height, width, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"preset": "medium", "bf": "3", "crf": "23"})
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(25 * seconds):
            down, right = number % 200, 2 * number % 400
            image = texture[down : down + height, right : right + width] // 2 + 40
            left = 5 * number % (width - 64)
            image[height // 3 : height // 3 + 64, left : left + 64] = (200, 60, 30)
            frame = av.VideoFrame.from_ndarray(image + grain[number % 4], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def by_ours(path: Path, sampling: Sampling, transform: Transform) -> Pixels:
    """What the project does."""
    return read_video(path, sampling, transform=transform).frames.pixels


def by_pyav(path: Path, sampling: Sampling, transform: Transform) -> Pixels:
    """Decodes every frame in order and converts those that are wanted; times come from a first look at the packets."""
    with av.open(str(path)) as container:
        found = [(p.pts, p.duration) for p in container.demux(video=0) if p.size and p.pts is not None]
    pts = np.unique([time for time, _ in found])
    kept: dict[int, Pixels] = {}
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        base = float(stream.time_base or 0)
        times = (pts - pts[0]) * base
        chosen = pts[wanted(sampling, times, float(times[-1]) + (found[-1][1] or 0) * base)[0]]
        targets = set(chosen.tolist())
        for frame in container.decode(stream):
            if frame.pts is not None and frame.pts in targets:
                kept[frame.pts] = transform(cast(Pixels, frame.to_ndarray(format="rgb24", threads=1)))
    return np.stack([kept[time] for time in chosen.tolist()])


def by_torchcodec(path: Path, sampling: Sampling, transform: Transform) -> Pixels:
    """Exact seeking, the frames asked for by time in one call."""
    from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined]

    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="exact")
    n = decoder.metadata.num_frames or 0
    first = decoder.metadata.begin_stream_seconds or 0.0
    rate = decoder.metadata.average_fps or 25.0
    _, times = wanted(sampling, np.arange(n) / rate, n / rate)
    frames = decoder.get_frames_played_at((first + times + 0.25 / rate).tolist()).data.numpy()
    return np.stack([transform(frame) for frame in frames])


METHODS: dict[str, Callable[[Path, Sampling, Transform], Pixels]] = {
    "sequential PyAV": by_pyav,
    "torchcodec": by_torchcodec,
    "ours": by_ours,
}


def compare(name: str, path: Path, sampling: Sampling, repeats: int) -> list[list[object]]:
    """Rows of the table for one clip: median and range in ms per video, and the ratio to sequential PyAV."""
    transform = resize_crop(CLIP)
    results = {method: run_once(path, sampling, transform) for method, run_once in METHODS.items()}
    expected = results["sequential PyAV"]
    for method, pixels in results.items():
        if not np.array_equal(pixels, expected):
            print(f"note: {method} gives other pixels than sequential PyAV on {name}")
    times: dict[str, list[float]] = {method: [] for method in METHODS}
    for _ in range(repeats):
        for method, run_once in METHODS.items():
            start = time.perf_counter()
            run_once(path, sampling, transform)
            times[method].append(1000 * (time.perf_counter() - start))
    base = statistics.median(times["sequential PyAV"])
    return [
        [
            name,
            method,
            f"{statistics.median(ms):.1f} ms",
            f"{min(ms):.1f} to {max(ms):.1f}",
            f"{base / statistics.median(ms):.2f}",
        ]
        for method, ms in times.items()
    ]


app = new_app("Milliseconds per video to decode and resize the wanted frames; ratios to sequential PyAV.")


@app.command()
def main(
    repeats: Annotated[int, typer.Option(help="Runs of each method per clip.")] = 7,
    video: Annotated[Path | None, typer.Option(help="A video of your own instead of the rendered clips.")] = None,
    sampling: Annotated[str, typer.Option(help="Sampling for --video.")] = "fps=1",
) -> None:
    """Renders the clips, runs the methods in turn and prints the table."""
    import torch

    torch.set_num_threads(1)
    rows: list[list[object]] = [["clip", "method", "median", "range", "ratio"]]
    if video is not None:
        rows += compare(video.name, video, Sampling.parse(sampling), repeats)
    else:
        with tempfile.TemporaryDirectory() as folder:
            for name, (seconds, height, width, gop, kind) in CASES.items():
                path = Path(folder, f"{height}_{gop}.mp4")
                if not path.exists():
                    render(path, seconds, height, width, gop)
                rows += compare(name, path, kind, repeats)
    print(table(rows, right=frozenset({2, 3, 4})))


if __name__ == "__main__":
    run(app, "python -m benchmarks.decode")
