"""The order in which H.264 pictures are shown, from their headers: for AVI, whose packets do not tell it.

    order = DisplayOrder(extradata)
    for packet in packets: order.add(packet)
    order.places()          # array([0, 4, 2, 1, 3, …]): the second packet is the fifth picture that is shown

Source: ITU-T H.264, 7.3.1 (NAL units), 7.3.2.1.1 and 7.3.2.2 (parameter sets), 7.3.3 (slice header), 8.2.1 (picture
order count).
"""

from __future__ import annotations

import re
from array import array
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from preprocess.media.bits import Bits

_START = re.compile(rb"\x00\x00\x01")
_HEADER = 128  # bytes in which a slice header says what is needed, and a parameter set without scaling lists ends
_SLICE, _IDR_SLICE, _SEQUENCE, _PICTURE = 1, 5, 7, 8
_WITH_CHROMA = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244})
_444 = 3
_MOST_HELD = 16
"""Pictures that a decoder may hold back to reorder them."""


@dataclass(frozen=True, slots=True)
class _Sequence:
    """What a sequence parameter set says of slice headers.

    Attributes:
        number_bits: Width of `frame_num`.
        order_bits: Width of `pic_order_cnt_lsb`; 0 where pictures are shown in the order of the packets.
        planes: Whether each colour plane has slices of its own.
        frames_only: Whether no picture is a field.
    """

    number_bits: int
    order_bits: int
    planes: bool
    frames_only: bool


class DisplayOrder:
    """Collects the picture order counts of packets, each of one frame.

    Args:
        extradata: Parameter sets that the container stores, in the format of the packets (Annex B).
    """

    def __init__(self, extradata: bytes | None) -> None:
        self._sequences: dict[int, _Sequence] = {}
        self._pictures: dict[int, int] = {}  # number of a picture parameter set to that of its sequence
        self._counts = array("q")
        self._starts = array("q")  # of pictures that begin a sequence anew, how many were before
        self._previous = (0, 0)  # high and low part of the count of the last picture that others refer to
        self._known = True
        if extradata:
            self._units(extradata)

    def add(self, packet: bytes) -> None:
        """Reads the header of the next packet."""
        if self._known:
            before = len(self._counts)
            self._units(packet)
            self._known &= len(self._counts) == before + 1

    def places(self) -> NDArray[np.int64] | None:
        """int64 `(P,)`: the place of each packet's picture among those shown; None if the headers do not tell it."""
        if not self._known:
            return None
        counts = np.array(self._counts, np.int64)
        sequence = np.zeros(len(counts), np.int64)
        sequence[np.array(self._starts, np.int64)] = 1
        sequence = np.cumsum(sequence)
        order = np.lexsort((counts, sequence))
        places = np.empty_like(order)
        places[order] = np.arange(len(order))
        same = (np.diff(counts[order]) == 0) & (np.diff(sequence[order]) == 0)
        # A picture may begin the counts anew without a word in what is read here; those after it then seem to be early.
        anew = np.abs(places - np.arange(len(places))) > _MOST_HELD
        return None if same.any() or anew.any() else places

    def _units(self, data: bytes) -> None:
        """Reads parameter sets, and the first slice."""
        for start in _START.finditer(data):
            begin = start.end()
            kind = data[begin] & 31 if begin < len(data) else 0
            if kind not in (_SLICE, _IDR_SLICE, _SEQUENCE, _PICTURE):
                continue
            try:
                if kind == _SEQUENCE:
                    self._read_sequence(Bits(_payload(data[begin + 1 : begin + 1 + 8 * _HEADER])))
                elif kind == _PICTURE:
                    bits = Bits(_payload(data[begin + 1 : begin + 1 + _HEADER]))
                    number = bits.exp_golomb()
                    self._pictures[number] = bits.exp_golomb()
                else:
                    self._read_slice(data[begin] >> 5 & 3, kind, Bits(_payload(data[begin + 1 : begin + 1 + _HEADER])))
                    return
            except (ValueError, KeyError):
                self._known = False
                return

    def _read_sequence(self, bits: Bits) -> None:
        profile = bits.number(24) >> 16
        number = bits.exp_golomb()
        planes = False
        if profile in _WITH_CHROMA:
            chroma = bits.exp_golomb()
            planes = chroma == _444 and bits.flag()
            bits.exp_golomb()  # bit depths
            bits.exp_golomb()
            bits.flag()
            if bits.flag():
                _skip_scaling_lists(bits, 12 if chroma == _444 else 8)
        number_bits = bits.exp_golomb() + 4
        kind = bits.exp_golomb()
        if kind not in (0, 2):
            raise ValueError("pictures are ordered by offsets")  # type 1, which encoders hardly use
        order_bits = bits.exp_golomb() + 4 if kind == 0 else 0
        bits.exp_golomb()  # number of reference frames
        bits.flag()
        bits.exp_golomb()  # width, height
        bits.exp_golomb()
        self._sequences[number] = _Sequence(number_bits, order_bits, planes, bits.flag())

    def _read_slice(self, referred: int, kind: int, bits: Bits) -> None:
        bits.exp_golomb()  # first macroblock, type
        bits.exp_golomb()
        sequence = self._sequences[self._pictures[bits.exp_golomb()]]
        if sequence.planes:
            bits.number(2)
        bits.number(sequence.number_bits)
        if not sequence.frames_only and bits.flag():
            raise ValueError("a field, of which two packets make a frame")
        if kind == _IDR_SLICE:
            bits.exp_golomb()
            self._starts.append(len(self._counts))
            self._previous = (0, 0)
        if not sequence.order_bits:
            self._counts.append(len(self._counts))
            return
        low, size = bits.number(sequence.order_bits), 1 << sequence.order_bits
        high, previous = self._previous
        if low < previous and previous - low >= size // 2:
            high += size
        elif low > previous and low - previous > size // 2:
            high -= size
        if referred:
            self._previous = (high, low)
        self._counts.append(high + low)


def _payload(unit: bytes) -> bytes:
    """Without the bytes that keep start codes out of the data."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")


def _skip_scaling_lists(bits: Bits, count: int) -> None:
    for number in range(count):
        if not bits.flag():
            continue
        last = following = 8
        for _ in range(16 if number < 6 else 64):
            if following:
                following = (last + bits.signed_exp_golomb()) % 256
            last = following or last
