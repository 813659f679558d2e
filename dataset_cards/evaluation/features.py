"""The videos of one split as arrays: pooled vectors, labels, captions, read from the shards in one pass.

Frames that were embedded one by one become one vector per video by their mean, in two ways:

    mean       of the vectors as the model gave them                (the linear probe)
    direction  of the vectors brought to length 1, then to length 1 (zero-shot, retrieval, near-duplicates)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards.statistics import Row

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Videos:
    """One row per video that has a frame.

    Attributes:
        keys: Name in the source.
        labels: Class name or None.
        captions: All captions of each, or the one text of the `.txt`.
        mean: float32 `(N, D)`.
        direction: float32 `(N, D)`, each row of length 1.
    """

    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    captions: tuple[tuple[str, ...], ...]
    mean: Matrix
    direction: Matrix

    def __len__(self) -> int:
        return len(self.keys)


def read_videos(rows: Iterable[Row], capacity: int, dim: int, caption_mode: str) -> Videos:
    """Pools the frames of each video.

    Args:
        rows: The samples of one split, one per video (`one_per_video`).
        capacity: How many rows there are at most; the arrays are made once, at this size.
        dim: Numbers per vector.
        caption_mode: With `concat` the text of the `.txt` (a paragraph) is the caption, else the list in the `.json`.
    """
    mean = np.empty((capacity, dim), np.float32)
    direction = np.empty((capacity, dim), np.float32)
    keys: list[str] = []
    labels: list[str | None] = []
    captions: list[tuple[str, ...]] = []
    for id_, vectors, text, meta in rows:
        if not len(vectors):
            continue
        frames = vectors.astype(np.float32)
        mean[len(keys)] = frames.mean(axis=0)
        direction[len(keys)] = unit(unit(frames).mean(axis=0))
        keys.append(str(meta.get("key", id_)))
        label = meta.get("label")
        labels.append(None if label is None else str(label))
        all_captions = [text] if caption_mode == "concat" else meta.get("captions") or [text]
        captions.append(tuple(map(str, all_captions)))
    n = len(keys)
    return Videos(tuple(keys), tuple(labels), tuple(captions), mean[:n], direction[:n])


def one_per_video(rows: Iterable[Row]) -> Iterator[Row]:
    """The first row of each key: with the caption mode `each` a video has a triple per caption."""
    seen: set[str] = set()
    for row in rows:
        key = str(row[3].get("key", row[0]))
        if key not in seen:
            seen.add(key)
            yield row


def frame_blocks(rows: Iterable[Row], frames: int = 8192) -> Iterator[tuple[Matrix, NDArray[np.int64], list[str]]]:
    """The labelled videos of a split frame by frame, several at a time.

    Args:
        rows: The samples of one split; those without a label or a frame are passed over.
        frames: A block ends when it holds this many, or more by its last video.

    Yields:
        Frames of length 1 `(F, D)`, the first frame of each video `(N,)`, the label of each video.
    """
    vectors: list[NDArray[np.floating[Any]]] = []
    labels: list[str] = []
    held = 0
    for _, own, _, meta in rows:
        if not len(own) or meta.get("label") is None:
            continue
        vectors.append(own)
        labels.append(str(meta["label"]))
        held += len(own)
        if held >= frames:
            yield _block(vectors, labels)
            vectors, labels, held = [], [], 0
    if vectors:
        yield _block(vectors, labels)


def _block(vectors: list[NDArray[np.floating[Any]]], labels: list[str]) -> tuple[Matrix, NDArray[np.int64], list[str]]:
    starts = np.cumsum([0, *(len(v) for v in vectors[:-1])])
    return unit(np.concatenate(vectors).astype(np.float32)), starts.astype(np.int64), labels


def unit(vectors: Matrix) -> Matrix:
    """Each vector divided by its length; the zero vector stays."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Matrix = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled
