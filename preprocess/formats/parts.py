"""A part: the triples that one task made of one split, as one USTAR with an index in front.

    processed/train/part_5b0c9c1f0d1c7a3e.tar
        .index           {"members": ["npy", "txt", "json"], "samples": [["video7010", [10368, 25, 402], "9b1d…"], …]}
        video7010.npy    float16 (10, 512)
        video7010.txt    a man is playing a guitar
        video7010.json   {"key": "video7010", …}
        …

The index gives the sizes, and with them the places, and a checksum of each triple. So which triples there are comes
from one small read, and a triple from one more. The name follows from the keys: the same task gives the same file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.tar import BLOCK, end_of_archive, first_member, member
from preprocess.samples import KEY_PATTERN, canonical_json
from preprocess.storage import read_ranges, write_atomic
from preprocess.validation import shown

PART_NAME = re.compile(r"part_[0-9a-f]{16}\.tar")
_INDEX = ".index"  # no key begins with a dot
_HEAD = 8 << 10  # bytes read at first: the index of about 100 triples
_AT_ONCE = 512  # parts whose beginnings are held in memory together
_REMEDY = "Delete it and run encode again."

Content = tuple[str, tuple[bytes, ...]]
"""Key and bytes of each member, in the order of a shard."""


@dataclass(frozen=True, slots=True)
class PartEntry:
    """The position of one triple in a part.

    Attributes:
        part: File name of the part.
        offset: First byte of the header of its first member.
        sizes: Bytes of each member, in the order of a shard.
        sha256: First 16 hex digits of the checksum over the members.
    """

    part: str
    offset: int
    sizes: tuple[int, ...]
    sha256: str

    @property
    def end(self) -> int:
        """The byte behind its last member."""
        return self.offset + sum(BLOCK + size + -size % BLOCK for size in self.sizes)


def write_part(folder: Path, triples: Sequence[Content]) -> str:
    """Publishes a part in the folder of a split. Returns its name."""
    rows = [[key, list(map(len, contents)), _checksum(contents)] for key, contents in triples]
    index = canonical_json({"members": list(members.extensions()), "samples": rows}).encode()
    blocks = [member(_INDEX, index)]
    for key, contents in triples:
        blocks += [member(f"{key}.{e}", data) for e, data in zip(members.extensions(), contents, strict=True)]
    body = b"".join(blocks)
    keys = "\n".join(key for key, _ in triples)
    name = f"part_{hashlib.sha256(keys.encode()).hexdigest()[:16]}.tar"
    write_atomic(folder / name, body + end_of_archive(len(body)), durable=False)
    return name


def parts_among(names: Iterable[str]) -> list[str]:
    """The parts, given the names of all files of a split, in that order."""
    return [name for name in names if PART_NAME.fullmatch(name)]


def read_indexes(folder: Path, names: Sequence[str]) -> dict[str, PartEntry]:
    """Where the triples of some parts lie, by key. One that is in two parts, which are then the same, is given once.

    Raises:
        DamagedFileError: A part is not valid.
    """
    found: dict[str, PartEntry] = {}
    for entries in indexes(folder, names):
        found.update(entries)
    return found


def indexes(folder: Path, names: Sequence[str]) -> Iterator[Iterable[tuple[str, PartEntry]]]:
    """Key and place of each triple of each part; the parts are read in the order given, many at a time."""
    for first in range(0, len(names), _AT_ONCE):
        paths = [folder / name for name in names[first : first + _AT_ONCE]]
        heads = read_ranges([(path, 0, _HEAD) for path in paths])
        yield from map(_index, paths, heads)


def _index(path: Path, head: bytes) -> Iterable[tuple[str, PartEntry]]:
    title, start, size = first_member(head, path)
    if title != _INDEX:
        raise DamagedFileError(path, "", f"begins with {title!r}, not with an index", _REMEDY)
    if start + size > len(head):
        (head,) = read_ranges([(path, 0, start + size)])
    return _entries(path, head[start : start + size], start + size + -size % BLOCK)


def _entries(path: Path, index: bytes, offset: int) -> Iterable[tuple[str, PartEntry]]:
    try:
        value = json.loads(index)
        recorded, rows = value["members"], value["samples"]
        for key, sizes, checksum in rows:
            if (
                not KEY_PATTERN.fullmatch(key)
                or len(sizes) != len(recorded)
                or any(type(size) is not int or size < 0 for size in sizes)
            ):
                raise ValueError(f"{key!r} has sizes {sizes!r}")
            entry = PartEntry(path.name, offset, tuple(sizes), str(checksum))
            yield key, entry
            offset = entry.end
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedFileError(path, "index", str(error), _REMEDY) from None
    if recorded != list(members.extensions()):
        problem = f"has the members {shown(recorded)}, expected {', '.join(members.extensions())}"
        raise DamagedFileError(path, "index", problem, _REMEDY)


def read_entries(folder: Path, entries: Sequence[tuple[str, PartEntry]]) -> list[tuple[bytes, ...]]:
    """The bytes of each member of some triples, given by key and place, in few requests.

    Raises:
        DamagedFileError: A triple's bytes are not those that were written.
    """
    blocks = read_ranges([(folder / entry.part, entry.offset, entry.end) for _, entry in entries])
    found = []
    for (key, entry), block in zip(entries, blocks, strict=True):
        contents = []
        start = 0
        for size in entry.sizes:
            contents.append(block[start + BLOCK : start + BLOCK + size])
            start += BLOCK + size + -size % BLOCK
        if _checksum(contents) != entry.sha256:
            raise DamagedFileError(folder / entry.part, key, "is not what was written", _REMEDY)
        found.append(tuple(contents))
    return found


def _checksum(contents: Iterable[bytes]) -> str:
    digest = hashlib.sha256()
    for data in contents:
        digest.update(data)
    return digest.hexdigest()[:16]
