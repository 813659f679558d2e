"""A slice: every n-th sample of the list, encoded by itself in a folder of its own below the output's work folder.

    data/work/CLIP-MSRVTT/slices/03-of-64/     samples.jsonl, processed/, rejects.jsonl, journal.jsonl, …, slice.json

Which samples belong to a slice follows from the list of all samples and from nothing else, so that any number of
machines can encode slices at the same time. `slice.json` records the samples and settings of a slice, and whether it is
finished.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from preprocess.errors import UserError

MAX_SLICES = 10_000
"""More would be a folder each for a handful of samples."""

_TEXT = re.compile(r"([0-9]{1,9})/([0-9]{1,9})", re.ASCII)
_FOLDER = re.compile(r"([0-9]{1,9})-of-([0-9]{1,9})", re.ASCII)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Slice:
    """One of several slices.

    Attributes:
        number: Which one, from 1.
        count: How many there are.
    """

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count <= MAX_SLICES:
            raise ValueError(f"slice must be 1/N to N/N with N up to {MAX_SLICES}, got {self.number}/{self.count}")

    @classmethod
    def parse(cls, text: str) -> Slice:
        """'3/64' as the third of 64 slices.

        Raises:
            UserError: It is something else.
        """
        try:
            if match := _TEXT.fullmatch(text):
                return cls(int(match[1]), int(match[2]))
        except ValueError:
            pass
        raise UserError(
            f"--slice {text[:100]!r} is not one of several slices",
            f"Write --slice K/N with K from 1 to N, such as --slice 3/64, and N up to {MAX_SLICES}.",
        )

    @classmethod
    def of_folder(cls, name: str) -> Slice | None:
        """The slice whose folder has this name; None for other names."""
        try:
            match = _FOLDER.fullmatch(name)
            found = cls(int(match[1]), int(match[2])) if match else None
        except ValueError:
            return None
        return found if found and found.folder == name else None

    @property
    def folder(self) -> str:
        """Name of its folder; the names of all slices sort like their numbers."""
        return f"{self.number:0{len(str(self.count))}d}-of-{self.count}"

    def of(self, items: Sequence[T]) -> Sequence[T]:
        """What belongs to the slice. Sizes of slices differ by at most one, and neighbors are in different slices."""
        return items[self.number - 1 :: self.count]

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as `sbatch --array` takes them.

    Examples:
        >>> ranges([7, 12, 13, 14])
        '7,12-14'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
