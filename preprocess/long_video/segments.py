"""Segments of three seconds, and episodes: as many segments of one video as a training stage is long.

One line of `episodes/09s.jsonl`:

    {"episode": "tom_09s_0000_6d1f09c2", "video": "tom.mp4", "seconds": 9, "starts": [0.5, 3.5, 12.0],
     "scene_ends": [7.0, 7.0, 15.2], "scene_start": [true, false, true], "scene_end": [false, true, true],
     "text_0": "Tom sleeps.", "text_1": "Jerry takes the cheese.", "text_2": "Tom chases Jerry."}

`scene_start`, `scene_end` and `text_<n>` are all that the text step reads. The key ends in a hash of everything that
decides about the frames: a plan that changes can never meet the latents of the plan before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from preprocess.errors import AnnotationError, UserError
from preprocess.long_video.frame_settings import FrameSettings
from preprocess.long_video.scenes import SEGMENT_S, Scene, crop_scene
from preprocess.recipes._annotations import expect, field
from preprocess.samples import JSON, canonical_json, safe_key


@dataclass(frozen=True, slots=True)
class Segment:
    """Three seconds of a scene.

    Attributes:
        start_s: Where it begins, in seconds of the video.
        scene_end_s: Where its scene ends: frames asked for after that are the scene's last.
        scene_start: It is the first of its scene.
        scene_end: It is the last of its scene.
        text: What it shows; empty where nobody said.
    """

    start_s: float
    scene_end_s: float
    scene_start: bool
    scene_end: bool
    text: str


@dataclass(frozen=True, slots=True)
class Episode:
    """Segments of one video, in order: `16·L + 1` frames.

    Attributes:
        key: Unique over all stages, safe as a file name.
        video: POSIX path below the raw folder.
        segments: L / 3 of them.
    """

    key: str
    video: str
    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> int:
        """Its length L."""
        return SEGMENT_S * len(self.segments)

    def to_json(self) -> JSON:
        """The line of `episodes/<L>s.jsonl`."""
        return {
            "episode": self.key,
            "video": self.video,
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
            AnnotationError: The line is no episode.
        """
        where = f"line {line}"
        texts = segment_texts(row, file, line)
        starts, ends = (field(row, name, list, file, where) for name in ("starts", "scene_ends"))
        if not len(starts) == len(ends) == len(texts):
            raise AnnotationError(file, where, f"{len(starts)} starts, {len(ends)} scene_ends", f"{len(texts)} of each")
        segments = tuple(
            Segment(float(start), float(end), *flags_and_text)
            for start, end, flags_and_text in zip(starts, ends, texts, strict=True)
        )
        return cls(field(row, "episode", str, file, where), field(row, "video", str, file, where), segments)


def segment_texts(row: JSON, file: Path, line: int) -> list[tuple[bool, bool, str]]:
    """Scene flags and text of each segment of a line: `scene_start`, `scene_end`, `text_0` … `text_n`.

    Raises:
        AnnotationError: Their numbers differ, or one is not what it should be.
    """
    where = f"line {line}"
    starts, ends = (field(row, name, list, file, where) for name in ("scene_start", "scene_end"))
    texts = [row[f"text_{i}"] for i in range(len(row)) if f"text_{i}" in row]
    if not 0 < len(starts) == len(ends) == len(texts):
        found = f"{len(starts)} scene_start, {len(ends)} scene_end, {len(texts)} texts from text_0 on"
        raise AnnotationError(file, where, found, "one of each per segment, at least one")
    return [
        (expect(s, bool, file, where), expect(e, bool, file, where), expect(t, str, file, where))
        for s, e, t in zip(starts, ends, texts, strict=True)
    ]


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
        Segment(crop.start_s + SEGMENT_S * i, scene.end_s, i == 0, i == crop.segments - 1, text)
        for i, text in enumerate(texts)
    )


def join_episodes(scenes: Iterable[Scene], seconds: int, frames: FrameSettings) -> tuple[list[Episode], int]:
    """Joins consecutive segments of each video into episodes, across cuts; no segment is in two episodes.

    Args:
        scenes: Sorted by video and start.
        seconds: Length of an episode, a multiple of 3.
        frames: What the frames of an episode will be; part of its key.

    Returns:
        The episodes, and how many segments at the ends of videos were too few for one more.
    """
    if seconds < SEGMENT_S or seconds % SEGMENT_S:
        raise UserError(f"a stage of {seconds} s cannot be made of {SEGMENT_S} s", f"Use multiples of {SEGMENT_S}.")
    size = seconds // SEGMENT_S
    episodes, left_over = [], 0
    for video, own in groupby(scenes, key=lambda scene: scene.video):
        segments = [segment for scene in own for segment in cut_segments(scene)]
        whole = len(segments) - len(segments) % size
        left_over += len(segments) - whole
        for number, first in enumerate(range(0, whole, size)):
            part = tuple(segments[first : first + size])
            episodes.append(Episode(_key(video, part, number, frames), video, part))
    return episodes, left_over


def _key(video: str, segments: Sequence[Segment], number: int, frames: FrameSettings) -> str:
    where = [[s.start_s, s.scene_end_s] for s in segments]
    digest = hashlib.sha256(canonical_json([video, where, frames.to_json()]).encode()).hexdigest()[:8]
    stem = safe_key(video.rpartition(".")[0])[:170]
    return f"{stem}_{SEGMENT_S * len(segments):02d}s_{number:04d}_{digest}"
