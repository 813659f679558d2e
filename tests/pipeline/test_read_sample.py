"""Samples to frames or Rejects, with real files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.errors import UserError
from preprocess.media import video
from preprocess.media.frames import FrameStream
from preprocess.media.sampling import Sampling
from preprocess.pipeline.read_sample import read_sample, read_sample_views, stream_sample
from preprocess.samples import Reject, Sample
from tests.media_files import all_frames, write_audio, write_video


def halve(image: Any) -> Any:
    return image[::2, ::2]


def negative(image: Any) -> Any:
    return 255 - image


def test_one_decode_gives_a_view_for_each_transform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown, _ = all_frames(write_video(tmp_path / "a.mp4", 30))
    sample = Sample("a", "train", "a.mp4", ("x",), start_s=1.0, end_s=2.0)
    decoded = []
    upright_rgb = video.upright_rgb
    monkeypatch.setattr(video, "upright_rgb", lambda *arguments: decoded.append(1) or upright_rgb(*arguments))
    views = read_sample_views(sample, str(tmp_path), Sampling.fps(5), (halve, negative))
    assert not isinstance(views, Reject)
    assert len(decoded) == 5
    for view in views:
        np.testing.assert_allclose(view.frames.timestamps_s, 1 + np.arange(5) / 5)
    np.testing.assert_array_equal(views[0].frames.pixels, shown[10:20:2, ::2, ::2])
    np.testing.assert_array_equal(views[1].frames.pixels, 255 - shown[10:20:2])
    alone = read_sample(sample, str(tmp_path), Sampling.fps(5), halve)
    assert not isinstance(alone, Reject)
    np.testing.assert_array_equal(alone.frames.pixels, views[0].frames.pixels)


def test_faults_of_a_file_become_rejects(tmp_path: Path) -> None:
    write_audio(tmp_path / "sound.mp4")
    for name, stage, reason in (("sound", "decode", "no_video_stream"), ("gone", "find", "missing")):
        sample = Sample(name, "val", f"{name}.mp4", ("x",))
        found = read_sample_views(sample, str(tmp_path), Sampling.fps(1), (halve,))
        assert isinstance(found, Reject)
        assert (found.key, found.split, found.stage, found.reason) == (name, "val", stage, reason)


@pytest.mark.parametrize("address", ["ssh://host/a.mp4", "http://127.0.0.1:9/a.mp4"])
def test_an_address_that_does_not_answer_is_not_found(address: str, tmp_path: Path) -> None:
    """It is not a fault of decoding, so it does not count as one."""
    found = read_sample_views(Sample("k", "test", address, ("x",)), str(tmp_path), Sampling.fps(1), (halve,))
    assert isinstance(found, Reject)
    assert (found.stage, found.reason) == ("find", "download_failed")


@pytest.mark.parametrize(
    ("error", "reason"), [(MemoryError(), "out_of_memory"), (RuntimeError("broken filter"), "decoder_crashed")]
)
def test_faults_of_the_consumer_cost_one_sample(error: Exception, reason: str, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 3)

    def consume(stream: FrameStream) -> int:
        assert next(iter(stream))
        raise error

    found = stream_sample(Sample("a", "train", "a.mp4", ("x",)), str(tmp_path), Sampling.fps(1), consume)
    assert isinstance(found, Reject)
    assert found.reason == reason


@pytest.mark.parametrize("error", [OSError("disk full"), UserError("wrong option", "Change it.")])
def test_faults_of_the_machine_or_user_end_the_run(error: Exception, tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 3)

    def consume(stream: FrameStream) -> int:
        raise error

    with pytest.raises(type(error)):
        stream_sample(Sample("a", "train", "a.mp4", ("x",)), str(tmp_path), Sampling.fps(1), consume)
