"""One video over time, for the figure of the card: the score of each row for some labels, or for the video's captions.

    {"key": "scenes_030", "split": "test", "labels": ["a red circle", …], "timestamps": [0.0, 1.0, …],
     "bounds": [0.0, 0.5, 1.5, …], "shares": [[0.29, 0.11, …], …], "windows": [[[0.0, 3.4]], …]}

`timestamps` has one time per row and `bounds` one more: row k stands for the time from `bounds[k]` to `bounds[k + 1]`.
`shares` has one list per row. `label` is the label of the video (zero-shot); `windows` are the annotated times of each
caption (moment retrieval).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.zero_shot import Logits, strongest_labels
from dataset_cards.statistics import Row
from preprocess.formats.times import caption_windows, row_spans
from preprocess.samples import JSON, Split

MAX_ROWS = 120
MAX_CAPTIONS = 8


def label_strip(rows: Iterable[Row], split: Split, labels: Sequence[str], weights: Matrix, logits: Logits) -> JSON:
    """The labeled video with the most rows, the first of equals.

    Args:
        rows: The samples of the split; at least one has a label and a row.
        split: Its name.
        labels: `(C,)`, all classes.
        weights: `(C, D)`, as from `class_weights`.
        logits: How the model turns cosines into probabilities.
    """
    labeled = (row for row in rows if len(row[1]) and row[3].get("label") is not None)
    row = max(labeled, key=lambda row: min(len(row[1]), MAX_ROWS))
    label = str(row[3]["label"])
    chosen, shares = strongest_labels(_vectors(row), weights, logits, labels.index(label))
    return _strip(row, split, [labels[i] for i in chosen], shares) | {"label": label}


def caption_strip(rows: Iterable[Row], split: Split, encode: Callable[[Sequence[str]], Matrix]) -> JSON | None:
    """The video with the most timed captions, the first of equals; None if no caption has a time.

    Args:
        rows: The samples of the split.
        split: Its name.
        encode: Texts to L2-normalized rows `(N, D)`.
    """
    best: tuple[Row, list[tuple[str, list[tuple[float, float]]]]] | None = None
    for row in rows:
        meta = row[3]
        if not 0 < len(row[1]) <= MAX_ROWS:
            continue
        windows = caption_windows(meta) or []
        timed = [(str(c), w) for c, w in zip(meta["captions"], windows, strict=False) if w][:MAX_CAPTIONS]
        if timed and (best is None or len(timed) > len(best[1])):
            best = row, timed
    if best is None:
        return None
    row, timed = best
    captions = [caption for caption, _ in timed]
    shares = unit(_vectors(row)) @ encode(captions).T
    return _strip(row, split, captions, shares) | {"windows": [[list(w) for w in windows] for _, windows in timed]}


def _vectors(row: Row) -> Matrix:
    return row[1][:MAX_ROWS].astype(np.float32)


def _strip(row: Row, split: Split, labels: list[str], shares: Matrix) -> JSON:
    meta = row[3]
    spans = row_spans(meta)[:MAX_ROWS]
    return {
        "key": meta["key"],
        "split": split,
        "labels": labels,
        "timestamps": meta["timestamps"][:MAX_ROWS],
        "bounds": [*spans[:, 0].tolist(), max(float(spans[-1, 1]), float(spans[-1, 0]) + 1e-3)],
        "shares": shares.tolist(),
    }
