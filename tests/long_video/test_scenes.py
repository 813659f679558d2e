from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import AnnotationError, RawDataError
from preprocess.long_video.scenes import Crop, Scene, crop_scene, find_videos, read_scenes


@given(start=st.floats(0, 10_000), length=st.floats(0.001, 1000))
def test_a_scene_of_any_length_gives_whole_segments_around_its_middle_or_nothing(start: float, length: float) -> None:
    end = start + length
    crop = crop_scene(start, end)
    if end - start < 2 - 1e-5:
        assert crop is None
    elif end - start > 2:
        assert crop is not None
        used = 3 * crop.segments
        if end - start < 3 - 1e-5:
            assert crop == Crop(start, 1)
        else:
            assert 0 <= end - start - used + 1e-5 < 3 + 1e-5  # as many segments as fit
            before, after = crop.start_s - start, end - (crop.start_s + used)
            assert before >= 0
            assert before == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize(
    ("start", "end", "crop"),
    [
        (0.0, 10.0, Crop(0.5, 3)),
        (20.0, 22.5, Crop(20.0, 1)),
        (5.0, 7.0, Crop(5.0, 1)),
        (5.0, 6.999, None),
        (1.1, 4.1, Crop(1.1, 1)),  # 2.9999999999999996 s in float64
        (0.0, 63.0, Crop(0.0, 21)),
    ],
)
def test_cropping_by_example(start: float, end: float, crop: Crop | None) -> None:
    assert crop_scene(start, end) == crop


ROWS = [
    {"video": "b.mp4", "start": 0, "end": 4.5, "text": "one"},
    {"video": "a.mp4", "start": 62.5, "end": 70, "text": ["two", "three"]},
]
EXPECTED = [Scene("a.mp4", 62.5, 70.0, ("two", "three")), Scene("b.mp4", 0.0, 4.5, ("one",))]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("s.json", json.dumps(ROWS)),
        ("s.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS)),
        ("s.csv", "video,start,end,text_0,text_1\nb.mp4,0,4.5,one,\na.mp4,00:01:02.5,1:10,two,three\n"),
        ("s.tsv", "video\tstart\tend\ttext\ttext_1\nb.mp4\t0\t4.5\tone\t\na.mp4\t62.5\t70\ttwo\tthree\n"),
    ],
)
def test_annotations_in_every_form(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_scenes(tmp_path / name) == EXPECTED


def test_scenes_as_they_are_written_can_be_given_back(tmp_path: Path) -> None:
    path = tmp_path / "scenes.jsonl"
    path.write_text("".join(json.dumps(scene.to_json()) + "\n" for scene in EXPECTED))
    assert read_scenes(path) == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("video,start,end\na.mp4,5,4\n", "line 2"),
        ("video,start,end\na.mp4,5,5\n", "line 2: the scene ends at 5.0 s and starts at 5.0 s"),
        ("video,start,end\na.mp4,x,4\n", "line 2: start"),
        ("video,start,end\na.mp4,nan,4\n", "line 2: start"),
        ("video,start,end\n../a.mp4,0,4\n", r"video: got '\.\./a\.mp4'"),
        ("video,start\na.mp4,0\n", "no column end"),
        ("video,start,end\na.mp4,0,4\na.mp4,0,4\n", "already given"),
        ("video,start,end\n", "no scene"),
    ],
)
def test_wrong_annotations_are_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "s.csv"
    path.write_text(content)
    with pytest.raises(AnnotationError, match=message):
        read_scenes(path)


def test_videos_are_called_by_path_name_or_stem_unless_that_means_several(tmp_path: Path) -> None:
    for name in ("s1/a.mp4", "s2/a.mp4", "s2/b.MKV", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    called = find_videos(tmp_path)
    assert called["b"] == called["b.MKV"] == called["s2/b"] == "s2/b.MKV"
    assert called["s1/a.mp4"] == called["s1/a"] == "s1/a.mp4"
    assert "a" not in called
    assert "a.mp4" not in called
    assert "notes.txt" not in called


@pytest.mark.parametrize("times", [(5.0, 5.0), (5.0, 4.0), (-1.0, 4.0), (0.0, float("inf")), (float("nan"), 1.0)])
def test_a_scene_has_a_length(times: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="0 <= start < end"):
        Scene("a.mp4", *times)


def test_no_folder_and_no_video_are_errors(tmp_path: Path) -> None:
    with pytest.raises(RawDataError, match="no folder"):
        find_videos(tmp_path / "nowhere")
    with pytest.raises(RawDataError, match="no video"):
        find_videos(tmp_path)
