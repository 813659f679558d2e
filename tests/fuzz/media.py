"""Small media files to damage, and what each mutant must give; in workers of the project's own runner.

Every mutant is read as a build would read it, and compared with `tests.fuzz.sequential`, or with Pillow for images.
"""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from preprocess.errors import MediaError
from preprocess.media import read_media
from preprocess.media.frames import DecodedMedia
from preprocess.media.sampling import Sampling
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task
from preprocess.samples import IMAGE_SUFFIXES, Reject, Split
from tests.fuzz.mutants import mutate
from tests.fuzz.sequential import FullDecode, decode_wanted, full_decode
from tests.media_files import moving_noise

Pixels = NDArray[np.uint8]

RATE = 10
FRAMES = 24


@dataclass(frozen=True)
class Video:
    """How a video to damage is written."""

    codec: str
    options: dict[str, str]
    container_options: dict[str, str]
    pix_fmt: str = "yuv420p"


X264 = {"bf": "2", "g": "8", "preset": "ultrafast", "b-pyramid": "none"}
X265 = {"x265-params": "log-level=none:bframes=2:keyint=8:min-keyint=8:pools=none", "preset": "ultrafast"}

VIDEOS: dict[str, Video] = {
    "h264.mp4": Video("libx264", X264, {"movflags": "faststart"}),
    "fragmented.mp4": Video("libx264", X264, {"movflags": "frag_keyframe+empty_moov"}),
    "hevc.mp4": Video("libx265", X265, {}),
    "h264.mkv": Video("libx264", X264, {}),
    "mpeg4.mkv": Video("mpeg4", {"bf": "2", "g": "8"}, {}),
    "vp9.webm": Video("libvpx-vp9", {"g": "8", "cpu-used": "8", "lag-in-frames": "6", "auto-alt-ref": "1"}, {}),
    "vp8.webm": Video("libvpx", {"g": "8", "cpu-used": "8"}, {}),
    "mpeg4.avi": Video("mpeg4", {"bf": "2", "g": "8"}, {}),
    "h264.avi": Video("libx264", X264, {}),
    "mjpeg.avi": Video("mjpeg", {}, {}, "yuvj420p"),
    "h264.mov": Video("libx264", X264, {}),
    "mjpeg.mov": Video("mjpeg", {}, {}, "yuvj420p"),
    "h264.ts": Video("libx264", X264, {}),
    "mpeg2.ts": Video("mpeg2video", {"bf": "2", "g": "8"}, {}),
}
TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0"  # a quarter turn
IMAGES: dict[str, dict[str, Any]] = {
    "plain.jpg": {"format": "JPEG", "quality": 90},
    "progressive.jpg": {"format": "JPEG", "progressive": True, "exif": TURNED},
    "plain.png": {"format": "PNG"},
    "palette.png": {"format": "PNG", "palette": True},
    "lossy.webp": {"format": "WEBP", "quality": 80},
    "lossless.webp": {"format": "WEBP", "lossless": True},
}  # fmt: skip
NAMES = (*VIDEOS, *IMAGES)


def write_media(folder: Path) -> dict[str, bytes]:
    """The files, none of them damaged."""
    for name, video in VIDEOS.items():
        with av.open(str(folder / name), "w", options=video.container_options) as container:
            stream = container.add_stream(video.codec, rate=RATE, options={"threads": "1", **video.options})
            stream.height, stream.width, stream.pix_fmt = 48, 64, video.pix_fmt
            for number, pixels in enumerate(moving_noise(FRAMES)):
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts, frame.time_base = number, Fraction(1, RATE)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    for name, options in IMAGES.items():
        image = Image.fromarray(moving_noise(1, (60, 80))[0])
        image = image.quantize(16) if options.get("palette") else image
        image.save(folder / name, **{key: value for key, value in options.items() if key != "palette"})
    return {name: (folder / name).read_bytes() for name in NAMES}


# --- the check --------------------------------------------------------------------------------------------------------

SAMPLINGS = (Sampling.every_nth(1), Sampling.fps(4), Sampling.num_frames(5))
MOST_ROWS = 2000
"""Damage can make a video of two seconds last for days; then only the samplings with few rows are compared."""


@dataclass(frozen=True)
class Mutant:
    """A file of `write_media` and the seed of its damage."""

    name: str
    seed: int
    split: Split = "test"

    @property
    def key(self) -> str:
        return f"{self.name}:{self.seed}"


@dataclass(frozen=True)
class Outcome:
    """What a mutant gave: `equal`, `truncated`, or what is wrong."""

    key: str
    result: str
    wrong: str = ""


@dataclass(frozen=True)
class ReadMutants:
    """Reads mutants and compares them; what a worker of the runner does."""

    folder: Path

    def __call__(self, task: Task[Mutant], watch: Watch) -> Iterator[Outcome | Reject]:
        av.logging.set_level(None)
        for item in task.items:
            watch(item.key)
            with tempfile.TemporaryDirectory(dir=self.folder) as scratch:
                path = Path(scratch, item.name)
                path.write_bytes(mutate((self.folder / item.name).read_bytes(), item.seed))
                try:
                    outcome: Outcome | Reject = self._compared(item, path)
                except MediaError as error:
                    outcome = Reject(item.key, item.split, "decode", error.reason, str(error))
                except Exception as error:  # a fault, which must not hide those of the other mutants
                    outcome = Outcome(item.key, "raised", f"{error!r} at {error.__traceback__ and _place(error)}")
                yield outcome

    def _compared(self, item: Mutant, path: Path) -> Outcome:
        if path.suffix in IMAGE_SUFFIXES:
            (row,) = read_media(path, SAMPLINGS[0]).frames.pixels
            with Image.open(path) as image:
                wrong = not np.array_equal(row, ImageOps.exif_transpose(image).convert("RGB"))
            return Outcome(item.key, "equal", "not the picture that Pillow gives" if wrong else "")
        clips = {sampling: read_media(path, sampling) for sampling in (SAMPLINGS[0], SAMPLINGS[2])}
        if clips[SAMPLINGS[0]].duration_s * SAMPLINGS[1].value <= MOST_ROWS:
            clips[SAMPLINGS[1]] = read_media(path, SAMPLINGS[1])
        decoded = full_decode(path)
        wrong_samplings = [
            str(s) for s, clip in clips.items() if not _same_rows(clip, decoded, path, s is SAMPLINGS[0])
        ]
        truncated = all(clip.truncated for sampling, clip in clips.items() if str(sampling) in wrong_samplings)
        result = "truncated" if clips[SAMPLINGS[0]].truncated else "equal"
        if wrong_samplings and truncated:
            return Outcome(item.key, "truncated, others")
        return Outcome(item.key, result, f"rows of {', '.join(wrong_samplings)}" if wrong_samplings else "")


def _same_rows(clip: DecodedMedia, decoded: FullDecode, path: Path, every: bool) -> bool:
    """Whether each row is the frame that a full decode shows at its time."""
    rows = list(clip.frames.pixels)
    if path.name == "mpeg4.avi":  # times follow from picture types, which may be damaged
        return decoded.has_in_order(rows)
    if every and len(rows) != len(decoded.pixels):
        return False
    times = clip.frames.timestamps_s.tolist()
    other = [number for number, row in enumerate(rows) if not decoded.shows(row, times[number])]
    if not other or every:
        return not other
    alone = decode_wanted(path, times)
    return all(alone.shows(rows[number], times[number]) for number in other)


def _place(error: Exception) -> str:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(last.filename).name}:{last.lineno}"
