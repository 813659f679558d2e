"""The position of each sample in a tar, so that any of them can be read without reading the others.

index.ids[3]       "vid_00003"
index.places[3]    [[31232, 10368], [42112, 25], [43008, 402]]    npy, txt, json: first byte, number of bytes
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.tar import BLOCK, TarTriple, iter_members
from preprocess.storage import is_remote, mapped


class ShardIndex:
    """One tar and the places of its samples; mapped into memory where it is read, in whatever process that is.

    Args:
        path: Of the tar.
        without: Ids of samples to leave out.

    Attributes:
        ids: Name of each sample, in the order of the tar.
        places: int64 (samples, members, 2), first byte and number of bytes of each member, in the order of
            `preprocess.formats.members.MEMBERS`: `.npy`, `.txt`, `.json`.
    """

    def __init__(self, path: Path, without: frozenset[str] = frozenset()) -> None:
        self.path = path
        view = mapped(path)
        self.ids, self.places = _fast_index(view) or _index(view, path)
        self._view = view if is_remote(path) else None  # a local file is open only where samples are read
        if not without.isdisjoint(self.ids):
            kept = [i for i, id_ in enumerate(self.ids) if id_ not in without]
            self.ids, self.places = [self.ids[i] for i in kept], self.places[kept]

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_view": None}

    def triple(self, i: int) -> TarTriple:
        """Sample `i`, its members as views of the file."""
        if self._view is None:
            self._view = mapped(self.path)
        view = self._view
        return TarTriple.of(self.ids[i], [view[start : start + size] for start, size in self.places[i].tolist()])


Index = tuple[list[str], NDArray[np.int64]]


def _fast_index(tar: memoryview) -> Index | None:
    """The index of a tar that is laid out as ours are; None of any other, which `_index` reads in five times the time.

    Looks at name, size and type of each header and nothing else: opening half a million samples takes seconds.
    """
    ids: list[str] = []
    places: list[int] = []  # first byte and size of each member, one after another
    headers = [_header(extension).match for extension in members.extensions()]
    position, expected = 0, b""
    while found := headers[len(places) // 2 % len(headers)](tar, position):
        name, digits = found.groups()
        if len(places) % (2 * len(headers)) == 0:
            expected = name
            ids.append(name.decode())
        elif name != expected:
            return None
        size = int(digits, 8)
        places += (position + BLOCK, size)
        position += BLOCK + size + -size % BLOCK
    end = bytes(tar[position : position + BLOCK])
    whole = len(end) == BLOCK and not any(end) and len(places) == 2 * len(headers) * len(ids)
    return (ids, np.array(places, np.int64).reshape(-1, len(headers), 2)) if whole else None


@functools.cache
def _header(extension: str) -> re.Pattern[bytes]:
    """The header of a member as we write it: its name, its size in octal digits, a regular file without a link name."""
    name = rb"(?=([\x01-\x2d\x2f-\x7f]+)\.%s\0)" % re.escape(extension.encode())
    return re.compile(name + rb"(?s:.{124})([0-7]{11})(?s:.{21})0\0{6}")


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
