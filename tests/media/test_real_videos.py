"""Three real videos, against a full decode, OpenCV and torchcodec."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video
from tests.decoders import opencv_frames, torchcodec_decoder

# name: rows at one frame per second, frames, duration in seconds.
VIDEOS = {
    "baby_reading.mp4": (10, 243, 9.72),  # H.264 with B-frames, one GOP
    "clip_video_encode_vid1.mp4": (3, 56, 2.24),  # cut by an edit list: 18 of 74 frames are not shown
    "cooking.avi": (10, 270, 9.025),  # H.264 in AVI, 359 / 12 frames per second
}


@pytest.fixture(params=VIDEOS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def path(name: str, shared_data: Path) -> Path:
    found = shared_data / "videos" / name
    if not found.is_file():
        pytest.skip(f"{name} is not among the real videos in ../shared/data")
    return found


def test_rows(name: str, path: Path) -> None:
    rows, frames, duration_s = VIDEOS[name]
    clip = read_video(path, Sampling.fps(1))
    assert clip.frames.timestamps_s.tolist() == list(range(rows))
    assert clip.duration_s == pytest.approx(duration_s, abs=0.001)
    assert not clip.truncated
    assert len(read_video(path, Sampling.every_nth(10)).frames.pixels) == -(-frames // 10)


@pytest.mark.parametrize("sampling", [Sampling.fps(3), Sampling.num_frames(32), Sampling.segment(8)], ids=str)
@pytest.mark.parametrize("window", [(None, None), (0.7, 2.0)], ids=str)
def test_frames_of_a_full_decode(
    path: Path, sampling: Sampling, window: tuple[float | None, float | None], all_frames: Callable[[Path], Any]
) -> None:
    shown = all_frames(path)
    clip = read_video(path, sampling, start_s=window[0], end_s=window[1])
    assert len(clip.frames.pixels) > 3
    for time_s, pixels in zip(clip.frames.timestamps_s, clip.frames.pixels, strict=True):
        np.testing.assert_array_equal(pixels, shown.pixels[shown.on_screen(float(time_s))])


def test_frames_of_opencv(path: Path) -> None:
    theirs = opencv_frames(path)
    np.testing.assert_array_equal(read_video(path, Sampling.every_nth(1)).frames.pixels, theirs)
    np.testing.assert_array_equal(read_video(path, Sampling.every_nth(10)).frames.pixels, theirs[::10])
    middle = (2 * np.arange(8) + 1) * len(theirs) // 16
    np.testing.assert_array_equal(read_video(path, Sampling.segment(8)).frames.pixels, theirs[middle])


def test_frames_of_torchcodec(path: Path) -> None:
    decoder = torchcodec_decoder(path)
    origin = decoder.metadata.begin_stream_seconds
    clip = read_video(path, Sampling.fps(2))
    # A hundredth of a second after the start of a frame, no rounding matters.
    theirs = decoder.get_frames_played_at((origin + clip.frames.timestamps_s + 0.01).tolist())
    ours = read_video(path, Sampling.fps(2), start_s=0.01)
    np.testing.assert_array_equal(ours.frames.pixels, theirs.data.numpy()[: len(ours.frames.pixels)])
