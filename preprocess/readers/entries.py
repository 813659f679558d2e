"""What a recipe reads before it can make samples, in a file: only at the end is it known which names occur again.

read = EntryFile(Row)                     # Row: a NamedTuple of values that JSON can hold
read.add("clips/cat", Row("clips/cat.mp4", ["a cat jumps"]))
read.is_repeated("clips/cat")             # False
[entry.media for entry in read]           # ["clips/cat.mp4"]
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from preprocess.append_log import AppendLog

Entry = TypeVar("Entry", bound=tuple[Any, ...])


class RepeatedNames:
    """Which of many names were added more than once, in 8 bytes of memory a name.

    The names themselves are not kept: one that was added once is taken for a repeated one in one of 10^11 sets of
    10,000 names, and then in every run.

    Args:
        names: The first to be added.

    Examples:
        >>> names = RepeatedNames(["a", "b", "a"])
        >>> "a" in names, "b" in names
        (True, False)
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._hashes = array("Q", map(_hash, names))
        self._repeated: NDArray[np.uint64] | None = None

    def add(self, name: str) -> None:
        """Adds a name."""
        self._hashes.append(_hash(name))
        self._repeated = None

    def __contains__(self, name: str) -> bool:
        if self._repeated is None:
            hashes = np.frombuffer(self._hashes, np.uint64)
            hashes.sort()  # in place: the order in which they were added is of no use
            self._repeated = hashes[1:][hashes[1:] == hashes[:-1]]
        if not len(self._repeated):
            return False
        wanted = np.uint64(_hash(name))
        place = int(self._repeated.searchsorted(wanted))
        return place < len(self._repeated) and bool(self._repeated[place] == wanted)


class EntryFile(Generic[Entry]):
    """Entries in a temporary file, in the order in which they were added.

    Args:
        kind: A NamedTuple; tuples among its values come back as lists.
    """

    def __init__(self, kind: Callable[..., Entry]) -> None:
        self._kind = kind
        self._log = AppendLog()
        self._names = RepeatedNames()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Entry]:
        return (self._kind(*json.loads(line)) for _, line in self._log.lines())

    def add(self, name: str, entry: Entry) -> None:
        """Adds an entry that has a name."""
        self._names.add(name)
        self._log.append(f"{json.dumps(entry)}\n".encode())  # in ASCII, so that any text comes back as it was
        self._count += 1

    def is_repeated(self, name: str) -> bool:
        """Whether several entries have this name."""
        return name in self._names


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest(), "little")
