"""A line for some of many samples, by the sample's number: 8 bytes of memory a sample, the lines are in a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.append_log import AppendLog

_NO_PLACE = -1


class NumberedLines:
    """Lines in a log, and where in it the last one of each sample is.

    Args:
        count: How many samples there are.
        log: Where the lines are; None for a temporary file.
    """

    def __init__(self, count: int, log: AppendLog | None = None) -> None:
        self.log = log or AppendLog()
        self._places: NDArray[np.int64] = np.full(count, _NO_PLACE, np.int64)

    @property
    def there(self) -> NDArray[np.bool_]:
        """For each sample, whether it has a line."""
        there: NDArray[np.bool_] = self._places != _NO_PLACE
        return there

    def put(self, number: int, line: bytes) -> None:
        """Adds a line, which ends in a newline, as that of a sample."""
        self._places[number] = self.log.append(line)

    def note(self, numbers: NDArray[np.integer[Any]], places: NDArray[np.int64]) -> None:
        """Notes where in the log the lines of some samples are; of several places of one, the last counts."""
        self._places[numbers] = places

    def forget(self) -> None:
        """No sample has a line any more."""
        self._places.fill(_NO_PLACE)

    def read(self, numbers: NDArray[np.integer[Any]]) -> list[bytes | None]:
        """The lines of some samples."""
        places = self._places[numbers]
        found = iter(self.log.read(places[places != _NO_PLACE].tolist()))
        return [None if place == _NO_PLACE else next(found) for place in places.tolist()]
