"""Decode in worker processes, encode here: the way to keep a GPU fed.

A frame is sent as bytes in shared memory (150 KB at 224 x 224; a core decodes about 145 a second, so 16 cores give
350 MB/s), copied once into the batch, and normalised on the device. Each device has an encoder and a thread of its own;
batches are filled with frames as they arrive, whatever chunk they come from.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.shared_memory import SharedMemory

import numpy as np
from numpy.typing import NDArray

from preprocess.encoders import Encoder
from preprocess.media.video import Clip
from preprocess.pipeline.engine import Batcher, DecodeChunk, Settings, Written, write_all
from preprocess.pipeline.executors import Watch
from preprocess.pipeline.plan import Chunk
from preprocess.samples import Frames, Reject, Sample

_AHEAD = 4  # clips that wait for each device before decoding is made to wait


@dataclass(frozen=True, slots=True)
class SentClip:
    """A decoded clip whose pixels wait in shared memory; whoever takes it frees them."""

    sample: Sample
    block: str
    shape: tuple[int, ...]
    timestamps_s: NDArray[np.float64]
    duration_s: float
    truncated: bool

    @property
    def key(self) -> str:
        """Key of the sample."""
        return self.sample.key

    @classmethod
    def send(cls, sample: Sample, clip: Clip) -> SentClip:
        """Puts the pixels where another process can take them."""
        pixels = clip.frames.pixels
        memory = SharedMemory(create=True, size=max(1, pixels.nbytes))
        np.ndarray(pixels.shape, np.uint8, memory.buf)[:] = pixels
        memory.close()
        return cls(sample, memory.name, pixels.shape, clip.frames.timestamps_s, clip.duration_s, clip.truncated)

    def take(self) -> Clip:
        """Copies the pixels out and frees the block."""
        memory = SharedMemory(self.block)
        pixels = np.ndarray(self.shape, np.uint8, memory.buf).copy()
        memory.close()
        memory.unlink()
        return Clip(Frames(pixels, self.timestamps_s), self.duration_s, self.truncated)


@dataclass(frozen=True, slots=True)
class SendChunk:
    """What a worker process runs: decode a chunk and send its frames."""

    settings: Settings

    def __call__(self, chunk: Chunk, watch: Watch) -> Iterator[SentClip | Reject]:
        """Yields each clip as it is decoded."""
        for decoded in DecodeChunk(self.settings)(chunk, watch):
            yield decoded if isinstance(decoded, Reject) else SentClip.send(*decoded)


def encode_sent(
    sent: Iterable[SentClip | Reject], encoders: Sequence[Encoder], settings: Settings
) -> Iterator[Written | Reject]:
    """Encodes clips as they arrive, on all devices at once, and writes their triples."""
    lanes = [_Lane(encoder, settings) for encoder in encoders]
    next_lane = itertools.cycle(lanes)
    running: deque[Future[list[Written | Reject]]] = deque()
    try:
        for item in sent:
            if isinstance(item, Reject):
                yield item
                continue
            running.append(next(next_lane).submit(item))
            while running and (running[0].done() or len(running) > _AHEAD * len(lanes)):
                yield from running.popleft().result()
        running.extend(lane.finish() for lane in lanes)
        while running:
            yield from running.popleft().result()
    finally:
        for lane in lanes:
            lane.close()


class _Lane:
    """One device: its encoder, its thread, and the batch that is being filled."""

    def __init__(self, encoder: Encoder, settings: Settings) -> None:
        self._settings = settings
        self._batcher = Batcher(encoder)
        self._thread = ThreadPoolExecutor(max_workers=1)

    def submit(self, item: SentClip) -> Future[list[Written | Reject]]:
        return self._thread.submit(lambda: list(write_all(self._batcher.add(item.sample, item.take()), self._settings)))

    def finish(self) -> Future[list[Written | Reject]]:
        return self._thread.submit(lambda: list(write_all(self._batcher.flush(), self._settings)))

    def close(self) -> None:
        self._thread.shutdown(cancel_futures=True)
