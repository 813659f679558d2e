"""Text to video and video to text: where the right one stands when all of a split are sorted by cosine.

    three videos, captions a; b, c; d     text→video: 4 questions, 3 candidates
                                          video→text: 3 questions, 3 candidates: a video scores by its best caption

Text to video asks with every caption. Video to text takes the captions of one video together, the best one speaking for
them, as CLIP4Clip's multi-sentence evaluation (Luo et al., 2021, `main_task_retrieval.py`) and LAION's
temporal-embedding-aggregation (`src/evaluation/retrieval.py`) do.
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
        videos: `(N, D)`, of length 1.
        texts: `(M, D)`, of length 1.
        owner: `(M,)`, the video of each caption.
        block: Captions compared at a time: bounds the memory to `block · N` numbers.
    """
    return np.concatenate(
        [ranks(texts[i : i + block] @ videos.T, owner[i : i + block]) for i in range(0, len(texts), block)]
    )


def video_to_text_ranks(videos: Matrix, texts: Matrix, owner: NDArray[np.int64], block: int = 1024) -> Ranks:
    """The rank of each video's captions, its best one standing for them, among those of all videos.

    Args:
        videos: `(N, D)`, of length 1.
        texts: `(M, D)`, of length 1, the captions of a video side by side.
        owner: `(M,)`, ascending, each of `0 … N - 1` at least once.
        block: Videos compared at a time.
    """
    starts = np.searchsorted(owner, np.arange(len(videos)))
    found = []
    for i in range(0, len(videos), block):
        best: Matrix = np.maximum.reduceat(videos[i : i + block] @ texts.T, starts, axis=1)
        found.append(ranks(best, np.arange(i, i + len(best))))
    return np.concatenate(found)


def retrieval(videos: Matrix, texts: Matrix, captions_per_video: Sequence[int]) -> dict[str, dict[str, float]]:
    """R@1, R@5, R@10, median and mean rank, both ways.

    Args:
        videos: `(N, D)`, of length 1.
        texts: `(sum(captions_per_video), D)`, of length 1, in the order of the videos.
        captions_per_video: `(N,)`, at least 1 each.
    """
    owner = np.repeat(np.arange(len(videos)), captions_per_video)
    return {
        "text_to_video": recalls(text_to_video_ranks(videos, texts, owner)),
        "video_to_text": recalls(video_to_text_ranks(videos, texts, owner)),
    }
