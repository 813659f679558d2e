"""Counts of what the shards hold: samples, frames, durations, captions, labels, fields.

Counted in one pass over the rows, independently of the manifest. A row:

    ("vid_00000", float16 (4, 512), "a red circle moving left", {"label": "red circle", "duration": 4.0, …})
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from builders.json_types import JsonType, MetaTypes, add_meta, merge_meta
from preprocess.samples import JSON

Row = tuple[str, NDArray[np.floating[Any]], str, JSON]


@dataclass(frozen=True, slots=True)
class Summary:
    """Five numbers of a distribution (quantiles interpolated linearly, as `numpy.quantile`)."""

    minimum: float
    median: float
    mean: float
    p95: float
    maximum: float


def summary(values: NDArray[Any]) -> Summary | None:
    """The five numbers; None if there are no values."""
    if not values.size:
        return None
    low, middle, p95, high = np.quantile(values, [0, 0.5, 0.95, 1]).tolist()
    return Summary(low, middle, float(values.mean()), p95, high)


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """One split, or all of them together.

    Attributes:
        samples: Number of triples.
        frames: Rows of all `.npy` files together.
        frames_per_sample: int64 (samples,).
        durations_s: float64 (samples,), seconds of the source that was sampled; NaN if unknown.
        words: int64 (captions,), words per caption (split at whitespace).
        captions_per_sample: int64 (samples,).
        labels: Samples per label; empty for a dataset without classes.
        truncated: Samples whose source file ended early while it was decoded.
    """

    samples: int
    frames: int
    frames_per_sample: NDArray[np.int64]
    durations_s: NDArray[np.float64]
    words: NDArray[np.int64]
    captions_per_sample: NDArray[np.int64]
    labels: Mapping[str, int]
    truncated: int

    @property
    def is_images(self) -> bool:
        """Whether every sample is one image: one row, and a duration of zero."""
        return self.samples > 0 and bool((self.frames_per_sample == 1).all() and (self.durations_s == 0).all())

    @property
    def thing(self) -> str:
        """What a sample was made from: an image, a video, or a file if there are both."""
        if self.is_images:
            return "image"
        return "file" if bool((self.durations_s == 0).any()) else "video"

    @property
    def known_durations_s(self) -> NDArray[np.float64]:
        """The known durations, seconds."""
        return self.durations_s[np.isfinite(self.durations_s)]


@dataclass(slots=True)
class Tally:
    """Counts one split row by row; holds 8 bytes per number, so Kinetics-700 takes about 20 MB."""

    frames: array[int] = field(default_factory=lambda: array("q"))
    durations_s: array[float] = field(default_factory=lambda: array("d"))
    words: array[int] = field(default_factory=lambda: array("q"))
    captions: array[int] = field(default_factory=lambda: array("q"))
    labels: Counter[str] = field(default_factory=Counter)
    truncated: int = 0
    types: MetaTypes = field(default_factory=dict)

    def add(self, row: Row) -> None:
        """Counts one row."""
        _, vectors, text, meta = row
        self.frames.append(len(vectors))
        duration = meta.get("duration")
        self.durations_s.append(float("nan") if duration is None else float(duration))
        captions = meta.get("captions") or [text]
        self.captions.append(len(captions))
        self.words.extend(len(str(caption).split()) for caption in captions)
        if (label := meta.get("label")) is not None:
            self.labels[str(label)] += 1
        self.truncated += bool(meta.get("truncated"))
        add_meta(self.types, meta)

    def done(self) -> SplitStatistics:
        """The counts."""
        frames = np.array(self.frames, np.int64)
        return SplitStatistics(
            samples=len(frames),
            frames=int(frames.sum()),
            frames_per_sample=frames,
            durations_s=np.array(self.durations_s, np.float64),
            words=np.array(self.words, np.int64),
            captions_per_sample=np.array(self.captions, np.int64),
            labels=dict(sorted(self.labels.items())),
            truncated=self.truncated,
        )


@dataclass(frozen=True, slots=True)
class Statistics:
    """All splits, in the order of `preprocess.samples.SPLITS`, and the type of every field of the `.json`."""

    splits: Mapping[str, SplitStatistics]
    types: Mapping[str, JsonType]

    @property
    def total(self) -> SplitStatistics:
        """All splits as one."""
        return merge(list(self.splits.values()))

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label of the dataset, sorted."""
        return tuple(self.total.labels)


def collect(shards: Iterable[tuple[str, Iterable[Row]]]) -> Statistics:
    """Counts the rows of all shards.

    Args:
        shards: Pairs of a split's name and the rows of one of its shards.
    """
    tallies: dict[str, Tally] = {}
    for split, rows in shards:
        tally = tallies.setdefault(split, Tally())
        for row in rows:
            tally.add(row)
    types: MetaTypes = {}
    for tally in tallies.values():
        merge_meta(types, tally.types)
    return Statistics({split: tally.done() for split, tally in tallies.items()}, types)


def merge(splits: Sequence[SplitStatistics]) -> SplitStatistics:
    """Several splits as one."""
    labels: Counter[str] = Counter()
    for one in splits:
        labels.update(one.labels)
    return SplitStatistics(
        samples=sum(s.samples for s in splits),
        frames=sum(s.frames for s in splits),
        frames_per_sample=np.concatenate([np.empty(0, np.int64), *(s.frames_per_sample for s in splits)]),
        durations_s=np.concatenate([np.empty(0, np.float64), *(s.durations_s for s in splits)]),
        words=np.concatenate([np.empty(0, np.int64), *(s.words for s in splits)]),
        captions_per_sample=np.concatenate([np.empty(0, np.int64), *(s.captions_per_sample for s in splits)]),
        labels=dict(sorted(labels.items())),
        truncated=sum(s.truncated for s in splits),
    )
