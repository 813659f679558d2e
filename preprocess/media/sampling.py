"""Which frames of a video to keep: pure arithmetic on display times, nothing is decoded here.

A 10 s video at 25 frames per second, sampled at `fps=1`, keeps ten of its 250 frames:

    >>> wanted(Sampling.fps(1), np.arange(250) / 25, duration_s=10.0)
    (array([  0,  25,  50,  75, 100, 125, 150, 175, 200, 225]), array([0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]))

Sampling goes by time, never by frame number times frame rate: with a variable frame rate that number means nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import UnknownNameError, UserError
from preprocess.samples import JSON

SamplingKind = Literal["fps", "every_nth", "num_frames", "segment"]
SAMPLING_KINDS: tuple[SamplingKind, ...] = get_args(SamplingKind)

TIME_NOISE_S = 1e-9
"""Two times closer than this are one: it covers rounding in float64, and no frame is that short."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How many frames to keep and where.

    Attributes:
        kind: `fps` (the frame on screen at each k / value seconds), `every_nth` (frames 0, value, 2 * value, …),
            `num_frames` (value frames, uniform: frame floor(i * n / value) of n), or `segment` (value frames, each in
            the middle of one of as many equal segments).
        value: Frames per second for `fps`; a whole number, at least 1, for the others.
    """

    kind: SamplingKind
    value: float

    def __post_init__(self) -> None:
        if self.kind not in SAMPLING_KINDS:
            raise ValueError(f"sampling kind must be one of {SAMPLING_KINDS}, got {self.kind!r}")
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise TypeError(f"sampling value must be a number, got {self.value!r}")
        if not math.isfinite(self.value) or self.value <= 0:
            raise ValueError(f"sampling value must be above 0, got {self.value!r}")
        if self.kind == "fps":
            object.__setattr__(self, "value", float(self.value))
        elif self.value != int(self.value):
            raise ValueError(f"sampling value of {self.kind} must be a whole number, got {self.value!r}")
        else:
            object.__setattr__(self, "value", int(self.value))

    @classmethod
    def fps(cls, value: float = 1.0) -> Sampling:
        """`value` frames per second, by time."""
        return cls("fps", value)

    @classmethod
    def every_nth(cls, value: int) -> Sampling:
        """Every `value`-th frame, from the first."""
        return cls("every_nth", value)

    @classmethod
    def num_frames(cls, value: int) -> Sampling:
        """`value` frames spread evenly from the first."""
        return cls("num_frames", value)

    @classmethod
    def segment(cls, value: int) -> Sampling:
        """`value` frames, from the middles of as many equal segments."""
        return cls("segment", value)

    @classmethod
    def parse(cls, text: str) -> Sampling:
        """Reads `fps=0.5` or `num_frames=32`, as a person types it.

        Raises:
            UnknownNameError: The kind does not exist.
            UserError: The value is no number, or not one of that kind.
        """
        kind, _, value = text.partition("=")
        if kind not in SAMPLING_KINDS:
            raise UnknownNameError("sampling", kind, SAMPLING_KINDS, "Write it as fps=1 or num_frames=32.")
        try:
            return cls(kind, float(value))
        except ValueError:
            number = "a number above 0" if kind == "fps" else "a whole number above 0"
            raise UserError(f"sampling {text!r} has no usable value", f"Give {kind}= {number}.") from None

    def __str__(self) -> str:
        return f"{self.kind}={self.value:g}"

    def to_json(self) -> JSON:
        """`{"kind": "fps", "value": 1.0}`."""
        return {"kind": self.kind, "value": self.value}

    @classmethod
    def from_json(cls, row: JSON) -> Sampling:
        """The inverse of `to_json`; validates as the constructor does."""
        return cls(row["kind"], row["value"])


def wanted(
    sampling: Sampling,
    pts_s: NDArray[np.float64],
    duration_s: float,
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Chooses frames by their display times.

    `fps` asks at start + k / fps, while that is below the end and the duration, for the frame on screen: the one with
    the largest display time that is not after it. Where the video is slower than `fps`, a frame is asked for again.
    The other kinds choose among the frames that come on screen inside the window, at their own times; a window so
    short that none does gives the frame on screen at its start. A video of one frame gives one row.

    Args:
        sampling: What to keep.
        pts_s: float64 `(N,)`, increasing: display time of every frame in seconds, the first at 0.
        duration_s: Where the last frame ends, in seconds.
        start_s: Beginning of the window, None for 0.
        end_s: End of the window, exclusive; None for the end of the video.

    Returns:
        Frame indices int64 `(T,)`, not decreasing, and the times of the rows float64 `(T,)` in seconds, strictly
        increasing. Both are empty when the window holds nothing.
    """
    start = 0.0 if start_s is None else float(start_s)
    # The last frame is on screen at its own time even where the file gives it no duration.
    end = max(float(duration_s), float(pts_s[-1]) + TIME_NOISE_S * 2) if len(pts_s) else 0.0
    end = end if end_s is None else min(end, float(end_s))
    if start > end - TIME_NOISE_S:
        return np.empty(0, np.int64), np.empty(0)

    if sampling.kind == "fps":
        rows = max(1, math.ceil((end - start - TIME_NOISE_S) * sampling.value)) if len(pts_s) > 1 else 1
        times = start + np.arange(rows) / sampling.value
        return _on_screen(pts_s, times), times

    inside = np.flatnonzero((pts_s >= start - TIME_NOISE_S) & (pts_s < end - TIME_NOISE_S))
    if len(inside) == 0:
        times = np.array([start])
        return _on_screen(pts_s, times), times
    n, value = len(inside), int(sampling.value)
    if sampling.kind == "every_nth":
        chosen = np.arange(0, n, value)
    elif sampling.kind == "num_frames":
        chosen = np.unique(np.arange(value) * n // value)
    else:
        chosen = np.unique((2 * np.arange(value) + 1) * n // (2 * value))
    indices = inside[chosen]
    return indices, pts_s[indices]


def _on_screen(pts_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the frame on screen at each time: the largest display time not after it."""
    after = np.searchsorted(pts_s, times_s + TIME_NOISE_S, side="right")
    return np.maximum(after - 1, 0).astype(np.int64)
