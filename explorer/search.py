"""Exact search: the cosine of a query with every row, the best videos, and in each the moment that matches.

>>> Searcher(open_index("data/CLIP-Shapes")).find(query, k=1)
[Hit(number=41, moment=Moment(start_s=3.5, end_s=8.5, score=0.893, …), first_s=4.0, best_s=6.0)]

Rows are compared in blocks of 65,536 in float16, or in bfloat16 on CPUs with AMX: enough to choose the videos to look
at. The scores that are returned are computed from the stored rows in float32.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from dataset_cards.evaluation.moments import Moment, find_moments
from explorer.index import Index
from explorer.make_index import BLOCK_ROWS
from explorer.samples import Query
from preprocess.errors import UnknownNameError

LARGE_ROWS = 1_000_000
"""From this many rows a copy in another number format is worth its memory; below it float16 takes milliseconds."""


class Hit(NamedTuple):
    """One video that was found.

    Attributes:
        number: The sample.
        moment: The best of its moments; `moment.score` is what hits are sorted by.
        first_s: Timestamp of the first row of the moment: where to play from.
        best_s: Timestamp of the row with the highest score inside the moment.
    """

    number: int
    moment: Moment
    first_s: float
    best_s: float


class Shortlist(Protocol):
    """Chooses the videos that are looked at exactly."""

    def best(self, vector: Matrix, limit: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """The numbers of at most `limit` samples, those with the highest-scoring row first.

        Args:
            vector: float32 `(D,)`, L2-normalized.
            limit: Most samples to return.
            allowed: `(N,)`, the samples to choose from; all where None.
        """
        ...


class ExactShortlist:
    """Compares the query with every row."""

    def __init__(self, index: Index) -> None:
        self._index = index
        lengths = np.diff(index.first_rows)
        self._filled = np.flatnonzero(lengths)
        self._starts = index.first_rows[:-1][self._filled]
        self._rows = _matrix(index.vectors)

    def row_scores(self, vector: Matrix) -> Matrix:
        """float32 `(R,)`: the cosine of the query with each row, in the precision of 16-bit numbers."""
        import torch

        scores = np.empty(len(self._rows), np.float32)
        query = torch.from_numpy(np.ascontiguousarray(vector)).to(self._rows.dtype)
        with torch.inference_mode():
            for first in range(0, len(scores), BLOCK_ROWS):
                block = self._rows[first : first + BLOCK_ROWS]
                scores[first : first + len(block)] = (block @ query).float().numpy()
        return scores

    def best(self, vector: Matrix, limit: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """As `Shortlist.best`."""
        best = np.maximum.reduceat(self.row_scores(vector), self._starts)
        if allowed is not None:
            best = np.where(allowed[self._filled], best, -np.inf)
        limit = min(limit, len(best))
        top = np.argpartition(-best, limit - 1)[:limit]
        top = top[np.argsort(-best[top], kind="stable")]
        return self._filled[top[best[top] > -np.inf]]


class Searcher:
    """Answers queries on one index.

    Args:
        index: An opened index.
        shortlist: How videos are chosen; exactly where None.
    """

    def __init__(self, index: Index, shortlist: Shortlist | None = None) -> None:
        self.index = index
        self._shortlist = shortlist or ExactShortlist(index)

    def find(
        self,
        query: Query,
        k: int = 10,
        *,
        split: str | None = None,
        label: str | None = None,
        without: Collection[int] = (),
    ) -> list[Hit]:
        """The `k` videos with the best moments.

        Args:
            query: What to search for.
            k: Most hits to return.
            split: `train`, `val` or `test`; all where None.
            label: One label; all where None.
            without: Samples to leave out.

        Raises:
            UnknownNameError: The dataset has no such split or label.
        """
        allowed = self.allowed(split, label)
        if without:
            allowed = np.ones(len(self.index), bool) if allowed is None else allowed
            allowed[list(without)] = False
        # Number formats of 16 bits may swap videos whose scores are nearly equal: look at more than asked for.
        numbers = self._shortlist.best(query.vector, 2 * k + 20, allowed).tolist()
        exact = {number: float(self.scores(number, query).max()) for number in numbers}
        best = sorted(numbers, key=lambda number: (-exact[number], number))[:k]
        hits = [self.hit(number, query) for number in best]
        return sorted(hits, key=lambda hit: (-hit.moment.score, hit.number))

    def hit(self, number: int, query: Query) -> Hit:
        """The best moment of one sample that has rows: the one with its best row."""
        moment = max(self.moments(number, query), key=lambda found: found.score)
        best_s = self.index.times[self.index.rows(number).start + moment.best, 0]
        return Hit(number, moment, self.first_s(number, moment), float(best_s))

    def first_s(self, number: int, moment: Moment) -> float:
        """Timestamp of the first row of a moment. Its `start_s` may be earlier, in the preceding scene."""
        times = self.index.times[self.index.rows(number)]
        row = min(int(np.searchsorted(times[:, 1], np.float32(moment.start_s))), len(times) - 1)
        return float(times[row, 0])

    def moments(self, number: int, query: Query, limit: int = 5) -> list[Moment]:
        """The moments of one sample that has rows, best first, none overlapping a better one."""
        spans = self.index.times[self.index.rows(number), 1:].astype(np.float64)
        apart: list[Moment] = []
        for moment in find_moments(self.scores(number, query), spans, 4 * limit):
            if all(moment.end_s <= other.start_s or moment.start_s >= other.end_s for other in apart):
                apart.append(moment)
        return apart[:limit]

    def scores(self, number: int, query: Query) -> Matrix:
        """float32 `(T,)`: the cosine of the query with each row of a sample."""
        rows = unit(self.index.vectors[self.index.rows(number)].astype(np.float32))
        scores: Matrix = rows @ query.vector
        return scores

    def allowed(self, split: str | None, label: str | None) -> NDArray[np.bool_] | None:
        """The samples of a split and a label; None for all.

        Raises:
            UnknownNameError: The dataset has no such split or label.
        """
        allowed: NDArray[np.bool_] | None = None
        for name, value in (("split", split), ("label", label)):
            if value is not None:
                column = self.index.columns[name]
                mine = column == value
                if not mine.any():
                    raise UnknownNameError(name, value[:200], {str(v) for v in column if v is not None} or {"(none)"})
                allowed = mine if allowed is None else allowed & mine
        return allowed


def _matrix(vectors: NDArray[np.float16]) -> Any:
    """The rows as a torch tensor: the mapped file itself, or a copy in bfloat16.

    AMX multiplies bfloat16 at the speed of memory, and float16 at half of it. Other CPUs take about as long for float16
    (`benchmarks/search.py`: 0.6 to 1.2 times with AVX-512, depending on the CPU), and the file needs no second copy in
    memory.
    """
    import warnings

    import torch

    from preprocess.encoders.devices import cpu_flags

    with warnings.catch_warnings(action="ignore"):  # the file is mapped read-only, and nothing writes to it
        rows = torch.from_numpy(np.asarray(vectors))
    return rows.to(torch.bfloat16) if len(rows) >= LARGE_ROWS and "amx_bf16" in cpu_flags() else rows
