"""Where each sample lies in a tar, so that any of them can be read without reading the others.

index.ids[3]       "vid_00003"
index.places[3]    [[31232, 10368], [42112, 25], [43008, 402]]    npy, txt, json: first byte, number of bytes
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import DamagedFileError
from preprocess.formats.tar import BLOCK, iter_members

_PARTS = ("npy", "txt", "json")
_PLAIN = b"0" + bytes(6)  # a regular file with no link name: what follows byte 156 in every header that we write


class ShardIndex:
    """One tar and the places of its samples; mapped into memory where it is read, in whatever process that is.

    Attributes:
        ids: Name of each sample, in the order of the tar.
        places: int64 (samples, 3, 2), first byte and number of bytes of `.npy`, `.txt` and `.json`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.ids, self.places = _fast_index(path) or _index(path)
        self._view: memoryview | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_view": None}

    def parts(self, i: int) -> list[memoryview]:
        """The `.npy`, `.txt` and `.json` of sample `i`, as views of the file."""
        if self._view is None:
            with self.path.open("rb") as file:
                self._view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        view = self._view
        return [view[start : start + size] for start, size in self.places[i].tolist()]


Index = tuple[list[str], NDArray[np.int64]]


def _fast_index(path: Path) -> Index | None:
    """The index of a tar that is laid out as ours are; None of any other, which `_index` reads in five times the time.

    Looks at name, size and type of each header and nothing else: opening half a million samples takes seconds.
    """
    ids: list[str] = []
    places: list[tuple[int, int]] = []
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return None
        tar = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    position = 0
    while (header := tar[position : position + BLOCK])[156:163] == _PLAIN:
        name, _, extension = header[: header.find(b"\0")].decode("ascii", "replace").partition(".")
        if len(places) % 3 == 0:
            ids.append(name)
        if extension != _PARTS[len(places) % 3] or name != ids[-1]:
            return None
        try:
            size = int(header[124:135], 8)
        except ValueError:
            return None
        places.append((position + BLOCK, size))
        position += BLOCK + size + -size % BLOCK
    whole = len(header) == BLOCK and not any(header) and len(places) == 3 * len(ids)
    return (ids, np.array(places, np.int64).reshape(-1, 3, 2)) if whole else None


def _index(path: Path) -> Index:
    """The index of any tar of triples: USTAR, PAX or GNU, `.cap` for `.txt`, parts in any order.

    Raises:
        DamagedFileError: The tar is damaged, or a sample lacks a part.
    """
    samples: dict[str, dict[str, tuple[int, int]]] = {}
    for name, data, offset in iter_members(path):
        id_, _, extension = name.partition(".")
        samples.setdefault(id_, {})["txt" if extension == "cap" else extension] = (offset, len(data))
    places = []
    for id_, parts in samples.items():
        for part in _PARTS:
            if part not in parts:
                raise DamagedFileError(path, id_, f"has no .{part}", "Run `python -m builders verify`.")
        places.append([parts[part] for part in _PARTS])
    return list(samples), np.array(places, np.int64).reshape(-1, 3, 2)
