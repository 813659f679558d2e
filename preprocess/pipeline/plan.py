"""Planning: pure functions over samples."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from preprocess.batched import batched
from preprocess.errors import UserError
from preprocess.sample_numbers import ABSENT, BLOCK, SampleNumbers
from preprocess.sample_table import AS_OBJECTS, SampleTable, taken
from preprocess.samples import SPLITS, Sample


def collected(samples: Iterable[Sample]) -> Sequence[Sample]:
    """Samples in the order of `sorted_by_split`: a list of a few, a table of many, which are then never all objects.

    Raises:
        UserError: As `sorted_by_split`.
    """
    found = held(samples)
    return found if isinstance(found, SampleTable) else sorted_by_split(found)


def held(samples: Iterable[Sample]) -> list[Sample] | SampleTable:
    """A list of a few samples, as they come; a table of many, sorted by split and key.

    Raises:
        UserError: There are many, and a key occurs twice.
    """
    stream = iter(samples)
    head = list(itertools.islice(stream, AS_OBJECTS + 1))
    if len(head) <= AS_OBJECTS:
        return head
    every = itertools.chain(head, stream)
    del head  # or these would be held until all are written
    return SampleTable.of(every)


def sorted_by_split(samples: Sequence[Sample]) -> list[Sample]:
    """By split, then key: the order of `samples.jsonl`, whatever order a recipe yields.

    Raises:
        UserError: No samples at all, or a key that occurs twice.
    """
    if not samples:
        raise UserError("the raw data holds no samples", "Check RAW and the tree that the dataset expects.")
    if len({sample.key for sample in samples}) < len(samples):
        key, count = Counter(sample.key for sample in samples).most_common(1)[0]
        raise UserError(f"the key {key!r} occurs {count} times", "Give every sample a unique key.")
    return sorted(samples, key=lambda sample: (SPLITS.index(sample.split), sample.key))


def changed(before: Iterable[Sample], after: Sequence[Sample]) -> Iterator[Sample]:
    """Samples of `before` that are missing or different in `after`: what was made from them is stale.

    Args:
        before: Of which few are held.
        after: As `collected` gives them.
    """
    now = SampleNumbers(after)
    for block in batched(before, BLOCK):
        numbers = now.of([sample.key for sample in block])
        there = iter(taken(after, numbers[numbers != ABSENT]))
        for sample, number in zip(block, numbers.tolist(), strict=True):
            if number == ABSENT or next(there) != sample:
                yield sample
