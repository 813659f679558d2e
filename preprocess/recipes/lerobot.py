"""`lerobot`: robot episodes in LeRobot's format (v3): one sample per episode and camera, its task as the caption.

    meta/info.json                                             frame rate, cameras, where the videos are
    meta/episodes/chunk-000/file-000.parquet                   episode_index 3, tasks ["Pick the cube"], length 120,
                                                               videos/observation.images.top/from_timestamp 12.0, …
    videos/observation.images.top/chunk-000/file-000.mp4       many episodes, one after the other

Rows are at the frames' own times: with `--sampling every_nth=1`, row i is frame i of the episode as LeRobot's reader
counts them. Source: https://huggingface.co/docs/lerobot/lerobot-dataset-v3
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import below, claim, read_json
from preprocess.readers.files import RawFiles
from preprocess.readers.splits import hash_split, in_order, split_named
from preprocess.readers.tables import read_rows
from preprocess.sample_table import AS_OBJECTS
from preprocess.samples import JSON, DatasetSpec, RecipeOptions, Sample, Split, safe_key
from preprocess.validation import Count, Seconds, Text, annotation

SPEC = DatasetSpec(
    name="lerobot",
    title="LeRobot",
    license="unknown",
    citation="",
    homepage="",
    languages=("en",),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW is a dataset in LeRobot's format, version 3: a folder, or hf://datasets/<org>/<name>
├── meta/info.json
├── meta/episodes/chunk-000/file-000.parquet
└── videos/<camera>/chunk-000/file-000.mp4
""",
)

_PREFIX = "observation.images."
_FIELD = re.compile(r"\{(video_key|chunk_index|file_index)(?::0(\d)d)?\}")
_RANGE = re.compile(r"(\d{1,9}):(\d{1,9})")


class _Info(TypedDict):
    codebase_version: Text
    fps: Seconds
    features: dict[str, JSON]
    video_path: Text
    splits: dict[str, str]
    robot_type: str | None


class _Episode(TypedDict):
    episode_index: Count
    tasks: list[str]
    length: Count


class _Place(TypedDict):
    chunk_index: Count
    file_index: Count
    from_timestamp: Seconds


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per episode and camera. Episodes without a split of their own get one by hash."""
    files = RawFiles.list(raw, SPEC)
    if "meta/info.json" not in files.paths:
        raise files.lacks("meta/info.json")
    listed = raw / "meta/info.json"
    info = _info(listed)
    cameras = _cameras(info, listed)
    tables = [raw / path for path in files.paths if re.fullmatch(r"meta/episodes/.*\.parquet", path)]
    if not tables:
        raise files.lacks("meta/episodes/*.parquet")
    splits = _splits(info["splits"], listed)
    places = {camera: [f"videos/{camera}/{name}" for name in _Place.__annotations__] for camera in cameras}
    columns = (*_Episode.__annotations__, *(column for names in places.values() for column in names))
    taken: dict[str, str] = {}

    def of_episode(table: Path, where: str, row: Mapping[str, Any]) -> Iterator[Sample]:
        episode = annotation({name: row[name] for name in _Episode.__annotations__}, _Episode, table, where)
        tasks = tuple(task for task in episode["tasks"] if task.strip())
        if not tasks or not episode["length"]:
            raise AnnotationError(table, where, "an episode without a task or without frames", "both")
        video = f"episode_{episode['episode_index']:06d}"
        if video in taken or len(taken) < AS_OBJECTS:  # an episode that much later occurs again is found by sorting
            claim(taken, video, table, where)
        for camera, names in places.items():
            given = {name: row[column] for name, column in zip(_Place.__annotations__, names, strict=True)}
            place = annotation(given, _Place, table, f"{where}: videos/{camera}")
            name = camera.removeprefix(_PREFIX)
            yield Sample(
                key=safe_key(f"{name}_{video}"),  # camera first: what is decoded one after the other is in one file
                split=_split(episode["episode_index"], splits) or hash_split(video, options),
                media=below(_path(info["video_path"], camera, place), listed, "video_path"),
                captions=tasks,
                start_s=place["from_timestamp"],
                end_s=place["from_timestamp"] + episode["length"] / info["fps"],
                meta={
                    "videoID": video,
                    "camera": name,
                    "episode_index": episode["episode_index"],
                    "frames_per_second": info["fps"],
                    "robot_type": info["robot_type"],
                },
                own_times=True,
            )

    yield from in_order(
        sample
        for table in tables
        for where, row in read_rows(table, columns, columns)
        for sample in of_episode(table, where, row)
    )


def _info(file: Path) -> _Info:
    content = annotation(read_json(file), JSON, file)
    version = content.get("codebase_version")
    if not (isinstance(version, str) and version.startswith("v3.")):
        raise AnnotationError(
            file, "codebase_version", f"it is {version!r}", "v3.0; LeRobot's convert_dataset_v21_to_v30 converts v2.1"
        )
    info = annotation({"splits": {}, "robot_type": None, **content}, _Info, file)
    if not info["fps"]:
        raise AnnotationError(file, "fps", "it is 0", "frames per second")
    return info


def _cameras(info: _Info, file: Path) -> list[str]:
    """The features that are videos, sorted. Depth maps, which hold distances and no colors, are passed over."""
    found = [
        name
        for name, feature in info["features"].items()
        if feature.get("dtype") == "video"
        and not any(key.endswith("is_depth_map") and on for key, on in _video_info(feature).items())
    ]
    if not found:
        kinds = sorted({str(feature.get("dtype")) for feature in info["features"].values()})
        raise AnnotationError(file, "features", f"none is a video, only {', '.join(kinds)}", "a camera of dtype video")
    for name in found:
        below(name, file, "features")
    return sorted(found)


def _video_info(feature: JSON) -> JSON:
    given = (feature.get("info"), feature.get("video_info"))
    return {key: value for one in given if isinstance(one, dict) for key, value in one.items()}


def _path(template: str, camera: str, place: _Place) -> str:
    """`videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4` filled in; no other field is known."""
    values = {"video_key": camera, "chunk_index": place["chunk_index"], "file_index": place["file_index"]}
    return _FIELD.sub(lambda found: str(values[found[1]]).zfill(int(found[2] or 0)), template)


def _split(episode: int, splits: Sequence[tuple[Split, range]]) -> Split | None:
    return next((split for split, episodes in splits if episode in episodes), None)


def _splits(declared: Mapping[str, str], file: Path) -> list[tuple[Split, range]]:
    """The episodes of each split by `{"train": "0:40", "test": "40:50"}`; a single one, as LeRobot has it, is none."""
    if len(declared) < 2:
        return []
    found: list[tuple[Split, range]] = []
    for name, episodes in declared.items():
        split, numbers = split_named(name), _RANGE.fullmatch(episodes)
        if split is None or numbers is None:
            raise AnnotationError(file, "splits", f"{name!r} is {episodes!r}", "train, val or test, as first:last")
        found.append((split, range(int(numbers[1]), int(numbers[2]))))
    found.sort(key=lambda one: one[1].start)
    for (_, before), (_, after) in pairwise(found):
        if after.start < before.stop:
            raise AnnotationError(file, "splits", f"episode {after.start} is in two", "every episode in one split")
    return found
