"""Sampling by time, against brute force in exact fractions."""

from __future__ import annotations

import math
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import UnknownNameError, UserError
from preprocess.media.sampling import Sampling, TooManyRowsError, wanted
from preprocess.options import parse_sampling

# Display times in units of 1 / 90000 s, as MPEG-TS has them: the first at 0, any steps.
STEPS = st.lists(st.integers(1, 200_000), max_size=80)


def exact_times(steps: list[int]) -> list[Fraction]:
    return [Fraction(int(ticks), 90_000) for ticks in np.cumsum([0, *steps])]


@given(steps=STEPS, last=st.integers(1, 200_000), fps=st.integers(1, 60), start=st.integers(0, 400_000) | st.none())
def test_fps_takes_the_frame_on_screen(steps: list[int], last: int, fps: int, start: int | None) -> None:
    times = exact_times(steps)
    duration = times[-1] + Fraction(last, 90_000)
    begin = Fraction(start or 0, 90_000)
    expected, k = [], 0
    while (time := begin + Fraction(k, fps)) < duration and (k == 0 or len(times) > 1):
        expected.append((max(i for i, shown in enumerate(times) if shown <= time), time))
        k += 1
    indices, rows_s = wanted(
        Sampling.fps(fps), np.array([float(t) for t in times]), float(duration), None if start is None else float(begin)
    )
    assert indices.tolist() == [i for i, _ in expected]
    np.testing.assert_allclose(rows_s, [float(t) for _, t in expected], atol=1e-9)


@given(
    steps=STEPS, kind=st.sampled_from(["every_nth", "num_frames", "segment"]), value=st.integers(1, 50), data=st.data()
)
def test_other_kinds_choose_among_the_frames_of_the_window(
    steps: list[int], kind: str, value: int, data: st.DataObject
) -> None:
    times = exact_times(steps)
    duration = times[-1] + Fraction(1, 25)
    start = data.draw(st.sampled_from([None, *times]))
    end = data.draw(st.sampled_from([None, *[t for t in times if start is None or t > start]]))
    window = [i for i, t in enumerate(times) if t >= (start or 0) and (end is None or t < end)]
    n = len(window)
    if kind == "every_nth":
        expected = window[::value]
    elif kind == "num_frames":
        expected = sorted({window[math.floor(Fraction(i * n, value))] for i in range(value)}) if n else []
    else:
        expected = sorted({window[math.floor(Fraction(2 * i + 1, 2) * n / value)] for i in range(value)}) if n else []
    pts_s = np.array([float(t) for t in times])
    indices, rows_s = wanted(
        Sampling(kind, value),  # type: ignore[arg-type]
        pts_s,
        float(duration),
        None if start is None else float(start),
        None if end is None else float(end),
    )
    assert indices.tolist() == expected
    assert rows_s.tolist() == [float(times[i]) for i in expected]


def test_spec_examples() -> None:
    pts_s = np.arange(250) / 25
    assert wanted(Sampling.fps(1), pts_s, 10.0)[0].tolist() == list(range(0, 250, 25))
    assert wanted(Sampling.num_frames(4), pts_s, 10.0)[0].tolist() == [0, 62, 125, 187]
    assert wanted(Sampling.segment(4), pts_s, 10.0)[0].tolist() == [31, 93, 156, 218]
    assert wanted(Sampling.every_nth(100), pts_s, 10.0)[0].tolist() == [0, 100, 200]


def test_durations_that_are_no_binary_fraction_do_not_add_a_row() -> None:
    assert len(wanted(Sampling.fps(25), np.arange(243) / 25, 9.72)[0]) == 243
    assert len(wanted(Sampling.fps(30), np.arange(300) / 30, 10.0)[0]) == 300
    assert len(wanted(Sampling.fps(0.1), np.arange(243) / 25, 9.72)[0]) == 1


def test_faster_than_the_video_shows_frames_again() -> None:
    indices, times_s = wanted(Sampling.fps(4), np.array([0.0, 0.5]), 1.0)
    assert indices.tolist() == [0, 0, 1, 1]
    assert times_s.tolist() == [0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    "sampling", [Sampling.fps(30), Sampling.every_nth(3), Sampling.num_frames(8), Sampling.segment(8)]
)
@pytest.mark.parametrize("duration_s", [0.0, 0.04, 5.0])
def test_one_frame_is_one_row(sampling: Sampling, duration_s: float) -> None:
    indices, times_s = wanted(sampling, np.zeros(1), duration_s)
    assert (indices.tolist(), times_s.tolist()) == ([0], [0.0])


@pytest.mark.parametrize(
    "sampling", [Sampling.fps(1), Sampling.every_nth(3), Sampling.num_frames(8), Sampling.segment(8)]
)
def test_windows(sampling: Sampling) -> None:
    pts_s = np.arange(5.0)
    assert wanted(sampling, pts_s, 5.0, 5.0, 6.0)[0].tolist() == []
    assert wanted(sampling, pts_s, 5.0, 7.0, None)[0].tolist() == []
    # Between two frames: the one on screen, at the window's own time.
    assert [x.tolist() for x in wanted(sampling, pts_s, 5.0, 2.25, 2.5)] == [[2], [2.25]]
    assert [x.tolist() for x in wanted(sampling, pts_s, 5.0, 4.5, 90.0)] == [[4], [4.5]]


def test_parse_and_json_round_trip() -> None:
    for sampling in (
        Sampling.fps(0.5),
        Sampling.fps(29.97002997),
        Sampling.fps(30000 / 1001),
        Sampling.every_nth(10),
        Sampling.num_frames(1_000_000),
        Sampling.segment(8),
    ):
        assert Sampling.parse(str(sampling)) == sampling
        assert Sampling.from_json(sampling.to_json()) == sampling
    assert Sampling.fps(1).to_json() == {"kind": "fps", "value": 1.0}
    assert Sampling.num_frames(8).to_json() == {"kind": "num_frames", "value": 8}


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_values_that_mean_nothing(value: float) -> None:
    with pytest.raises(ValueError, match=repr(value)):
        Sampling.fps(value)


@pytest.mark.parametrize(
    ("kind", "value", "limit"),
    [
        ("fps", 1000.5, "1,000"),
        ("fps", 1e9, "1,000"),
        ("num_frames", 1e11, "1,000,000"),
        ("segment", 1_000_001, "1,000,000"),
        ("every_nth", 1e300, "1,000,000"),
    ],
)
def test_values_out_of_range_are_refused_with_the_limit(kind: str, value: float, limit: str) -> None:
    with pytest.raises(ValueError, match=f"at most {limit}, got {re.escape(repr(value))}"):
        Sampling(kind, value)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=f"{kind}={re.escape(repr(value))}.*at most {limit}"):
        Sampling.parse(f"{kind}={value!r}")


def test_the_fps_option_keeps_its_digits_and_is_checked() -> None:
    assert parse_sampling(29.97002997, None) == Sampling.fps(29.97002997)
    assert parse_sampling(None, "num_frames=12") == Sampling.num_frames(12)
    with pytest.raises(UserError, match=r"'fps=1000000000\.0' has no usable value.*at most 1,000"):
        parse_sampling(1e9, None)


def test_a_video_with_too_many_rows() -> None:
    year = 365 * 86_400.0
    with pytest.raises(TooManyRowsError, match="fps=1 gives 31,536,000 rows"):
        wanted(Sampling.fps(1), np.array([0.0, year - 1]), year)
    assert len(wanted(Sampling.fps(1), np.array([0.0, year - 1]), year, 5.0, 8.0)[0]) == 3
    assert len(wanted(Sampling.fps(0.1), np.array([0.0, year - 1]), year)[0]) == 3_153_600


def test_values_that_cannot_be_parsed() -> None:
    with pytest.raises(ValueError, match="whole number"):
        Sampling("num_frames", 2.5)
    with pytest.raises(ValueError, match="frames_per_second"):
        Sampling("frames_per_second", 1)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="Did you mean 'num_frames'"):
        Sampling.parse("num_frame=3")
    for text in ("fps", "fps=", "fps=fast", "num_frames=1.5", "fps=0"):
        with pytest.raises(UserError, match="usable value"):
            Sampling.parse(text)
