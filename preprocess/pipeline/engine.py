"""Samples to triples: decode, fill batches across videos, encode, write.

The same steps run in two places. On a CPU each worker process does all of them (`EncodeChunk`). On a GPU the worker
processes only decode (`DecodeChunk`), frames come over in shared memory, and the process that holds the encoder does
the rest (`preprocess.pipeline.feed`). Where nothing is to be written, `EmbedChunk` stops before that.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.encoders import Encoder
from preprocess.encoders.models import ModelFiles
from preprocess.formats.triples import caption_text, triple_meta, write_triple
from preprocess.media.sampling import Sampling
from preprocess.media.transforms import resize_crop
from preprocess.media.video import Clip
from preprocess.pipeline.executors import Watch
from preprocess.pipeline.plan import Chunk
from preprocess.pipeline.read import read_sample
from preprocess.samples import CaptionMode, Preprocessing, Reject, Sample, Triple

if TYPE_CHECKING:  # they bring torch and transformers, which the process that hands out the work does without
    from preprocess.encoders.clip import ClipEncoder
    from preprocess.encoders.devices import Precision


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a worker needs to know.

    Attributes:
        raw: The raw folder, as a path or URL.
        processed: Where triples go.
        dtype: Of the `.npy`: `float16` or `float32`.
    """

    raw: str
    processed: Path
    sampling: Sampling
    preprocessing: Preprocessing
    model: ModelFiles
    precision: Precision
    batch_size: int
    dtype: str
    caption_mode: CaptionMode


@dataclass(frozen=True, slots=True)
class Written:
    """A triple that is on disk."""

    key: str
    frames: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Embedded:
    """A clip whose pixels have become vectors: `(T, D)` float32; `duration_s` is that of the part embedded."""

    sample: Sample
    timestamps_s: NDArray[np.float64]
    duration_s: float
    truncated: bool
    vectors: NDArray[np.float32]

    @property
    def key(self) -> str:
        """Key of the sample."""
        return self.sample.key


class Batcher:
    """Fills batches of one fixed size across videos, and gives each video its rows back.

    Pixels are copied into the batch and let go, so that memory holds one batch and the vectors of unfinished videos.
    """

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        height, width = encoder.preprocessing.crop
        self._batch = np.empty((encoder.batch_size, height, width, 3), np.uint8)
        self._filled = 0
        self._waiting: deque[Embedded] = deque()
        self._rows_of_first = 0  # rows that the first of the waiting already has

    def add(self, sample: Sample, clip: Clip) -> Iterator[Embedded]:
        """Takes one decoded clip; yields the clips that became complete."""
        pixels = clip.frames.pixels
        vectors = np.empty((len(pixels), self._encoder.dim), np.float32)
        part_s = part_embedded_s(sample, clip.duration_s)
        self._waiting.append(Embedded(sample, clip.frames.timestamps_s, part_s, clip.truncated, vectors))
        taken = 0
        while taken < len(pixels):
            free = min(len(self._batch) - self._filled, len(pixels) - taken)
            self._batch[self._filled : self._filled + free] = pixels[taken : taken + free]
            self._filled += free
            taken += free
            if self._filled == len(self._batch):
                yield from self.flush()

    def flush(self) -> Iterator[Embedded]:
        """Encodes what there is, also in a batch that is not full."""
        rows = self._encoder.encode(self._batch[: self._filled])
        self._filled = 0
        while len(rows):
            first = self._waiting[0]
            missing = len(first.vectors) - self._rows_of_first
            first.vectors[self._rows_of_first : self._rows_of_first + len(rows)] = rows[:missing]
            if len(rows) < missing:
                self._rows_of_first += len(rows)
                return
            rows = rows[missing:]
            self._rows_of_first = 0
            yield self._waiting.popleft()


@dataclass(frozen=True, slots=True)
class DecodeChunk:
    """Decodes the samples of a chunk, one after another."""

    settings: Settings

    def __call__(self, chunk: Chunk, watch: Watch) -> Iterator[tuple[Sample, Clip] | Reject]:
        """Yields what became of each sample; `watch` is told which one is worked on."""
        _use_one_thread()
        for sample in chunk.samples:
            watch(sample.key)
            decoded = decode(sample, self.settings)
            watch(None)
            yield decoded if isinstance(decoded, Reject) else (sample, decoded)


@dataclass(frozen=True, slots=True)
class EmbedChunk:
    """Decodes and encodes the samples of a chunk, in one process with one thread."""

    settings: Settings

    def __call__(self, chunk: Chunk, watch: Watch) -> Iterator[Embedded | Reject]:
        """Yields the vectors of each sample, or why there are none."""
        batcher: Batcher | None = None
        for decoded in DecodeChunk(self.settings)(chunk, watch):
            if isinstance(decoded, Reject):
                yield decoded
                continue
            batcher = batcher or Batcher(_worker_encoder(self.settings))
            yield from batcher.add(*decoded)
        if batcher:
            yield from batcher.flush()


@dataclass(frozen=True, slots=True)
class EncodeChunk:
    """Decodes, encodes and writes the samples of a chunk, in one process with one thread."""

    settings: Settings

    def __call__(self, chunk: Chunk, watch: Watch) -> Iterator[Written | Reject]:
        """Yields a report for each sample once its triple is on disk."""
        for item in EmbedChunk(self.settings)(chunk, watch):
            yield from (item,) if isinstance(item, Reject) else write_all((item,), self.settings)


def decode(sample: Sample, settings: Settings) -> Clip | Reject:
    """One sample to preprocessed frames, or to the reason why not."""
    return read_sample(sample, settings.raw, settings.sampling, resize_crop(settings.preprocessing))


def part_embedded_s(sample: Sample, duration_s: float) -> float:
    """Seconds of a file of `duration_s` that the sample's window covers."""
    end_s = duration_s if sample.end_s is None else min(sample.end_s, duration_s)
    return max(0.0, end_s - (sample.start_s or 0.0))


def write_all(embedded: Iterable[Embedded], settings: Settings) -> Iterator[Written | Reject]:
    """Writes triples as they become complete."""
    for item in embedded:
        sample = item.sample
        vectors = item.vectors.astype(settings.dtype)
        if not np.isfinite(vectors).all():
            yield Reject(sample.key, sample.split, "encode", "not_finite", f"NaN or infinity as {settings.dtype}")
            continue
        mode: CaptionMode = "first" if settings.caption_mode == "each" else settings.caption_mode
        meta = triple_meta(sample, len(vectors), item.timestamps_s, item.duration_s, item.truncated)
        triple = Triple(sample.key, vectors, caption_text(sample.captions, mode), meta)
        size = write_triple(settings.processed, sample.split, triple)
        yield Written(sample.key, len(vectors), size)


@functools.lru_cache(maxsize=1)
def _use_one_thread() -> None:
    """One thread a process, one process a core; it also keeps sums in one order, whatever the number of workers."""
    import torch

    torch.set_num_threads(1)


@functools.lru_cache(maxsize=1)
def _worker_encoder(settings: Settings) -> ClipEncoder:
    """The encoder of this worker process, loaded when the first frames are there."""
    from preprocess.encoders.clip import ClipEncoder

    return ClipEncoder(settings.model, "cpu", settings.precision, settings.batch_size)
