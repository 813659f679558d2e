"""The `segments` step: plans the episodes of each stage from `scenes.jsonl`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preprocess.errors import UserError
from preprocess.formats.layout import write_json
from preprocess.long_video.find import scene_key
from preprocess.long_video.folder import Folder, write_rows
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.scenes import SEGMENT_S, SHORTEST_S, Scene, crop_scene, read_scenes
from preprocess.long_video.segments import Episode, join_episodes
from preprocess.samples import Reject


@dataclass(frozen=True, slots=True)
class Stage:
    """Result of planning one stage.

    Attributes:
        seconds: Length of its episodes.
        episodes: Number of episodes.
        left_over: Segments at the ends of videos that do not fill another episode.
    """

    seconds: int
    episodes: int
    left_over: int


def plan_episodes(folder: Folder, stages: Sequence[int], frames: FrameFormat) -> tuple[list[Stage], int]:
    """Writes the episodes of each stage, and a reject for each scene that is too short.

    Returns:
        The stages, and the number of scenes that were too short.

    Raises:
        UserError: There are no scenes, or they do not fill a single episode.
    """
    if not folder.scenes.is_file():
        raise UserError(f"{folder.scenes} not found", f"Run first: {folder.command('scenes')} --raw <folder>")
    scenes = read_scenes(folder.scenes)
    plans = {seconds: join_episodes(scenes, seconds, frames) for seconds in sorted(set(stages))}
    if not any(episodes for episodes, _ in plans.values()):
        longest = _longest_s(scenes)
        raise UserError(
            f"{folder.scenes} does not fill one episode of {min(plans)} s",
            f"Add videos, or plan shorter stages: {folder.command('segments')} --seconds {longest}"
            if longest
            else f"Add videos with scenes of at least {SHORTEST_S:g} s.",
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
    return write_plan(folder, plans, frames), len(short)


def write_plan(folder: Folder, plans: Mapping[int, tuple[list[Episode], int]], frames: FrameFormat) -> list[Stage]:
    """Writes the episodes of each stage, in place of an earlier plan.

    Args:
        folder: Of the training set.
        plans: By the length of the stage: its episodes, and the segments left over.
        frames: Rate and size of the frames of all episodes.
    """
    for seconds, (episodes, _) in plans.items():
        if episodes:
            write_rows(folder.episodes(seconds), [episode.to_json() for episode in episodes])
        else:
            folder.episodes(seconds).unlink(missing_ok=True)
    for seconds in set(folder.stages()) - plans.keys():
        folder.episodes(seconds).unlink()  # left from an earlier plan, possibly with another frame format
    write_json(folder.frames, frames.to_json())
    return [Stage(seconds, len(episodes), left) for seconds, (episodes, left) in plans.items()]


def _longest_s(scenes: Sequence[Scene]) -> int:
    """The length of the longest episode that one of the videos fills; 0 if there is none."""
    counts: Counter[str] = Counter()
    for scene in scenes:
        crop = crop_scene(scene.start_s, scene.end_s)
        counts[scene.video] += crop.segments if crop else 0
    return SEGMENT_S * max(counts.values(), default=0)
