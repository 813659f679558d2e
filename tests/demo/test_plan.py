"""The plan of CLIP-Shapes against the rendered frames, and what is planted in it."""

from __future__ import annotations

from collections import Counter

import numpy as np

from preprocess.demo.plan import MAX_HAZE, MAX_NOISE, PLANTED, SCENES, demo_plan
from preprocess.demo.render import render_video
from preprocess.demo.scenes import CLEAR, FPS


def test_the_plan_is_the_same_each_time() -> None:
    plan = list(demo_plan())
    assert plan == list(demo_plan())
    assert [video.number for video in plan] == list(range(len(plan)))
    assert len({video.key for video in plan}) == len(plan)
    seeds = [video.seed(place) for video in plan for place in range(len(video.scenes))]
    assert len(set(seeds)) == len(seeds)
    for video in plan:
        labels = [part.scene.label for part in video.scenes]
        assert len(labels) == len(set(labels))
        assert video.clip or SCENES[0] <= len(labels) <= SCENES[1]


def test_scenes_for_training_and_planted_ones_are_clear_and_all_others_disturbed() -> None:
    for video in demo_plan():
        for part in video.scenes:
            assert (part.disturbance == CLEAR) == (video.split == "train" or part.scene in PLANTED)
            assert part.disturbance.haze <= MAX_HAZE
            assert part.disturbance.noise <= MAX_NOISE


def test_each_planted_scene_occurs_once_in_a_test_video_of_several_scenes() -> None:
    assert len({scene.caption for scene in PLANTED}) == 10
    seen = Counter(part.scene.label for video in demo_plan() for part in video.scenes)
    assert all(seen[scene.label] == 1 for scene in PLANTED)
    videos = [v for v in demo_plan() if v.split == "test" and any(part.scene in PLANTED for part in v.scenes)]
    assert len(videos) == 10
    assert not any(video.clip for video in videos)


def test_the_picture_changes_where_a_window_ends() -> None:
    video = next(video for video in demo_plan() if not video.clip)
    frames = np.stack(list(render_video(video))).astype(int)
    assert len(frames) == video.n_frames == round(video.windows[-1][1] * FPS)
    steps = np.abs(np.diff(frames, axis=0)).mean(axis=(1, 2, 3))
    cuts = {round(end * FPS) for _, end in video.windows[:-1]}
    largest = np.argsort(-steps)[: len(cuts)] + 1
    assert set(largest.tolist()) == cuts
    assert [start for start, _ in video.windows[1:]] == [end for _, end in video.windows[:-1]]
