"""Which samples make up which batch: pure arithmetic on the sizes of the tars, a seed and the number of the epoch.

Because the order of an epoch depends on nothing else, each sample occurs exactly once over any number of workers and
ranks, and a run can be resumed within an epoch with another number of them: its state is a position in the order.

    order     7 2 5 0 6 1 3 4        one epoch, 8 samples
    batches   [7 2] [5 0] [6 1] [3 4]
    rank 0    [7 2]       [6 1]      rank 1  [5 0] [3 4]
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def epoch_order(
    sizes: Sequence[int], *, shuffle: bool, seed: int = 0, epoch: int = 0, mix_shards: int = 8
) -> NDArray[np.int64]:
    """The samples of one epoch, in order.

    Args:
        sizes: Samples per tar.
        shuffle: Shuffle them; else they keep the order of the tars.
        seed: Determines the order, together with the epoch.
        epoch: Number of the pass, from 0.
        mix_shards: Number of tars that are open at a time: their samples are shuffled together. The tars come in
            random order, and packing has already distributed the samples randomly over the tars.

    Returns:
        int64 (sum(sizes),), a permutation of 0 … sum(sizes) - 1.
    """
    starts = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    if not shuffle:
        return np.arange(starts[-1], dtype=np.int64)
    rng = np.random.default_rng([seed, epoch])
    shards = rng.permutation(len(sizes))
    groups = [shards[i : i + mix_shards] for i in range(0, len(shards), mix_shards)]
    return np.concatenate(
        [
            rng.permutation(np.concatenate([np.arange(starts[s], starts[s + 1], dtype=np.int64) for s in group]))
            for group in groups
        ]
        or [np.empty(0, np.int64)]
    )


def batch_starts(
    total: int, batch_size: int, *, position: int = 0, rank: int = 0, world_size: int = 1, drop_last: bool = False
) -> range:
    """First positions of the batches of one rank in the order of an epoch.

    Args:
        total: Samples of the epoch.
        batch_size: Samples per batch.
        position: Samples consumed by all ranks together.
        rank: This rank.
        world_size: Number of ranks.
        drop_last: Drop the samples that do not give every rank a full batch; else ranks may differ by one batch, and
            the last one may be small.
    """
    step = batch_size * world_size
    if drop_last:
        total = position + max(total - position, 0) // step * step
    return range(position + rank * batch_size, total, step)


def position_after(start: int, total: int, batch_size: int, world_size: int, position: int = 0) -> int:
    """Samples consumed by all ranks together after the batch at `start` and those of the other ranks."""
    step = batch_size * world_size
    return min(total, position + ((start - position) // step + 1) * step)


def rows_wanted(n_rows: int, length: int | None, fit: str) -> NDArray[np.int64] | slice:
    """Rows of a video that go into a batch of fixed length.

    Args:
        n_rows: Rows of the video.
        length: Rows of a batch; None for all rows.
        fit: `cut` takes the first rows, `resample` takes row floor(i · n_rows / length) for each i, which covers the
            whole video evenly, also if it is shorter.
    """
    if length is None or fit == "cut" or not n_rows:
        return slice(0, length)
    return np.arange(length, dtype=np.int64) * n_rows // length
