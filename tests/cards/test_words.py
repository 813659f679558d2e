"""Numbers and settings in words."""

from __future__ import annotations

import pytest

from dataset_cards import words


@pytest.mark.parametrize(
    ("n", "text"),
    [
        *((1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (12, "12th"), (13, "13th"), (21, "21st")),
        *((22, "22nd"), (101, "101st"), (111, "111th"), (112, "112th"), (1000, "1000th")),
    ],
)
def test_ordinals(n: int, text: str) -> None:
    assert words.ordinal(n) == text


@pytest.mark.parametrize(
    ("kind", "value", "unit", "text"),
    [
        ("fps", 1.0, "frame", "at 1 frame per second: row k is the frame on screen k seconds after"),
        ("fps", 2.5, "frame", "at 2.5 frames per second: row k is the frame on screen k/2.5 seconds after"),
        ("fps", 2.0, "clip", "at 2 frames per second: sampled frame k is the one on screen k/2 seconds after"),
        ("every_nth", 3, "frame", "Every 3rd frame of each video"),
        ("num_frames", 8, "frame", "8 evenly spaced frames"),
        ("segment", 4, "frame", "divided into 4 parts"),
    ],
)
def test_the_sampling_rule(kind: str, value: float, unit: str, text: str) -> None:
    assert text in words.sampling_rule({"kind": kind, "value": value}, unit)


def test_counts() -> None:
    assert (words.count(1, "tar"), words.count(2, "tar"), words.count(1_000, "class", "classes")) == (
        "1 tar",
        "2 tars",
        "1,000 classes",
    )
    assert (words.times(1.27), words.times(37.6)) == ("1.27 times", "38 times")
