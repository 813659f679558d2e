from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import AnnotationError, UserError
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.scenes import Scene
from preprocess.long_video.segments import Episode, cut_segments, join_episodes, segment_texts

FRAMES = FrameFormat()


def test_the_first_and_the_last_segment_of_a_scene_are_flagged() -> None:
    segments = cut_segments(Scene("v.mp4", 10.0, 20.0, ("a",)))
    assert [s.start_s for s in segments] == [10.5, 13.5, 16.5]
    assert [s.scene_start for s in segments] == [True, False, False]
    assert [s.scene_end for s in segments] == [False, False, True]
    assert {s.scene_end_s for s in segments} == {20.0}
    assert [s.text for s in segments] == ["a", "a", "a"]
    (only,) = cut_segments(Scene("v.mp4", 0.0, 2.5))
    assert (only.scene_start, only.scene_end, only.text) == (True, True, "")


def test_texts_are_one_per_scene_or_one_per_segment() -> None:
    assert [s.text for s in cut_segments(Scene("v.mp4", 0.0, 6.2, ("a", "b")))] == ["a", "b"]
    with pytest.raises(UserError, match="has 3 texts and 2 segments"):
        cut_segments(Scene("v.mp4", 0.0, 6.2, ("a", "b", "c")))


@given(
    lengths=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0.5, 40)), min_size=1, max_size=12),
    seconds=st.sampled_from([3, 9, 18, 30, 63]),
)
def test_every_segment_is_in_one_episode_or_left_over(lengths: list[tuple[str, float]], seconds: int) -> None:
    scenes, at = [], 0.0
    for video, length in sorted(lengths):
        scenes.append(Scene(f"{video}.mp4", at, at + length))
        at += length
    episodes, left_over = join_episodes(scenes, seconds, FRAMES)
    every = [segment for scene in scenes for segment in cut_segments(scene)]
    joined = [segment for episode in episodes for segment in episode.segments]
    assert all(len({segment.video for segment in episode.segments}) == 1 for episode in episodes)
    assert len(joined) + left_over == len(every)
    assert set(joined) <= set(every)
    assert len(set(joined)) == len(joined)
    assert {episode.seconds for episode in episodes} <= {seconds}
    assert len({episode.key for episode in episodes}) == len(episodes)
    for episode in episodes:
        starts = [segment.start_s for segment in episode.segments]
        assert starts == sorted(starts)


def test_the_key_changes_with_whatever_changes_the_frames_and_with_nothing_else() -> None:
    def key(scene: Scene, frames: FrameFormat = FRAMES) -> str:
        ((episode,), _) = join_episodes([scene], 3, frames)
        return episode.key

    scene = Scene("s01/a b.mp4", 0.0, 3.5, ("x",))
    assert key(scene) == key(dataclasses.replace(scene, texts=("y",)))
    others = [
        key(dataclasses.replace(scene, video="c.mp4")),
        key(dataclasses.replace(scene, start_s=0.1)),
        key(dataclasses.replace(scene, end_s=3.6)),
        *(key(scene, f) for f in (FrameFormat(fps=8), FrameFormat(fit="pad"), FrameFormat(height=240))),
    ]
    assert len({key(scene), *others}) == len(others) + 1
    assert "/" not in key(scene)


def test_an_episode_comes_back_from_its_line() -> None:
    ((episode, *_), _) = join_episodes([Scene("a.mp4", 0.1, 20.7, ("x",))], 9, FRAMES)
    line = json.loads(json.dumps(episode.to_json()))
    assert Episode.from_json(line, Path("episodes.jsonl"), 1) == episode
    assert [line[f"text_{i}"] for i in range(3)] == ["x", "x", "x"]


def test_stages_that_are_no_multiple_of_three_are_refused() -> None:
    with pytest.raises(UserError, match="10 s"):
        join_episodes([Scene("a.mp4", 0.0, 30.0)], 10, FRAMES)


@pytest.mark.parametrize(
    "row",
    [
        {"scene_start": [True], "scene_end": [True]},
        {"scene_start": [True, False], "scene_end": [True], "text_0": "a", "text_1": "b"},
        {"scene_start": [1], "scene_end": [True], "text_0": "a"},
        {"scene_start": [True], "scene_end": [True], "text_0": 5},
        {"scene_start": [], "scene_end": []},
    ],
)
def test_lines_whose_numbers_differ_are_refused(row: dict[str, object]) -> None:
    with pytest.raises(AnnotationError, match=r"x\.jsonl: line 7"):
        segment_texts(row, Path("x.jsonl"), 7)
