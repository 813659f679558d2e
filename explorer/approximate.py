"""Approximate search with faiss, for more rows than memory or patience allow to compare: an option, never the default.

Inverted lists of float16 rows (`IndexIVFScalarQuantizer`). Building it prints how much of the exact answer it gives:

    faiss: 2,048 lists of 5,363,214 rows in 98.2 s, 5,523.1 MB; recall@10 against exact search 0.998 (64 queries)
"""

from __future__ import annotations

import sys
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from explorer.index import Index
from explorer.make_index import BLOCK_ROWS
from explorer.search import ExactShortlist
from preprocess.console import progress
from preprocess.errors import UserError
from preprocess.storage import atomic_path, remove_temporary

FILE = "ivf.faiss"
PROBES = 16
TRAINING_ROWS_PER_LIST = 64
RECALL_QUERIES = 64
RECALL_AT = 10
ROWS_PER_VIDEO = 8
"""Rows that are fetched per wanted video: several of the best rows may be of one video."""


class ApproximateShortlist:
    """Looks at the lists nearest to the query only; the file beside the index is made when it is first needed.

    Args:
        index: An opened index.

    Raises:
        UserError: faiss is not installed.
    """

    def __init__(self, index: Index) -> None:
        try:
            import faiss
        except ImportError:
            raise UserError("faiss is not installed", "pip install faiss-cpu") from None
        self._module: Any = faiss
        self._owner = np.repeat(np.arange(len(index)), np.diff(index.first_rows))
        path = index.folder / FILE
        if path.is_file():
            self._faiss: Any = faiss.read_index(str(path))
        else:
            self._faiss = _build(faiss, index)
            remove_temporary(index.folder, FILE)
            with atomic_path(path) as partial:
                faiss.write_index(self._faiss, str(partial))

    def best(self, vector: Matrix, limit: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.int64]:
        """As `explorer.search.Shortlist.best`, but some of the best may be missed."""
        rows, probes = min(ROWS_PER_VIDEO * limit, len(self._owner)), min(PROBES, self._faiss.nlist)
        while True:
            parameters = self._module.SearchParametersIVF(nprobe=probes)
            found = self._faiss.search(vector[None].astype(np.float32), rows, params=parameters)[1][0]
            numbers = self._owner[found[found >= 0]]
            if allowed is not None:
                numbers = numbers[allowed[numbers]]
            best: NDArray[np.int64] = numbers[np.sort(np.unique(numbers, return_index=True)[1])].astype(np.int64)
            if len(best) >= limit or (rows, probes) == (len(self._owner), self._faiss.nlist):
                return best[:limit]
            # Too few videos, or too few of those that are allowed: look further.
            rows, probes = min(4 * rows, len(self._owner)), min(4 * probes, self._faiss.nlist)


def _build(faiss: Any, index: Index) -> Any:
    """Trains the lists on rows spread over the dataset, adds all rows, and prints time, size and recall."""
    started = time.perf_counter()
    rows, dim = index.vectors.shape
    lists = max(1, min(4 * round(rows**0.5), rows // 39))  # faiss asks for 39 training rows per list
    quantizer = faiss.IndexFlatIP(dim)
    found = faiss.IndexIVFScalarQuantizer(
        quantizer, dim, lists, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
    )
    found.own_fields = True
    quantizer.this.disown()
    step = max(1, rows // (TRAINING_ROWS_PER_LIST * lists))
    found.train(np.ascontiguousarray(index.vectors[::step], np.float32))
    with progress(rows, " rows", "faiss") as bar:
        for first in range(0, rows, BLOCK_ROWS):
            block = np.ascontiguousarray(index.vectors[first : first + BLOCK_ROWS], np.float32)
            found.add(block)
            bar.update(len(block))
    seconds = time.perf_counter() - started
    found.nprobe = min(PROBES, lists)
    size = rows * (2 * dim + 8) + 4 * lists * dim
    print(
        f"faiss: {lists:,} lists of {rows:,} rows in {seconds:.1f} s, {size / 1e6:,.1f} MB; "
        f"recall@{RECALL_AT} against exact search {recall(found, index):.3f} ({RECALL_QUERIES} queries)",
        file=sys.stderr,
    )
    return found


def recall(found: Any, index: Index, seed: int = 0) -> float:
    """The share of the exact best rows that are found, for rows of the dataset with noise as queries."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(index.vectors), size=RECALL_QUERIES)
    noise = rng.standard_normal((RECALL_QUERIES, index.vectors.shape[1])) / index.vectors.shape[1] ** 0.5
    queries = unit((index.vectors[np.sort(chosen)] + 0.5 * noise).astype(np.float32))
    exact = ExactShortlist(index)
    at = min(RECALL_AT, len(index.vectors))
    shares = []
    for query, rows in zip(queries, found.search(queries, at)[1], strict=True):
        scores = exact.row_scores(query)
        smallest = np.partition(scores, -at)[-at]
        shares.append(np.mean(scores[rows[rows >= 0]] >= smallest) * np.mean(rows >= 0))
    return float(np.mean(shares))
