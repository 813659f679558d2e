"""The videos of one split as arrays: pooled vectors, labels, captions, read from the shards in one pass.

The vectors of the frames of a video are averaged in two ways:

    mean       of the vectors as the model computed them                (linear probe)
    direction  of the L2-normalized vectors, then L2-normalized again   (zero-shot, retrieval, near-duplicates)
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards.statistics import Row

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Videos:
    """One row per video that has at least one frame.

    Attributes:
        keys: Names in the source.
        labels: Class names or None.
        captions: All captions of each video, or the text of its `.txt`.
        mean: float32 `(N, D)`.
        direction: float32 `(N, D)`, each row L2-normalized.
        images: Which of them are images: one row, and a duration of zero.
    """

    keys: tuple[str, ...]
    labels: tuple[str | None, ...]
    captions: tuple[tuple[str, ...], ...]
    mean: Matrix
    direction: Matrix
    images: tuple[bool, ...]

    def __len__(self) -> int:
        return len(self.keys)

    def without(self, keys: Collection[str]) -> Videos:
        """The same without some of the videos."""
        kept = [i for i, key in enumerate(self.keys) if key not in keys]
        names, labels, captions, images = (
            tuple(column[i] for i in kept) for column in (self.keys, self.labels, self.captions, self.images)
        )
        return Videos(names, labels, captions, self.mean[kept], self.direction[kept], images)  # type: ignore[arg-type]


def read_videos(rows: Iterable[Row], capacity: int, dim: int, caption_mode: str) -> Videos:
    """Pools the frames of each video.

    Args:
        rows: The samples of one split, one per video (`one_per_video`).
        capacity: Maximum number of rows; the arrays are allocated at this size.
        dim: Length of one vector.
        caption_mode: With `concat`, the caption is the `.txt` (a paragraph), otherwise all captions of the `.json`.
    """
    mean = np.empty((capacity, dim), np.float32)
    direction = np.empty((capacity, dim), np.float32)
    keys: list[str] = []
    labels: list[str | None] = []
    captions: list[tuple[str, ...]] = []
    images: list[bool] = []
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
        images.append(len(vectors) == 1 and meta.get("duration") == 0)
    n = len(keys)
    return Videos(tuple(keys), tuple(labels), tuple(captions), mean[:n], direction[:n], tuple(images))


def one_per_video(rows: Iterable[Row]) -> Iterator[Row]:
    """The first row of each key: with the caption mode `each`, a video has one triple per caption."""
    seen: set[str] = set()
    for row in rows:
        key = str(row[3].get("key", row[0]))
        if key not in seen:
            seen.add(key)
            yield row


def frame_blocks(rows: Iterable[Row], frames: int = 8192) -> Iterator[tuple[Matrix, NDArray[np.int64], list[str]]]:
    """The frames of the labeled videos of a split, in blocks of several videos.

    Args:
        rows: The samples of one split; those without a label or a frame are skipped.
        frames: A block ends with the video that brings it to this number of frames.

    Yields:
        L2-normalized frames `(F, D)`, the index of the first frame of each video `(N,)`, the label of each video.
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
    """L2-normalized vectors; a zero vector stays as it is."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    scaled: Matrix = vectors / np.maximum(length, np.finfo(np.float32).tiny)
    return scaled
