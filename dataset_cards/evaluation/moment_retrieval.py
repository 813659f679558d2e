"""Zero-shot moment retrieval: finds the part of a video that a timed caption describes.

    {"queries": 34, "videos": 10, "R@1": {"0.5": 0.82, "0.7": 0.53}, "R@5": {…}, "mAP": 0.51, "chance": {"R@1": …}}

R@n at IoU m is the share of queries for which one of the first n moments has an IoU of at least m. mAP is defined as in
QVHighlights (Lei et al., 2021): interpolated average precision of at most ten moments per query, averaged over the IoU
thresholds 0.5, 0.55, … 0.95, then over queries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.moments import find_moments, iou
from dataset_cards.statistics import Row
from preprocess.formats.times import Spans, caption_windows, row_spans
from preprocess.samples import JSON

RECALL_AT = (1, 5)
RECALL_IOU = (0.5, 0.7)
MAP_IOU = tuple(round(0.5 + 0.05 * i, 2) for i in range(10))
PREDICTIONS = 10
"""Number of moments per query that mAP considers."""

CHANCE_DRAWS = 10


class TimedQuery(NamedTuple):
    """One timed caption: its windows `(G, 2)`, and the moments `(P, 2)` that were found, best first."""

    truths: Spans
    found: Spans


def evaluate_split(rows: Iterable[Row], encode: Callable[[Sequence[str]], Matrix], seed: int = 0) -> JSON | None:
    """Moment retrieval on the videos of one split; None if no caption has a time.

    Args:
        rows: The samples, one per video.
        encode: Texts to L2-normalized rows `(N, D)`; called only if a caption has a time.
        seed: Seed of the random moments for chance level.
    """
    queries: list[TimedQuery] = []
    by_chance: list[list[TimedQuery]] = [[] for _ in range(CHANCE_DRAWS)]
    rng = np.random.default_rng(seed)
    videos = 0
    for _, vectors, _, meta in rows:
        windows = caption_windows(meta) if len(vectors) else None
        timed = [(str(c), w) for c, w in zip(meta["captions"], windows or (), strict=False) if w]
        if not timed:
            continue
        videos += 1
        spans = row_spans(meta)
        texts = encode([caption for caption, _ in timed])
        scores = texts @ unit(vectors.astype(np.float32)).T
        for own, (_, truths) in zip(scores, timed, strict=True):
            found = np.array([moment[:2] for moment in find_moments(own, spans, PREDICTIONS)])
            queries.append(TimedQuery(np.array(truths), found))
            for draw in by_chance:
                draw.append(TimedQuery(np.array(truths), random_windows(spans, rng)))
    if not queries:
        return None
    chance = [measures(draw) for draw in by_chance]
    return {"queries": len(queries), "videos": videos, **measures(queries), "chance": _mean(chance)}


def random_windows(spans: Spans, rng: np.random.Generator) -> Spans:
    """`PREDICTIONS` windows between two bounds of rows drawn uniformly: the chance level."""
    bounds = np.unique(spans)
    if len(bounds) < 2:
        return np.repeat(spans[:1], PREDICTIONS, axis=0)
    first = rng.integers(len(bounds), size=PREDICTIONS)
    second = (first + rng.integers(1, len(bounds), size=PREDICTIONS)) % len(bounds)
    return np.sort(np.stack((bounds[first], bounds[second]), axis=1), axis=1)


def measures(queries: Sequence[TimedQuery]) -> JSON:
    """R@1 and R@5 per IoU threshold, and mAP, as shares of 1."""
    best = [np.maximum.accumulate(iou(q.found, q.truths).max(axis=1)) for q in queries]
    result: JSON = {}
    for n in RECALL_AT:
        top = np.array([b[min(n, len(b)) - 1] for b in best])
        result[f"R@{n}"] = {str(m): float(np.mean(top >= m)) for m in RECALL_IOU}
    result["mAP"] = float(np.mean([average_precision(q).mean() for q in queries]))
    return result


def average_precision(query: TimedQuery, thresholds: Sequence[float] = MAP_IOU) -> NDArray[np.float64]:
    """Interpolated average precision of one query at each IoU threshold.

    A moment is correct if its IoU with a window that is not assigned to a better-ranked moment reaches the threshold.
    Of several windows, it is assigned to the one with the highest IoU.

    Args:
        query: Its moments in order; those after the first `PREDICTIONS` are ignored.
        thresholds: `(M,)`.

    Returns:
        float64 `(M,)`.
    """
    overlaps = iou(query.found[:PREDICTIONS], query.truths)
    order = np.argsort(-overlaps, axis=1, kind="stable")
    result = np.empty(len(thresholds))
    for i, threshold in enumerate(thresholds):
        taken: set[int] = set()
        right = np.zeros(len(overlaps))
        for row, choices in enumerate(order.tolist()):
            free = next((g for g in choices if overlaps[row, g] >= threshold and g not in taken), None)
            if free is not None:
                taken.add(free)
                right[row] = 1
        hits = np.cumsum(right)
        precision = hits / np.arange(1, len(right) + 1)
        # The highest precision at this or a higher recall, times the recall that each hit adds.
        highest = np.maximum.accumulate(precision[::-1])[::-1]
        result[i] = float((highest * right).sum() / len(query.truths))
    return result


def _mean(results: Sequence[Mapping[str, Any]]) -> JSON:
    """The mean of equal trees of numbers."""
    return {
        name: _mean([r[name] for r in results])
        if isinstance(value, Mapping)
        else float(np.mean([r[name] for r in results]))
        for name, value in results[0].items()
    }
