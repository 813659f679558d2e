from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from preprocess import media
from preprocess.errors import MediaError, UserError
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.frames import RestartedError, episode_frames, fit_picture, regroup
from preprocess.long_video.scenes import Scene
from preprocess.long_video.segments import Segment, cut_segments
from tests.media_files import all_frames, damage_packets, moving_noise, write_video

SAME_SIZE = FrameFormat(height=48, width=64)  # of the videos: pixels can be compared as they are


def on_screen(times_s: list[Fraction], pts_s: np.ndarray, scene_end_s: float) -> list[int]:
    """The frame with the largest display time that is not after each time, and belongs to the scene."""
    last = max(i for i, pts in enumerate(pts_s) if pts < scene_end_s - 1e-7)
    return [min(max(i for i, pts in enumerate(pts_s) if pts <= float(t) + 1e-9), last) for t in times_s]


def episode_times(segments: tuple[Segment, ...]) -> list[Fraction]:
    """Frame k is at the start of its segment plus (k mod 48) / 16 s; one more at the very end."""
    times = [Fraction(s.start_s) + Fraction(i, 16) for s in segments for i in range(48)]
    return [*times, Fraction(segments[-1].start_s) + 3]


def read_all(path: Path, segments: tuple[Segment, ...], settings: FrameFormat = SAME_SIZE) -> np.ndarray:
    return np.concatenate(list(episode_frames(path.parent, segments, settings)))


def assert_frames(path: Path, segments: tuple[Segment, ...]) -> list[int]:
    """Compares an episode with a plain decode of the whole file; returns which source frames it holds."""
    frames, pts_s = all_frames(path)
    wanted: list[int] = []
    times = episode_times(segments)
    for number, segment in enumerate(segments):
        stop = 48 * (number + 1) + (number == len(segments) - 1)
        wanted += on_screen(times[48 * number : stop], pts_s, segment.scene_end_s)
    pixels = read_all(path, segments)
    np.testing.assert_array_equal(
        np.concatenate(list(episode_frames(path.parent, segments, SAME_SIZE, by_segment=True))), pixels
    )
    assert len(pixels) == 16 * 3 * len(segments) + 1
    np.testing.assert_array_equal(pixels, frames[wanted])
    return wanted


@pytest.mark.parametrize("fps", [10, 24, 25])
def test_each_frame_is_on_screen_at_its_time_over_several_segments(tmp_path: Path, fps: int) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=11 * fps, fps=fps)
    segments = cut_segments(Scene("v.mp4", 0.3, 10.9))
    assert len(segments) == 3
    assert_frames(path, segments)


def test_nothing_drifts_where_the_frame_rate_varies(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    pts = np.cumsum([0, *np.random.default_rng(0).integers(5, 130, 149)])  # milliseconds
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(moving_noise(150), pts, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    _, pts_s = all_frames(path)
    assert len(np.unique(np.diff(pts_s).round(4))) > 20
    assert_frames(path, cut_segments(Scene("vfr.mp4", 0.1, float(pts_s[-1]) - 0.2)))


def test_a_scene_that_is_too_short_is_padded_with_its_last_frame(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=100, fps=25)
    wanted = assert_frames(path, cut_segments(Scene("v.mp4", 0.48, 2.98)))
    # The last frame of the scene is the one before 2.98 s, although no sixteenth of a second falls on it.
    assert wanted[-8:] == [74] * 8
    assert wanted[39] < 74


def test_the_last_frame_never_shows_the_next_scene(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=100, fps=25)
    assert assert_frames(path, cut_segments(Scene("v.mp4", 0.0, 3.0)))[-1] == 74
    assert assert_frames(path, cut_segments(Scene("v.mp4", 0.0, 3.5)))[-1] == 81  # frame at 0.25 + 3 s: 81.25


def test_a_scene_may_end_with_the_video(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=75, fps=25)
    assert assert_frames(path, cut_segments(Scene("v.mp4", 0.0, 3.0)))[-1] == 74


def test_a_video_that_ends_before_its_scene_is_truncated(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=50, fps=25)
    with pytest.raises(MediaError, match="has no frame for") as caught:
        read_all(path, cut_segments(Scene("v.mp4", 0.0, 3.0)))
    assert caught.value.reason == "truncated"


def test_a_scene_is_decoded_once_and_cuts_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "v.mp4", n_frames=400, fps=25)
    segments = (*cut_segments(Scene("v.mp4", 0.3, 6.5)), *cut_segments(Scene("v.mp4", 6.5, 15.9)))
    assert_frames(path, segments)
    passes = []
    opened = media.iter_frames

    def noted(*arguments: Any, **window: Any) -> Any:
        passes.append(window)
        return opened(*arguments, **window)

    monkeypatch.setattr(media, "iter_frames", noted)
    read_all(path, segments)
    assert len(segments) == 5
    assert [window["start_s"] for window in passes] == [pytest.approx(0.4), pytest.approx(6.7)]


def test_a_damaged_video_is_read_segment_by_segment(tmp_path: Path) -> None:
    path = damage_packets(write_video(tmp_path / "hurt.mp4", n_frames=250, fps=25), 180, 182)  # in the third segment
    segments = cut_segments(Scene("hurt.mp4", 0.0, 9.0))
    with pytest.raises(RestartedError, match=r"hurt\.mp4"):
        read_all(path, segments)
    parts = list(episode_frames(tmp_path, segments, SAME_SIZE, by_segment=True))
    assert [len(part) for part in parts] == [48, 48, 49]


@pytest.mark.parametrize("source", [(90, 160), (60, 60), (100, 40)])
def test_cropping_fills_the_picture_and_padding_shows_it_all(source: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(40, 256, (*source, 3), dtype=np.uint8)
    height, width = 48, 72
    for fit, choose in (("crop", max), ("pad", min)):
        scale = choose(height / source[0], width / source[1])
        size = round(source[1] * scale), round(source[0] * scale)
        resized = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC)).astype(int)
        fitted = fit_picture(height, width, fit)(image).astype(int)  # type: ignore[arg-type]
        assert fitted.shape == (height, width, 3)
        top, left = abs(height - resized.shape[0]) // 2, abs(width - resized.shape[1]) // 2
        if fit == "crop":
            expected = resized[top : top + height, left : left + width]
        else:
            expected = np.zeros_like(fitted)
            expected[top : top + resized.shape[0], left : left + resized.shape[1]] = resized
        assert np.abs(fitted - expected).max() <= 2  # Pillow rounds a little differently


@given(parts=st.lists(st.integers(1, 60), min_size=1, max_size=6), data=st.data())
def test_regrouping_keeps_every_frame_in_order(parts: list[int], data: st.DataObject) -> None:
    total = sum(parts)
    sizes = []
    while sum(sizes) < total:
        sizes.append(data.draw(st.integers(1, total - sum(sizes))))
    frames = np.arange(total, dtype=np.uint8).reshape(total, 1, 1, 1).repeat(3, axis=3)
    cut = np.split(frames, np.cumsum(parts)[:-1])
    groups = list(regroup(cut, sizes))
    assert [len(group) for group in groups] == sizes
    np.testing.assert_array_equal(np.concatenate(groups), frames)


def test_regrouping_says_when_the_frames_do_not_come_out_even() -> None:
    frames = np.zeros((5, 1, 1, 3), np.uint8)
    with pytest.raises(ValueError, match="end 1 before"):
        list(regroup([frames], [6]))
    with pytest.raises(ValueError, match="more frames"):
        list(regroup([frames], [4]))


@pytest.mark.parametrize("wrong", [{"fps": 15}, {"height": 481}, {"width": 0}, {"fit": "stretch"}])
def test_settings_that_cannot_be_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError):
        FrameFormat(**wrong)  # type: ignore[arg-type]
