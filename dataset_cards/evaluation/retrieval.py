"""Text-to-video and video-to-text retrieval: ranks of the correct candidates among all candidates of a split.

    three videos with the captions a; b, c; d     text to video: 4 queries, 3 candidates
                                                  video to text: 3 queries, 3 candidates (best caption of each video)

In text to video, every caption is a query. In video to text, the best-ranked caption of a video counts, as in
CLIP4Clip's multi-sentence evaluation (Luo et al., 2021, `main_task_retrieval.py`) and LAION's
temporal-embedding-aggregation (`src/evaluation/retrieval.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix
from dataset_cards.evaluation.metrics import Ranks, ranks, recalls


def text_to_video_ranks(videos: Matrix, texts: Matrix, owner: NDArray[np.int64], block: int = 1024) -> Ranks:
    """The rank of each caption's video among all videos.

    Args:
        videos: `(N, D)`, L2-normalized.
        texts: `(M, D)`, L2-normalized.
        owner: `(M,)`, the video of each caption.
        block: Number of captions compared at a time; `block · N` similarities are in memory.
    """
    return np.concatenate(
        [ranks(texts[i : i + block] @ videos.T, owner[i : i + block]) for i in range(0, len(texts), block)]
    )


def video_to_text_ranks(videos: Matrix, texts: Matrix, owner: NDArray[np.int64], block: int = 1024) -> Ranks:
    """The rank of each video's best caption among the best captions of all videos.

    Args:
        videos: `(N, D)`, L2-normalized.
        texts: `(M, D)`, L2-normalized, the captions of a video in consecutive rows.
        owner: `(M,)`, ascending, each of `0 … N - 1` at least once.
        block: Number of videos compared at a time.
    """
    starts = np.searchsorted(owner, np.arange(len(videos)))
    found = []
    for i in range(0, len(videos), block):
        best: Matrix = np.maximum.reduceat(videos[i : i + block] @ texts.T, starts, axis=1)
        found.append(ranks(best, np.arange(i, i + len(best))))
    return np.concatenate(found)


def retrieval(videos: Matrix, texts: Matrix, captions_per_video: Sequence[int]) -> dict[str, dict[str, float]]:
    """R@1, R@5, R@10, median and mean rank, in both directions.

    Args:
        videos: `(N, D)`, L2-normalized.
        texts: `(sum(captions_per_video), D)`, L2-normalized, in the order of the videos.
        captions_per_video: `(N,)`, at least 1 each.
    """
    owner = np.repeat(np.arange(len(videos)), captions_per_video)
    return {
        "text_to_video": recalls(text_to_video_ranks(videos, texts, owner)),
        "video_to_text": recalls(video_to_text_ranks(videos, texts, owner)),
    }
