"""Which samples to keep: near-duplicates, and subsets that differ as much as possible. Pure, on mean directions.

drop_duplicates(pooled, 0.98)    the first of each group whose cosine is 0.98 or more
diverse(pooled, 1000)            1,000 samples, each as far as possible from those chosen before
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from preprocess.console import progress

BLOCK = 2048
"""Samples that are compared with all others at once."""


class Pair(NamedTuple):
    """Two samples, the earlier one first, and the cosine of their mean directions."""

    first: int
    second: int
    similarity: float


def duplicate_pairs(pooled: Matrix, threshold: float, limit: int) -> list[Pair]:
    """The most similar pairs with a cosine of at least `threshold`, the most similar first.

    Args:
        pooled: float32 `(N, D)`, L2-normalized. Time grows with N².
        threshold: Smallest cosine.
        limit: Most pairs to return.
    """
    import torch

    vectors = torch.from_numpy(np.ascontiguousarray(pooled, np.float32))
    found: list[Pair] = []
    for first in range(0, len(vectors), BLOCK):
        similar = torch.triu(vectors[first : first + BLOCK] @ vectors[first:].T, diagonal=1)
        rows, columns = (similar >= max(threshold, 1e-6)).nonzero(as_tuple=True)
        values = similar[rows, columns]
        best = values.argsort(descending=True, stable=True)[:limit]
        found += [
            Pair(first + row, first + column, min(value, 1.0))
            for row, column, value in zip(
                rows[best].tolist(), columns[best].tolist(), values[best].tolist(), strict=True
            )
        ]
        found = sorted(found, key=lambda pair: (-pair.similarity, pair.first, pair.second))[:limit]
    return found


def drop_duplicates(pooled: Matrix, threshold: float) -> NDArray[np.int64]:
    """The samples to keep so that no two have a cosine of `threshold` or more: of such samples the first one.

    Args:
        pooled: float32 `(N, D)`, L2-normalized. Time grows with N².
        threshold: Smallest cosine that counts as a duplicate.

    Returns:
        Ascending numbers.
    """
    import torch

    vectors = torch.from_numpy(np.ascontiguousarray(pooled, np.float32))
    kept = torch.empty(0, dtype=torch.int64)
    with progress(len(vectors), " samples", "near-duplicates") as bar:
        for first in range(0, len(vectors), BLOCK):
            block = vectors[first : first + BLOCK]
            repeats = torch.zeros(len(block), dtype=torch.bool)
            for start in range(0, len(kept), 16 * BLOCK):
                others = vectors[kept[start : start + 16 * BLOCK]]
                repeats |= (block @ others.T >= threshold).any(dim=1)
            within = torch.triu(block @ block.T >= threshold, diagonal=1)
            for i in range(len(block)):
                if not repeats[i]:
                    repeats |= within[i]
            kept = torch.cat((kept, first + (~repeats).nonzero()[:, 0]))
            bar.update(len(block))
    numbers: NDArray[np.int64] = kept.numpy()
    return numbers


def diverse(pooled: Matrix, count: int) -> NDArray[np.int64]:
    """`count` samples, each the one farthest from all that were chosen before; the first is the nearest to the mean.

    Source: T. Gonzalez, "Clustering to Minimize the Maximum Intercluster Distance", 1985.

    Args:
        pooled: float32 `(N, D)`, L2-normalized.
        count: All samples where it is N or more.

    Returns:
        Ascending numbers.
    """
    count = min(count, len(pooled))
    if count < 1:
        return np.empty(0, np.int64)
    vectors = np.ascontiguousarray(pooled, np.float32)
    chosen = [int(np.argmax(vectors @ unit(vectors.mean(axis=0))))]
    nearest = vectors @ vectors[chosen[0]]
    nearest[chosen[0]] = np.inf
    while len(chosen) < count:
        chosen.append(int(np.argmin(nearest)))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
        nearest[chosen[-1]] = np.inf
    return np.sort(np.array(chosen, np.int64))


def random_subset(keys: Sequence[str], count: int, seed: int) -> NDArray[np.int64]:
    """`count` samples by a hash of seed and key: the same ones on every machine. Ascending numbers."""
    order = sorted(range(len(keys)), key=lambda i: hashlib.sha256(f"{seed}:{keys[i]}".encode()).digest())
    return np.sort(np.array(order[:count], np.int64))
