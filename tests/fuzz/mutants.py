"""Damages a media file in one of the ways that disks, networks and attackers do; the seed says in which.

    mutate(mp4, seed=7)    # the atom `stsz` claims 2**31 bytes

The same bytes and seed always give the same mutant: a finding is kept as the name of its file and its seed.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import Random
from typing import Literal, NamedTuple


class LengthField(NamedTuple):
    """Where a format says how long something is: beside a marker."""

    marker: re.Pattern[bytes]
    offset: int  # from the start of the marker; from its end where positive or zero
    width: int
    order: Literal["big", "little"]


_ATOMS = (
    rb"ftyp|moov|mvhd|trak|tkhd|edts|elst|mdia|mdhd|hdlr|minf|stbl|stsd|stts|stss|ctts|stsc|stsz|stco|avcC|hvcC|mdat"
)
_CHUNKS = rb"RIFF|LIST|avih|strh|strf|idx1|00dc|JUNK|VP8 |VP8L|VP8X|ALPH|ANIM|ANMF"
# Header, Segment, Info, Tracks, Cluster, Cues
_ELEMENTS = rb"\x1a\x45\xdf\xa3|\x18\x53\x80\x67|\x15\x49\xa9\x66|\x16\x54\xae\x6b|\x1f\x43\xb6\x75|\x1c\x53\xbb\x6b"

LENGTHS = (
    LengthField(re.compile(_ATOMS + rb"|moof|mfhd|traf|tfhd|trun|mvex|trex"), -4, 4, "big"),  # ISO 14496-12
    LengthField(re.compile(_CHUNKS), 0, 4, "little"),  # RIFF: AVI, WebP
    LengthField(re.compile(rb"IHDR|PLTE|IDAT|IEND|tEXt|zTXt|iTXt|iCCP|eXIf|acTL"), -4, 4, "big"),  # PNG
    LengthField(re.compile(rb"\xff[\xc0-\xc4\xda-\xdd\xe0-\xef]"), 0, 2, "big"),  # JPEG
    LengthField(re.compile(_ELEMENTS), 0, 8, "big"),  # EBML: Matroska, WebM
    LengthField(re.compile(rb"\xae|\xe0|\x63\xa2|\xa3|\xa0"), 0, 1, "big"),  # EBML: track, video, frame
    LengthField(re.compile(rb"\x00\x00\x01[\xe0-\xef]"), 0, 2, "big"),  # PES
    LengthField(re.compile(rb"\x47[\x00-\x5f][\x00-\xff][\x20-\x3f]", re.DOTALL), 0, 1, "big"),  # adaptation field
)

_FIELD_WIDTHS = (1, 2, 4, 8)


def mutate(data: bytes, seed: int) -> bytes:
    """One to three kinds of damage, chosen by the seed."""
    random = Random(seed)
    damaged = bytearray(data)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        random.choice(DAMAGES)(damaged, random)
    return bytes(damaged)


def flip_bits(data: bytearray, random: Random) -> None:
    """Flips up to eight bits."""
    for _ in range(random.randint(1, 8)):
        if data:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)


def overwrite(data: bytearray, random: Random) -> None:
    """Replaces a run of bytes by others, zeros or ones."""
    at, size = _run(data, random)
    data[at : at + size] = random.choice((random.randbytes(size), bytes(size), b"\xff" * size))


def cut(data: bytearray, random: Random) -> None:
    """Ends the file early."""
    del data[random.randrange(len(data) + 1) :]


def insert(data: bytearray, random: Random) -> None:
    """Inserts bytes."""
    at, size = _run(data, random)
    data[at:at] = random.choice((random.randbytes(size), bytes(size)))


def remove(data: bytearray, random: Random) -> None:
    """Removes a run of bytes."""
    at, size = _run(data, random)
    del data[at : at + size]


def repeat(data: bytearray, random: Random) -> None:
    """Copies a run of bytes to another place."""
    at, size = _run(data, random)
    to = random.randrange(len(data) + 1)
    data[to:to] = data[at : at + size]


def change_field(data: bytearray, random: Random) -> None:
    """Sets a number in the first or last kilobyte, where headers and indexes are, to an extreme."""
    width = random.choice(_FIELD_WIDTHS)
    area = min(len(data), 1024)
    at = random.randrange(area + 1) + random.choice((0, len(data) - area))
    data[at : at + width] = _extreme(width, random).to_bytes(width, "big")


def change_length(data: bytearray, random: Random) -> None:
    """Sets what a format says of the length of one of its parts to an extreme."""
    found = [(field, places) for field in LENGTHS if (places := list(field.marker.finditer(data)))]
    if not found:
        change_field(data, random)
        return
    field, places = random.choice(found)
    marker = random.choice(places)
    at = max(0, marker.start() + field.offset if field.offset < 0 else marker.end() + field.offset)
    data[at : at + field.width] = _extreme(field.width, random).to_bytes(field.width, field.order)


DAMAGES: tuple[Callable[[bytearray, Random], None], ...] = (
    flip_bits,
    overwrite,
    cut,
    insert,
    remove,
    repeat,
    change_field,
    change_length,
    change_length,
)


def _run(data: bytearray, random: Random) -> tuple[int, int]:
    """Start and length of a run of bytes, most of them short."""
    at = random.randrange(len(data) + 1)
    return at, min(2 ** random.randint(0, 12), len(data) - at)


def _extreme(width: int, random: Random) -> int:
    """A number at which arithmetic on `width` bytes goes wrong."""
    largest = (1 << 8 * width) - 1
    return random.choice((0, 1, 7, largest, largest >> 1, (largest >> 1) + 1, largest - 7, random.randint(0, largest)))
