"""Videos to frames: only the packets that lead to a wanted frame are decoded, and the result is that of decoding all.

    >>> clip = read_video(Path("baby_reading.mp4"), Sampling.fps(1))
    >>> clip.frames.pixels.shape, clip.frames.timestamps_s
    ((10, 360, 640, 3), array([0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]))

The way: read where every frame is (`packets`), choose (`sampling`), mark the spans from a keyframe through each wanted
frame, decode these, and tell the decoder to skip pictures in between that no other picture refers to. Should anything
come out otherwise than the packets say (damage, missing times, a broadcast cut in the middle), the file is decoded from
its first packet to its last, past errors, and what comes out counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.packet import Packet
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocess.errors import MediaError, Reason
from preprocess.media.container import open_video
from preprocess.media.packets import PacketIndex, mark, packets_again, read_index
from preprocess.media.sampling import Sampling, wanted
from preprocess.samples import Frames

Transform = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]
"""uint8 `(H, W, 3)` to uint8 `(h, w, 3)`, the same h and w for every frame."""

MAX_PIXELS = 1 << 27
"""Frames and images larger than this (134 megapixels, 400 MB as RGB) are refused."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What was read of one video or image.

    Attributes:
        frames: The rows asked for.
        duration_s: Of the whole file in seconds, from the first frame to the end of the last; 0 for an image.
        truncated: The file breaks off or is damaged; `frames` holds what could be decoded.
    """

    frames: Frames
    duration_s: float
    truncated: bool


@dataclass(frozen=True, slots=True)
class _Plan:
    """Rows to fill: which frame (by display time in units of the time base) is asked for at which second."""

    row_pts: NDArray[np.int64]
    times_s: NDArray[np.float64]
    duration_s: float


class _SurpriseError(Exception):
    """The decoder did not give what the index promised: decode everything instead."""


def read_video(
    path: Path,
    sampling: Sampling,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    transform: Transform | None = None,
) -> Clip:
    """Decodes the frames that `sampling` asks for: the very pixels that decoding the whole file would give.

    One FFmpeg thread. Memory holds the packets of a small file, one full-size frame, and the transformed rows.

    Args:
        path: A local video file.
        sampling: Which frames.
        start_s: Beginning of the window in seconds from the first frame, None for the beginning.
        end_s: Its end, exclusive; None for the end of the file.
        transform: Applied to each frame as it is decoded (`resize_crop`); None keeps frames as they are.

    Returns:
        The clip; its times count from the first frame of the file, also with a window.

    Raises:
        MediaError: `missing`, `unreadable`, `no_video_stream`, `truncated` (not one frame), `empty_window`,
            `too_large`.
    """
    path = Path(path)
    with open_video(path) as (container, stream):
        decoder = stream.codec_context
        check_size(decoder.width, decoder.height, path)
        index = read_index(container, stream, path)
        display_pts = index.display_pts()
        plan = _plan(display_pts, index, sampling, start_s, end_s, path)
        if index.ordered and index.clean_start:
            with suppress(_SurpriseError):
                decoded = _decode_spans(decoder, packets_again(path, index), index, plan)
                return Clip(_fill(plan, decoded, transform, path), plan.duration_s, index.truncated)

    for _ in range(2):
        with open_video(path) as (_, stream):
            everything = _Everything()
            decoded = everything.decode(stream.codec_context, packets_again(path, index), index)
            try:
                frames = _fill(plan, decoded, transform, path)
            except _SurpriseError:
                frames = None
        seen_pts = np.unique(np.array(everything.seen_pts, np.int64))
        if frames is not None and np.array_equal(seen_pts, display_pts):
            return Clip(frames, plan.duration_s, index.truncated or everything.damaged)
        # Other frames came out than the packets promised: choose again among those that did.
        display_pts = seen_pts
        plan = _plan(display_pts, index, sampling, start_s, end_s, path)
    raise MediaError("unreadable", f"{path.name} decodes to other frames each time: is it still being written?")


def _plan(
    display_pts: NDArray[np.int64],
    index: PacketIndex,
    sampling: Sampling,
    start_s: float | None,
    end_s: float | None,
    path: Path,
) -> _Plan:
    """Chooses frames among those with the given display times (sorted, in units of the time base)."""
    if len(display_pts) == 0:
        reason: Reason = "truncated" if index.truncated else "unreadable"
        raise MediaError(reason, f"{path.name} is damaged: of {len(index.pts)} packets none gives a frame")
    base = index.time_base
    # One division at the end: the float nearest to the true time, so that frame 10 of a 30 fps clip is at 10 / 30.
    pts_s = (display_pts - display_pts[0]) * base.numerator / base.denominator
    duration_s = float(pts_s[-1]) + float(index.last_duration * base)
    chosen, times_s = wanted(sampling, pts_s, duration_s, start_s, end_s)
    if len(chosen) == 0:
        raise MediaError(
            "empty_window", f"{path.name} lasts {duration_s:.3f} s: nothing between {start_s or 0} s and {end_s} s"
        )
    return _Plan(display_pts[chosen], times_s, duration_s)


def _decode_spans(
    decoder: VideoCodecContext, source: Iterable[Packet[VideoStream]], index: PacketIndex, plan: _Plan
) -> Iterator[tuple[int, VideoFrame]]:
    """Decodes the spans that lead to the plan's frames; yields display time and frame, all that come out.

    Raises:
        _SurpriseError: An error of the decoder, or a frame that is not what the index says.
    """
    needed, is_target = mark(index, plan.row_pts)
    decoder.thread_count = 1
    decoder.skip_frame = "DEFAULT"  # some decoders (dav1d) look at it only when they are opened
    decoder.open()
    end = int(np.flatnonzero(needed)[-1])
    fed, span_pts, last_pts = -1, 0, None

    def checked(frames: list[VideoFrame]) -> Iterator[tuple[int, VideoFrame]]:
        nonlocal last_pts
        for frame in frames:
            if frame.pts is None or (last_pts is not None and frame.pts <= last_pts):
                raise _SurpriseError("frames out of order")
            last_pts = frame.pts
            if frame.pts < span_pts:
                continue  # refers to the GOP before, which this span leaves out
            if frame.is_corrupt or (frame.pts == span_pts and frame.pict_type in (PictureType.P, PictureType.B)):
                raise _SurpriseError("a keyframe from which decoding cannot start")
            yield frame.pts, frame

    for position, packet in enumerate(source):
        if position > end:
            break
        if not needed[position]:
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
            raise _SurpriseError(str(error)) from error
        yield from checked(frames)
    yield from checked(_drain(decoder))


class _Everything:
    """Decodes a file from first to last, past errors, and notes what came out.

    Attributes:
        seen_pts: Display times of the frames that came out, in units of the time base.
        damaged: A packet at or after the first keyframe could not be decoded.
    """

    def __init__(self) -> None:
        self.seen_pts: list[int] = []
        self.damaged = False

    def decode(
        self, decoder: VideoCodecContext, source: Iterable[Packet[VideoStream]], index: PacketIndex
    ) -> Iterator[tuple[int, VideoFrame]]:
        """Yields display time and frame of all that come out."""
        decoder.thread_count = 1
        first_pts = index.pts[np.argmax(index.keys)]
        for packet, pts in zip(source, index.pts, strict=False):
            if index.ordered:
                packet.pts = int(pts)
            try:
                frames = decoder.decode(packet)
            except av.FFmpegError:
                self.damaged |= bool(pts >= first_pts)
                continue
            yield from self._timed(frames, index)
        yield from self._timed(_drain(decoder), index)

    def _timed(self, frames: list[VideoFrame], index: PacketIndex) -> Iterator[tuple[int, VideoFrame]]:
        for frame in frames:
            pts = frame.pts if index.ordered else int(index.pts[min(len(self.seen_pts), len(index.pts) - 1)])
            if pts is not None:
                self.seen_pts.append(pts)
                yield pts, frame


def _drain(decoder: VideoCodecContext) -> list[VideoFrame]:
    """The frames that the decoder still holds back for their order."""
    try:
        return decoder.decode(None)
    except av.FFmpegError:
        return []


def _fill(plan: _Plan, decoded: Iterable[tuple[int, VideoFrame]], transform: Transform | None, path: Path) -> Frames:
    """Takes the plan's frames out of the decoded ones, as RGB, transformed, each in its rows.

    Raises:
        _SurpriseError: Some did not come.
    """
    firsts = np.flatnonzero(np.diff(plan.row_pts, prepend=plan.row_pts[0] - 1))
    ends = np.append(firsts[1:], len(plan.row_pts))
    rows = {int(plan.row_pts[first]): (first, end) for first, end in zip(firsts, ends, strict=True)}
    to_rgb = VideoReformatter()
    pixels: NDArray[np.uint8] | None = None
    for pts, frame in decoded:
        if pts not in rows:
            continue
        first, end = rows.pop(pts)
        image = upright_rgb(frame, to_rgb, path)
        if transform is not None:
            image = transform(image)
        if pixels is None:
            pixels = np.empty((len(plan.row_pts), *image.shape), np.uint8)
        elif image.shape != pixels.shape[1:]:
            raise MediaError("unreadable", f"{path.name} changes its frame size: {pixels.shape[1:]} to {image.shape}")
        pixels[first:end] = image
    if rows or pixels is None:
        raise _SurpriseError(f"{len(rows)} frames did not come out")
    return Frames(pixels, plan.times_s)


def upright_rgb(frame: VideoFrame, to_rgb: VideoReformatter, path: Path) -> NDArray[np.uint8]:
    """uint8 `(H, W, 3)`, turned and mirrored as the file's display matrix says.

    The matrix maps column and row of the decoded picture to those of the picture shown:
    `column' = a * column + c * row`, `row' = b * column + d * row`. Only quarter turns and mirrors are followed.
    """
    check_size(frame.width, frame.height, path)
    try:
        image = cast(NDArray[np.uint8], to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray())
    except (av.FFmpegError, ValueError) as error:
        raise MediaError("unreadable", f"{path.name}: pixel format {frame.format.name} has no way to RGB") from error
    side_data: Any = frame.side_data  # PyAV's stub knows of motion vectors only
    try:
        matrix = side_data["DISPLAYMATRIX"]
    except KeyError:
        return image
    a, b, _, c, d, *_ = np.frombuffer(bytes(matrix), np.int32).tolist()
    if abs(b) + abs(c) > abs(a) + abs(d):
        image, a, d = image.transpose(1, 0, 2), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def check_size(width: int, height: int, path: Path) -> None:
    """Raises `too_large` for more than `MAX_PIXELS`."""
    if width * height > MAX_PIXELS:
        raise MediaError("too_large", f"{path.name} has frames of {width} x {height}, above {MAX_PIXELS} pixels")
