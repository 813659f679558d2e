"""Cuts found by PySceneDetect, in the times of this project: the frame on screen first after the cut.

    >>> detect_cuts(Path("tom.mp4"), Detector())
    Detected(duration_s=20.5, cuts_s=(10.0, 16.5, 19.0))

PySceneDetect compares neighbouring frames; which frames these are, and when they are shown, is read by `read_video`, so
that a cut is exact for any frame rate, also a varying one. A minute is read at a time, already reduced to the width at
which PySceneDetect itself looks.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import MediaError, UnknownNameError, UserError
from preprocess.long_video.components import require
from preprocess.media.sampling import Sampling
from preprocess.samples import JSON

Kind = Literal["content", "adaptive"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_WINDOW_S = 60.0
_TICKS = 1_000_000  # a second in the time base in which PySceneDetect is told the times


@dataclass(frozen=True, slots=True)
class Detector:
    """Which detector of PySceneDetect, and how sensitive.

    Attributes:
        kind: `content` compares a frame with the one before; `adaptive` also with how much changes around it, which
            suits fast camera movement.
        threshold: A change above it is a cut; None for the detector's default (27 and 3).
        min_scene_s: A cut this soon after another is not one.
    """

    kind: Kind = "content"
    threshold: float | None = None
    min_scene_s: float = 0.6

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("detector", self.kind, KINDS)
        if (self.threshold is not None and self.threshold <= 0) or self.min_scene_s < 0:
            raise UserError(
                f"a threshold of {self.threshold} and scenes of {self.min_scene_s} s make no sense", "Use more than 0."
            )

    def to_json(self) -> JSON:
        """As a JSON object."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Detected:
    """What was found in a video.

    Attributes:
        duration_s: Of the video.
        cuts_s: Time of the first frame of each scene but the first, increasing.
    """

    duration_s: float
    cuts_s: tuple[float, ...]

    def scenes(self) -> list[tuple[float, float]]:
        """Start and end of each scene, in seconds: together they are the whole video."""
        edges = [0.0, *self.cuts_s, self.duration_s]
        return list(itertools.pairwise(edges))


def video_duration(path: Path) -> float:
    """Length of a video in seconds; that its first frame can be decoded is tried on the way.

    Raises:
        MediaError: As `read_video`.
    """
    from preprocess.media.video import read_video

    return read_video(path, Sampling("num_frames", 1)).duration_s


def detect_cuts(path: Path, settings: Detector) -> Detected:
    """Finds the cuts of a video.

    Raises:
        MediaError: As `read_video`.
        UserError: PySceneDetect is not installed.
    """
    require("scenedetect", "cv2")
    from scenedetect import AdaptiveDetector, ContentDetector, FrameTimecode
    from scenedetect.common import Timecode

    duration_s = video_duration(path)
    if settings.kind == "content":
        detector: Any = ContentDetector(settings.threshold or 27.0, settings.min_scene_s)
    else:
        detector = AdaptiveDetector(settings.threshold or 3.0, settings.min_scene_s)
    times: dict[int, float] = {}
    cuts: list[Any] = []
    position = None
    for time_s, image in _small_frames(path, duration_s):
        ticks = round(time_s * _TICKS)
        times[ticks] = time_s
        # The nominal rate only matters to thresholds in frames, and there are none.
        position = FrameTimecode(Timecode(ticks, Fraction(1, _TICKS)), fps=25.0)
        cuts += detector.process_frame(position, image)
    if position is not None:
        cuts += detector.post_process(position)
    return Detected(duration_s, tuple(sorted({times[cut.pts] for cut in cuts} - {0.0})))


def _small_frames(path: Path, duration_s: float) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Every frame with its time, as BGR of the size at which PySceneDetect looks."""
    import cv2
    from scenedetect.scene_manager import compute_downscale_factor

    from preprocess.media.video import read_video

    def shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        bgr = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2BGR)
        height, width = bgr.shape[:2]
        factor = compute_downscale_factor(max(height, width))
        if factor > 1:
            size = max(1, round(width / factor)), max(1, round(height / factor))
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(bgr, np.uint8)

    before: NDArray[np.uint8] | None = None
    for window in range(int(duration_s // _WINDOW_S) + 1):
        start_s = window * _WINDOW_S
        try:
            clip = read_video(
                path, Sampling("every_nth", 1), start_s=start_s, end_s=start_s + _WINDOW_S, transform=shrink
            )
        except MediaError as error:
            if error.reason == "empty_window":  # the file ends with the window before
                return
            raise
        for time_s, image in zip(clip.frames.timestamps_s.tolist(), clip.frames.pixels, strict=True):
            # A window in which no frame comes on screen gives the one that is: it was in the window before.
            if time_s > start_s or before is None or not np.array_equal(image, before):
                yield time_s, image
            before = image
