"""Zero-shot classification: the predicted label is the one whose prompts are most similar to the frames of the video.

    prompts of "ring"     "a video of ring.", "a photo of ring.", …  →  mean of their unit vectors: one weight vector
    scores of one video   softmax(scale · frame · weights) of each frame, averaged over its frames; for models trained
                          with a sigmoid loss, the sigmoid of scale · frame · weights + bias

Sources: prompts and their ensemble, Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", 2021, 3.1.4; the mean of softmaxes over frames, LAION's temporal-embedding-aggregation,
`src/evaluation/zero_shot.py`; the sigmoid, Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.metrics import Ranks, ranks
from preprocess.encoders.spec import Probabilities
from preprocess.errors import UserError

TEMPLATES = Path(__file__).with_name("templates.txt")
IMAGE_TEMPLATES = Path(__file__).with_name("image_templates.txt")
Encode = Callable[[Sequence[str]], Matrix]


def read_templates(path: Path = TEMPLATES) -> tuple[str, ...]:
    """Reads prompts from a text file, one per line, with `{}` in place of the label; empty lines are ignored.

    Raises:
        UserError: The file cannot be read, has no prompt, or has a line without exactly one `{}`.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})", "Give a text file of prompts.") from None
    templates = tuple(line for line in lines if line)
    for line in templates or ("",):
        if line.count("{}") != 1:
            raise UserError(
                f"{path}: the prompt {line!r} must contain {{}} exactly once", "Put {} in place of the label."
            )
    return templates


def class_weights(labels: Sequence[str], templates: Sequence[str], encode: Encode) -> Matrix:
    """One vector per label: the mean of the L2-normalized vectors of its prompts, L2-normalized; float32 `(C, D)`.

    Underscores in a label become spaces (`crab_nebula`).
    """
    rows = []
    for label in labels:
        name = label.replace("_", " ")
        rows.append(unit(unit(encode([template.replace("{}", name) for template in templates])).mean(axis=0)))
    return np.stack(rows)


@dataclass(frozen=True, slots=True)
class Logits:
    """How a model turns cosine similarities into probabilities: softmax or sigmoid of scale · cosine + bias.

    Attributes:
        kind: `softmax` over labels, or `sigmoid` of each label independently.
        scale: exp of the model's `logit_scale`.
        bias: The model's `logit_bias`; 0 if it has none.
    """

    kind: Probabilities
    scale: float
    bias: float = 0.0

    def probabilities(self, frames: Matrix, weights: Matrix) -> Matrix:
        """Probability of each label for each frame: `(F, D)` and `(C, D)`, both L2-normalized, to `(F, C)`."""
        logits = self.scale * (frames @ weights.T) + self.bias
        return softmax(logits) if self.kind == "softmax" else sigmoid(logits)


def frame_scores(frames: Matrix, starts: NDArray[np.int64], weights: Matrix, logits: Logits) -> Matrix:
    """The probabilities of each label, averaged over the frames of each video.

    Args:
        frames: `(F, D)`, L2-normalized.
        starts: `(N,)`, the first row of each video in `frames`.
        weights: `(C, D)`, L2-normalized.
        logits: How the model turns cosines into probabilities.

    Returns:
        `(N, C)`.
    """
    probabilities = logits.probabilities(frames, weights)
    counts = np.diff([*starts.tolist(), len(frames)])
    summed = np.add.reduceat(probabilities, starts, axis=0)
    return (summed / counts[:, None]).astype(np.float32)


def strongest_labels(
    vectors: Matrix, weights: Matrix, logits: Logits, own: int, shown: int = 8
) -> tuple[list[int], Matrix]:
    """The labels with the highest mean probability over the rows of one video, and their probabilities.

    Args:
        vectors: `(T, D)`, not normalized.
        weights: `(C, D)`, L2-normalized.
        logits: As in `frame_scores`.
        own: The row of the video's own label, which is always included.
        shown: Number of labels.

    Returns:
        Their rows in `weights`, in descending order, and their probabilities for each frame `(T, shown)`.
    """
    shares = logits.probabilities(unit(vectors), weights)
    strongest = np.argsort(-shares.mean(axis=0), kind="stable")[:shown].tolist()
    if own not in strongest:
        strongest[-1] = own
    return strongest, shares[:, strongest]


def softmax(logits: Matrix) -> Matrix:
    """Softmax over the last axis, shifted by the maximum to avoid overflow."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Matrix = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def sigmoid(logits: Matrix) -> Matrix:
    """Sigmoid of each element, by tanh, which does not overflow."""
    shares: Matrix = 0.5 * (1 + np.tanh(0.5 * logits))
    return shares


def frame_ranks(
    blocks: Iterable[tuple[Matrix, NDArray[np.int64], Sequence[str]]],
    weights: Matrix,
    labels: Sequence[str],
    logits: Logits,
) -> Ranks:
    """The rank of each video's label by `frame_scores`; `blocks` as from `features.frame_blocks`."""
    index = {label: i for i, label in enumerate(labels)}
    found = [
        ranks(frame_scores(frames, starts, weights, logits), np.array([index[label] for label in own]))
        for frames, starts, own in blocks
    ]
    return np.concatenate(found)


def pooled_ranks(direction: Matrix, weights: Matrix, targets: NDArray[np.int64], block: int = 8192) -> Ranks:
    """The rank of each video's label by the cosine similarity of its direction and the weights."""
    return np.concatenate(
        [ranks(direction[i : i + block] @ weights.T, targets[i : i + block]) for i in range(0, len(direction), block)]
    )
