"""Planning: pure functions over samples, finished triples and rejects."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from preprocess.errors import UserError
from preprocess.samples import SPLITS, Sample, Split


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


def changed(before: Sequence[Sample], after: Sequence[Sample]) -> list[Sample]:
    """Samples of `before` that are missing or different in `after`: what was made from them is stale."""
    now = {sample.key: sample for sample in after}
    return [sample for sample in before if now.get(sample.key) != sample]


def todo(
    samples: Sequence[Sample],
    done: Mapping[Split, Collection[str]],
    rejected: Callable[[Sample], bool],
) -> list[Sample]:
    """Samples that are neither a triple nor a reject yet."""
    return [s for s in samples if s.key not in done[s.split] and not rejected(s)]
