"""What there is to do: pure functions over samples, finished triples and rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from preprocess.errors import UserError
from preprocess.samples import SPLITS, Sample, Split

CHUNK = 32
"""Samples in one task: enough to fill batches across videos, few enough to lose little with a worker."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """The unit of work: samples that one worker decodes (and encodes) in this order."""

    index: int
    samples: tuple[Sample, ...]

    def without(self, keys: Collection[str]) -> Chunk | None:
        """What is left when `keys` are dealt with; None when nothing is."""
        rest = tuple(sample for sample in self.samples if sample.key not in keys)
        return Chunk(self.index, rest) if rest else None


def in_order(samples: Sequence[Sample]) -> list[Sample]:
    """By split, then key: the order of `samples.jsonl`, whatever order a recipe yields.

    Raises:
        UserError: No samples at all, or a key that occurs twice.
    """
    if not samples:
        raise UserError("the raw data holds no samples", "Check RAW and the tree that the dataset expects.")
    if len({sample.key for sample in samples}) < len(samples):
        key, count = Counter(sample.key for sample in samples).most_common(1)[0]
        raise UserError(f"the key {key!r} occurs {count} times", "Every sample needs a name of its own.")
    return sorted(samples, key=lambda sample: (SPLITS.index(sample.split), sample.key))


def changed(before: Sequence[Sample], after: Sequence[Sample]) -> list[Sample]:
    """Samples of `before` that are gone or different in `after`: what was made from them is stale."""
    now = {sample.key: sample for sample in after}
    return [sample for sample in before if now.get(sample.key) != sample]


def todo(
    samples: Sequence[Sample],
    done: Mapping[Split, Collection[str]],
    rejected: Callable[[Sample], bool],
) -> list[Sample]:
    """Samples that are neither a triple nor a reject yet."""
    return [s for s in samples if s.key not in done[s.split] and not rejected(s)]


def chunks(samples: Sequence[Sample], size: int = CHUNK) -> Iterator[Chunk]:
    """Cuts the work into tasks."""
    for index, first in enumerate(range(0, len(samples), size)):
        yield Chunk(index, tuple(samples[first : first + size]))
