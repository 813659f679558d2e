"""Zero-shot classification: each label is a prompt, and a video has the label whose prompt its frames are nearest to.

    prompts of "ring"     "a video of ring.", "a photo of ring.", …  →  mean of their directions: one weight vector
    scores of one video   softmax(scale · frame · weights) per frame, averaged over its frames

Sources: prompts and their ensemble, Radford et al., "Learning Transferable Visual Models From Natural Language
Supervision", 2021, 3.1.4; the mean of softmaxes over frames, LAION's temporal-embedding-aggregation,
`src/evaluation/zero_shot.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.metrics import Ranks, ranks
from preprocess.errors import UserError

TEMPLATES = Path(__file__).with_name("templates.txt")
Encode = Callable[[Sequence[str]], Matrix]


def read_templates(path: Path = TEMPLATES) -> tuple[str, ...]:
    """The prompts of a text file, one a line, `{}` where the label goes; empty lines are left out.

    Raises:
        UserError: There is no such file, no prompt in it, or a line without `{}`.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read as UTF-8 text ({error})", "Name a text file of prompts.") from None
    templates = tuple(line for line in lines if line)
    for line in templates or ("",):
        if line.count("{}") != 1:
            raise UserError(f"{path}: the prompt {line!r} does not have one {{}}", "Put {} where the label goes.")
    return templates


def class_weights(labels: Sequence[str], templates: Sequence[str], encode: Encode) -> Matrix:
    """One direction per label: the mean of its prompts' directions, brought to length 1; float32 `(C, D)`.

    Underscores in a label are read as spaces (`crab_nebula`).
    """
    rows = []
    for label in labels:
        name = label.replace("_", " ")
        rows.append(unit(unit(encode([template.replace("{}", name) for template in templates])).mean(axis=0)))
    return np.stack(rows)


def frame_scores(frames: Matrix, starts: NDArray[np.int64], weights: Matrix, scale: float) -> Matrix:
    """Per video the mean over its frames of softmax(scale · frame · weights).

    Args:
        frames: `(F, D)`, of length 1.
        starts: `(N,)`, the first row of each video in `frames`.
        weights: `(C, D)`, of length 1.
        scale: The model's temperature: exp of its `logit_scale`.

    Returns:
        `(N, C)`, rows sum to 1.
    """
    probabilities = softmax(scale * (frames @ weights.T))
    counts = np.diff([*starts.tolist(), len(frames)])
    summed = np.add.reduceat(probabilities, starts, axis=0)
    return (summed / counts[:, None]).astype(np.float32)


def strip(vectors: Matrix, weights: Matrix, scale: float, own: int, shown: int = 8) -> tuple[list[int], Matrix]:
    """One video over time: which labels its frames have most of, and how much.

    Args:
        vectors: `(T, D)`, of any length.
        weights: `(C, D)`, of length 1.
        scale: As in `frame_scores`.
        own: The row of the video's own label, which is always among those shown.
        shown: How many labels.

    Returns:
        Their rows in `weights`, the strongest first, and the softmax of each frame `(T, shown)`.
    """
    shares = softmax(scale * (unit(vectors) @ weights.T))
    strongest = np.argsort(-shares.mean(axis=0), kind="stable")[:shown].tolist()
    if own not in strongest:
        strongest[-1] = own
    return strongest, shares[:, strongest]


def softmax(logits: Matrix) -> Matrix:
    """Over the last axis, shifted by the largest so that nothing overflows."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: Matrix = powers / powers.sum(axis=-1, keepdims=True)
    return shares


def frame_ranks(
    blocks: Iterable[tuple[Matrix, NDArray[np.int64], Sequence[str]]],
    weights: Matrix,
    labels: Sequence[str],
    scale: float,
) -> Ranks:
    """The rank of each video's label by `frame_scores`; `blocks` as from `features.frame_blocks`."""
    index = {label: i for i, label in enumerate(labels)}
    found = [
        ranks(frame_scores(frames, starts, weights, scale), np.array([index[label] for label in own]))
        for frames, starts, own in blocks
    ]
    return np.concatenate(found)


def pooled_ranks(direction: Matrix, weights: Matrix, targets: NDArray[np.int64], block: int = 8192) -> Ranks:
    """The rank of each video's label by the cosine of its mean direction and the weights."""
    return np.concatenate(
        [ranks(direction[i : i + block] @ weights.T, targets[i : i + block]) for i in range(0, len(direction), block)]
    )
