"""The pure functions that say what there is to do."""

from __future__ import annotations

from typing import Any

import pytest

from preprocess.errors import UserError
from preprocess.pipeline import plan
from preprocess.sample_table import SampleTable
from preprocess.samples import Sample


def sample(key: str, split: Any = "train", **more: Any) -> Sample:
    return Sample(key=key, split=split, media=f"{key}.mp4", captions=(key,), **more)


def test_order_is_by_split_then_key_whatever_the_recipe_yields() -> None:
    mixed = [sample("b", "test"), sample("z"), sample("a", "val"), sample("c")]
    assert [s.key for s in plan.sorted_by_split(mixed)] == ["c", "z", "a", "b"]


def test_no_samples_and_keys_that_occur_twice_are_refused() -> None:
    with pytest.raises(UserError, match="no samples"):
        plan.sorted_by_split([])
    with pytest.raises(UserError, match="'a' occurs 2 times"):
        plan.sorted_by_split([sample("a"), sample("b"), sample("a", "val")])


@pytest.mark.parametrize("many", [False, True], ids=["a list", "a table"])
def test_changed_finds_what_is_gone_or_different(many: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [sample("a"), sample("b"), sample("c"), sample("d", label="x")]
    if many:
        monkeypatch.setattr(plan, "AS_OBJECTS", 2)
    after = plan.collected([sample("a"), sample("b", "val"), sample("d", label="y"), sample("new")])
    assert isinstance(after, SampleTable) == many
    assert [s.key for s in plan.changed(iter(before), after)] == ["b", "c", "d"]
