"""The position of each sample in a tar, so that any of them can be read without reading the others.

index.ids[3]       "vid_00003"
index.places[3]    [[31232, 10368], [42112, 25], [43008, 402]]    npy, txt, json: first byte, number of bytes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.tar import BLOCK, TarTriple, iter_members
from preprocess.storage import MappedFiles


class ShardIndex:
    """One tar and the places of its samples; mapped into memory where it is read, in whatever process that is.

    Args:
        path: Of the tar.
        without: Ids of samples to leave out.
        files: Shared by tars that are read together; see `MappedFiles`.

    Attributes:
        ids: Name of each sample, in the order of the tar.
        places: int64 (samples, members, 2), first byte and number of bytes of each member, in the order of
            `preprocess.formats.members.MEMBERS`: `.npy`, `.txt`, `.json`.
    """

    def __init__(self, path: Path, without: frozenset[str] = frozenset(), files: MappedFiles | None = None) -> None:
        self.path = path
        self._files = MappedFiles(1) if files is None else files
        self.ids, self.places = _fast_index(self.view) or _index(self.view, path)
        if not without.isdisjoint(self.ids):
            kept = [i for i, id_ in enumerate(self.ids) if id_ not in without]
            self.ids, self.places = [self.ids[i] for i in kept], self.places[kept]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def view(self) -> memoryview:
        """The bytes of the tar."""
        return self._files.of(self.path)

    def triple(self, i: int) -> TarTriple:
        """Sample `i`, its members as views of the file."""
        view = self.view
        return TarTriple.of(self.ids[i], [view[start : start + size] for start, size in self.places[i].tolist()])


Index = tuple[list[str], NDArray[np.int64]]


def _fast_index(tar: memoryview) -> Index | None:
    """The index of a tar that is laid out as ours are; None of any other, which `_index` reads in ten times the time.

    Only the headers are read, all of them in a few operations of NumPy: opening 100,000 samples takes 0.2 s. Their
    checksums are left to `verify`.
    """
    headers = np.frombuffer(tar, _HEADER, len(tar) // BLOCK)
    blocks = _header_blocks(tar, headers)
    names, digits = headers["name"][blocks].tolist(), headers["size"][blocks].view(np.uint8).reshape(-1, 11) - ord("0")
    sizes = digits.astype(np.int64) @ 8 ** np.arange(10, -1, -1)
    ends = blocks + 1 - -sizes // BLOCK
    starts = np.concatenate(([0], ends))
    end = bytes(tar[int(starts[-1]) * BLOCK :][:BLOCK])
    if not (
        np.array_equal(starts[:-1], blocks)
        and end == bytes(BLOCK)
        and (digits < 8).all()
        and (headers["kind"][blocks] == ord("0")).all()
        and not headers["prefix"][blocks].any()
    ):
        return None
    suffixes = [f".{extension}".encode() for extension in members.extensions()]
    ids = [name.removesuffix(suffixes[0]) for name in names[:: len(suffixes)]]
    every_id = b"/".join(ids)
    if names != [id_ + suffix for id_ in ids for suffix in suffixes] or not all(ids) or not every_id.isascii():
        return None
    if b"." in every_id or b"\0" in every_id or every_id.count(b"/") != max(len(ids) - 1, 0):
        return None
    places = np.stack(((blocks + 1) * BLOCK, sizes), axis=1).reshape(-1, len(suffixes), 2)
    return every_id.decode().split("/") if ids else [], places


_HEADER = np.dtype(
    {
        "names": ["name", "size", "kind", "magic", "prefix"],
        # `kind` has the first bytes of the link's name, which are 0 where there is none
        "formats": ["S100", "S11", "<u8", "S5", "u1"],
        "offsets": [0, 124, 156, 257, 345],
        "itemsize": BLOCK,
    }
)
_SIZE = re.compile(rb"[0-7]{11}")
_SCAN_BLOCKS = 128
"""64 KiB, which Linux maps at once: where a sample takes no more, looking at each block takes less time."""


def _header_blocks(tar: memoryview, headers: NDArray[Any]) -> NDArray[np.int64]:
    """Numbers of the blocks that are likely headers; that they are is for the caller to check."""
    first = list(islice(_follow(tar), len(members.extensions()) + 1))
    if first and first[-1] <= _SCAN_BLOCKS:
        return np.flatnonzero(headers["magic"] == b"ustar")
    return np.fromiter(_follow(tar), np.int64)


def _follow(tar: memoryview) -> Iterator[int]:
    """Numbers of the blocks with headers, each found by the size of the member before it."""
    block = 0
    while digits := _SIZE.match(tar, block * BLOCK + 124):
        yield block
        block += 1 - -int(digits[0], 8) // BLOCK


def _index(tar: memoryview, path: Path) -> Index:
    """The index of any tar of triples: USTAR, PAX or GNU, aliases such as `.cap`, members in any order.

    Raises:
        DamagedFileError: The tar is damaged, or a sample lacks a part.
    """
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    for name, data, offset, _ in iter_members(tar, name=path):
        id_, _, extension = name.partition(".")
        samples.setdefault(id_, {})[members.canonical(extension) or extension] = (offset, len(data))
    places, extensions = [], members.extensions()
    for id_, parts in samples.items():
        for part in extensions:
            if part not in parts:
                raise DamagedFileError(path, id_, f"has no .{part}", "Run `python -m builders verify`.")
        places.append([parts[part] for part in extensions])
    return list(samples), np.array(places, np.int64).reshape(-1, len(extensions), 2)
