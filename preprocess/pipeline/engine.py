"""Samples to triples: decode once, fill batches across videos for each encoder, encode, write.

The same steps run in two places. On a CPU each worker process does all of them (`EncodeSamples`). For a GPU the worker
processes only decode (`DecodeSamples`), and the process that holds the encoders does the rest
(`preprocess.pipeline.feed`). Where nothing is to be written, `EmbedSamples` stops before that.

A build with several encoders decodes every sample once; each frame is prepared for every encoder that lacks the sample.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.encoders import Encoder, load_encoder
from preprocess.media.frames import DecodedMedia
from preprocess.media.rows_on_disk import rows_for
from preprocess.media.transforms import resize_crop
from preprocess.pipeline.batches import Embedded, SampleEncoder
from preprocess.pipeline.read_sample import read_sample_views
from preprocess.pipeline.targets import EncodeItem, EncoderTarget, EncodeSettings
from preprocess.pipeline.write import SampleWriter, WrittenSample
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task
from preprocess.samples import Reject

Decoded = tuple[EncodeItem, tuple[DecodedMedia, ...]]
"""An item, and its frames as each of its targets needs them."""


@dataclass(frozen=True, slots=True)
class DecodeSamples:
    """Decodes the samples of a task, one after another."""

    settings: EncodeSettings

    def __call__(self, task: Task[EncodeItem], watch: Watch) -> Iterator[Decoded | Reject]:
        """Yields what became of each sample; `watch` is told which one is worked on."""
        _use_one_thread()
        for item in task.items:
            watch(item.key)
            views = decode(item, self.settings)
            watch(None)
            yield views if isinstance(views, Reject) else (item, views)


@dataclass(frozen=True, slots=True)
class EmbedSamples:
    """Decodes and encodes the samples of a task, in one process with one thread."""

    settings: EncodeSettings

    def __call__(self, task: Task[EncodeItem], watch: Watch) -> Iterator[Embedded | Reject]:
        """Yields the vectors of each sample, or why there are none."""
        encoder = SampleEncoder(self.settings.targets, lambda target: cached_encoder(target, "cpu"))
        for decoded in DecodeSamples(self.settings)(task, watch):
            yield from (decoded,) if isinstance(decoded, Reject) else encoder.add(*decoded)
        yield from encoder.flush()


@dataclass(frozen=True, slots=True)
class EncodeSamples:
    """Decodes, encodes and writes the samples of a task, in one process with one thread."""

    settings: EncodeSettings

    def __call__(self, task: Task[EncodeItem], watch: Watch) -> Iterator[WrittenSample | Reject]:
        """Yields a report for each sample once all of its triples are published."""
        writer = SampleWriter(self.settings.targets, self.settings.caption_mode)
        for item in EmbedSamples(self.settings)(task, watch):
            yield from (item,) if isinstance(item, Reject) else writer.add(item)
        yield from writer.finish()


def decode(item: EncodeItem, settings: EncodeSettings) -> tuple[DecodedMedia, ...] | Reject:
    """Decodes a sample once and prepares its frames for each of its targets, or says why it cannot be decoded."""
    transforms = [resize_crop(settings.targets[index].spec.preprocessing) for index in item.targets]
    return read_sample_views(item.sample, settings.raw, settings.sampling, transforms, item.stamp, rows_for)


@functools.lru_cache(maxsize=1)
def _use_one_thread() -> None:
    """One thread per process, one process per core; this also fixes the order of sums for any number of workers."""
    import torch

    torch.set_num_threads(1)


def cached_encoder(target: EncoderTarget, device: str) -> Encoder:
    """The encoder of a target on a device, loaded once per process, when it is first needed."""
    return _load(target.model, device, target.precision, target.batch_size, target.engine, target.weights_sha256)


_load = functools.cache(load_encoder)
