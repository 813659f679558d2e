"""Frame streams: the decoded frames of a video or image one at a time, and what is collected from them.

    for record in iter_frames(Path("baby_reading.mp4"), Sampling.fps(2)):
        record.rows, record.times_s, record.image.shape
    # range(0, 1), array([0.]), (360, 640, 3)
    # range(1, 2), array([0.5]), (360, 640, 3) …

A row is one sampled time. Where the sampling is faster than the video, several consecutive rows show the same frame: it
is decoded once and comes as one record. Memory holds the packets of a small file and one full-size frame, whatever the
length of the video.

A damaged file may contain other frames than its packets promise, which shows only while decoding. The stream then
yields a `Restart`: every record before it is void, and the rows come again from the first, perhaps in another number.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from preprocess.errors import MediaError
from preprocess.media.local import LocalMedia
from preprocess.samples import Frames, Pixels
from preprocess.storage import Stamp

MAX_PIXELS = 1 << 27
"""Frames and images larger than this (134 megapixels, 400 MB as RGB) are rejected."""

REORDER_FRAMES = 64
"""How many frames `rows_in_order` holds back at most."""

Transform = Callable[[NDArray[np.uint8]], Pixels]
"""uint8 `(H, W, 3)` to uint8 or float32 `(h, w, 3)`, the same h, w and dtype for every frame of a video."""


Allocate = Callable[[tuple[int, ...], DTypeLike], Pixels]
"""As `numpy.empty`."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameRows:
    """One decoded frame and the consecutive rows that show it.

    Attributes:
        rows: The rows, counted from 0.
        times_s: float64 `(len(rows),)`: their times in seconds from the first frame of the file.
        image: uint8 `(H, W, 3)` RGB, upright; may be a view with any strides.
    """

    rows: range
    times_s: NDArray[np.float64]
    image: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Restart:
    """Decoding starts over: discard every record that came before."""


class FrameStream(ABC):
    """The sampled frames of one file; iterating decodes it, and closes it when the loop ends or is left.

    Rows come in increasing order, except those of damaged videos (see `rows_in_order`). In the end each row came
    exactly once since the last `Restart`.

    Attributes:
        path: The file.
        times_s: float64 `(T,)`: the time of each row in seconds from the first frame of the file. Set before the first
            record, and again before the first record after a `Restart`.
        duration_s: Duration of the whole file in seconds, from the first frame to the end of the last; 0 for an image.
            Set together with `times_s`.
        truncated: The file is incomplete or damaged; the rows hold what could be decoded. Set when iteration ends.
    """

    path: LocalMedia
    times_s: NDArray[np.float64]
    duration_s: float
    truncated: bool

    @property
    def n_rows(self) -> int:
        """Number of rows, T."""
        return len(self.times_s)

    @abstractmethod
    def __iter__(self) -> Iterator[FrameRows | Restart]:
        """Decodes the file from the beginning.

        Raises:
            MediaError: As `preprocess.media.iter_frames`.
        """


@dataclass(frozen=True, slots=True)
class DecodedMedia:
    """Decoded frames of one video or image.

    Attributes:
        frames: The sampled rows.
        duration_s: Duration of the whole file in seconds, from the first frame to the end of the last; 0 for an image.
        truncated: The file is incomplete or damaged; `frames` holds what could be decoded.
        stamp: Of the file or URL, from before it was read; None where it is unknown.
    """

    frames: Frames
    duration_s: float
    truncated: bool
    stamp: Stamp | None = None


def as_decoded(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The transform that changes nothing."""
    return image


def collect(stream: FrameStream, transforms: Sequence[Transform], allocate: Allocate = np.empty) -> tuple[Frames, ...]:
    """Decodes a stream once and collects one array per transform.

    Args:
        stream: The frames.
        transforms: Each is applied once to every decoded frame.
        allocate: Makes what the rows of a view go into, given its shape and type; an array by default, so that memory
            holds what the transforms return for all rows.

    Returns:
        One `Frames` per transform, in their order, with the same times.

    Raises:
        MediaError: As iterating the stream; `unreadable` if the frame size of the video changes.
    """
    views: dict[int, Pixels] = {}
    for record in stream:
        if isinstance(record, Restart):
            views.clear()
            continue
        for number, transform in enumerate(transforms):
            image = transform(record.image)
            if number not in views:
                views[number] = allocate((stream.n_rows, *image.shape), image.dtype)
            elif image.shape != views[number].shape[1:]:
                raise MediaError(
                    "unreadable",
                    f"{stream.path.name} changes its frame size: {views[number].shape[1:]} to {image.shape}",
                )
            views[number][record.rows.start : record.rows.stop] = image
    return tuple(Frames(views[number], stream.times_s) for number in range(len(transforms)))


def collect_media(
    stream: FrameStream, transforms: Sequence[Transform], allocate: Allocate = np.empty
) -> tuple[DecodedMedia, ...]:
    """As `collect`, with the duration of the file and whether it is truncated."""
    views = collect(stream, transforms, allocate)
    return tuple(DecodedMedia(frames, stream.duration_s, stream.truncated) for frames in views)


def rows_in_order(
    records: Iterable[FrameRows | Restart], path: LocalMedia, limit: int = REORDER_FRAMES
) -> Iterator[FrameRows | Restart]:
    """Puts records into the order of their rows, holding back at most `limit` of them.

    Args:
        records: Of a `FrameStream`, perhaps with smaller images.
        path: The file, for the message.
        limit: How many records may come before one that belongs ahead of them.

    Raises:
        MediaError: `unreadable` if a record comes later than that.
    """
    held: list[tuple[int, FrameRows]] = []
    following = 0
    for record in records:
        if isinstance(record, Restart):
            held.clear()
            following = 0
            yield record
            continue
        if record.rows.start < following:
            raise MediaError("unreadable", f"{path.name} has frames more than {limit} out of order")
        heapq.heappush(held, (record.rows.start, record))
        # Beyond the limit a row is taken to be missing: if it is, the stream restarts at its end.
        while held and (held[0][0] == following or len(held) > limit):
            following = held[0][1].rows.stop
            yield heapq.heappop(held)[1]
    while held:
        yield heapq.heappop(held)[1]


def check_size(width: int, height: int, path: LocalMedia) -> None:
    """Raises `too_large` for more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise MediaError("too_large", f"{path.name} has frames of {width} x {height}, above {MAX_PIXELS} pixels")
