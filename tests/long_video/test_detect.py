from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

pytest.importorskip("scenedetect", reason="requirements-long-video.txt is not installed")

from preprocess.demo.render import write_video
from preprocess.demo.scenes import ShapeScene
from preprocess.errors import MediaError, UserError
from preprocess.long_video import detect
from preprocess.long_video.components import require
from preprocess.long_video.demo import scene_frames
from preprocess.long_video.detect import Detected, Detector, detect_cuts
from preprocess.media import iter_frames
from preprocess.media.frames import FrameRows, Restart
from preprocess.media.sampling import Sampling
from tests.media_files import all_frames, damage_packets

SIZE = (64, 96)
LENGTHS = (2.25, 1.5, 3.0, 0.75)
SCENES = (
    ShapeScene("red", "circle", "left"),
    ShapeScene("blue", "star", "up"),
    ShapeScene("green", "square", "right"),
    ShapeScene("purple", "heart", "down"),
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


def test_a_video_is_decoded_in_one_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Seventy seconds, with cuts on both sides of a minute; every packet is decoded once."""
    from preprocess.media import video as reader

    opened: list[Path] = []
    packets: list[int] = []
    open_video, packets_again = reader.open_video, reader.packets_again

    def opening(path: Path) -> Any:
        opened.append(path)
        return open_video(path)

    def counted(*arguments: Any) -> Iterator[Any]:
        for packet in packets_again(*arguments):
            packets.append(packet.size)
            yield packet

    monkeypatch.setattr(reader, "open_video", opening)
    monkeypatch.setattr(reader, "packets_again", counted)
    path = tmp_path / "long.mp4"
    lengths = (59.25, 0.75, 4.0, 6.0)
    write_video(path, scene_frames(tuple(zip(lengths, SCENES, strict=True)), (32, 48)), 24)
    assert detect_cuts(path, Detector()) == Detected(70.0, (59.25, 60.0, 64.0))
    assert opened == [path]
    assert len(packets) == 70 * 24


def test_every_frame_is_compared_at_its_time(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times: list[float] = []
    add = detect._Search.add

    def noted(self: Any, time_s: float, image: Any) -> None:
        times.append(time_s)
        add(self, time_s, image)

    monkeypatch.setattr(detect._Search, "add", noted)
    detect_cuts(video, Detector())
    np.testing.assert_allclose(times, all_frames(video)[1])


def test_a_damaged_video_is_searched_from_the_beginning_when_decoding_restarts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hurt.mp4"
    write_video(path, scene_frames(tuple(zip(LENGTHS, SCENES, strict=True)), SIZE), 24)
    damage_packets(path, 100, 102)  # in the third scene, after two cuts were found
    stream = iter_frames(path, Sampling.every_nth(1))
    passes = 1 + sum(isinstance(record, Restart) for record in stream)
    assert passes > 1

    times: dict[int, list[float]] = {}
    searches = []
    add = detect._Search.add

    def noted(self: Any, time_s: float, image: Any) -> None:
        searches.append(self)  # keeps it alive: its id is its own
        times.setdefault(id(self), []).append(time_s)
        add(self, time_s, image)

    monkeypatch.setattr(detect._Search, "add", noted)
    assert detect_cuts(path, Detector()).cuts_s[:2] == CUTS[:2]
    assert len(times) == passes
    for searched in times.values():
        assert searched[0] == 0.0
        assert searched == sorted(set(searched))
    assert list(times.values())[-1] == stream.times_s.tolist()


def test_a_large_video_is_reduced_to_the_size_at_which_pyscenedetect_compares(tmp_path: Path) -> None:
    write_video(tmp_path / "v.mp4", scene_frames(((0.125, SCENES[0]),), (360, 640)), 24)
    reduced = detect._reduced(iter_frames(tmp_path / "v.mp4", Sampling.every_nth(1)))
    assert {record.image.shape for record in reduced if isinstance(record, FrameRows)} == {(144, 256, 3)}


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
