"""Batches of one fixed size, filled across videos: frames of many samples in, the vectors of each sample out.

encoder = SampleEncoder(targets, load)
for embedded in encoder.add(item, views): ...     # samples that this one completed, for all their targets
for embedded in encoder.flush(): ...              # the rest
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.encoders import Encoder
from preprocess.media.clips import clip_windows
from preprocess.media.rows_on_disk import take_rows
from preprocess.samples import Pixels, Sample
from preprocess.storage import Stamp

if TYPE_CHECKING:
    from preprocess.media.frames import DecodedMedia
    from preprocess.pipeline.targets import EncodeItem, EncoderTarget


@dataclass(slots=True)
class Embedded:
    """A sample on its way through the encoders; complete when no target is missing.

    Attributes:
        timestamps_s: float64 `(T,)`: times of the sampled frames in seconds from the first frame of the file.
        end_s: Where the embedded part ends, in seconds from the first frame of the file.
        vectors: Per target, by its index: float32 `(T, D)`, or `(W, D)` for encoders of clips.
        missing: Indices of the targets whose vectors are not complete.
        stamp: Of the media, as `DecodedMedia.stamp`.
    """

    sample: Sample
    timestamps_s: NDArray[np.float64]
    end_s: float
    truncated: bool
    vectors: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    stamp: Stamp | None = None

    @classmethod
    def of(cls, sample: Sample, media: DecodedMedia) -> Embedded:
        """A decoded sample, before any encoder has seen it."""
        end_s = media.duration_s if sample.end_s is None else min(sample.end_s, media.duration_s)
        return cls(sample, media.frames.timestamps_s, end_s, media.truncated, stamp=media.stamp)

    @property
    def key(self) -> str:
        """Key of the sample."""
        return self.sample.key

    @property
    def duration_s(self) -> float:
        """Seconds of the embedded part."""
        return max(0.0, self.end_s - (self.sample.start_s or 0.0))


class SampleEncoder:
    """Encodes decoded samples with every encoder that lacks them.

    Args:
        targets: The encoders of the build.
        load: Loads one of them; called when its first frames arrive.
    """

    def __init__(self, targets: Sequence[EncoderTarget], load: Callable[[EncoderTarget], Encoder]) -> None:
        self._targets = targets
        self._load = load
        self._batchers: dict[int, Batcher] = {}

    def add(self, item: EncodeItem, views: Sequence[DecodedMedia]) -> Iterator[Embedded]:
        """Takes a decoded sample, one view per target of the item; yields the samples that are complete now."""
        embedded = Embedded.of(item.sample, views[0])
        embedded.missing.update(item.targets)
        for index, view in zip(item.targets, views, strict=True):
            if index not in self._batchers:
                target = self._targets[index]
                stride = None if target.spec.unit == "frame" else target.clip_stride
                self._batchers[index] = Batcher(index, self._load(target), stride)
            yield from self._complete(index, self._batchers[index].add(embedded, view.frames.pixels))

    def flush(self) -> Iterator[Embedded]:
        """Encodes what is left in partly filled batches."""
        for index, batcher in self._batchers.items():
            yield from self._complete(index, batcher.flush())

    def _complete(self, index: int, done: Iterator[Embedded]) -> Iterator[Embedded]:
        for embedded in done:
            embedded.missing.discard(index)
            if not embedded.missing:
                yield embedded


class Batcher:
    """Fills batches for one encoder, and gives each sample its rows.

    Pixels are copied into the batch and released, so that memory holds one batch and the vectors of unfinished samples.

    Args:
        index: Of the target, under which vectors are stored.
        encoder: Takes the batches.
        clip_stride: Sampled frames between the starts of two clips; None for encoders of frames.
    """

    def __init__(self, index: int, encoder: Encoder, clip_stride: int | None = None) -> None:
        self._index = index
        self._encoder = encoder
        self._clip_stride = clip_stride
        self._batch: Pixels = np.empty((encoder.batch_size, *encoder.frame_shape), encoder.frame_dtype)
        self._filled = 0
        self._waiting: deque[Embedded] = deque()
        self._rows_of_first = 0  # rows that the first of the waiting already has

    def add(self, embedded: Embedded, pixels: Pixels) -> Iterator[Embedded]:
        """Takes the prepared frames of a sample; yields the samples whose rows are complete."""
        rows = np.arange(len(pixels))  # of a batch item: one frame, or the frames of a clip
        if self._clip_stride is not None:
            rows = clip_windows(len(pixels), self._encoder.frame_shape[0], self._clip_stride)
        embedded.vectors[self._index] = np.empty((len(rows), self._encoder.dim), np.float32)
        self._waiting.append(embedded)
        taken = 0
        while taken < len(rows):
            free = min(len(self._batch) - self._filled, len(rows) - taken)
            part = self._batch[self._filled : self._filled + free]
            take_rows(pixels, rows[taken : taken + free], part)
            self._filled += free
            taken += free
            if self._filled == len(self._batch):
                yield from self.flush()

    def flush(self) -> Iterator[Embedded]:
        """Encodes the batch, full or not."""
        rows = self._encoder.encode(self._batch[: self._filled])
        self._filled = 0
        while len(rows):
            vectors = self._waiting[0].vectors[self._index]
            missing = len(vectors) - self._rows_of_first
            vectors[self._rows_of_first : self._rows_of_first + len(rows)] = rows[:missing]
            if len(rows) < missing:
                self._rows_of_first += len(rows)
                return
            rows = rows[missing:]
            self._rows_of_first = 0
            yield self._waiting.popleft()
