"""The step `segments`: `scenes.jsonl` to the episodes of each stage."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from preprocess.errors import UserError
from preprocess.formats.layout import write_json
from preprocess.long_video.find import scene_key
from preprocess.long_video.folder import Folder, write_rows
from preprocess.long_video.frame_settings import FrameSettings
from preprocess.long_video.scenes import SHORTEST_S, crop_scene, read_scenes
from preprocess.long_video.segments import join_episodes
from preprocess.samples import Reject


@dataclass(frozen=True, slots=True)
class Stage:
    """What became of one stage.

    Attributes:
        seconds: Length of its episodes.
        episodes: How many there are.
        left_over: Segments at the ends of videos that were too few for one more.
    """

    seconds: int
    episodes: int
    left_over: int


def plan_episodes(folder: Folder, stages: Sequence[int], frames: FrameSettings) -> tuple[list[Stage], int]:
    """Writes the episodes of each stage that has any, and the scenes that are too short as rejects.

    Returns:
        The stages, and how many scenes were too short.

    Raises:
        UserError: There are no scenes, or not one episode.
    """
    if not folder.scenes.is_file():
        raise UserError(f"there is no {folder.scenes}", "Run `python -m preprocess long-video scenes` first.")
    scenes = read_scenes(folder.scenes)
    plans = {seconds: join_episodes(scenes, seconds, frames) for seconds in sorted(set(stages))}
    if not any(episodes for episodes, _ in plans.values()):
        raise UserError(
            f"{folder.scenes} does not fill one episode of {min(plans)} s",
            "Add videos, or plan shorter stages: --seconds 3.",
        )
    short = [scene for scene in scenes if crop_scene(scene.start_s, scene.end_s) is None]
    write_rows(
        folder.rejects("segments"),
        [
            Reject(
                scene_key(scene),
                "train",
                "find",
                "too_short",
                f"the scene lasts {scene.end_s - scene.start_s:.3f} s, less than {SHORTEST_S:g} s",
            ).to_json()
            for scene in short
        ],
    )
    for seconds, (episodes, _) in plans.items():
        if episodes:
            write_rows(folder.episodes(seconds), [episode.to_json() for episode in episodes])
        else:
            folder.episodes(seconds).unlink(missing_ok=True)
    for seconds in set(folder.stages()) - plans.keys():
        folder.episodes(seconds).unlink()  # of an earlier plan, perhaps with other frames
    write_json(folder.frames, frames.to_json())
    return [Stage(seconds, len(episodes), left) for seconds, (episodes, left) in plans.items()], len(short)
