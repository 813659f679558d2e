"""The order of H.264 pictures from headers that no encoder at hand writes; from those of encoders: test_video.py."""

from __future__ import annotations

import pytest

from preprocess.media.h264_order import DisplayOrder

START = b"\0\0\0\1"


def golomb(value: int) -> str:
    """`ue(v)`."""
    code = f"{value + 1:b}"
    return "0" * (len(code) - 1) + code


def unit(header: int, *fields: str) -> bytes:
    """A NAL unit of these bits, with the bytes that keep start codes out of it."""
    bits = "".join(fields) + "1"
    data = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    for last in b"\0\1\2\3":
        data = data.replace(bytes((0, 0, last)), bytes((0, 0, 3, last)))
    return START + bytes([header]) + data


def parameters(*, kind: int = 0, lists: str = "", order_bits: int = 4) -> bytes:
    """A sequence and a picture parameter set: 4 bits of `frame_num`; `kind` is `pic_order_cnt_type`."""
    high = [golomb(1), golomb(0), golomb(0), "0", f"1{lists}"] if lists else []
    profile = f"{100 if lists else 66:08b}" + "0" * 16
    counts = [golomb(kind), *([golomb(order_bits - 4)] if kind == 0 else [])]
    sequence = unit(0x67, profile, golomb(0), *high, golomb(0), *counts, golomb(1), "0", golomb(5), golomb(3), "1")
    return sequence + unit(0x68, golomb(0), golomb(0))


def picture(count: int, *, referred: bool = True, idr: bool = False) -> bytes:
    """The first slice of a picture, with the four lower bits of its count."""
    header = (0x60 if referred else 0) | (5 if idr else 1)
    start = [golomb(0), golomb(7 if idr else 5), golomb(0), "0000", *([golomb(0)] if idr else [])]
    return unit(header, *start, f"{count % 16:04b}", "1" * 40)


def places(*packets: bytes, extradata: bytes | None = None) -> list[int] | None:
    order = DisplayOrder(extradata)
    for packet in packets:
        order.add(packet)
    found = order.places()
    return None if found is None else found.tolist()


def test_counts_wrap_around_those_that_others_refer_to() -> None:
    """Four bits hold 16 counts, two for each frame; each P picture is eight after the last, B pictures lie between."""
    packets, counts = [parameters() + picture(0, idr=True)], [0]
    for number in range(1, 12):
        counts += [8 * number, 8 * number - 4]
        packets += [picture(8 * number), picture(8 * number - 4, referred=False)]
    assert places(*packets) == [sorted(counts).index(count) for count in counts]


def test_each_idr_picture_begins_anew() -> None:
    gop = [picture(0, idr=True), picture(6), picture(2, referred=False), picture(4, referred=False)]
    assert places(parameters() + gop[0], *gop[1:], *gop, gop[0]) == [0, 3, 1, 2, 4, 7, 5, 6, 8]


def test_parameter_sets_may_be_stored_in_the_container() -> None:
    packets = [picture(0, idr=True), picture(4), picture(2, referred=False)]
    assert places(*packets, extradata=parameters()) == [0, 2, 1]
    assert places(*packets) is None, "without them nothing is known"


def test_scaling_lists_are_skipped() -> None:
    """Eight: one that begins with 0 and ends there (se(v) -8), five and one that are absent, one of 64 differences."""
    lists = f"1{golomb(16)}" + "0" * 5 + "1" + golomb(0) * 64 + "0"
    packets = [picture(0, idr=True), picture(4), picture(2, referred=False)]
    assert places(parameters(lists=lists) + packets[0], *packets[1:]) == [0, 2, 1]


def test_pictures_in_the_order_of_their_packets() -> None:
    packets = [unit(0x65, golomb(0), golomb(7), golomb(0), "0000", golomb(0), "1" * 20)]
    packets += [unit(0x61, golomb(0), golomb(5), golomb(0), "0000", "1" * 20)] * 3
    assert places(parameters(kind=2) + packets[0], *packets[1:]) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "packets",
    [
        [parameters(kind=1) + picture(0, idr=True)],
        [parameters() + picture(0, idr=True), picture(2), picture(2)],
        [parameters() + picture(0, idr=True), b""],
        [parameters() + picture(0, idr=True), START + b"\x61"],
        [parameters() + picture(0, idr=True), START],
        [parameters() + picture(0, idr=True), unit(0x61, "0" * 80)],
    ],
    ids=["counts of type 1", "one count twice", "no picture", "no header", "no unit", "an endless code"],
)
def test_headers_that_tell_no_order(packets: list[bytes]) -> None:
    assert places(*packets) is None


def test_counts_that_begin_anew_without_a_word_tell_no_order() -> None:
    """As after `memory_management_control_operation` 5, which is not read: the pictures behind it seem to be early."""
    packets = [parameters(order_bits=4) + picture(0, idr=True), *(picture(2 * i) for i in range(1, 40))]
    assert places(*packets) == list(range(40))
    back = [picture(77 - 6 * i) for i in range(10)]  # odd, so none twice; each less than half of 16 before the last
    assert places(*packets, *back) is None
