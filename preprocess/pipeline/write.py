"""Embedded samples to triples: one per encoder, all or none of a sample.

If the vectors of one encoder cannot be stored, the sample is rejected for all encoders of the build, so that their
datasets keep the same samples, ids and order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from preprocess.formats.processed import WrittenKey
from preprocess.formats.triples import caption_text, triple_meta
from preprocess.media.clips import clip_spans, clip_windows
from preprocess.samples import JSON, CaptionMode, Reject, Triple
from preprocess.storage import Stamp

if TYPE_CHECKING:
    from preprocess.pipeline.batches import Embedded
    from preprocess.pipeline.targets import EncoderTarget


@dataclass(frozen=True, slots=True)
class WrittenSample:
    """A sample whose triples are all published.

    Attributes:
        rows: Rows of the triple of each target, by its index.
        sizes: Bytes of the triple of each target, by its index.
        stamp: Of the media that they were made from, as `DecodedMedia.stamp`.
    """

    key: str
    rows: dict[int, int]
    sizes: dict[int, int]
    stamp: Stamp | None = None

    @property
    def frames(self) -> int:
        """Rows of all triples, for the rate of the progress bar."""
        return sum(self.rows.values())


class SampleWriter:
    """Writes the triples of one task; reports a sample when the last of its triples is published.

    Args:
        targets: The encoders of the build.
        caption_mode: How several captions become one text.
    """

    def __init__(self, targets: Sequence[EncoderTarget], caption_mode: CaptionMode) -> None:
        self._targets = targets
        self._mode: CaptionMode = "first" if caption_mode == "each" else caption_mode
        self._writers = [target.processed.writer() for target in targets]
        self._written: dict[str, WrittenSample] = {}
        self._waiting: dict[str, int] = {}  # triples that are not published yet

    def add(self, embedded: Embedded) -> Iterator[WrittenSample | Reject]:
        """Takes a complete sample; yields reports of samples that are published now."""
        sample, stored = embedded.sample, {}
        for index, vectors in embedded.vectors.items():
            target = self._targets[index]
            with np.errstate(over="ignore"):  # what float16 cannot hold becomes infinity, which is rejected
                stored[index] = vectors.astype(target.dtype)
            if not np.isfinite(stored[index]).all():
                message = f"{target.model.id} gives NaN or infinity as {target.dtype}"
                yield Reject(sample.key, sample.split, "encode", "not_finite", message)
                return
        self._written[sample.key] = WrittenSample(sample.key, {}, {}, embedded.stamp)
        self._waiting[sample.key] = len(stored)
        for index, vectors in stored.items():
            text = caption_text(sample.captions, self._mode)
            triple = Triple(sample.key, vectors, text, _meta(embedded, vectors, self._targets[index]))
            yield from self._published(index, self._writers[index].add(sample.split, triple))

    def finish(self) -> Iterator[WrittenSample | Reject]:
        """Publishes what waits."""
        for index, writer in enumerate(self._writers):
            yield from self._published(index, writer.finish())

    def _published(self, index: int, triples: Iterable[WrittenKey]) -> Iterator[WrittenSample]:
        for key, rows, size in triples:
            self._written[key].rows[index] = rows
            self._written[key].sizes[index] = size
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                yield self._written.pop(key)


def _meta(embedded: Embedded, vectors: NDArray[np.floating[Any]], target: EncoderTarget) -> JSON:
    """The `.json` of a triple; for encoders of clips with the span of each row."""
    sample, times = embedded.sample, embedded.timestamps_s
    if target.spec.unit == "frame":
        return triple_meta(sample, len(vectors), times, embedded.duration_s, embedded.truncated)
    windows = clip_windows(len(times), target.spec.clip_frames, target.clip_stride)
    spans, padded = clip_spans(times, windows, embedded.end_s)
    starts = times[windows[:, 0]]
    return triple_meta(sample, len(vectors), starts, embedded.duration_s, embedded.truncated, spans, padded)
