"""Samples in an Arrow table: what a list of them says, in the same order."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest

from preprocess import sample_table
from preprocess.errors import UserError
from preprocess.pipeline import plan
from preprocess.sample_table import SampleTable, chosen, keys_of, media_of
from preprocess.samples import SPLITS, Sample


def make(count: int) -> list[Sample]:
    rng = random.Random(7)
    made = []
    for i in range(count):
        more = {"start_s": i, "end_s": i + 9.5, "own_times": True} if i % 3 == 0 else {}
        meta = {"views": i, "ünï": [1, None, "\u2028"]} if i % 2 else {}
        label = None if i % 5 else "red circle"
        captions = tuple(f"caption {j} of {i}" for j in range(1 + i % 3))
        made.append(Sample(f"k{i:03}", SPLITS[i % 3], f"{i}.mp4", captions, label, meta=meta, **more))  # type: ignore[arg-type]
    rng.shuffle(made)
    return made


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_table, "_READ", 7)
    monkeypatch.setattr(sample_table, "_WRITTEN", 10)


def lines(samples: object) -> list[str]:
    return [sample_table.canonical_json(one.to_json()) for one in samples]  # type: ignore[attr-defined]


@pytest.mark.parametrize("in_order", [False, True])
def test_a_table_says_what_a_list_says(in_order: bool) -> None:
    made = plan.sorted_by_split(make(50)) if in_order else make(50)
    listed, table = plan.sorted_by_split(made), SampleTable.of(made)
    assert isinstance(table._rows, range) == in_order
    assert len(table) == 50
    assert lines(table) == lines(listed), "an integer stays one"
    assert list(table) == listed
    assert [table[0], table[17], table[-1]] == [listed[0], listed[17], listed[-1]]
    for cut in (slice(3, 20), slice(2, None, 5), slice(0, 0), slice(40, 99)):
        assert list(table[cut]) == listed[cut]
        assert list(keys_of(table[cut])) == list(keys_of(listed[cut])) == [(s.key, s.split) for s in listed[cut]]
        assert list(media_of(table[cut])) == list(media_of(listed[cut]))
    which = np.arange(50) % 4 == 1
    assert list(chosen(table, which)) == chosen(listed, which) == [one for i, one in enumerate(listed) if i % 4 == 1]
    odd = table[1::2]
    assert list(chosen(odd, np.arange(25) % 3 == 0)) == listed[1::2][::3]
    with pytest.raises(IndexError):
        table[50]


def test_nothing_is_left_of_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    table = SampleTable.of(make(20))
    assert not list(tmp_path.iterdir())
    assert len(list(table)) == 20


def test_a_few_are_a_list_and_many_a_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "AS_OBJECTS", 10)
    assert isinstance(plan.collected(make(10)), list)
    table = plan.collected(iter(make(11)))
    assert isinstance(table, SampleTable)
    assert list(table) == plan.sorted_by_split(make(11))
    with pytest.raises(UserError, match="no samples"):
        plan.collected([])
    for at in range(13):  # one of them has its two rows on both sides of a block
        twice = [*make(13), make(13)[at]]
        with pytest.raises(UserError, match=f"{make(13)[at].key!r} occurs 2 times"):
            plan.collected(twice)
