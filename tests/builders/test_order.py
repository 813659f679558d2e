"""The arithmetic of the reader: each sample once, over any ranks and from any position; the same order everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.order import batch_starts, epoch_order, position_after, rows_wanted

SIZES = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@given(SIZES, st.integers(0, 5), st.integers(0, 3), st.integers(1, 4))
def test_an_epoch_is_a_permutation(sizes: list[int], seed: int, epoch: int, mix: int):
    order = epoch_order(sizes, shuffle=True, seed=seed, epoch=epoch, mix_shards=mix)
    assert sorted(order) == list(range(sum(sizes)))
    assert np.array_equal(order, epoch_order(sizes, shuffle=True, seed=seed, epoch=epoch, mix_shards=mix))


def test_epochs_and_seeds_differ():
    orders = [tuple(epoch_order([20, 20], shuffle=True, seed=s, epoch=e)) for s in range(3) for e in range(3)]
    assert len(set(orders)) == 9
    assert list(epoch_order([2, 3], shuffle=False, seed=7, epoch=9)) == [0, 1, 2, 3, 4]


def test_only_mixed_shards_are_open_at_a_time():
    order = epoch_order([100] * 6, shuffle=True, seed=1, mix_shards=2)
    shards = order // 100
    for group in np.split(shards, 3):
        assert len(set(group.tolist())) == 2
        assert len(set(group[:20].tolist())) == 2, "the two are mixed, not one behind the other"


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 4), st.integers(0, 60))
def test_every_sample_once_over_ranks(total: int, batch_size: int, world_size: int, position: int):
    position = min(position, total)
    taken = [
        sample
        for rank in range(world_size)
        for start in batch_starts(total, batch_size, position=position, rank=rank, world_size=world_size)
        for sample in range(start, min(start + batch_size, total))
    ]
    assert sorted(taken) == list(range(position, total))


@given(st.integers(0, 60), st.integers(1, 7), st.integers(1, 4))
def test_drop_last_gives_every_rank_as_many_full_batches(total: int, batch_size: int, world_size: int):
    ranks = [
        batch_starts(total, batch_size, rank=rank, world_size=world_size, drop_last=True) for rank in range(world_size)
    ]
    assert {len(starts) for starts in ranks} == {total // (batch_size * world_size)}
    assert all(start + batch_size <= total for starts in ranks for start in starts)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 4), st.integers(0, 20))
def test_all_ranks_agree_on_the_position_of_a_step(total: int, batch_size: int, world_size: int, position: int):
    position = min(position, total)
    steps = [
        batch_starts(total, batch_size, position=position, rank=r, world_size=world_size) for r in range(world_size)
    ]
    for step in range(len(steps[0])):
        after = {
            position_after(starts[step], total, batch_size, world_size, position)
            for starts in steps
            if step < len(starts)
        }
        assert len(after) == 1
        assert after.pop() == min(total, position + (step + 1) * batch_size * world_size)


@pytest.mark.parametrize(
    ("rows", "length", "fit", "expected"),
    [
        (10, 4, "cut", [0, 1, 2, 3]),
        (2, 4, "cut", [0, 1]),
        (10, 4, "resample", [0, 2, 5, 7]),
        (2, 4, "resample", [0, 0, 1, 1]),
        (3, None, "cut", [0, 1, 2]),
        (0, 4, "resample", []),
    ],
)
def test_rows(rows: int, length: int | None, fit: str, expected: list[int]):
    assert list(np.arange(rows)[rows_wanted(rows, length, fit)]) == expected
