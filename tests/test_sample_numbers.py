"""The numbers of samples by their keys, in a list and in a table."""

from __future__ import annotations

import random

import numpy as np
import pytest

from preprocess import sample_numbers
from preprocess.pipeline import plan
from preprocess.sample_numbers import ABSENT, SampleNumbers
from preprocess.sample_table import SampleTable
from preprocess.samples import SPLITS, Sample

COUNT = 200


@pytest.fixture(params=["a list", "a table"])
def numbers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> SampleNumbers:
    """Of 200 samples of three splits, one of which has none."""
    monkeypatch.setattr(sample_numbers, "BLOCK", 13)
    if request.param == "a table":
        monkeypatch.setattr(plan, "AS_OBJECTS", 1)
    made = [Sample(f"k{i:03}", SPLITS[i % 2 * 2], f"{i}.mp4", ("a",)) for i in range(COUNT)]
    random.Random(3).shuffle(made)
    found = SampleNumbers(plan.collected(made))
    assert isinstance(found.samples, SampleTable) == (request.param == "a table")
    return found


def check(numbers: SampleNumbers) -> None:
    keys = [sample.key for sample in numbers.samples]
    assert numbers.of(keys).tolist() == list(range(COUNT))
    mixed = ["", *keys[150:], "k", "k0000", *keys[:3], keys[0]]
    assert numbers.of(mixed).tolist() == [keys.index(key) if key in keys else ABSENT for key in mixed]
    assert numbers.of([]).tolist() == []
    assert numbers.among([keys[7], "gone", keys[150], keys[7]]).nonzero()[0].tolist() == [7, 150]
    assert list(numbers.keys(np.array([9, 2, 2]))) == [keys[9], keys[2], keys[2]]


def test_every_key_is_found_and_no_other(numbers: SampleNumbers) -> None:
    check(numbers)
    assert [SPLITS[code] for code in numbers.splits] == [sample.split for sample in numbers.samples]


def test_keys_with_the_same_hash_are_told_apart(numbers: SampleNumbers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_numbers, "hash", len, raising=False)
    check(SampleNumbers(numbers.samples))


def test_by_key_gives_every_number_once_in_the_order_of_the_keys(numbers: SampleNumbers) -> None:
    keys = [sample.key for sample in numbers.samples]
    found = [number for block in numbers.by_key() for number in block.tolist()]
    assert [keys[number] for number in found] == sorted(keys) != keys


def test_no_samples_have_no_numbers() -> None:
    none = SampleNumbers([])
    assert none.of(["a"]).tolist() == [ABSENT]
    assert not list(none.by_key())
    assert none.among(["a"]).tolist() == []
