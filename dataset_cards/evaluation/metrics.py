"""Ranks, and the measures derived from them. Every measure of this package uses `ranks`.

scores of one video over three classes  [0.1, 0.7, 0.2], the correct one is 2  →  rank 2: wrong at 1, correct at 5
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ranks = NDArray[np.float64]


def ranks(scores: NDArray[np.floating[Any]], targets: NDArray[np.integer[Any]]) -> Ranks:
    """The rank of the correct entry in each row, 1 for the first.

    Ties share their mean rank, so that a model with equal scores for all entries gains nothing from their order.

    Args:
        scores: `(N, M)`, higher is better.
        targets: `(N,)`, the correct column of each row.

    Returns:
        float64 `(N,)`: 1 + the number of higher scores + half the number of other equal scores.
    """
    own = np.take_along_axis(scores, targets[:, None], axis=1)
    higher = np.count_nonzero(scores > own, axis=1)
    equal = np.count_nonzero(scores == own, axis=1) - 1
    places: Ranks = 1.0 + higher + equal / 2
    return places


def share_within(places: Ranks, k: int) -> float:
    """The share of rows whose correct entry is among the first `k`: top-k accuracy, or R@k."""
    return float(np.mean(places <= k))


def accuracy(places: Ranks) -> dict[str, float]:
    """Top-1, top-5 and the mean of the two, which is how Kinetics is scored.

    Source: Carreira et al., "A Short Note on the Kinetics-700 Human Action Dataset", 2019.
    """
    top1, top5 = share_within(places, 1), share_within(places, 5)
    return {"top1": top1, "top5": top5, "mean": (top1 + top5) / 2}


def recalls(places: Ranks, at: Iterable[int] = (1, 5, 10)) -> dict[str, float]:
    """R@k for each k, median and mean rank: the measures of Yu et al., "A Joint Sequence Fusion Model", 2018."""
    found = {f"R@{k}": share_within(places, k) for k in at}
    return found | {"median_rank": float(np.median(places)), "mean_rank": float(np.mean(places))}
