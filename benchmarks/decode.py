"""Decoding to 224 x 224 RGB: `read_video` beside torchcodec, decord, OpenCV and sequential PyAV, one thread each.

    .venv/bin/python benchmarks/decode.py                  # rendered clips, all cases
    .venv/bin/python benchmarks/decode.py --cases GOP --videos 8

All take the same frames and resize them with the same transform. Each run is a process that decodes the clip several
times after one decode that is not counted: imports and the start of the interpreter are not decoding.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.media import RATE, render
from benchmarks.harness.peers import link_ffmpeg, peer_python, why_absent
from benchmarks.harness.rounds import Bench, Command

CASES: dict[str, tuple[int, int, int, int, str, str, str]] = {
    # name: (seconds, height, width, GOP, codec, file, sampling)
    "340x256 H.264, GOP 250, 1 fps": (10, 256, 340, 250, "libx264", "a.mp4", "fps=1"),
    "340x256 H.264, GOP 250, 32 frames": (10, 256, 340, 250, "libx264", "a.mp4", "num_frames=32"),
    "340x256 H.264, GOP 12, 1 fps": (10, 256, 340, 12, "libx264", "b.mp4", "fps=1"),
    "340x256 H.264, GOP 12, 32 frames": (10, 256, 340, 12, "libx264", "b.mp4", "num_frames=32"),
    "340x256 H.264 in AVI, GOP 250, 1 fps": (10, 256, 340, 250, "libx264", "c.avi", "fps=1"),
    "720p H.264, GOP 250, 1 fps": (10, 720, 1280, 250, "libx264", "d.mp4", "fps=1"),
    "720p VP9, GOP 128, 1 fps": (10, 720, 1280, 128, "libvpx-vp9", "e.webm", "fps=1"),
    "720p AV1, GOP 250, 1 fps": (10, 720, 1280, 250, "libsvtav1", "f.mp4", "fps=1"),
    "1080p HEVC, GOP 250, 1 fps": (10, 1080, 1920, 250, "libx265", "g.mp4", "fps=1"),
}
Pixels = NDArray[np.uint8]
Resize = Callable[[Pixels], Pixels]


# --- what each library does; run with the interpreter that has it ----------------------------------------------------


def wanted_numbers(sampling: str, seconds: int) -> list[int]:
    """Numbers of the wanted frames of a clip of 25 frames a second: the same for everybody."""
    count = RATE * seconds
    kind, _, value = sampling.partition("=")
    if kind == "fps":
        return list(range(0, count, RATE // int(value)))
    return [i * count // int(value) for i in range(int(value))]


def by_ours(path: Path, sampling: str, resize: Resize) -> Pixels:
    """What the project does; it reads the display times of all frames, too."""
    from preprocess.media.sampling import Sampling
    from preprocess.media.video import read_video

    return read_video(path, Sampling.parse(sampling), transform=resize).frames.pixels


def by_pyav(path: str, numbers: list[int], resize: Resize) -> Pixels:
    """Decodes every frame in order up to the last wanted one, and converts those that are wanted."""
    import av

    targets, kept = set(numbers), []
    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for number, frame in enumerate(container.decode(video=0)):
            if number in targets:
                kept.append(resize(frame.to_ndarray(format="rgb24")))
                if len(kept) == len(targets):
                    break
    return np.stack(kept)


def by_torchcodec(path: str, numbers: list[int], resize: Resize) -> Pixels:
    """The frames asked for by index in one call; `approximate` seeks by the header, as its documentation advises."""
    from torchcodec.decoders import VideoDecoder

    mode = "exact" if path.endswith((".avi", ".webm")) else "approximate"
    decoder = VideoDecoder(path, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode=mode)
    return np.stack([resize(frame) for frame in decoder.get_frames_at(numbers).data.numpy()])


def by_decord(path: str, numbers: list[int], resize: Resize) -> Pixels:
    """`get_batch`, on one thread."""
    import decord

    return np.stack([resize(frame) for frame in decord.VideoReader(path, num_threads=1).get_batch(numbers).asnumpy()])


def by_opencv(path: str, numbers: list[int], resize: Resize) -> Pixels:
    """`grab` for every frame in order, `retrieve` for those that are wanted."""
    import cv2

    targets, kept = set(numbers), []
    capture = cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    for number in range(max(numbers) + 1):
        if not capture.grab():
            break
        if number in targets:
            kept.append(resize(cv2.cvtColor(capture.retrieve()[1], cv2.COLOR_BGR2RGB)))
    return np.stack(kept)


def needed_only(path: Path, sampling: str, resize: Resize) -> Callable[[], Pixels]:
    """What is left of the work when the file is read and the frames are chosen beforehand.

    FFmpeg's decoder gets the packets that the wanted frames depend on, and the wanted frames become resized RGB: the
    bound for whoever decodes this file with FFmpeg.
    """
    from av.video.reformatter import VideoReformatter

    from preprocess.media.container import open_video
    from preprocess.media.decode import decode_spans, upright_rgb
    from preprocess.media.local import LocalMedia
    from preprocess.media.packets import packets_again, read_index
    from preprocess.media.sampling import Sampling, wanted

    media: LocalMedia = path
    with open_video(media) as (container, stream):
        index = read_index(container, stream, media)
    display = index.display_pts()
    seconds = (display - display[0]) * float(index.time_base)
    duration = float(seconds[-1]) + float(index.last_duration * index.time_base)
    targets = display[wanted(Sampling.parse(sampling), seconds, duration, None, None)[0]]
    chosen, packets = set(targets.tolist()), list(packets_again(media, index))

    def decode() -> Pixels:
        to_rgb, kept = VideoReformatter(), []
        with open_video(media) as (_, stream):
            for pts, frame in decode_spans(stream.codec_context, packets, index, targets, media):
                if pts in chosen:
                    kept.append(resize(upright_rgb(frame, to_rgb, media)))
        return np.stack(kept)

    return decode


METHODS = {
    "torchcodec": by_torchcodec,
    "decord": by_decord,
    "OpenCV": by_opencv,
    "sequential PyAV": by_pyav,
}
MODULES = {
    "torchcodec": "torchcodec.decoders",
    "decord": "decord",
    "OpenCV": "cv2",
    "sequential PyAV": "av",
}


def clip_resize() -> Resize:
    """CLIP's transform, the project's: the same for everybody."""
    from preprocess.media.transforms import resize_crop
    from preprocess.samples import Preprocessing

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    return resize_crop(Preprocessing(224, (224, 224), mean, std))


def run_method(method: str, path: str, sampling: str, seconds: int, repeats: int) -> None:
    """Decodes once, then `repeats` times against the clock; prints how long that took."""
    import torch

    torch.set_num_threads(1)
    if method == "ours":
        decode = functools.partial(by_ours, Path(path), sampling, clip_resize())
    elif method == "needed":
        decode = needed_only(Path(path), sampling, clip_resize())
    else:
        decode = functools.partial(METHODS[method], path, wanted_numbers(sampling, seconds), clip_resize())
    pixels = decode()
    began = time.perf_counter()
    for _ in range(repeats):
        decode()
    took = time.perf_counter() - began
    # For a look at whether all took the same frames: means of each, which rounding of colors moves by less than 1.
    means = [round(float(frame.mean()), 1) for frame in pixels]
    print(json.dumps({"units": repeats, "seconds": took, "facts": {"frames": len(pixels), "means": means}}))


# --- side by side -----------------------------------------------------------------------------------------------------


def measure(bench: Bench, name: str, repeats: int, ffmpeg: dict[str, str]) -> None:
    """One case."""
    seconds, height, width, gop, codec, file, sampling = CASES[name]
    path = bench.temporary / file
    if not path.exists():
        render(path, seconds, height, width, gop, codec)
    call = [str(Path(__file__).resolve()), "--method"]
    given = [str(path), sampling, str(seconds), str(repeats)]
    contenders = [Command("ours", "ours", [sys.executable, *call, "ours", *given])]
    contenders += [
        Command(
            method,
            "peer",
            [peer_python(), *call, method, *given],
            env=ffmpeg if method == "torchcodec" else {},
            absent=why_absent(MODULES[method]),
        )
        for method in METHODS
    ]
    contenders.append(Command("decode of the needed frames alone", "bound", [sys.executable, *call, "needed", *given]))
    case = bench.case(f"sparse decode, {name}", "videos", repeats, contenders)
    case.note_bound()
    expected = next((one.facts["means"] for one in case.contenders if one.runs and one.role == "ours"), [])
    for one in case.contenders:
        if one.runs and not (
            len(one.facts["means"]) == len(expected)
            and all(abs(a - b) < 1.5 for a, b in zip(one.facts["means"], expected, strict=True))
        ):
            one.facts["note"] = "takes other frames, or converts colors otherwise"
            print(f"   note: {one.name} gives other frames, or other colors, than ours")


def main() -> None:
    """Measures, prints, keeps."""
    if sys.argv[1:2] == ["--method"]:
        method, path, sampling, seconds, repeats = sys.argv[2:]
        run_method(method, path, sampling, int(seconds), int(repeats))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", default="", help="those whose names contain this")
    parser.add_argument("--videos", type=int, default=20, help="decodes of the clip in a run")
    bench, options = Bench.from_arguments("decode", parser, rounds=5)
    with bench:
        ffmpeg = link_ffmpeg(bench.temporary / "ffmpeg")
        for name in CASES:
            if options.cases in name:
                measure(bench, name, options.videos if "340" in name else max(1, options.videos // 4), ffmpeg)
        bench.write()


if __name__ == "__main__":
    main()
