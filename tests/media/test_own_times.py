"""Windows that name frames by their times: which frames and times, beside a plain search over all frames."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import MediaError
from preprocess.media import iter_frames
from preprocess.media.frames import collect_media
from preprocess.media.sampling import MAX_ROWS, Sampling, TooManyRowsError, wanted, wanted_frames
from tests.media_files import all_frames, write_video


@given(
    fps=st.sampled_from([10, 15, 24, 30, 50, 30000 / 1001]),
    first=st.integers(0, 40),
    length=st.integers(1, 40),
    noise=st.floats(-0.4, 0.4),
    rate=st.sampled_from([0.5, 1, 3, 7, 30, 1000]),
)
def test_an_episode_is_its_frames_however_its_times_were_rounded(
    fps: float, first: int, length: int, noise: float, rate: float
) -> None:
    total = first + length + 5
    pts = np.round(np.arange(total) / fps * 90000) / 90000  # as in a file whose time base is 1/90000 s
    start, end = (first + noise) / fps, (first + length + noise) / fps
    start = max(start, 0.0)
    frames, times = wanted_frames(Sampling.every_nth(1), pts, total / fps, start, end)
    assert frames.tolist() == list(range(first, first + length))
    np.testing.assert_array_equal(times, pts[frames])
    frames, times = wanted_frames(Sampling.fps(rate), pts, total / fps, start, end)
    inside = pts[first : first + length]
    targets = [inside[0] + k / rate for k in range(math.floor((inside[-1] - inside[0]) * rate + 1e-9) + 1)]
    nearest = sorted({first + int(np.argmin(np.abs(inside - target))) for target in targets})
    # Half-way between two frames either is the nearest.
    assert len(frames) == len(nearest)
    assert np.abs(frames - nearest).max() <= (1 if rate < fps else 0)
    assert all(np.abs(pts[frames][:, None] - np.array(targets)).min(axis=1) <= 0.5 / fps + 1e-4)
    np.testing.assert_array_equal(times, pts[frames])


def test_the_kinds_that_count_frames_count_those_of_the_window() -> None:
    pts = np.arange(30) / 10
    for sampling in (Sampling.every_nth(4), Sampling.num_frames(3), Sampling.segment(3)):
        frames, times = wanted_frames(sampling, pts, 3.0, 1.2004, 1.9001)
        expected, _ = wanted(sampling, pts[12:19], 0.7 + 1.2)
        assert frames.tolist() == [12 + frame for frame in wanted(sampling, pts[:7], 0.7)[0]], (sampling, expected)
        np.testing.assert_array_equal(times, pts[frames])


def test_the_last_episode_ends_with_the_file_and_no_window_is_all_of_it() -> None:
    pts = np.arange(30) / 10
    assert wanted_frames(Sampling.every_nth(1), pts, 3.0, 2.6, 3.0)[0].tolist() == [26, 27, 28, 29]
    assert wanted_frames(Sampling.every_nth(1), pts, 3.0, 2.6, 7.0)[0].tolist() == [26, 27, 28, 29]
    assert wanted_frames(Sampling.every_nth(10), pts, 3.0)[0].tolist() == [0, 10, 20]
    assert wanted_frames(Sampling.fps(1), pts[:1], 0.1)[0].tolist() == [0]
    for start, end in ((5.0, 6.0), (1.0, 1.04), (2.0, 1.0)):
        assert wanted_frames(Sampling.fps(1), pts, 3.0, start, end)[0].tolist() == []
    with pytest.raises(TooManyRowsError):
        wanted_frames(Sampling.fps(1000), np.array([0.0, MAX_ROWS / 999]), MAX_ROWS)


def test_rows_are_the_frames_of_a_full_decode(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", 40)
    pixels, times = all_frames(path)
    for start, end, expected in ((1.1999, 1.9, range(12, 19)), (1.9001, 4.0, range(19, 40)), (0.0, 1.2, range(12))):
        stream = iter_frames(path, Sampling.every_nth(1), start_s=start, end_s=end, own_times=True)
        (media,) = collect_media(stream, (lambda image: image,))
        np.testing.assert_array_equal(media.frames.pixels, pixels[expected.start : expected.stop])
        np.testing.assert_allclose(media.frames.timestamps_s, times[expected.start : expected.stop], atol=1e-9)
    stream = iter_frames(path, Sampling.fps(1), start_s=9.0, end_s=10.0, own_times=True)
    with pytest.raises(MediaError, match="no frame between"):
        list(stream)
