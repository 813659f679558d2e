"""Packets to frames: either the spans that lead to the wanted frames, or the whole file past errors.

Both yield `(pts, VideoFrame)`: the display time in units of the time base, and the frame as the decoder returns it. One
FFmpeg thread decodes, so that concealed errors look the same in both.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocess.errors import MediaError
from preprocess.media.frames import check_size
from preprocess.media.local import LocalMedia
from preprocess.media.packets import PacketIndex, mark


class IndexMismatchError(Exception):
    """The decoder did not return the frames that the packet index promises: the whole file must be decoded."""


def decode_spans(
    decoder: VideoCodecContext,
    source: Iterable[Packet[VideoStream]],
    index: PacketIndex,
    targets: NDArray[np.int64],
    path: LocalMedia,
) -> Iterator[tuple[int, VideoFrame]]:
    """Decodes the spans that lead to the target frames, and skips other frames to which no frame refers.

    Args:
        decoder: Of the stream, not yet opened.
        source: The packets of the index, in its order.
        index: Must be `ordered` with a `clean_start`.
        targets: int64: display times of the wanted frames.
        path: The file, for the message.

    Yields:
        Display time and frame of all frames that come out, in increasing order within a span.

    Raises:
        IndexMismatchError: The decoder fails, or returns a frame that contradicts the index.
        MediaError: `unreadable`, if the decoder does not open.
    """
    needed, is_target = mark(index, targets)
    decoder.skip_frame = "DEFAULT"  # some decoders (dav1d) read it only when they are opened
    _open(decoder, path)
    end = int(np.flatnonzero(needed)[-1])
    fed, span_pts, last_pts = -1, 0, None

    def checked(frames: list[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        nonlocal last_pts
        for frame in frames:
            if frame.pts is None or (last_pts is not None and frame.pts <= last_pts):
                raise IndexMismatchError("frames out of order")
            last_pts = frame.pts
            if _stands_in(frame, decoder):
                raise IndexMismatchError("a reference is missing")
            if frame.pts < span_pts:
                continue  # refers to the previous GOP, which this span does not include
            if frame.is_corrupt or (frame.pts == span_pts and frame.pict_type in (PictureType.P, PictureType.B)):
                raise IndexMismatchError("a keyframe from which decoding cannot start")
            yield frame.pts, frame

    for position, packet in enumerate(source):
        if position > end:
            break
        if not needed[position]:
            continue
        if index.unreferred[position] and not is_target[position] and fed == position - 1:
            fed = position  # as good as decoded
            continue
        pts = int(index.pts[position])
        if position != fed + 1 or fed < 0:
            if fed >= 0:
                yield from checked(_drain(decoder))
                decoder.flush_buffers()
            span_pts, last_pts = pts, None
        fed = position
        decoder.skip_frame = "DEFAULT" if is_target[position] else "NONREF"
        packet.pts = pts
        try:
            frames = decoder.decode(packet)
        except av.FFmpegError as error:
            if pts < span_pts:
                continue
            raise IndexMismatchError(str(error)) from error
        yield from checked(frames)
    yield from checked(_drain(decoder))


class WholeDecode:
    """Decodes a file from the first packet to the last, past errors, and records what came out.

    Attributes:
        damaged: A packet at or after the first keyframe could not be decoded.
    """

    def __init__(self) -> None:
        self._seen = array("q")
        self.damaged = False

    def seen_pts(self) -> NDArray[np.int64]:
        """int64 `(N,)`: the distinct display times of the frames that came out so far, sorted."""
        return np.unique(np.array(self._seen, np.int64))

    def decode(
        self, decoder: VideoCodecContext, source: Iterable[Packet[VideoStream]], index: PacketIndex, path: LocalMedia
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yields display time and frame of all frames that come out; arguments are those of `decode_spans`."""
        _open(decoder, path)
        first_pts = index.pts[np.argmax(index.keys)]
        for packet, pts in zip(source, index.pts, strict=False):
            if index.ordered:
                packet.pts = int(pts)
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError:
                self.damaged |= bool(pts >= first_pts)
                continue
            yield from self._timed(frames, decoder, index)
        yield from self._timed(_drain(decoder), decoder, index)

    def _timed(
        self, frames: list[VideoFrame], decoder: VideoCodecContext, index: PacketIndex
    ) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            if _stands_in(frame, decoder):
                continue
            pts = frame.pts if index.ordered else int(index.pts[min(len(self._seen), len(index.pts) - 1)])
            if pts is not None:
                self._seen.append(pts)
                yield pts, frame


def _open(decoder: VideoCodecContext, path: LocalMedia) -> None:
    """Opens a decoder with one thread."""
    decoder.thread_count = 1
    try:
        decoder.open()
    except av.FFmpegError as error:  # a damaged header names another codec or impossible parameters
        raise MediaError("unreadable", f"{path.name} has parameters that {decoder.name} does not decode") from error


def _stands_in(frame: VideoFrame, decoder: VideoCodecContext) -> bool:
    """Whether a frame is not a picture of the file but a gray one in place of a missing reference.

    FFmpeg's decoder of MPEG-4 returns it before the pictures of a file that begins within a group of pictures, with the
    display time of the first picture that others refer to.
    """
    return decoder.name == "mpeg4" and frame.pict_type == PictureType.NONE


def _drain(decoder: VideoCodecContext) -> list[VideoFrame]:
    """The frames that the decoder still holds back to reorder them."""
    try:
        return decoder.decode(None)
    except av.FFmpegError:
        return []


def upright_rgb(frame: VideoFrame, to_rgb: VideoReformatter, path: LocalMedia) -> NDArray[np.uint8]:
    """Converts a frame to uint8 `(H, W, 3)`, rotated and mirrored by the display matrix of the file.

    The matrix maps column and row of the decoded picture to those of the displayed picture:
    `column' = a * column + c * row`, `row' = b * column + d * row`. Only quarter turns and mirrors are applied.

    Raises:
        MediaError: `too_large`, or `unreadable` for a pixel format that cannot be converted.
    """
    check_size(frame.width, frame.height, path)
    try:
        image = cast(NDArray[np.uint8], to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray())
    except (av.FFmpegError, ValueError) as error:
        raise MediaError(
            "unreadable", f"{path.name}: pixel format {frame.format.name} cannot be converted to RGB"
        ) from error
    side_data: Any = frame.side_data  # PyAV's stub declares motion vectors only
    try:
        matrix = side_data["DISPLAYMATRIX"]
    except KeyError:
        return image
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
