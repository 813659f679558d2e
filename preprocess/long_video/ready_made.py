"""The step `import`: episodes that others cut, as ttt-video-dit's guide starts from, to the plan of this training set.

    clips/episode_01/0.mp4, 1.mp4, 2.mp4     3, 6, 9, … s each, in the order of their numbers
    {"scene_start": [true, false, true], "scene_end": [false, true, true], "text_0": "Tom sleeps.", "text_1": …}

A line of the JSONL describes consecutive segments of three seconds: either all clips of one folder, or one clip. Lines
may name theirs (`episode`: the folder; `video` or `mp4`: the clip); without names, they are in the order of the
folders, or of the clips, and as many. Cuts are where the lines say; nothing is cropped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from preprocess.errors import AnnotationError, UserError
from preprocess.long_video.detect import Detected
from preprocess.long_video.find import look_at
from preprocess.long_video.folder import Folder, read_rows, write_rows
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.plan import Stage, write_plan
from preprocess.long_video.scenes import SEGMENT_S, find_videos
from preprocess.long_video.segments import Episode, Segment, cut_episodes, segment_texts
from preprocess.readers.annotations import claim
from preprocess.runtime.options import RunOptions
from preprocess.samples import JSON

TOLERANCE_S = 0.25
"""How far the length of a clip may be from a multiple of 3 s; that of the 16·L + 1 frames of the guide is by 1/16 s."""

_NUMBER = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the JSONL: where it stands, the clips that it describes, and scene flags and text of each segment."""

    where: str
    name: str
    clips: tuple[str, ...]
    segments: list[tuple[bool, bool, str]]


def import_clips(
    folder: Folder,
    raw: Path,
    annotations: Path,
    stages: Sequence[int] | None,
    frames: FrameFormat,
    options: RunOptions,
) -> tuple[list[Stage], int]:
    """Writes the episodes of the clips in `raw`, and a reject for each clip that cannot be read.

    Args:
        folder: Of the training set.
        raw: The folder with one folder of clips per episode.
        annotations: The JSONL.
        stages: Lengths to cut each line into; None: each line is one episode.
        frames: Rate and size of the frames.
        options: Workers and limits.

    Returns:
        The stages, and the number of clips that could not be read; their lines are left out.

    Raises:
        RawDataError: No folder or clip was found.
        AnnotationError: Lines and clips do not belong together, or a clip has another length than its line says.
        UserError: No line is left, or none fills a stage.
    """
    lines = _lines(annotations, find_videos(raw))
    durations, rejects = look_at(folder, raw, sorted({clip for line in lines for clip in line.clips}), None, options)
    write_rows(folder.rejects("scenes"), [reject.to_json() for reject in sorted(rejects, key=lambda r: r.key)])
    tracks = [
        (line.name, _segments(line, durations, annotations))
        for line in lines
        if all(clip in durations for clip in line.clips)
    ]
    plans: dict[int, tuple[list[Episode], int]] = {}
    for seconds in stages or sorted({SEGMENT_S * len(segments) for _, segments in tracks}):
        made = [cut_episodes(name, of, seconds, frames) for name, of in tracks if stages or _is_long(of, seconds)]
        plans[seconds] = [episode for episodes, _ in made for episode in episodes], sum(left for _, left in made)
    if not any(episodes for episodes, _ in plans.values()):
        raise UserError(
            f"{annotations} gives no episode" + (f" of {min(plans)} s" if plans else ""),
            f"See {folder.rejects('scenes')}, or leave --seconds out to take the episodes as they are.",
        )
    folder.note(raw=str(raw.resolve()))
    return write_plan(folder, plans, frames), len(rejects)


def _is_long(segments: Sequence[Segment], seconds: int) -> bool:
    return SEGMENT_S * len(segments) == seconds


def _lines(path: Path, aliases: Mapping[str, str]) -> list[_Line]:
    """The lines of the JSONL with the clips of each."""
    rows = read_rows(path)
    clips = sorted(set(aliases.values()), key=_in_order)
    folders = {where: tuple(of) for where, of in groupby(clips, key=lambda clip: clip.rpartition("/")[0])}
    groups = _named(rows, path, aliases, folders) or _counted(rows, path, clips, folders)
    return [
        _Line(f"line {line}", name, of, segment_texts(row, path, line))
        for (line, row), (name, of) in zip(rows, groups, strict=True)
    ]


def _named(
    rows: Iterable[tuple[int, JSON]], path: Path, aliases: Mapping[str, str], folders: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, tuple[str, ...]]]:
    """The clips of each line by the names that the lines give; empty where no line gives one."""
    found: list[tuple[str, tuple[str, ...]]] = []
    taken: dict[str, str] = {}
    for index, (line, row) in enumerate(rows):
        where = f"line {line}"
        given = next((name for name in ("episode", "video", "mp4") if name in row), None)
        if given is None:
            if found:
                raise AnnotationError(path, where, "it names no clip, and lines before it do", "a name in every line")
            continue
        name = str(row[given])
        of = folders.get(name.strip("/")) if given == "episode" else _clip(name, aliases)
        if of is None or len(found) < index:
            problem = f"{given} is {name!r}" if of is None else "it names a clip, and lines before it do not"
            raise AnnotationError(path, where, problem, "the name of a folder (episode) or clip (video) in every line")
        claim(taken, of[0], path, where)
        found.append((name.strip("/") if given == "episode" else of[0].rpartition(".")[0], of))
    return found


def _clip(name: str, aliases: Mapping[str, str]) -> tuple[str, ...] | None:
    """The clip of a name: a path below the folder, or one of another machine that ends in the same folder and file."""
    parts = PurePosixPath(name).parts
    tails = ("/".join(parts[-length:]) for length in (len(parts), 2, 1))
    return next(((aliases[tail],) for tail in tails if tail in aliases), None)


def _counted(
    rows: Sequence[object], path: Path, clips: Sequence[str], folders: Mapping[str, tuple[str, ...]]
) -> list[tuple[str, tuple[str, ...]]]:
    """The clips of each line by order: all clips of a folder, or one."""
    if len(rows) == len(folders):
        return list(folders.items())
    if len(rows) == len(clips):
        return [(clip.rpartition(".")[0], (clip,)) for clip in clips]
    raise AnnotationError(
        path,
        "",
        f"{len(rows)} lines for {len(folders)} folders with {len(clips)} clips",
        "one line per folder or per clip, or the name of its folder (episode) or clip (video) in every line",
    )


def _segments(line: _Line, durations: Mapping[str, Detected], path: Path) -> list[Segment]:
    """The segments of a line, clip after clip."""
    places: list[tuple[str, float, float]] = []  # clip, start of the segment, end of the clip
    for clip in line.clips:
        duration_s = durations[clip].duration_s
        count = round(duration_s / SEGMENT_S)
        if not count or abs(duration_s - SEGMENT_S * count) > TOLERANCE_S:
            problem = f"the clip {clip} lasts {duration_s:.3f} s"
            raise AnnotationError(path, line.where, problem, f"clips of a multiple of {SEGMENT_S} s")
        places += [(clip, float(SEGMENT_S * i), duration_s) for i in range(count)]
    if len(places) != len(line.segments):
        problem = f"{len(line.segments)} segments, and its clips {', '.join(line.clips)} hold {len(places)}"
        raise AnnotationError(path, line.where, problem[:300], f"one segment per {SEGMENT_S} s")

    def scene_end_s(start_s: float, clip_end_s: float, last: bool) -> float:
        """A scene that ends inside a clip ends in its own last frame, not in the first one of the next scene."""
        inside = start_s + SEGMENT_S + TOLERANCE_S < clip_end_s
        return start_s + SEGMENT_S if last and inside else clip_end_s

    return [
        Segment(clip, start_s, scene_end_s(start_s, clip_end_s, last), first, last, text)
        for (clip, start_s, clip_end_s), (first, last, text) in zip(places, line.segments, strict=True)
    ]


def _in_order(clip: str) -> tuple[list[tuple[int, int, str]], str]:
    """Sorts `2.mp4` before `10.mp4`."""
    parts = [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in _NUMBER.split(clip.lower()) if part]
    return parts, clip
