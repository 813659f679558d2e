"""Scenes: the parts of a video between two cuts, and how much of each can be used.

One line of `scenes.jsonl`, which is also what annotators may give (as CSV, TSV, JSON or JSON Lines):

    {"video": "s01/tom.mp4", "start": 12.0, "end": 22.0, "text": ["Tom chases Jerry through the kitchen."]}

`text` is one text for the whole scene or one per segment of three seconds; in a table, columns `text_0`, `text_1`, … do
the same. Times are seconds, or `hh:mm:ss.mmm`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError, RawDataError
from preprocess.readers.annotations import as_list, below, claim, read_csv, read_json, read_jsonl, seconds
from preprocess.readers.files import list_files, split_suffix
from preprocess.samples import JSON, VIDEO_SUFFIXES
from preprocess.validation import annotation

SEGMENT_S = 3
"""Seconds of one segment: the unit of texts and of episodes."""

SHORTEST_S = 2.0
"""A scene that is shorter than this is discarded."""

ROUNDING_S = 1e-6
"""Times of annotators and of files are rounded: a scene that lacks less than this to 3 s has 3 s."""

_NUMBERED = re.compile(r"text_[0-9]{1,9}")
_CLOCK = re.compile(r"(?:(\d+):)?([0-5]?\d):([0-5]?\d(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Scene:
    """One scene of a video.

    Attributes:
        video: POSIX path below the raw folder.
        start_s: Seconds from the first frame of the file.
        end_s: Where it ends, exclusive.
        texts: None, one for the whole scene, or one per segment.
    """

    video: str
    start_s: float
    end_s: float
    texts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.start_s < self.end_s < math.inf:
            raise ValueError(f"a scene must have 0 <= start < end, got {self.start_s!r} and {self.end_s!r}")

    def to_json(self) -> JSON:
        """The line of `scenes.jsonl`."""
        return {"video": self.video, "start": self.start_s, "end": self.end_s, "text": list(self.texts)}


@dataclass(frozen=True, slots=True)
class Crop:
    """The part of a scene that is used.

    Attributes:
        start_s: Where it begins, in seconds of the video.
        segments: How many segments of 3 s it holds.
    """

    start_s: float
    segments: int


def crop_scene(start_s: float, end_s: float) -> Crop | None:
    """Cuts a scene to a multiple of 3 s around its middle.

    A scene of 2 to 3 s is one segment; what is missing at its end is filled with its last frame. A shorter one is
    discarded: None.

    Examples:
        >>> crop_scene(0.0, 10.0)
        Crop(start_s=0.5, segments=3)
        >>> crop_scene(10.0, 12.5)
        Crop(start_s=10.0, segments=1)
        >>> crop_scene(0.0, 1.9) is None
        True
    """
    length = end_s - start_s
    if length < SHORTEST_S - ROUNDING_S:
        return None
    whole = int((length + ROUNDING_S) // SEGMENT_S)
    spare = length - whole * SEGMENT_S if whole else 0.0
    return Crop(start_s + max(spare, 0.0) / 2, max(whole, 1))


def read_scenes(path: Path) -> list[Scene]:
    """Reads the scenes of an annotation file, sorted by video and start.

    Raises:
        AnnotationError: The file is not what it should be; names the line or entry.
        RawDataError: The file does not exist.
    """
    if not path.is_file():
        raise RawDataError(f"there is no annotation file {str(path)!r}", "Check --annotations.")
    taken: dict[str, str] = {}
    scenes = []
    for where, row in _rows(path):
        scene = _scene(row, path, where)
        claim(taken, f"{scene.video} from {scene.start_s} s", path, where)
        scenes.append(scene)
    if not scenes:
        raise AnnotationError(path, "", "it holds no scene", "video, start, end and text of at least one scene")
    return sorted(scenes, key=lambda scene: (scene.video, scene.start_s, scene.end_s))


def find_videos(raw: Path) -> dict[str, str]:
    """Names by which annotators may call a video (path, file name, stem) to its path below `raw`.

    Where a name means several files, it means none, and only the path will do.

    Raises:
        RawDataError: The folder does not exist or has no video.
    """
    if not raw.is_dir():
        raise RawDataError(f"there is no folder {str(raw)!r}", "Name the folder of the videos: --raw.")
    paths = [path for path in list_files(raw) if split_suffix(path)[1] in VIDEO_SUFFIXES]
    if not paths:
        raise RawDataError(f"{str(raw)!r} holds no video", f"Videos end in {', '.join(sorted(VIDEO_SUFFIXES))}.")
    called: dict[str, set[str]] = {}
    for path in paths:
        name = path.rpartition("/")[2]
        for alias in {path, split_suffix(path)[0], name, split_suffix(name)[0]}:
            called.setdefault(alias, set()).add(path)
    return {alias: min(owners) for alias, owners in called.items() if len(owners) == 1} | {p: p for p in paths}


def _rows(path: Path) -> Iterator[tuple[str, JSON]]:
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        rows = read_csv(path, ("video", "start", "end"), "\t" if suffix == ".tsv" else None)
        yield from ((f"line {line}", row) for line, row in rows)
    elif suffix == ".jsonl":
        yield from ((f"line {line}", row) for line, row in read_jsonl(path))
    elif suffix == ".json":
        entries = annotation(read_json(path), list[JSON], path)
        yield from ((f"entry {number}", entry) for number, entry in enumerate(entries))
    else:
        raise AnnotationError(path, "", f"the suffix {suffix!r} is not known", "a .csv, .tsv, .json or .jsonl")


class _Row(TypedDict):
    """The fields of a scene; `text_0`, `text_1`, … may follow."""

    video: str
    text: NotRequired[str | list[str]]


def _scene(row: JSON, path: Path, where: str) -> Scene:
    given = annotation(row, _Row, path, where)
    video = below(given["video"].strip(), path, f"{where}: video")
    start_s, end_s = (_time(row.get(name), path, f"{where}: {name}") for name in ("start", "end"))
    if end_s <= start_s:
        raise AnnotationError(path, where, f"the scene ends at {end_s} s and starts at {start_s} s", "start < end")
    return Scene(video, start_s, end_s, _texts(row, given, path, where))


def _time(value: object, path: Path, where: str) -> float:
    """Seconds, from a number, its digits, or `hh:mm:ss.mmm`."""
    clock = _CLOCK.fullmatch(value.strip()) if isinstance(value, str) else None
    if clock:
        hours, minutes, rest = clock.groups()
        return int(hours or 0) * 3600 + int(minutes) * 60 + float(rest)
    return seconds(value, path, where)


def _texts(row: JSON, given: _Row, path: Path, where: str) -> tuple[str, ...]:
    numbered = sorted((name for name in row if _NUMBERED.fullmatch(name)), key=lambda name: int(name[5:]))
    more = annotation({name: row[name] for name in numbered}, dict[str, str], path, where)
    texts = [text.strip() for text in [*as_list(given.get("text")), *more.values()]]
    return tuple(text for text in texts if text)
