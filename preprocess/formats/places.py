"""Where the triples of many samples are, told when it is asked.

places = Processed.open(layout).find(samples)
places.there                        # bool (samples,): those that have a triple
places.take([3, 1], [samples[3], samples[1]])   # their `TriplePlace`s
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.parts import PartEntry
from preprocess.samples import Sample, Split
from preprocess.storage import Stamp, local_fingerprint

NONE, FILES = -1, -2
"""Instead of the number of an entry: the sample has no triple, or its triple is stored as files."""

_REMEDY = "Delete it and run encode again."


class TriplePlace(NamedTuple):
    """Where a triple is, and what changes when its content does.

    Attributes:
        entry: Its place in a part; None where its members are files.
        stamp: JSON values, for the digest of a shard.
    """

    key: str
    entry: PartEntry | None
    stamp: tuple[Any, ...]


class Entries(Protocol):
    """The entries of parts, by number."""

    def read(self, rows: NDArray[np.integer[Any]]) -> list[PartEntry]:
        """The entries of some numbers, in the order given."""
        ...


@dataclass(frozen=True, slots=True)
class ListedEntries:
    """A few entries, as objects."""

    entries: Sequence[PartEntry]

    def read(self, rows: NDArray[np.integer[Any]]) -> list[PartEntry]:
        """See `Entries`."""
        return [self.entries[row] for row in rows.tolist()]


class TriplePlaces:
    """Where the triples of some samples are.

    Args:
        processed: The folder with a folder per split.
        numbers: For each sample that of its entry, or `NONE`, or `FILES`.
        entries: Of the triples in parts.
        listed: For each split the stamps of its files by name, where a store has told them all at once.
    """

    def __init__(
        self,
        processed: Path,
        numbers: NDArray[np.integer[Any]],
        entries: Entries,
        listed: Mapping[Split, Mapping[str, Stamp]],
    ) -> None:
        self._processed = processed
        self._numbers = numbers
        self._entries = entries
        self._listed = listed

    @property
    def there(self) -> NDArray[np.bool_]:
        """For each sample, whether it has a triple."""
        there: NDArray[np.bool_] = self._numbers != NONE
        return there

    def only(self, which: NDArray[np.bool_]) -> TriplePlaces:
        """Those of the samples for which `which` is true."""
        numbers = self._numbers if which.all() else self._numbers[which]
        return TriplePlaces(self._processed, numbers, self._entries, self._listed)

    def take(self, which: NDArray[np.integer[Any]], samples: Sequence[Sample]) -> list[TriplePlace]:
        """The places of some samples, which all have a triple.

        Args:
            which: Numbers of the samples.
            samples: These samples.

        Raises:
            DamagedFileError: A triple has lost one of its files.
        """
        numbers = self._numbers[which]
        entries = iter(self._entries.read(numbers[numbers >= 0]))
        found = []
        for number, sample in zip(numbers.tolist(), samples, strict=True):
            if number == FILES:
                stamp = self._stamp_of_files(sample)
                found.append(TriplePlace(sample.key, None, stamp))
            else:
                entry = next(entries)
                found.append(TriplePlace(sample.key, entry, (entry.sha256,)))
        return found

    def _stamp_of_files(self, sample: Sample) -> tuple[Any, ...]:
        """Sizes and times of the files of a triple that packing reads."""
        folder, listed = f"{self._processed}/{sample.split}", self._listed.get(sample.split)
        stamp: list[Any] = []
        for member in members.MEMBERS:
            if member.from_sample:
                continue
            name = f"{sample.key}.{member.extension}"
            try:
                stamp += listed[name] if listed is not None else local_fingerprint(f"{folder}/{name}")
            except (FileNotFoundError, KeyError):
                raise incomplete(self._processed, sample.split, name) from None
        return tuple(stamp)


def incomplete(processed: Path, split: Split, name: str) -> DamagedFileError:
    """The error of a triple that has lost a file."""
    return DamagedFileError(processed / split / name, "", "is missing: the triple is incomplete", _REMEDY)
