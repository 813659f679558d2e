"""Scene cuts found by PySceneDetect, each at the display time of the first frame after the cut.

    >>> detect_cuts(Path("tom.mp4"), Detector())
    Detected(duration_s=20.5, cuts_s=(10.0, 16.5, 19.0))

PySceneDetect compares neighboring frames; the frames and their display times come from `iter_frames`, so that cuts are
exact at any frame rate, also a variable one. The video is decoded once, and memory holds a few frames, reduced to the
size at which PySceneDetect compares them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import UnknownNameError, UserError
from preprocess.long_video.components import require
from preprocess.media import iter_frames
from preprocess.media.frames import FrameRows, Restart, rows_in_order
from preprocess.media.sampling import Sampling
from preprocess.samples import JSON

Kind = Literal["content", "adaptive"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_TICKS_PER_S = 1_000_000  # the time base of the times passed to PySceneDetect


@dataclass(frozen=True, slots=True)
class Detector:
    """A detector of PySceneDetect and its sensitivity.

    Attributes:
        kind: `content` compares each frame with the previous one; `adaptive` relates that difference to those of the
            frames around it, which suits fast camera motion.
        threshold: Differences above it are cuts; None for the detector's default (27 and 3).
        min_scene_s: Minimum distance between cuts, in seconds; a cut that follows another more closely is ignored.
    """

    kind: Kind = "content"
    threshold: float | None = None
    min_scene_s: float = 0.6

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UnknownNameError("detector", self.kind, KINDS)
        if (self.threshold is not None and self.threshold <= 0) or self.min_scene_s < 0:
            raise UserError(
                f"the detector's threshold must be above 0 and the minimum scene length not negative, "
                f"got {self.threshold} and {self.min_scene_s} s",
                "Change these options.",
            )

    def to_json(self) -> JSON:
        """Returns a JSON object."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, slots=True)
class Detected:
    """The duration and cuts of a video.

    Attributes:
        duration_s: Duration of the video in seconds.
        cuts_s: Display time in seconds of the first frame of each scene except the first, increasing.
    """

    duration_s: float
    cuts_s: tuple[float, ...]

    def scenes(self) -> list[tuple[float, float]]:
        """Start and end of each scene in seconds; together they cover the whole video."""
        edges = [0.0, *self.cuts_s, self.duration_s]
        return list(itertools.pairwise(edges))


def video_duration(path: Path) -> float:
    """Duration of a video in seconds; also verifies that its first frame can be decoded.

    Raises:
        MediaError: As `iter_frames`.
    """
    stream = iter_frames(path, Sampling.num_frames(1))
    for _ in stream:
        pass
    return stream.duration_s


def detect_cuts(path: Path, settings: Detector) -> Detected:
    """Finds the cuts of a video in one pass.

    Raises:
        MediaError: As `iter_frames`; `unreadable`, too, for a damaged video whose frames are far out of order.
        UserError: PySceneDetect is not installed.
    """
    require("scenedetect", "cv2")
    stream = iter_frames(path, Sampling.every_nth(1))
    search = _Search(settings)
    for record in rows_in_order(_reduced(stream), path):
        if isinstance(record, Restart):
            search = _Search(settings)
        else:
            search.add(float(record.times_s[0]), record.image)
    cuts = search.finish()
    ticks = np.rint(stream.times_s * _TICKS_PER_S).astype(np.int64)
    cuts_s = stream.times_s[np.searchsorted(ticks, cuts)]
    return Detected(stream.duration_s, tuple(cuts_s[cuts_s > 0].tolist()))


class _Search:
    """A detector of PySceneDetect and the cuts it has found so far."""

    def __init__(self, settings: Detector) -> None:
        from scenedetect import AdaptiveDetector, ContentDetector

        if settings.kind == "content":
            self._detector: Any = ContentDetector(settings.threshold or 27.0, settings.min_scene_s)
        else:
            self._detector = AdaptiveDetector(settings.threshold or 3.0, settings.min_scene_s)
        self._cuts: set[int] = set()
        self._position: Any = None

    def add(self, time_s: float, image: NDArray[np.uint8]) -> None:
        """Passes the next frame, uint8 `(h, w, 3)` BGR, to the detector."""
        from scenedetect import FrameTimecode
        from scenedetect.common import Timecode

        # The nominal rate matters only to thresholds given in frames, and there are none.
        self._position = FrameTimecode(Timecode(round(time_s * _TICKS_PER_S), Fraction(1, _TICKS_PER_S)), fps=25.0)
        self._cuts.update(cut.pts for cut in self._detector.process_frame(self._position, image))

    def finish(self) -> list[int]:
        """Ticks of the first frame of each scene, sorted."""
        self._cuts.update(cut.pts for cut in self._detector.post_process(self._position))
        return sorted(self._cuts)


def _reduced(records: Iterable[FrameRows | Restart]) -> Iterator[FrameRows | Restart]:
    """Converts images to BGR of the size at which PySceneDetect compares them."""
    import cv2
    from scenedetect.scene_manager import compute_downscale_factor

    for record in records:
        if isinstance(record, Restart):
            yield record
            continue
        bgr = cv2.cvtColor(np.ascontiguousarray(record.image), cv2.COLOR_RGB2BGR)
        height, width = bgr.shape[:2]
        factor = compute_downscale_factor(max(height, width))
        if factor > 1:
            size = max(1, round(width / factor)), max(1, round(height / factor))
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_LINEAR)
        yield dataclasses.replace(record, image=np.asarray(bgr, np.uint8))
