"""Tar archives as WebDataset has them: flat names, regular files. Written as USTAR; USTAR, PAX and GNU are read.

A shard, by name, offset of the data and size:

    vid_00000.npy    512     10368
    vid_00000.txt  11776        25
    vid_00000.json 12800       402

Why not `tarfile`: it writes what the machine and the clock say unless told otherwise, and it spends most of the time of
reading on attributes that a shard does not use. `benchmarks/pack.py` prints both side by side.
"""

from __future__ import annotations

import mmap
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.tar_sources import from_buffer, from_stream
from preprocess.storage import is_remote, is_utf8, mapped

BLOCK = 512
RECORD = 20 * BLOCK
END = bytes(2 * BLOCK)
"""Two zero blocks, which end an archive. `end_of_archive` adds the padding that tar programs write behind them."""

_MAX_SIZE = 8**11 - 1
_REGULAR = frozenset(b"0\0007")
_REMEDY = "Pack or download it again."

_OCTAL = re.compile(rb" *([0-7]*)[ \0]*")
_PAX_LENGTH = re.compile(rb"([1-9][0-9]{0,6}) ")
_PAX_SIZE = re.compile(r"[0-9]{1,15}")
_MAX_CLAIM = 1 << 50  # bytes of one member; a header that claims more is damaged
_MAX_RECORDS = 1 << 20  # bytes of PAX records or of a GNU long name

Source = Path | bytes | bytearray | memoryview | mmap.mmap | BinaryIO
_BUFFERS = (bytes, bytearray, memoryview, mmap.mmap)


class Member(NamedTuple):
    """One regular file of a tar: its name, its bytes, where they begin in the archive, and how many there are."""

    name: str
    data: memoryview
    offset: int
    size: int


class TarTriple(NamedTuple):
    """One sample of a shard, as it is in the tar; `preprocess.formats.members` says how each member is read.

    Attributes:
        more: The members that `MEMBERS` has besides these three, in its order.
    """

    id: str
    npy: memoryview
    txt: memoryview
    json: memoryview
    more: tuple[memoryview, ...] = ()

    @property
    def parts(self) -> tuple[memoryview, ...]:
        """The data of all members, in the order of `MEMBERS`."""
        return (self.npy, self.txt, self.json, *self.more)

    @classmethod
    def of(cls, id_: str, parts: Sequence[memoryview]) -> TarTriple:
        """From the data of all members, in the order of `MEMBERS`."""
        npy, txt, json, *more = parts
        return cls(id_, npy, txt, json, tuple(more))


# --- writing ----------------------------------------------------------------------------------------------------------

# name, mode, uid, gid, size, mtime, checksum, type, link name, magic and version; owner names, devices, prefix empty
_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s247x")
_OWNER = (b"0000644", b"0000000", b"0000000")
_KIND = (b"0", b"", b"ustar\x0000")
_MTIME = b"00000000000"
_SUM_OF_CONSTANTS = sum(_HEADER.pack(b"", *_OWNER, b"", _MTIME, b" " * 8, *_KIND))


def member(name: str, data: bytes | memoryview) -> bytes:
    """Header, data and padding of one file; what `tarfile` writes with USTAR, mtime 0, uid and gid 0, mode 0644.

    Args:
        name: 1 to 100 bytes, no `/`.
        data: Below 8 GiB.

    Raises:
        ValueError: USTAR cannot hold the name or the size.
    """
    encoded = name.encode()
    if not 0 < len(encoded) <= 100 or b"/" in encoded or b"\0" in encoded:
        raise ValueError(f"a member's name must be 1 to 100 bytes without '/', got {name!r}")
    if len(data) > _MAX_SIZE:
        raise ValueError(f"a member must be smaller than 8 GiB, {name!r} has {len(data):,} bytes")
    size = b"%011o" % len(data)
    checksum = b"%06o\0 " % (_SUM_OF_CONSTANTS + sum(encoded) + sum(size))
    header = _HEADER.pack(encoded, *_OWNER, size, _MTIME, checksum, *_KIND)
    return b"".join((header, data, bytes(-len(data) % BLOCK)))


def end_of_archive(size: int) -> bytes:
    """What follows `size` bytes of members: two zero blocks, then zeros up to a record of 10,240 bytes.

    So end GNU tar, `tarfile` and with it the `webdataset` writer; every reader takes it.
    """
    return END + bytes(-(size + len(END)) % RECORD)


# --- reading ----------------------------------------------------------------------------------------------------------


def iter_members(
    source: Source,
    *,
    name: object = None,
    strict: bool = False,
    folders: bool = False,
    wanted: Callable[[str, int], bool] = lambda name, size: True,
) -> Iterator[Member]:
    """Reads the regular files of a tar, in order.

    A local path is mapped into memory, and a buffer is sliced: the data are views, nothing is copied. A remote path
    and a stream (any object with `read(n)`, a pipe for instance) are read once, forwards.

    Args:
        source: Path, buffer or binary stream.
        name: What to call the tar in errors; a path's own name by default.
        strict: Whether anything that a shard must not have (links, devices, folders, names with `/`) is an error.
            Otherwise it is passed over. A leading `./` is taken off first. No name is ever used as a path here.
        folders: Whether files in folders are members too, named by their whole path.
        wanted: Of which members, by name and size, the bytes are read; the data of others is empty, and a stream that
            can seek does not read them.

    Raises:
        DamagedFileError: Cut off, a wrong checksum, a number that is not plain digits, a name that is not UTF-8, or
            something that is not a tar: names the tar and the offset.
    """
    if isinstance(source, Path):
        name = source if name is None else name
        source = mapped(source)
    elif is_remote(source):
        with source.open("rb") as stream:  # type: ignore[union-attr]
            named = source if name is None else name
            yield from iter_members(stream, name=named, strict=strict, folders=folders, wanted=wanted)
        return
    label = "tar" if name is None else name
    take, skip = from_buffer(source) if isinstance(source, _BUFFERS) else from_stream(source)
    offset = 0
    long_name: str | None = None
    long_size: int | None = None
    while True:
        header = bytes(take(BLOCK))
        if len(header) < BLOCK:
            raise _damaged(label, offset, "cut off: the end of the archive is missing")
        if header[0] == 0 and not any(header):
            return
        size = _checked_size(header, label, offset)
        kind = header[156]
        if long_size is not None and kind in _REGULAR:
            size = long_size
        if kind in b"xgLK" and size > _MAX_RECORDS:
            raise _damaged(label, offset, f"{size:,} bytes of extended header, at most {_MAX_RECORDS:,} are read")
        padding = -size % BLOCK
        data: bytes | memoryview
        if kind in _REGULAR and not wanted(long_name or _name(header), size):
            data, whole = b"", skip(size + padding)
        else:
            data = take(size)
            whole = len(data) == size and len(take(padding)) == padding
        if not whole:
            raise _damaged(label, offset, f"cut off inside {_name(header)!r}, which has {size:,} bytes")
        data_offset = offset + BLOCK
        offset = data_offset + size + padding
        if kind in _REGULAR:
            file = long_name or _name(header)
            long_name = long_size = None
            if not file.isascii() and not is_utf8(file):
                raise _damaged(label, data_offset - BLOCK, f"the name {file!r} is not UTF-8")
            if "/" in file:
                file = file.removeprefix("./")
            if file and (folders or "/" not in file):
                yield Member(file, memoryview(data), data_offset, size)
                continue
            problem = f"{file!r} is in a folder"
        elif kind == 0x78:  # x: PAX records of the next member
            records = _pax_records(bytes(data), label, data_offset)
            long_name = records.get("path", long_name)
            if "size" in records:
                if not _PAX_SIZE.fullmatch(records["size"]):
                    claim = records["size"][:40]
                    raise _damaged(label, data_offset, f"the PAX size {claim!r} is not a number of bytes")
                long_size = int(records["size"])
            continue
        elif kind == 0x4C:  # L: GNU, the name of the next member
            long_name = bytes(data).partition(b"\0")[0].decode("utf-8", "surrogateescape")
            continue
        elif kind in b"gK":  # g: PAX records of the archive, e.g. a git commit; K: the target of a link, skipped below
            continue
        else:
            problem = f"{long_name or _name(header)!r} is not a regular file (type {chr(kind)!r})"
            long_name = long_size = None
        if strict:
            raise _damaged(label, data_offset - BLOCK, problem)


def iter_triples(source: Source, *, name: object = None, strict: bool = False) -> Iterator[TarTriple]:
    """Groups the members of a shard to samples: the part before the first dot is the id.

    Reads shards of clip-video-encode as well: ids of any width, `.cap` in place of `.txt`, parts in any order.
    Other extensions are passed over, unless `strict`.

    Raises:
        DamagedFileError: As `iter_members`; or a part is missing or there twice.
    """
    label = name or (source if isinstance(source, Path) or is_remote(source) else "tar")
    known = {alias: one.extension for one in members.MEMBERS for alias in (one.extension, *one.aliases)}
    current = ""
    parts: dict[str, memoryview] = {}
    for file, data, offset, _ in iter_members(source, name=name, strict=strict):
        id_, _, suffix = file.partition(".")
        extension = known.get(suffix)
        if extension is None:
            if strict:
                raise _damaged(label, offset - BLOCK, f"{file!r} is not .{', .'.join(members.extensions())}")
            continue
        if id_ != current:
            if parts:
                yield _triple(current, parts, label, offset - BLOCK)
            current, parts = id_, {}
        if extension in parts:
            raise _damaged(label, offset - BLOCK, f"{file!r} is there twice")
        parts[extension] = data
    if parts:
        yield _triple(current, parts, label, None)


def _triple(id_: str, parts: dict[str, memoryview], label: object, offset: int | None) -> TarTriple:
    try:
        return TarTriple.of(id_, [parts[extension] for extension in members.extensions()])
    except KeyError as error:
        raise _damaged(label, offset, f"{id_!r} has no .{error.args[0]}") from None


def first_member(head: bytes, name: object) -> tuple[str, int, int]:
    """Name, first byte and size of the first file of a tar, from its first 512 bytes or more.

    Raises:
        DamagedFileError: That is not the header of a regular file.
    """
    if len(head) < BLOCK:
        raise _damaged(name, 0, "cut off: the end of the archive is missing")
    size = _checked_size(head[:BLOCK], name, 0)
    if head[156] not in _REGULAR:
        raise _damaged(name, 0, f"{_name(head[:BLOCK])!r} is not a regular file")
    return _name(head[:BLOCK]), BLOCK, size


def _checked_size(header: bytes, label: object, offset: int) -> int:
    """The size field of a header whose checksum is right."""
    checksum, size = header[148:156], header[124:136]
    expected = _octal(checksum)
    # The top bit marks base 256 (GNU), for 8 GiB and more; 0xff would be a negative number.
    n = int.from_bytes(size[1:], "big") if size[0] == 0x80 else _octal(size)
    if expected is None or n is None:
        raise _damaged(label, offset, "no tar header here")
    if _sum(header[:256]) + _sum(header[256:]) - _sum(checksum) + _sum(b" " * 8) != expected:
        raise _damaged(label, offset, "the header's checksum is wrong")
    if n > _MAX_CLAIM:
        raise _damaged(label, offset, f"claims a file of {n:,} bytes")
    return n


def _sum(data: bytes) -> int:
    """Sum of at most 256 bytes, in a sixth of the time of `sum`.

    Adler-32 from 0 has the sum modulo 65,521 in its lower half, and 256 bytes do not reach that.
    """
    return zlib.adler32(data, 0) & 0xFFFF


def _octal(field: bytes) -> int | None:
    """A number of octal digits, padded with spaces or zero bytes; no sign, no other character."""
    match = _OCTAL.fullmatch(field)
    return int(match[1] or b"0", 8) if match else None


def _name(header: bytes) -> str:
    name = header[:100].partition(b"\0")[0]
    if header[345] and header[257:263] == b"ustar\0":  # a long path, split in two
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    return name.decode("utf-8", "surrogateescape")


def _pax_records(data: bytes, label: object, offset: int) -> dict[str, str]:
    """`<length> <key>=<value>\\n`, repeated."""
    records = {}
    position = 0
    while position < len(data):
        match = _PAX_LENGTH.match(data, position)
        end = position + int(match[1]) if match else 0
        key, equals, value = data[match.end() : end - 1].partition(b"=") if match else (b"", b"", b"")
        if not equals or end > len(data) or data[end - 1 : end] != b"\n":
            raise _damaged(label, offset, "PAX records that cannot be read")
        records[key.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        position = end
    if any(key.startswith("GNU.sparse") for key in records):
        raise _damaged(label, offset, "a sparse file, which no shard has")
    return records


def _damaged(label: object, offset: int | None, problem: str) -> DamagedFileError:
    return DamagedFileError(label, "at the end" if offset is None else f"byte {offset:,}", problem, _REMEDY)
