"""Leakage audit: videos of val and test that are near-duplicates of a video in another split, by cosine similarity.

    test  clip_0107  ~  train  clip_0031   0.9987

Vectors are compared in blocks, so that 34,000 × 536,000 videos (Kinetics-700) need a few hundred megabytes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix

THRESHOLD = 0.98
"""Cosine similarity from which two videos are listed as near-duplicates: with OpenAI's CLIP, a recompressed copy
exceeds it, and another clip of the same scene can exceed it, too."""

WORST = 10


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest neighbor in another split of each video; `(N,)` each.

    Attributes:
        similarity: Cosine similarity.
        index: Row of the neighbor.
    """

    similarity: NDArray[np.float32]
    index: NDArray[np.int64]


def nearest(queries: Matrix, others: Matrix, device: str = "cpu", block: int = 1024, width: int = 65_536) -> Nearest:
    """The nearest of `others` for each of `queries`; the first of several equal ones.

    Args:
        queries: `(N, D)`, L2-normalized.
        others: `(M, D)`, L2-normalized, M ≥ 1.
        device: A torch device.
        block: Number of queries compared at a time.
        width: Number of others compared at a time; `block · width` similarities are in memory.
    """
    import torch

    best = torch.full((len(queries),), -torch.inf, device=device)
    where = torch.zeros(len(queries), dtype=torch.int64, device=device)
    for j in range(0, len(others), width):
        columns = torch.from_numpy(others[j : j + width]).to(device).T
        for i in range(0, len(queries), block):
            value, column = (torch.from_numpy(queries[i : i + block]).to(device) @ columns).max(dim=1)
            better = value > best[i : i + block]
            best[i : i + block] = torch.where(better, value, best[i : i + block])
            where[i : i + block] = torch.where(better, column + j, where[i : i + block])
    return Nearest(best.cpu().numpy(), where.cpu().numpy())


def worst(found: Nearest, threshold: float, n: int = WORST) -> list[int]:
    """Rows of the `n` most similar pairs at or above the threshold, the most similar first."""
    order = np.argsort(-found.similarity, kind="stable")[:n]
    return [int(i) for i in order if found.similarity[i] >= threshold]
