"""Decode in worker processes, encode in this one: the engine that keeps GPUs busy.

A frame is sent as bytes (150 KB at 224 x 224; a core decodes about 145 a second, so 16 cores give 350 MB/s), copied
once into the batch, and normalized on the device. Each device has an encoder and a thread of its own; batches are
filled with frames as they arrive, whatever task they come from.

`EncodeOnDevices` is a task function like any other, so an executor decides where it runs: the inline executor in this
process with hundreds of thousands of samples as one task, another one on the machines that have the devices.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.media.frames import DecodedMedia
from preprocess.pipeline.batches import Embedded, SampleEncoder
from preprocess.pipeline.engine import DecodeSamples, cached_encoder
from preprocess.pipeline.frame_channel import LIMIT, FrameChannel, SentPixels, open_channel
from preprocess.pipeline.preload import PRELOAD
from preprocess.pipeline.targets import EncodeItem, EncodeSettings
from preprocess.pipeline.write import SampleWriter, WrittenSample
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import Frames, Reject
from preprocess.storage import Stamp

_AHEAD = 4  # samples that wait for each device before decoding is made to wait


@dataclass(frozen=True, slots=True)
class SentSample:
    """A decoded sample on its way to the encoders; `take` it once."""

    item: EncodeItem
    views: tuple[SentPixels, ...]
    timestamps_s: NDArray[np.float64]
    duration_s: float
    truncated: bool
    stamp: Stamp | None = None

    @property
    def key(self) -> str:
        """Key of the sample."""
        return self.item.key

    @property
    def nbytes(self) -> int:
        """Bytes of its pixels, over all views."""
        return sum(view.nbytes for view in self.views)

    def take(self) -> tuple[DecodedMedia, ...]:
        """The frames, one view per target; frees the shared memory."""
        return tuple(
            DecodedMedia(Frames(view.take(), self.timestamps_s), self.duration_s, self.truncated, self.stamp)
            for view in self.views
        )


@dataclass(frozen=True, slots=True)
class SendFrames:
    """What a decode worker runs: decode the samples of a task and send their frames."""

    settings: EncodeSettings
    channel: FrameChannel

    def __call__(self, task: Task[EncodeItem], watch: Watch) -> Iterator[SentSample | Reject]:
        """Yields each sample as it is decoded."""
        for decoded in DecodeSamples(self.settings)(task, watch):
            if isinstance(decoded, Reject):
                yield decoded
                continue
            item, views = decoded
            sent = tuple(
                self.channel.send(f"{item.key}.{number}", view.frames.pixels) for number, view in enumerate(views)
            )
            media = views[0]
            yield SentSample(item, sent, media.frames.timestamps_s, media.duration_s, media.truncated, media.stamp)


@dataclass(frozen=True, slots=True)
class EncodeOnDevices:
    """Decodes the samples of a task in worker processes of its own, encodes them here, and writes their triples.

    Attributes:
        settings: As for every engine; the batch sizes are those of one device.
        devices: Every encoder is loaded on each, once per process.
        options: Of the decode workers.
        limit: Bytes of decoded frames that may wait in shared memory.
    """

    settings: EncodeSettings
    devices: tuple[str, ...]
    options: RunOptions
    limit: int = LIMIT

    def __call__(self, task: Task[EncodeItem], watch: Watch) -> Iterator[WrittenSample | Reject]:
        """Yields a report for each sample once its triples are published; the decode workers watch the items."""
        with open_channel(limit=self.limit) as channel:
            send = SendFrames(self.settings, channel)
            with closing(run_items(task.items, send, self.options, preload=PRELOAD)) as sent:
                yield from encode_sent(sent, self.settings, self.devices, self.limit)


def encode_sent(
    sent: Iterable[SentSample | Reject], settings: EncodeSettings, devices: Sequence[str], limit: int = LIMIT
) -> Iterator[WrittenSample | Reject]:
    """Encodes samples as they arrive, on all devices at once, and writes their triples.

    Args:
        sent: Read only as fast as the devices encode, which is what makes the decode workers wait.
        settings: The encoders, and how triples are written.
        devices: Where they run.
        limit: Bytes of frames that may wait for a device.
    """
    lanes = [_Lane(settings, device) for device in devices]
    next_lane = itertools.cycle(lanes)
    running: deque[tuple[int, Future[list[WrittenSample | Reject]]]] = deque()
    waiting_bytes = 0
    try:
        for item in sent:
            if isinstance(item, Reject):
                yield item
                continue
            size = item.nbytes
            running.append((size, next(next_lane).submit(item)))
            waiting_bytes += size
            while running and (running[0][1].done() or len(running) > _AHEAD * len(lanes) or waiting_bytes > limit):
                size, reports = running.popleft()
                yield from reports.result()
                waiting_bytes -= size
        running.extend((0, lane.finish()) for lane in lanes)
        while running:
            yield from running.popleft()[1].result()
    finally:
        for lane in lanes:
            lane.close()


class _Lane:
    """One device: its encoders, its thread, and the batches that are being filled."""

    def __init__(self, settings: EncodeSettings, device: str) -> None:
        self._encoder = SampleEncoder(settings.targets, lambda target: cached_encoder(target, device))
        self._writer = SampleWriter(settings.targets, settings.caption_mode)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def submit(self, sent: SentSample) -> Future[list[WrittenSample | Reject]]:
        return self._thread.submit(lambda: list(self._write(self._encoder.add(sent.item, sent.take()))))

    def finish(self) -> Future[list[WrittenSample | Reject]]:
        return self._thread.submit(lambda: [*self._write(self._encoder.flush()), *self._writer.finish()])

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)

    def _write(self, complete: Iterable[Embedded]) -> Iterator[WrittenSample | Reject]:
        for embedded in complete:
            yield from self._writer.add(embedded)
