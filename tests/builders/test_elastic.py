"""An epoch that is continued by other numbers of ranks and workers, again and again: no sample is lost or repeated."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders.order import batch_starts, epoch_order, position_after
from builders.torch_reader import EmbeddingReader


def consume(
    order: Sequence[int], position: int, steps: int | None, world_size: int, batch_size: int
) -> list[list[int]]:
    """The global batches of some steps (None: of all that are left), each over the ranks in order."""
    ranks = [
        batch_starts(len(order), batch_size, position=position, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    count = max(map(len, ranks)) if steps is None else steps
    return [
        [n for starts in ranks for start in starts[step : step + 1] for n in order[start : start + batch_size]]
        for step in range(count)
    ]


def flat(batches: Sequence[Sequence[Any]]) -> list[Any]:
    return [one for batch in batches for one in batch]


DIVISORS = [n for n in range(1, 121) if 120 % n == 0]


@pytest.mark.parametrize("ranks", DIVISORS)
def test_every_number_of_ranks_that_divides_the_global_batch_goes_on_with_the_same_global_batches(ranks: int) -> None:
    """960 samples a step on 120 ranks, stopped after 3 steps and continued on fewer ranks with larger batches."""
    order = epoch_order([1_000] * 9 + [517], shuffle=True, seed=3, epoch=2).tolist()
    undisturbed = consume(order, 0, None, world_size=120, batch_size=8)
    before = consume(order, 0, 3, world_size=120, batch_size=8)
    position = position_after(2 * 960, len(order), 8, 120)
    assert position == 3 * 960
    after = consume(order, position, None, world_size=ranks, batch_size=960 // ranks)
    assert before + after == undisturbed


@given(
    sizes=st.lists(st.integers(0, 40), min_size=1, max_size=6),
    runs=st.lists(st.tuples(st.integers(1, 8), st.integers(1, 7), st.integers(0, 5)), max_size=6),
    shuffle=st.booleans(),
)
def test_whatever_the_ranks_and_batches_of_each_run_every_sample_occurs_once(
    sizes: list[int], runs: list[tuple[int, int, int]], shuffle: bool
) -> None:
    """Runs of (ranks, batch size, steps) that follow each other in one epoch, and a last one that finishes it."""
    order = epoch_order(sizes, shuffle=shuffle, seed=1).tolist()
    seen, position = [], 0
    for world_size, batch_size, steps in runs:
        seen += flat(consume(order, position, steps, world_size, batch_size))
        if steps:
            last = position + (steps - 1) * world_size * batch_size
            position = position_after(last, len(order), batch_size, world_size, position)
    assert seen == order[:position], "what is consumed is what the state says, in the order of the epoch"
    seen += flat(consume(order, position, None, 3, 2))
    assert sorted(seen) == list(range(sum(sizes)))


def test_eight_ranks_then_two_then_eight_have_the_same_remaining_set(make_dataset: Any) -> None:
    folder = make_dataset(counts={"train": 61}, per_shard=7)
    whole = [key for batch in EmbeddingReader(folder, batch_size=61) for key in batch["key"]]
    state: dict[str, int] | None = None
    seen: list[str] = []
    for world_size, batch_size, steps in ((8, 2, 1), (2, 3, 4), (8, 2, None)):
        states = []
        for rank in range(world_size):
            reader = EmbeddingReader(
                folder, batch_size=batch_size, shuffle=True, seed=9, rank=rank, world_size=world_size
            )
            loader = reader.loader()
            if state is not None:
                loader.load_state_dict(state)
            for number, batch in enumerate(loader, 1):
                seen += batch["key"]
                if number == steps:
                    break
            states.append(json.loads(json.dumps(loader.state_dict())))
        assert all(one == states[0] for one in states), "every rank knows the position of all"
        state = states[0]
        assert len(seen) == len(set(seen))
        if steps is not None:
            assert state["position"] == len(seen)
    assert sorted(seen) == sorted(whole)


@pytest.mark.parametrize(
    ("with_loader", "workers"),
    [(True, 0), (True, 2), (False, 0)],  # a reader in the workers of a plain DataLoader cannot say what has arrived
    ids=["loader", "loader with workers", "reader"],
)
def test_resuming_twice_and_more_often_goes_on_each_time(make_dataset: Any, workers: int, with_loader: bool) -> None:
    """The state of a resumed pass must advance: where it does not, the second resume starts all over."""
    folder = make_dataset(counts={"train": 17}, per_shard=5)

    def fresh() -> Any:
        reader = EmbeddingReader(folder, batch_size=2, shuffle=True, seed=4)
        return reader.loader(workers) if with_loader else reader

    expected = [batch["key"] for batch in fresh()]
    seen: list[list[str]] = []
    state = fresh().state_dict()
    positions = []
    for taken in (2, 1, 0, 3):
        source = fresh()
        source.load_state_dict(state)
        batches = iter(source)
        seen += [next(batches)["key"] for _ in range(taken)]
        state = json.loads(json.dumps(source.state_dict()))
        positions.append(state["position"])
        del batches
    assert positions == [4, 6, 6, 12]
    source = fresh()
    source.load_state_dict(state)
    assert seen + [batch["key"] for batch in source] == expected
    assert np.unique(flat(expected)).size == 17


def test_one_reader_that_is_reset_again_and_again_goes_on_each_time(make_dataset: Any) -> None:
    """The same object, as a trainer that restarts in its process has it."""
    loader = EmbeddingReader(make_dataset(counts={"train": 17}, per_shard=5), batch_size=2, shuffle=True).loader()
    expected = [batch["key"] for batch in loader]
    loader.set_epoch(0)
    seen = []
    for _ in expected:
        batches = iter(loader)
        seen.append(next(batches)["key"])
        del batches
        loader.load_state_dict(json.loads(json.dumps(loader.state_dict())))
    assert seen == expected
    assert list(loader) == [], "nothing is left of this epoch"
    assert len(list(loader)) == len(expected)
