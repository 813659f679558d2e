"""Which packets of an AV1 stream nothing refers to: dav1d decodes all that it is given, so these are not given to it.

    references = References(extradata)
    references.add(packet)              # True: the packet may be left out if its frame is not wanted

Source: AV1 Bitstream & Decoding Process Specification, 5.3 (OBU header), 5.5 (sequence header), 5.9.2 (frame header).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.media.bits import Bits

_SEQUENCE, _FRAME_HEADER, _FRAME = 1, 3, 6
_KEY, _INTRA_ONLY, _SWITCH = 0, 2, 3
_SELECT = 2  # each frame says itself
_HEADER = 64  # bytes in which a header says what is needed
_CONFIGURATION = 4  # bytes of `av1C` before its OBUs


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence header says of frame headers.

    Attributes:
        id_bits: Width of `current_frame_id`; 0 where frames have none.
        order_bits: Width of `order_hint`.
        screen_tools, integer_mv: 0 or 1 for all frames, or `_SELECT`.
    """

    id_bits: int
    order_bits: int
    screen_tools: int
    integer_mv: int


class References:
    """Reads the headers of packets, each of one frame that is shown.

    Args:
        extradata: Of the container: `av1C`, with the sequence header; None where packets have it.
    """

    def __init__(self, extradata: bytes | None) -> None:
        self._sequence: _Sequence | None = None
        if extradata:
            self.add(extradata[_CONFIGURATION:])

    def add(self, packet: bytes) -> bool:
        """Whether the frames of the next packet are such that no other refers to them; False where it is not known."""
        unreferred = False
        try:
            for kind, header in _units(packet):
                if kind == _SEQUENCE:
                    self._sequence = _read_sequence(Bits(header))
                elif kind in (_FRAME_HEADER, _FRAME):
                    if self._sequence is None or _refreshes(self._sequence, Bits(header)):
                        return False
                    unreferred = True
        except ValueError:
            self._sequence = None
            return False
        return unreferred


def _units(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and beginning of each OBU.

    Raises:
        ValueError: An OBU is cut, has no size, or is of a layer.
    """
    place = 0
    while place < len(data):
        kind, extended, sized = data[place] >> 3 & 15, data[place] & 4, data[place] & 2
        if extended or not sized:
            raise ValueError("an OBU of a layer, or without a size")
        place += 1
        size = 0
        for i in range(8):
            if place >= len(data):
                raise ValueError("an OBU is cut")
            byte = data[place]
            place += 1
            size |= (byte & 127) << 7 * i
            if not byte & 128:
                break
        yield kind, data[place : place + min(size, _HEADER)]
        place += size


def _read_sequence(bits: Bits) -> _Sequence:
    bits.number(4)  # profile, still picture
    if bits.flag():
        raise ValueError("a still picture")
    if bits.flag():  # timing
        bits.number(64)
        if bits.flag():
            bits.exp_golomb()
        if bits.flag():
            raise ValueError("frame headers have times for a decoder model")
    delays = bits.flag()
    if bits.number(5):
        raise ValueError("several operating points")
    bits.number(12)
    if bits.number(5) > 7:
        bits.flag()  # tier
    if delays and bits.flag():
        bits.number(4)
    widths = bits.number(4) + 1, bits.number(4) + 1
    bits.number(sum(widths))
    id_bits = 0
    if bits.flag():
        id_bits = bits.number(4) + 2
        id_bits += bits.number(3) + 1
    bits.number(7)  # block size, filters, compound prediction, warped motion, dual filter
    ordered = bits.flag()
    if ordered:
        bits.number(2)
    screen_tools = _SELECT if bits.flag() else bits.number(1)
    integer_mv = _SELECT if not screen_tools or bits.flag() else bits.number(1)
    return _Sequence(id_bits, bits.number(3) + 1 if ordered else 0, screen_tools, integer_mv)


def _refreshes(sequence: _Sequence, bits: Bits) -> bool:
    """Whether a frame header says that the frame is kept to be referred to."""
    if bits.flag():  # an existing frame is shown
        return True  # which costs nothing; if it is a key frame, it is kept
    kind, shown = bits.number(2), bits.flag()
    if not shown:
        bits.flag()
    if kind == _SWITCH or (kind == _KEY and shown):
        return True
    resilient = bits.flag()
    bits.flag()
    screen_tools = bits.flag() if sequence.screen_tools == _SELECT else sequence.screen_tools
    if screen_tools and sequence.integer_mv == _SELECT:
        bits.flag()
    bits.number(sequence.id_bits)
    bits.flag()  # another frame size
    bits.number(sequence.order_bits)
    if kind not in (_KEY, _INTRA_ONLY) and not resilient:
        bits.number(3)
    return bits.number(8) != 0
