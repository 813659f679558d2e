"""Clips of sampled frames: which frames, which seconds, how many are repeated."""

from __future__ import annotations

import numpy as np
import pytest

from preprocess.media.clips import clip_spans, clip_windows


def naive(n_frames: int, clip_frames: int, stride: int) -> list[list[int]]:
    """One clip after another, as the definition reads."""
    clips: list[list[int]] = []
    for start in range(0, n_frames, stride):
        clips.append([min(start + i, n_frames - 1) for i in range(clip_frames)])
        if start + clip_frames >= n_frames:
            break
    return clips


@pytest.mark.parametrize("stride", [1, 2, 3, 4, 7])
@pytest.mark.parametrize("clip_frames", [1, 2, 4, 5])
def test_windows_are_those_of_the_definition(clip_frames: int, stride: int) -> None:
    for n_frames in range(20):
        found = clip_windows(n_frames, clip_frames, stride)
        assert found.dtype == np.int64
        assert found.shape[1] == clip_frames
        assert found.tolist() == naive(n_frames, clip_frames, stride), n_frames


def test_wrong_numbers_are_named() -> None:
    with pytest.raises(ValueError, match="stride = 0"):
        clip_windows(4, 4, 0)


def test_spans_end_at_the_frame_after_and_at_the_end_of_the_part() -> None:
    times = np.array([3.0, 4.0, 5.5, 6.0, 7.0])
    windows = clip_windows(5, clip_frames=2, stride=2)
    assert windows.tolist() == [[0, 1], [2, 3], [4, 4]]
    assert clip_spans(times, windows, end_s=7.25) == ([[3.0, 5.5], [5.5, 7.0], [7.0, 7.25]], 1)


def test_clips_overlap_and_padding_counts_every_repeated_frame() -> None:
    times = np.arange(5.0)
    spans, padded = clip_spans(times, clip_windows(5, clip_frames=4, stride=3), end_s=5.0)
    assert spans == [[0.0, 4.0], [3.0, 5.0]]
    assert padded == 2


def test_an_image_covers_no_time() -> None:
    assert clip_spans(np.zeros(1), clip_windows(1, 4, 4), end_s=0.0) == ([[0.0, 0.0]], 3)
