"""Reads one tar once and finds every problem inside it.

The result of scanning `ds_00000.tar`, besides the findings:

    ShardScan(file="ds_00000.tar", bytes=120842240, sha256="5d1c…", samples=10000, frames=99120,
              numbers=array([0, 1, 2, …]), keys=("video7010", …))
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builders.findings import Finding, Findings
from builders.json_types import MetaTypes
from builders.sample_check import SampleSchema, check_sample
from preprocess.errors import DamagedFileError
from preprocess.formats.members import extensions, named
from preprocess.formats.tar import BLOCK, end_of_archive, iter_members, member
from preprocess.storage import mapped

MEMBER = re.compile(rf"(vid_([0-9]{{5,18}}))\.({'|'.join(extensions())})")
_HASH_EVERY = 8 << 20  # bytes: each page is hashed while it is still cached

# Start, end and name of the fields of a tar header that must equal what our writer writes.
_FIELDS = (
    (0, 100, "name"),
    (100, 108, "mode"),
    (108, 116, "uid"),
    (116, 124, "gid"),
    (124, 136, "size"),
    (136, 148, "mtime"),
    (156, 157, "type"),
    (257, 265, "magic"),
    (265, 297, "owner's name"),
    (297, 329, "group's name"),
    (329, 512, "device or prefix"),
)


@dataclass(frozen=True, slots=True)
class ShardScan:
    """What one tar holds.

    Attributes:
        numbers: int64 (samples,), the numbers in the ids, in the order of the tar.
        widths: Numbers of digits of the ids.
        keys: `key` of each `.json`, with the number of the caption if there is a sample per caption; None where it
            cannot be read.
        types: Of the keys of the `.json`, over all samples.
        findings: The problems inside.
    """

    file: str
    bytes: int
    sha256: str
    samples: int
    frames: int
    numbers: NDArray[np.int64]
    widths: frozenset[int]
    keys: tuple[str | None, ...]
    types: MetaTypes
    findings: tuple[Finding, ...]


def scan_shard(path: Path, expected: SampleSchema) -> ShardScan:
    """Reads a tar once: headers, names, order, vectors, texts, metadata, SHA-256."""
    found = Findings(path.name)
    digest = hashlib.sha256()
    view = mapped(path)
    hashed = end = frames = 0
    numbers: list[int] = []
    widths: set[int] = set()
    keys: list[str | None] = []
    types: MetaTypes = {}
    group: list[tuple[str, memoryview]] = []
    current = ""
    try:
        for name, data, offset, _ in iter_members(view, name=path.name):
            if offset - BLOCK != end:
                _check_gap(view[end : offset - BLOCK], found)
            end = offset + len(data) + -len(data) % BLOCK
            if end - hashed > _HASH_EVERY:
                digest.update(view[hashed:end])
                hashed = end
            match = MEMBER.fullmatch(name)
            if not match:
                found.add("member_name", f"{name!r} is not vid_<number>{named()}")
                continue
            header = member(name, data)[:BLOCK]
            if view[offset - BLOCK : offset] != header:
                _check_header(bytes(view[offset - BLOCK : offset]), header, name, found)
            if match[1] != current:
                frames += check_sample(current, group, expected, keys, types, found)
                current, group = match[1], []
                numbers.append(int(match[2]))
                widths.add(len(match[2]))
            group.append((match[3], data))
        if bytes(view[end : end + BLOCK]).strip(b"\0"):
            _check_gap(view[end:], found)
        elif view[end:] != end_of_archive(end):
            found.add(
                "tar_end", f"{len(view) - end:,} bytes after the last member, {len(end_of_archive(end)):,} expected"
            )
    except DamagedFileError as error:
        found.add("tar_damaged", error.cause.removeprefix(f"{path.name}: "))
    frames += check_sample(current, group, expected, keys, types, found)
    digest.update(view[hashed:])
    return ShardScan(
        file=path.name,
        bytes=len(view),
        sha256=digest.hexdigest(),
        samples=len(numbers),
        frames=frames,
        numbers=np.array(numbers, np.int64),
        widths=frozenset(widths),
        keys=tuple(keys),
        types=types,
        findings=tuple(found),
    )


def _check_gap(between: memoryview, found: Findings) -> None:
    """Reports what is in the place where the next regular file should begin."""
    kind = chr(between[156]) if len(between) >= BLOCK else "?"
    name = bytes(between[:100]).partition(b"\0")[0].decode("utf-8", "replace")
    if kind in "xgLK":
        found.add("tar_format", f"has PAX or GNU records (type {kind!r}), which USTAR does not", name)
    elif kind in "0\0" and "/" in name:
        found.add("member_name", f"{name!r} is in a folder")
    else:
        found.add("tar_kind", f"{name!r} is not a regular file (type {kind!r})")


def _check_header(header: bytes, expected: bytes, name: str, found: Findings) -> None:
    for start, end, field in _FIELDS:
        if header[start:end] == expected[start:end]:
            continue
        code = {"magic": "tar_format", "name": "member_name"}.get(field, "tar_header")
        got, should = (value[start:end].rstrip(b"\0") for value in (header, expected))
        found.add(code, f"{field} is {got!r}, should be {should!r}", name)
