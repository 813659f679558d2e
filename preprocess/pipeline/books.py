"""Books over a run: which samples the workers have dealt with, and which of them took a worker down.

books = Books()
for report in books.keep(executor.run(chunks, fn, books.lose)): ...
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol, TypeVar

from preprocess.errors import Reason
from preprocess.pipeline.executors import Loss
from preprocess.pipeline.plan import Chunk
from preprocess.samples import Reject

_REASONS: dict[str, Reason] = {"crashed": "decoder_crashed", "timeout": "timeout", "out_of_memory": "out_of_memory"}


class _Keyed(Protocol):
    @property
    def key(self) -> str: ...


Outcome = TypeVar("Outcome", bound=_Keyed)


class Books:
    """Which samples the workers have dealt with, so that a lost worker's chunk goes on behind them."""

    def __init__(self) -> None:
        self._dealt_with: set[str] = set()
        self._lost: list[Reject] = []

    def keep(self, reports: Iterator[Outcome]) -> Iterator[Outcome | Reject]:
        """Passes reports on, noting their keys; the rejects of lost workers come in between."""
        for report in reports:
            self._dealt_with.add(report.key)
            yield from self._drain()
            yield report
        yield from self._drain()

    def lose(self, chunk: Chunk, loss: Loss) -> Chunk | None:
        """Rejects the sample that took its worker down; what is left of the chunk is done again."""
        sample = next(sample for sample in chunk.samples if sample.key == loss.item)
        self._lost.append(Reject(sample.key, sample.split, "decode", _REASONS[loss.cause], loss.message))
        self._dealt_with.add(sample.key)
        return chunk.without(self._dealt_with)

    def _drain(self) -> Iterator[Reject]:
        while self._lost:
            yield self._lost.pop(0)
