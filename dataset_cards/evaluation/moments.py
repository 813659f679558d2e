"""Moments: the part of a video that a query scores above the video's own background.

    scores of the rows   0.11 0.12 0.27 0.29 0.28 0.13 0.12        cosine of the query and each row
    two groups           background 0.12, foreground 0.28, threshold 0.20
    moment               rows 2 to 4: [1.5, 4.5] s at one row per second, score 0.29

A row stands for the times that are nearer to its timestamp than to any other; for encoders of clips, for its entry
in `spans`. There is no threshold to tune: it is computed from the scores of the video.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.times import Spans

Scores = NDArray[np.floating[Any]]

LEVELS = (0.5, 0.25, 0.75)
"""Thresholds between background (0) and foreground (1); the first one determines the order of the moments."""

OVERLAP = 0.8
"""A moment whose IoU with a better one is at least this repeats it and is dropped."""


class Moment(NamedTuple):
    """A part of one video.

    Attributes:
        start_s: Start, in seconds from the first frame of the file.
        end_s: End, likewise.
        score: Cosine similarity of its best row with the query.
        best: Index of that row in the video.
        gain: Sum of score minus threshold over its rows; the moments of a video are sorted by it.
    """

    start_s: float
    end_s: float
    score: float
    best: int
    gain: float


def two_groups(scores: Scores) -> tuple[float, float]:
    """The means of the lower and the higher scores, split so that the variance within the groups is smallest.

    Source: N. Otsu, "A Threshold Selection Method from Gray-Level Histograms", 1979, on the values themselves.

    Args:
        scores: `(T,)`, T ≥ 1. If all are equal, both means are this value.
    """
    ordered = np.sort(scores.astype(np.float64))
    if ordered[0] == ordered[-1]:
        return float(ordered[0]), float(ordered[0])
    counts = np.arange(1, len(ordered))
    sums = np.cumsum(ordered)
    low = sums[:-1] / counts
    high = (sums[-1] - sums[:-1]) / (len(ordered) - counts)
    best = int(np.argmax(counts * (len(ordered) - counts) * (high - low) ** 2))
    return float(low[best]), float(high[best])


def runs_above(scores: Scores, threshold: float) -> list[tuple[int, int]]:
    """First row, and the row after the last, of each run of rows above a threshold, in order.

    Examples:
        >>> runs_above(np.array([0.1, 0.3, 0.4, 0.1, 0.3]), 0.2)
        [(1, 3), (4, 5)]
    """
    steps = np.diff(scores > threshold, prepend=False, append=False).nonzero()[0].tolist()
    return list(zip(steps[::2], steps[1::2], strict=True))


def find_moments(scores: Scores, spans: Spans, limit: int = 10) -> list[Moment]:
    """The moments of one video for one query, best first.

    Args:
        scores: `(T,)`, cosine similarity of the query with each row, T ≥ 1.
        spans: `(T, 2)`, as from `row_spans`.
        limit: Maximum number of moments.

    Returns:
        At least one moment. The first is the run of rows with the largest gain over the threshold halfway between
        background and foreground; other runs, and narrower and wider ones at the other levels, follow. If all rows
        have the same score, the whole video is the only moment.
    """
    background, foreground = two_groups(scores)
    if background == foreground:
        return [_moment(scores, spans, 0, len(scores), background)]
    thresholds = [background + level * (foreground - background) for level in LEVELS]
    runs = dict.fromkeys(run for threshold in thresholds for run in runs_above(scores, threshold))
    found = sorted((_moment(scores, spans, *run, thresholds[0]) for run in runs), key=lambda m: -m.gain)
    kept: list[Moment] = []
    for moment in found:
        if len(kept) == limit:
            break
        if not kept or iou([moment[:2]], [other[:2] for other in kept]).max() < OVERLAP:
            kept.append(moment)
    return kept


def _moment(scores: Scores, spans: Spans, first: int, end: int, threshold: float) -> Moment:
    rows = scores[first:end].astype(np.float64)
    start_s, end_s = float(spans[first:end, 0].min()), float(spans[first:end, 1].max())
    best = int(rows.argmax())
    return Moment(start_s, end_s, float(rows[best]), first + best, float((rows - threshold).sum()))


def iou(windows: Sequence[Sequence[float]] | Spans, others: Sequence[Sequence[float]] | Spans) -> NDArray[np.float64]:
    """Intersection over union of every pair of windows.

    Args:
        windows: `(P, 2)`, start and end.
        others: `(G, 2)`.

    Returns:
        float64 `(P, G)`; 0 if both have no length.
    """
    a = np.asarray(windows, np.float64).reshape(-1, 1, 2)
    b = np.asarray(others, np.float64).reshape(1, -1, 2)
    shared = np.maximum(np.minimum(a[..., 1], b[..., 1]) - np.maximum(a[..., 0], b[..., 0]), 0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - shared
    ratio: NDArray[np.float64] = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return ratio
