"""Selects the frames of a video to keep: pure arithmetic on display times; nothing is decoded here.

A 10 s video at 25 frames per second, sampled at `fps=1`, keeps ten of its 250 frames:

    >>> wanted(Sampling.fps(1), np.arange(250) / 25, duration_s=10.0)
    (array([  0,  25,  50,  75, 100, 125, 150, 175, 200, 225]), array([0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]))

Sampling uses display times, never frame numbers divided by a frame rate: those are wrong for variable frame rates.
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
"""Times closer than this are equal: it covers rounding in float64, and no frame is that short."""

MAX_FPS = 1000.0
"""Largest `fps`; faster than any video that is published."""

MAX_COUNT = 1_000_000
"""Largest value of the other kinds."""

MAX_ROWS = 5_000_000
"""Most rows of one video: a day at 57 frames per second. A damaged file may claim to last for years."""


class TooManyRowsError(ValueError):
    """A video is so long that the sampling gives more than `MAX_ROWS` rows."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """Which frames of a video to keep.

    Attributes:
        kind: `fps` (the frame on screen at each k / value seconds), `every_nth` (frames 0, value, 2 * value, …),
            `num_frames` (value frames, uniform: frame floor(i * n / value) of n), or `segment` (value frames, each in
            the middle of one of as many equal segments).
        value: For `fps`, frames per second, above 0 and at most `MAX_FPS`; for the others, a whole number from 1 to
            `MAX_COUNT`.
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
        limit = MAX_FPS if self.kind == "fps" else MAX_COUNT
        if self.value > limit:
            raise ValueError(f"sampling value of {self.kind} must be at most {limit:,.0f}, got {self.value!r}")
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
        """Parses `fps=0.5` or `num_frames=32`, as written on the command line.

        Raises:
            UnknownNameError: The kind does not exist.
            UserError: The value is not a number, or out of the range of that kind.
        """
        kind, _, value = text.partition("=")
        if kind not in SAMPLING_KINDS:
            raise UnknownNameError("sampling", kind, SAMPLING_KINDS, "Write it as fps=1 or num_frames=32.")
        try:
            return cls(kind, float(value))
        except ValueError:
            number, limit = ("a number", MAX_FPS) if kind == "fps" else ("a whole number", MAX_COUNT)
            raise UserError(
                f"sampling {text!r} has no usable value", f"Give {kind}= {number} above 0, at most {limit:,.0f}."
            ) from None

    def __str__(self) -> str:
        return f"{self.kind}={self.value!r}".removesuffix(".0")

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

    `fps` samples at start + k / fps, while that is below the end and the duration, the frame on screen: the one with
    the largest display time that is not after it. Where the video is slower than `fps`, frames repeat. The other kinds
    choose among the frames whose display time is inside the window, at these times; a window that contains none gives
    the frame on screen at its start. A video of one frame gives one row.

    Args:
        sampling: Which frames to keep.
        pts_s: float64 `(N,)`, increasing: display time of every frame in seconds, the first at 0.
        duration_s: End of the last frame, in seconds.
        start_s: Start of the window, None for 0.
        end_s: End of the window, exclusive; None for the end of the video.

    Returns:
        Frame indices int64 `(T,)`, not decreasing, and the times of the rows float64 `(T,)` in seconds, strictly
        increasing. Both are empty if the window is empty.

    Raises:
        TooManyRowsError: There would be more than `MAX_ROWS` rows.
    """
    start = 0.0 if start_s is None else float(start_s)
    # The last frame is on screen at its own time even if the file gives it no duration.
    end = max(float(duration_s), float(pts_s[-1]) + TIME_NOISE_S * 2) if len(pts_s) else 0.0
    end = end if end_s is None else min(end, float(end_s))
    if start > end - TIME_NOISE_S:
        return np.empty(0, np.int64), np.empty(0)

    if sampling.kind == "fps":
        rows = max(1, math.ceil((end - start - TIME_NOISE_S) * sampling.value)) if len(pts_s) > 1 else 1
        _check_rows(sampling, rows, end - start)
        times = start + np.arange(rows) / sampling.value
        return _on_screen(pts_s, times), times

    inside = np.flatnonzero((pts_s >= start - TIME_NOISE_S) & (pts_s < end - TIME_NOISE_S))
    if len(inside) == 0:
        times = np.array([start])
        return _on_screen(pts_s, times), times
    indices = inside[_of_count(sampling, len(inside))]
    return indices, pts_s[indices]


def wanted_frames(
    sampling: Sampling,
    pts_s: NDArray[np.float64],
    duration_s: float,
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """As `wanted`, for a window that names frames by their times, as LeRobot's episodes do: rows are at frames' times.

    The window begins at the frame nearest to `start_s` and ends before the one nearest to `end_s`, so that a time that
    was rounded, or computed from a frame rate, still names its frame. `fps` chooses the frame nearest to each k / fps
    seconds after the first one, and each frame once: where the video is slower than `fps`, these are all frames.

    Examples:
        The second of two episodes of three frames each, at 10 frames per second:

        >>> wanted_frames(Sampling.fps(5), np.arange(6) / 10, 0.6, 0.2999, 0.6001)
        (array([3, 5]), array([0.3, 0.5]))
    """
    if len(pts_s) == 0:
        return np.empty(0, np.int64), np.empty(0)
    bounds = np.append(pts_s, max(float(duration_s), float(pts_s[-1]) + TIME_NOISE_S * 2))
    first, stop = (
        default if time is None else int(_nearest(bounds, np.array([float(time)]))[0])
        for time, default in ((start_s, 0), (end_s, len(pts_s)))
    )
    inside = pts_s[first:stop]
    if len(inside) == 0:
        return np.empty(0, np.int64), np.empty(0)
    if sampling.kind == "fps":
        rows = math.floor((inside[-1] - inside[0]) * sampling.value + TIME_NOISE_S) + 1
        _check_rows(sampling, rows, float(inside[-1] - inside[0]))
        chosen = np.unique(_nearest(inside, inside[0] + np.arange(rows) / sampling.value))
    else:
        chosen = _of_count(sampling, len(inside))
    return first + chosen, inside[chosen]


def _check_rows(sampling: Sampling, rows: int, duration_s: float) -> None:
    if rows > MAX_ROWS:
        raise TooManyRowsError(f"{sampling} gives {rows:,} rows in {duration_s:,.0f} s, above {MAX_ROWS:,}")


def _of_count(sampling: Sampling, n: int) -> NDArray[np.int64]:
    """Which of `n` frames the kinds that count frames choose."""
    value = int(sampling.value)
    if sampling.kind == "every_nth":
        chosen = np.arange(0, n, value)
    elif sampling.kind == "num_frames":
        chosen = np.unique(np.arange(value) * n // value)
    else:
        chosen = np.unique((2 * np.arange(value) + 1) * n // (2 * value))
    return chosen


def _nearest(pts_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the display time nearest to each time; the later one in the middle between two."""
    return np.searchsorted((pts_s[1:] + pts_s[:-1]) / 2, times_s, side="right").astype(np.int64)


def _on_screen(pts_s: NDArray[np.float64], times_s: NDArray[np.float64]) -> NDArray[np.int64]:
    """Index of the frame on screen at each time: the largest display time not after it."""
    after = np.searchsorted(pts_s, times_s + TIME_NOISE_S, side="right")
    return np.maximum(after - 1, 0).astype(np.int64)
