from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

pytest.importorskip("scenedetect", reason="requirements-long-video.txt is not installed")

from preprocess.demo.render import write_video
from preprocess.demo.scenes import Scene
from preprocess.errors import MediaError, UserError
from preprocess.long_video import detect
from preprocess.long_video.components import require
from preprocess.long_video.demo import scene_frames
from preprocess.long_video.detect import Detector, detect_cuts
from tests.media_files import all_frames
from tests.media_files import write_video as write_slowly

SIZE = (64, 96)
LENGTHS = (2.25, 1.5, 3.0, 0.75)
SCENES = (
    Scene("red", "circle", "left"),
    Scene("blue", "star", "up"),
    Scene("green", "square", "right"),
    Scene("purple", "heart", "down"),
)
CUTS = (2.25, 3.75, 6.75)


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cuts") / "v.mp4"
    write_video(path, scene_frames(tuple(zip(LENGTHS, SCENES, strict=True)), SIZE), 24)
    return path


@pytest.mark.parametrize("kind", ["content", "adaptive"])
def test_cuts_are_found_to_the_frame(video: Path, kind: str) -> None:
    found = detect_cuts(video, Detector(kind))  # type: ignore[arg-type]
    assert found.cuts_s == CUTS
    assert found.duration_s == sum(LENGTHS)
    assert found.scenes() == [(0.0, 2.25), (2.25, 3.75), (3.75, 6.75), (6.75, 7.5)]


def test_cuts_are_those_of_pyscenedetect_itself(video: Path) -> None:
    import scenedetect

    theirs = scenedetect.detect(str(video), scenedetect.ContentDetector(min_scene_len=0.6), backend="opencv")
    assert [round(start.seconds, 6) for start, _ in theirs[1:]] == list(CUTS)
    assert detect_cuts(video, Detector()).cuts_s == CUTS


def test_windows_leave_no_mark(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, "_WINDOW_S", 0.75)  # a cut lies on the edge of windows, others within
    assert detect_cuts(video, Detector()).cuts_s == CUTS
    times = [time for time, _ in detect._small_frames(video, 7.5)]
    np.testing.assert_allclose(times, all_frames(video)[1])


def test_a_frame_that_lasts_longer_than_a_window_is_looked_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_slowly(tmp_path / "slow.mp4", n_frames=4, fps=1)
    monkeypatch.setattr(detect, "_WINDOW_S", 0.75)
    assert [time for time, _ in detect._small_frames(path, 4.0)] == [0.0, 1.0, 2.0, 3.0]


def test_a_large_video_is_looked_at_as_small_as_pyscenedetect_does(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", scene_frames(((0.125, SCENES[0]),), (360, 640)), 24)
    sizes = {image.shape for _, image in detect._small_frames(tmp_path / "v.mp4", 0.125)}
    assert sizes == {(144, 256, 3)}


def test_cuts_go_by_time_where_the_frame_rate_varies(tmp_path: Path) -> None:
    path = tmp_path / "vfr.mp4"
    steps = np.random.default_rng(1).integers(20, 90, 60)
    pts = np.concatenate([[0], np.cumsum(steps)[:-1]])  # milliseconds
    frames = list(scene_frames(((1.25, SCENES[0]), (1.25, SCENES[1])), SIZE))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.height, stream.width, stream.pix_fmt = *SIZE, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for pixels, time in zip(frames, pts, strict=True):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = int(time), Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert detect_cuts(path, Detector()).cuts_s == pytest.approx([pts[30] / 1000])


def test_a_video_without_cuts_is_one_scene(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", scene_frames(((1.0, SCENES[0]),), SIZE), 24)
    assert detect_cuts(tmp_path / "v.mp4", Detector()).scenes() == [(0.0, 1.0)]


def test_what_is_no_video_is_a_media_error(tmp_path: Path) -> None:
    (tmp_path / "v.mp4").write_text("not a video")
    with pytest.raises(MediaError):
        detect_cuts(tmp_path / "v.mp4", Detector())


def test_a_missing_package_is_named_with_the_line_that_installs_it() -> None:
    with pytest.raises(UserError, match=r"'no_such\.module' is not installed.*requirements-long-video\.txt"):
        require("scenedetect", "no_such.module")


def test_cuts_of_a_real_video_are_those_of_pyscenedetect(shared_data: Path) -> None:
    import scenedetect

    path = shared_data / "videos/cooking.avi"
    theirs = scenedetect.detect(str(path), scenedetect.ContentDetector(min_scene_len=0.6), backend="opencv")
    assert len(theirs) > 1
    assert detect_cuts(path, Detector()).cuts_s == pytest.approx([start.seconds for start, _ in theirs[1:]], abs=1e-3)
