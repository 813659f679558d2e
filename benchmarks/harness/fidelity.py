"""How near an encoder is to a reference: vectors, nearest neighbors, and accuracy on labeled clips with captions.

judged = judge(encoder, clips, texts, logits)        # what it makes of rendered clips: vectors, and which are hits
compared(judged, reference)                          # the numbers, beside those of the reference
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.metrics import ranks
from dataset_cards.evaluation.retrieval import text_to_video_ranks, video_to_text_ranks
from dataset_cards.evaluation.zero_shot import Logits, frame_scores
from preprocess.encoders.spec import Encoder
from preprocess.samples import Pixels
from tools.tiny_clip.train import Pool


@dataclass(frozen=True)
class Texts:
    """What clips are classified by and retrieved with.

    Attributes:
        weights: Of the labels, `(C, D)`.
        captions: Of the clips, `(N, D)`, L2-normalized.
        logits: Of the model.
    """

    weights: Matrix
    captions: Matrix
    logits: Logits


def frames_of(pool: Pool) -> Pixels:
    """The frames of all clips, uint8 `(N * T, H, W, 3)`."""
    return pool.pixels.flatten(0, 1).permute(0, 2, 3, 1).contiguous().numpy()


@dataclass(frozen=True)
class Judged:
    """What an encoder made of all clips.

    Attributes:
        rows: The vectors of all frames, float32 `(N * T, D)`.
        clips: The vector of each clip, `(N, D)`.
        top1: The label that zero-shot classification gives each clip, `(N,)`.
        hits: For each measure of accuracy whether each clip is a hit, `(N,)` each.
    """

    rows: Matrix
    clips: Matrix
    top1: NDArray[np.int64]
    hits: dict[str, NDArray[np.bool_]]


def judge(encoder: Encoder, pool: Pool, texts: Texts) -> Judged:
    """Encodes all clips, classifies them, and retrieves them by their captions and these by them.

    Args:
        encoder: What is judged.
        pool: Clips of one class are adjacent, as many of each.
        texts: Of the model.
    """
    rows = encoder.encode(frames_of(pool))
    frames = unit(rows)
    per_clip = pool.pixels.shape[1]
    truth = pool.truth.numpy()
    scores = frame_scores(frames, np.arange(0, len(frames), per_clip), texts.weights, texts.logits)
    clips = unit(frames.reshape(len(truth), per_clip, -1).mean(axis=1))
    places = {
        "zero-shot": ranks(scores, truth),
        "text to video": np.empty(len(truth)),
        "video to text": np.empty(len(truth)),
    }
    for gallery in galleries(truth):
        own = np.arange(len(gallery))
        shown, captions = clips[gallery], texts.captions[gallery]
        places["text to video"][gallery] = text_to_video_ranks(shown, captions, own)
        places["video to text"][gallery] = video_to_text_ranks(shown, captions, own)
    hits = {"zero-shot top-1": places.pop("zero-shot") <= 1}
    hits |= {f"{name} R@{k}": found <= k for name, found in places.items() for k in (1, 5)}
    return Judged(rows, clips, scores.argmax(axis=1), hits)


def galleries(truth: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sets of clips with one of each class.

    Args:
        truth: The class of each clip, `(N,)`; clips of one class are adjacent, as many of each.

    Returns:
        `(N / C, C)`: places in `truth`.
    """
    classes = len(np.unique(truth))
    return np.arange(len(truth)).reshape(classes, -1).T


def compared(found: Judged, reference: Judged) -> dict[str, Any]:
    """The numbers of one encoder beside those of the reference."""
    accuracy = {}
    for name, hits in found.hits.items():
        before = reference.hits[name]
        accuracy[name] = {
            "value": float(hits.mean()),
            "difference": float(hits.mean() - before.mean()),
            "interval": interval(hits, before),
        }
    kinds = {"cosine": False, "centered cosine": True}
    near = {name: cosines(found.rows, reference.rows, centered) for name, centered in kinds.items()}
    return {
        "accuracy": accuracy,
        "top1_changed": float(np.mean(found.top1 != reference.top1)),
        "neighbor_overlap": float(neighbor_overlap(found.clips, reference.clips).mean()),
        **{
            name.replace(" ", "_"): {"mean": float(values.mean()), "least": float(values.min())}
            for name, values in near.items()
        },
    }


def cosines(rows: Matrix, reference: Matrix, centered: bool = False) -> Matrix:
    """The cosine of each row with that of the reference.

    Args:
        rows: `(N, D)`.
        reference: `(N, D)`.
        centered: Subtract the mean of the reference from both. Vectors of most models share a large component, which
            makes the cosine of any two of them high.

    Returns:
        `(N,)`.
    """
    mean = reference.mean(axis=0) if centered else np.zeros_like(reference[0])
    found: Matrix = (unit(rows - mean) * unit(reference - mean)).sum(axis=1)
    return found


def neighbors(directions: Matrix, count: int) -> NDArray[np.int64]:
    """The rows with the highest cosine to each row, itself left out.

    Args:
        directions: `(N, D)`, L2-normalized.
        count: How many, below N.

    Returns:
        `(N, count)`, in no order.
    """
    similar = directions @ directions.T
    np.fill_diagonal(similar, -np.inf)
    found: NDArray[np.int64] = np.argpartition(-similar, count - 1, axis=1)[:, :count]
    return found


def neighbor_overlap(directions: Matrix, reference: Matrix, count: int = 10) -> NDArray[np.float64]:
    """The share of the nearest neighbors of each row that are also its nearest neighbors in the reference, `(N,)`."""
    pairs = zip(neighbors(directions, count), neighbors(reference, count), strict=True)
    return np.array([np.isin(one, other).mean() for one, other in pairs])


def interval(
    hits: NDArray[Any], reference: NDArray[Any], resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % bootstrap interval of the difference of two means over the same rows, which are resampled in pairs.

    Args:
        hits: `(N,)`, such as whether each video was classified correctly.
        reference: `(N,)`, the same of the reference.
        resamples: How often N rows are drawn with replacement.
        seed: Of the draws.
    """
    differences = hits.astype(np.float64) - reference
    rng = np.random.default_rng(seed)
    means = [differences[rng.integers(len(differences), size=len(differences))].mean() for _ in range(resamples)]
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)
