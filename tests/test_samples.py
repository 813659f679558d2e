"""The core records refuse what later steps rely on: keys and paths that are safe, windows that have a length."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.samples import KEY_PATTERN, Sample, safe_key

GOOD: dict[str, Any] = {"key": "a-b_1", "split": "train", "media": "train/a b.mp4", "captions": ("a",)}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("key", bad) for bad in ("", "a.b", "a/b", "../a", "a b", "ä", "a\n", "a" * 201)),
        *(("split", bad) for bad in ("validation", "")),
        *(("media", bad) for bad in ("", "/etc/passwd", "..", "../a.mp4", "a/../../b.mp4", "a\0.mp4")),
        *(("captions", bad) for bad in ((), ("",), (" \n",), ("a", ""), (1,))),
        *(("label", bad) for bad in ("", " ")),
    ],
)
def test_a_sample_that_is_not_sound_is_refused_with_its_value(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field) as error:
        Sample(**{**GOOD, field: value})
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("window", [(1.0, 1.0), (2.0, 1.0), (-1.0, 1.0), (0.0, 0.0), (float("nan"), 1.0)])
def test_a_window_has_a_length(window: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 <= start_s < end_s"):
        Sample(**GOOD, start_s=window[0], end_s=window[1])


@pytest.mark.parametrize("window", [(None, None), (0.0, None), (None, 0.1), (1.0, 1.001), (0.0, float("inf"))])
def test_what_is_sound_comes_back(window: tuple[float | None, float | None]) -> None:
    sample = Sample(**GOOD, label="x", start_s=window[0], end_s=window[1], meta={"a": [1]})
    assert Sample.from_json(sample.to_json()) == sample


@given(st.lists(st.text(min_size=1, max_size=300), min_size=2, max_size=20, unique=True))
def test_keys_are_safe_and_stay_apart(names: list[str]) -> None:
    keys = [safe_key(name) for name in names if _encodes(name)]
    assert all(KEY_PATTERN.fullmatch(key) for key in keys)
    assert len(set(keys)) == len(keys)


def _encodes(name: str) -> bool:
    return not any("\ud800" <= c <= "\udfff" for c in name)


@pytest.mark.parametrize(("one", "other"), [("a b", "a.b"), ("ä", "ö"), ("x" * 300, "x" * 301), ("a/b", "a_b")])
def test_names_that_look_alike_have_keys_of_their_own(one: str, other: str) -> None:
    assert safe_key(one) != safe_key(other)
