"""The reference for damaged videos: a plain loop over PyAV that decodes every frame in order, going on after errors."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Feed = list[tuple[Any, bool]]
"""Packets in the order in which they are decoded, and whether their frame is wanted; (None, …) drains the decoder."""


@dataclass(frozen=True)
class FullDecode:
    """Every frame that decoding a file gives.

    Attributes:
        times_s: Seconds from the first frame, increasing.
        pixels: RGB of each frame, as coded: not turned by the file's display matrix.
        sure: Where pixels do not depend on what memory held before. Decoders of VP8, HEVC and MJPEG leave parts of a
            damaged picture unwritten: there, pixels are those of any earlier frame.
    """

    times_s: NDArray[np.float64]
    pixels: list[Pixels]
    sure: list[NDArray[np.bool_]]

    def shows(self, row: Pixels, time_s: float) -> bool:
        """Whether a row is the frame on screen at a time: the one with the largest display time not after it."""
        at = int((self.times_s <= time_s + 1e-9).sum()) - 1
        return bool(self.pixels) and self._is(row, max(at, 0))

    def has_in_order(self, rows: list[Pixels]) -> bool:
        """Whether rows are frames of this decode, in its order."""
        at = 0
        for row in rows:
            while at < len(self.pixels) and not self._is(row, at):
                at += 1
        return at < len(self.pixels)

    def _is(self, row: Pixels, at: int) -> bool:
        """Whether they are the same, perhaps turned or mirrored: damage can change the display matrix."""
        frame, sure = self.pixels[at], self.sure[at]
        for turns, mirrored in itertools.product(range(4), (False, True)):
            turned, known = (np.rot90(each[:, ::-1] if mirrored else each, turns) for each in (frame, sure))
            if row.shape == turned.shape and np.all((row == turned).all(axis=-1) | ~known):
                return True
        return False


def full_decode(path: Path) -> FullDecode:
    """Decodes a video from its first packet to its last."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        packets = _packets(container, stream)
        dated = [packet.dts for packet in packets if packet.dts is not None]
        # A bare stream has no times at all, AVI none of display: frames come out in order, in AVI each when the next
        # packet is decoded.
        in_order = not dated or (container.format.name == "avi" and stream.codec_context.name in ("h264", "mpeg4"))
        first, sure = _decoded(path, [*((packet, True) for packet in packets), (None, True)], in_order)
        times = (sorted(dated)[: len(first)] or sorted(first)) if in_order else sorted(first)
        seconds = np.array(times, np.float64) * float(stream.time_base if dated else 1 / (stream.average_rate or 25))
        order = sorted(first)
        return FullDecode(seconds - seconds[:1], [first[key] for key in order], [sure[key] for key in order])


def decode_wanted(path: Path, times_s: Sequence[float]) -> FullDecode:
    """Decodes what leads to the frames that are on screen at some times, and leaves out what no other refers to.

    What a decoder conceals in a damaged frame can show in a later one that does not refer to it. So these frames may be
    better than those of a full decode.
    """
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        packets = [packet for packet in _packets(container, stream) if packet.pts is not None]
        pts, base = sorted(packet.pts for packet in packets) or [0], float(stream.time_base)
        wanted = {pts[max(bisect_right(pts, pts[0] + time_s / base + 1e-6) - 1, 0)] for time_s in times_s}
        needed: set[int] = set()
        for number, packet in enumerate(packets):
            if packet.pts in wanted:
                keys = [k for k in range(number + 1) if packets[k].is_keyframe and packets[k].pts <= packet.pts]
                needed.update(range(keys[-1] if keys else 0, number + 1))
        feed: Feed = []
        for number in sorted(needed):
            if feed and number - 1 not in needed:
                feed.append((None, False))
            feed.append((packets[number], packets[number].pts in wanted))
        frames, sure = _decoded(path, [*feed, (None, True)], in_order=False)
        order = sorted(frames)
        times = np.array([(key - pts[0]) * base for key in order], np.float64)
        return FullDecode(times, [frames[key] for key in order], [sure[key] for key in order])


def _packets(container: Any, stream: Any) -> list[Any]:
    """All packets up to the first that cannot be read; DivX and Xvid have two pictures in some, which are separated."""
    unpack = None
    if stream.codec_context.name == "mpeg4" and container.format.name == "avi":
        unpack = BitStreamFilterContext("mpeg4_unpack_bframes", stream)
    found: list[Any] = []
    with suppress(av.FFmpegError, IndexError):  # PyAV raises IndexError for streams that damage seems to add
        for packet in container.demux(stream):
            if packet.size:
                found += [packet] if unpack is None else unpack.filter(packet)
    return found


def _decoded(path: Path, feed: Feed, in_order: bool) -> tuple[dict[int, Pixels], dict[int, NDArray[np.bool_]]]:
    """Frames by display time, or by number, and where they are sure: the same whatever memory is used again."""
    reused, fresh = _frames(path, feed, in_order, hold=0), _frames(path, feed, in_order, hold=None)
    others = _frames(path, feed + feed, in_order, hold=1)  # full of the frames of the first pass
    if in_order:
        others = {key - len(reused): pixels for key, pixels in others.items()}
    return reused, {key: _agreed(pixels, [fresh.get(key), others.get(key)]) for key, pixels in reused.items()}


def _frames(path: Path, feed: Feed, in_order: bool, hold: int | None) -> dict[int, Pixels]:
    """The frames; where two have the same time, the first one since the last drain. `hold` stay alive, None for all."""
    held: deque[Any] = deque(maxlen=hold)
    shown: dict[int, Pixels] = {}
    seen: set[int] = set()
    with av.open(str(path), metadata_errors="replace") as container:
        decoder: Any = container.streams.best("video").codec_context
        decoder.thread_count = 1  # slice threads conceal damage each in its own way
        count: Iterator[int] = itertools.count()
        for packet, is_wanted in feed:
            decoder.skip_frame = "DEFAULT" if is_wanted else "NONREF"
            frames: list[Any] = []
            with suppress(av.FFmpegError):
                frames = decoder.decode(packet)
            held.extend(frames)
            for frame in frames:
                if decoder.name == "mpeg4" and not int(frame.pict_type):  # gray, in place of a missing reference
                    continue
                key = next(count) if in_order else frame.pts
                if key is not None and key not in seen:
                    seen.add(key)
                    shown[key] = frame.to_ndarray(format="rgb24")
            if packet is None:
                decoder.flush_buffers()
                if is_wanted:
                    seen.clear()
    return shown


def _agreed(pixels: Pixels, others: Sequence[Pixels | None]) -> NDArray[np.bool_]:
    """bool `(H, W)`: the blocks of 16 x 16, in which pictures are decoded, that are the same in all."""
    same = np.ones(pixels.shape[:2], np.bool_)
    for other in others:
        if other is not None and other.shape == pixels.shape:
            same &= (pixels == other).all(axis=-1)
    for y, x in itertools.product(range(0, same.shape[0], 16), range(0, same.shape[1], 16)):
        same[y : y + 16, x : x + 16] = same[y : y + 16, x : x + 16].all()
    return same
