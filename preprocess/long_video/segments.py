"""Segments of three seconds, and episodes: as many segments of one video as a training stage is long.

One line of `episodes/09s.jsonl`:

    {"episode": "tom_09s_0000_6d1f09c2", "video": "tom.mp4", "seconds": 9, "starts": [0.5, 3.5, 12.0],
     "scene_ends": [7.0, 7.0, 15.2], "scene_start": [true, false, true], "scene_end": [false, true, true],
     "text_0": "Tom sleeps.", "text_1": "Jerry takes the cheese.", "text_2": "Tom chases Jerry."}

`scene_start`, `scene_end` and `text_<n>` are all that the text step reads. The key ends in a hash of everything that
decides about the frames: a plan that changes can never meet the latents of the plan before. An imported episode whose
segments are clips of their own has `videos`, one for each segment, instead of `video`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError, UserError
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.scenes import SEGMENT_S, Scene, crop_scene
from preprocess.samples import JSON, Split, canonical_json, safe_key
from preprocess.validation import PathBelow, Seconds, annotation


class _Flags(TypedDict):
    scene_start: list[bool]
    scene_end: list[bool]


class _EpisodeRow(TypedDict):
    episode: str
    video: NotRequired[PathBelow]
    videos: NotRequired[list[PathBelow]]
    starts: list[Seconds]
    scene_ends: list[Seconds]


@dataclass(frozen=True, slots=True)
class Segment:
    """Three seconds of a scene.

    Attributes:
        video: POSIX path below the raw folder.
        start_s: Where it begins, in seconds of the video.
        scene_end_s: Where its scene ends: frames asked for after that are the scene's last.
        scene_start: It is the first of its scene.
        scene_end: It is the last of its scene.
        text: What it shows; empty without annotation.
    """

    video: str
    start_s: float
    scene_end_s: float
    scene_start: bool
    scene_end: bool
    text: str


@dataclass(frozen=True, slots=True)
class Episode:
    """Segments in order: `16·L + 1` frames. They are of one video, or of consecutive clips of an imported episode.

    Attributes:
        key: Unique over all stages, safe as a file name.
        segments: L / 3 of them.
    """

    key: str
    segments: tuple[Segment, ...]

    @property
    def split(self) -> Split:
        """Of a Reject: every episode is for training."""
        return "train"

    @property
    def seconds(self) -> int:
        """Its length L."""
        return SEGMENT_S * len(self.segments)

    def to_json(self) -> JSON:
        """The line of `episodes/<L>s.jsonl`."""
        return {
            "episode": self.key,
            **_videos(self.segments),
            "seconds": self.seconds,
            "starts": [s.start_s for s in self.segments],
            "scene_ends": [s.scene_end_s for s in self.segments],
            "scene_start": [s.scene_start for s in self.segments],
            "scene_end": [s.scene_end for s in self.segments],
            **{f"text_{i}": s.text for i, s in enumerate(self.segments)},
        }

    @classmethod
    def from_json(cls, row: JSON, file: Path, line: int) -> Episode:
        """The inverse of `to_json`.

        Raises:
            AnnotationError: The line is not an episode.
        """
        where = f"line {line}"
        texts = segment_texts(row, file, line)
        episode = annotation(row, _EpisodeRow, file, where)
        starts, ends = episode["starts"], episode["scene_ends"]
        videos = episode.get("videos", [episode["video"]] * len(texts) if "video" in episode else [])
        if not len(videos) == len(starts) == len(ends) == len(texts):
            found = f"{len(videos)} videos, {len(starts)} starts, {len(ends)} scene_ends"
            raise AnnotationError(file, where, found, f"{len(texts)} of each")
        segments = (
            Segment(video, start, end, *flags_and_text)
            for video, start, end, flags_and_text in zip(videos, starts, ends, texts, strict=True)
        )
        return cls(episode["episode"], tuple(segments))


def segment_texts(row: JSON, file: Path, line: int) -> list[tuple[bool, bool, str]]:
    """Scene flags and text of each segment of a line: `scene_start`, `scene_end`, `text_0` … `text_n`.

    Raises:
        AnnotationError: Their numbers differ, or one is not what it should be.
    """
    where = f"line {line}"
    flags = annotation(row, _Flags, file, where)
    starts, ends = flags["scene_start"], flags["scene_end"]
    numbered = {name: row[name] for i in range(len(row)) if (name := f"text_{i}") in row}
    texts = list(annotation(numbered, dict[str, str], file, where).values())
    if not 0 < len(starts) == len(ends) == len(texts):
        found = f"{len(starts)} scene_start, {len(ends)} scene_end, {len(texts)} texts from text_0 on"
        raise AnnotationError(file, where, found, "one of each per segment, at least one")
    return list(zip(starts, ends, texts, strict=True))


def cut_segments(scene: Scene) -> tuple[Segment, ...]:
    """The segments of a scene, none if it is too short.

    Raises:
        UserError: It has several texts, but not one per segment.
    """
    crop = crop_scene(scene.start_s, scene.end_s)
    if crop is None:
        return ()
    texts = scene.texts if len(scene.texts) > 1 else (scene.texts or ("",)) * crop.segments
    if len(texts) != crop.segments:
        raise UserError(
            f"the scene of {scene.video} from {scene.start_s:g} to {scene.end_s:g} s has {len(texts)} texts and "
            f"{crop.segments} segments of {SEGMENT_S} s",
            "Give it one text for the whole scene, or one per segment.",
        )
    return tuple(
        Segment(scene.video, crop.start_s + SEGMENT_S * i, scene.end_s, i == 0, i == crop.segments - 1, text)
        for i, text in enumerate(texts)
    )


def join_episodes(scenes: Iterable[Scene], seconds: int, frames: FrameFormat) -> tuple[list[Episode], int]:
    """Joins consecutive segments of each video into episodes, across cuts; no segment is in two episodes.

    Args:
        scenes: Sorted by video and start.
        seconds: Length of an episode, a multiple of 3.
        frames: What the frames of an episode will be; part of its key.

    Returns:
        The episodes, and how many segments at the ends of videos were too few for one more.

    Raises:
        UserError: The length is not a multiple of 3.
    """
    episodes, left_over = [], 0
    for video, own in groupby(scenes, key=lambda scene: scene.video):
        segments = [segment for scene in own for segment in cut_segments(scene)]
        made, left = cut_episodes(video.rpartition(".")[0], segments, seconds, frames)
        episodes += made
        left_over += left
    return episodes, left_over


def cut_episodes(
    name: str, segments: Sequence[Segment], seconds: int, frames: FrameFormat
) -> tuple[list[Episode], int]:
    """Cuts consecutive segments into episodes, named after what the segments are of.

    Args, returns and errors are those of `join_episodes`.
    """
    if seconds < SEGMENT_S or seconds % SEGMENT_S:
        raise UserError(f"a stage of {seconds} s cannot be made of {SEGMENT_S} s", f"Use multiples of {SEGMENT_S}.")
    size = seconds // SEGMENT_S
    whole = len(segments) - len(segments) % size
    parts = [tuple(segments[first : first + size]) for first in range(0, whole, size)]
    episodes = [Episode(_key(name, part, number, frames), part) for number, part in enumerate(parts)]
    return episodes, len(segments) - whole


def _videos(segments: Sequence[Segment]) -> JSON:
    """`video` where all segments are of one, else `videos`, one for each segment."""
    videos = [segment.video for segment in segments]
    return {"videos": videos} if len(set(videos)) > 1 else {"video": videos[0]}


def _key(name: str, segments: Sequence[Segment], number: int, frames: FrameFormat) -> str:
    where = [[s.start_s, s.scene_end_s] for s in segments]
    (video,) = _videos(segments).values()
    digest = hashlib.sha256(canonical_json([video, where, frames.to_json()]).encode()).hexdigest()[:8]
    return f"{safe_key(name)[:170]}_{SEGMENT_S * len(segments):02d}s_{number:04d}_{digest}"
