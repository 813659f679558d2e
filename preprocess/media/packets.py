"""The packet index of a video: when each frame is shown and where decoding may start, before any frame is decoded.

The first packets, in decode order, of a video with B-frames, 25 frames per second, time base 1/12800 s:

    pts      0  2048  1024   512  1536  4096 …     display time of the frame in the packet
    keys     1     0     0     0     0     0 …     decoding may start here

Reading the index of a ten-second video takes about a millisecond; it tells the few packets that have to be decoded. An
index takes some 35 bytes per packet: 3 MB for an hour at 25 frames per second.
"""

from __future__ import annotations

import dataclasses
from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from preprocess.errors import MediaError
from preprocess.media.av1_references import References
from preprocess.media.container import open_video
from preprocess.media.h264_order import DisplayOrder
from preprocess.media.local import LocalMedia, local_size, open_local

HELD_BYTES = 32 << 20
"""Packets stay in memory between indexing and decoding up to this size together; larger files are read twice."""

_PACKET_OVERHEAD = 1 << 10
"""Bytes that a packet occupies besides its data (730 measured): with low resolutions more than the data itself."""

_NO_TIME = -(1 << 63)
"""Stands for a time that the packet lacks, as `AV_NOPTS_VALUE` does in FFmpeg."""

_VOP_START = b"\x00\x00\x01\xb6"


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """The packets of one video stream that contain a frame, in decode order.

    Attributes:
        pts: int64 `(P,)`: display time of the frame in each packet, in `time_base` units. Where `ordered` is False, the
            display times of the frames in the order in which they come out.
        keys: bool `(P,)`: packets at which decoding may start.
        shown: bool `(P,)`: False for frames removed by an edit list: needed to decode others, never shown.
        time_base: Seconds per unit of `pts`.
        last_duration: How long the last frame is shown, in `time_base` units.
        ordered: False if packets do not tell when their frame is shown (interlaced H.264 in AVI).
        truncated: The file ends before what its header promises, or a packet is cut.
        held: The packets themselves, or None if they exceed `HELD_BYTES`.
        unreferred: bool `(P,)`: packets to whose frames no other refers, where the decoder does not find out itself.
        from_headers: The display times follow from headers of pictures (H.264 in AVI), and are given up if the decoder
            contradicts them.
    """

    pts: NDArray[np.int64]
    keys: NDArray[np.bool_]
    shown: NDArray[np.bool_]
    time_base: Fraction
    last_duration: int
    ordered: bool
    truncated: bool
    held: tuple[Packet[VideoStream], ...] | None
    unreferred: NDArray[np.bool_]
    from_headers: bool = False

    def by_count(self) -> PacketIndex:
        """Without display times from headers: frames are shown in the order in which they come out."""
        if not self.from_headers:
            return self
        return dataclasses.replace(self, pts=np.sort(self.pts), ordered=False, from_headers=False)

    def display_pts(self) -> NDArray[np.int64]:
        """int64 `(N,)`: the distinct display times of the frames that are shown, sorted."""
        return np.unique(self.pts[self.shown])

    @property
    def clean_start(self) -> bool:
        """True if the first packet is a keyframe and every other frame is shown after it.

        Otherwise (a recording cut out of a broadcast) only the decoder knows which frames come out.
        """
        return bool(self.keys[0]) and bool(np.all(self.pts >= self.pts[0]))


def packets_again(path: LocalMedia, index: PacketIndex) -> Iterator[Packet[VideoStream]]:
    """Yields the packets of an index again, in its order: those held in memory, or read from the file."""
    if index.held is not None:
        yield from index.held
        return
    # An error of the demuxer ends the stream, as it did when the index was read.
    with open_video(path) as (container, stream), suppress(av.FFmpegError, OSError):
        yield from _packets(container, stream)


def _packets(container: InputContainer, stream: VideoStream) -> Iterator[Packet[VideoStream]]:
    """Yields the packets that contain a frame, one frame each.

    Packets without data are skipped: AVI has them for repeated frames, and a decoder takes them for the end. DivX and
    Xvid pack a B-picture behind a P-picture and leave an empty picture in its place: the filter moves it back there.
    """
    decoder = stream.codec_context
    packed = decoder.name == "mpeg4" and decoder.reorder_depth > 0
    unpack = BitStreamFilterContext("mpeg4_unpack_bframes", stream) if packed else None
    # After the last packet, PyAV raises IndexError for streams that a damaged MPEG-TS seemed to add on the way.
    with suppress(IndexError):
        for packet in container.demux(stream):
            if packet.size:
                yield from (packet,) if unpack is None else unpack.filter(packet)


def read_index(container: InputContainer, stream: VideoStream, path: LocalMedia) -> PacketIndex:
    """Reads all packets of the stream once.

    Raises:
        MediaError: `truncated` or `unreadable` if the stream has no packets.
    """
    avi = container.format.name == "avi"
    reorders = stream.codec_context.reorder_depth > 0
    # AVI has no display times. For MPEG-4 (Xvid, DivX) the picture types give them, for H.264 the slice headers: what
    # FFmpeg guesses is in decode order, so it stands only where decode order is display order.
    codec = stream.codec_context
    by_type = avi and reorders and codec.name == "mpeg4"
    order = DisplayOrder(codec.extradata) if avi and reorders and codec.name == "h264" else None
    references = References(codec.extradata) if codec.name == "libdav1d" else None
    pts, dts, durations = array("q"), array("q"), array("q")
    keys, discarded, late, unreferred = bytearray(), bytearray(), bytearray(), bytearray()
    held: list[Packet[VideoStream]] | None = []
    size, cut = 0, False
    try:
        for packet in _packets(container, stream):
            pts.append(_NO_TIME if packet.pts is None else packet.pts)
            dts.append(_NO_TIME if packet.dts is None else packet.dts)
            durations.append(packet.duration or 0)
            keys.append(packet.is_keyframe)
            discarded.append(packet.is_discard)
            cut |= packet.is_corrupt
            if by_type:
                late.append(not _is_b_picture(packet))
            if order is not None:
                order.add(bytes(packet))
            if references is not None:
                unreferred.append(references.add(bytes(packet)))
            size += packet.size + _PACKET_OVERHEAD
            if held is not None and size <= HELD_BYTES:
                held.append(packet)
            else:
                held = None
    except (av.FFmpegError, OSError):
        cut = True
    cut = cut or _is_cut(path, container, stream, len(pts))
    if not pts:
        if cut:
            raise MediaError("truncated", f"{path.name} ends before its first frame")
        raise MediaError("unreadable", f"{path.name} has a video stream without any data")

    shown_at, decoded_at, lasts = (np.array(column, np.int64) for column in (pts, dts, durations))
    dated, is_late = bool((decoded_at != _NO_TIME).all()), np.array(late, np.bool_)
    if by_type and dated:
        ordered, times = True, _display_times(decoded_at, is_late, max(durations[-1], 1))
    elif (shown_at != _NO_TIME).all() and not (avi and reorders):
        ordered, times = True, shown_at
    else:
        ordered, times = dated and not reorders, np.sort(decoded_at) if dated else _times_by_count(len(pts), stream)
    places = order.places() if order is not None and dated else None
    if places is not None:
        ordered, times = True, times[places]
    shown = ~np.array(discarded, np.bool_)
    return PacketIndex(
        pts=times,
        keys=np.array(keys, np.bool_),
        shown=shown,
        time_base=stream.time_base or Fraction(1, 1000),
        last_duration=_last_duration(times, lasts, shown, stream),
        ordered=ordered,
        truncated=cut,
        held=tuple(held) if held is not None else None,
        unreferred=np.array(unreferred, np.bool_) if unreferred else np.zeros(len(pts), np.bool_),
        from_headers=places is not None,
    )


def mark(index: PacketIndex, targets: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Marks the packets that have to be decoded for some frames, and those that contain these frames.

    A span runs from a keyframe through the packet of a wanted frame. The keyframe is the last one before it that is
    not shown after it: pictures that follow a keyframe in the file but are shown before it (open GOPs) refer to the
    previous GOP.

    Args:
        index: The packets.
        targets: int64: display times in `time_base` units, each one of `index.pts`.

    Returns:
        bool `(P,)` packets to decode, bool `(P,)` those that contain a wanted frame.
    """
    is_target = np.isin(index.pts, targets)
    starts = np.flatnonzero(index.keys)
    if not index.keys[0]:
        starts = np.insert(starts, 0, 0)
    positions = np.flatnonzero(is_target)
    which = np.searchsorted(starts, positions, side="right") - 1
    while (shown_later := (which > 0) & (index.pts[starts[which]] > index.pts[positions])).any():
        which[shown_later] -= 1
    # Spans overlap: count how many begin and end at each packet, and decode those that any span covers.
    edges = np.bincount(starts[which], minlength=len(index.pts) + 1)
    edges -= np.bincount(positions + 1, minlength=len(index.pts) + 1)
    return np.cumsum(edges[:-1]) > 0, is_target


def _is_b_picture(packet: Packet[VideoStream]) -> bool:
    """True for an MPEG-4 B-picture, by its `vop_coding_type`. Source: ISO/IEC 14496-2, 6.2.5."""
    data = bytes(packet)
    at = data.find(_VOP_START)
    return 0 <= at < len(data) - 4 and data[at + 4] >> 6 == 2


def _display_times(dts: NDArray[np.int64], late: NDArray[np.bool_], step: int) -> NDArray[np.int64]:
    """Display times from decode times: a `late` picture is shown when the next late picture is decoded.

    Args:
        dts: int64 `(P,)`.
        late: bool `(P,)`: True for all but B-pictures.
        step: How long after the last decode time the last late picture is shown.

    Examples:
        I P B B P in decode order is shown as I B B P P:

        >>> _display_times(np.array([0, 1, 2, 3, 4]), np.array([True, True, False, False, True]), 1)
        array([1, 4, 2, 3, 5])
    """
    times = dts.copy()
    times[late] = np.append(dts[late][1:], dts[-1] + step)
    return times


def _times_by_count(count: int, stream: VideoStream) -> NDArray[np.int64]:
    """Display times int64 `(count,)` by the mean frame rate, for packets without times."""
    rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    step = 1 / (rate * (stream.time_base or Fraction(1, 1000)))
    return np.array([round(i * step) for i in range(count)], np.int64)


def _last_duration(
    pts: NDArray[np.int64], durations: NDArray[np.int64], shown: NDArray[np.bool_], stream: VideoStream
) -> int:
    """Duration of the frame shown last: its packet's, else the distance to the one before, else one frame's."""
    if not shown.any():
        return 0
    last = int(np.argmax(np.where(shown, pts, np.iinfo(np.int64).min)))
    if durations[last] > 0:
        return int(durations[last])
    display = np.unique(pts[shown])
    if len(display) > 1:
        return int(display[-1] - display[-2])
    return round(1 / (stream.average_rate * stream.time_base)) if stream.average_rate and stream.time_base else 0


def _is_cut(path: LocalMedia, container: InputContainer, stream: VideoStream, found: int) -> bool:
    """True if the file ends between two packets, before what its header promises; FFmpeg reports no error then.

    MP4 lists all packets in its header. A Matroska or WebM file gives the length of its Segment.
    Source: RFC 8794 (EBML), sections 4 and 5.
    """
    if container.format.name.startswith("mov"):
        return len(stream.index_entries) > found
    if not container.format.name.startswith("matroska"):
        return False
    with open_local(path) as file:
        head = file.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at >= len(head) or head[at] == 0:
        return False
    width = 9 - head[at].bit_length()
    unknown = (1 << 7 * width) - 1
    size = int.from_bytes(head[at : at + width], "big") & unknown
    return size != unknown and at + width + size > local_size(path)
