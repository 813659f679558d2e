"""`didemo`: DiDeMo, personal videos from Flickr with descriptions of moments. An entry of val_data.json:

    {"video": "35034348999@N01_6060447507_dc1a90b8ef.mov", "description": "man is holding his hat", "num_segments": 6,
     "times": [[1, 1], [1, 1], [1, 1], [0, 0]], "annotation_id": 49152, "dl_link": "https://www.flickr.com/…"}

Retrieval takes the descriptions of a video together, as one paragraph, and its first 30 s, which is what was annotated.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.readers.annotations import claim, read_json, read_text
from preprocess.readers.files import RawFiles, split_suffix
from preprocess.readers.splits import in_order
from preprocess.samples import SPLITS, VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key
from preprocess.validation import PathBelow, annotation

_DATA = "https://raw.githubusercontent.com/LisaAnne/LocalizingMoments/master/data"
_LISTS = "https://raw.githubusercontent.com/albanie/collaborative-experts/master/misc/datasets/didemo"

SPEC = DatasetSpec(
    name="didemo",
    title="DiDeMo",
    license="cc-by-nc-sa-4.0",
    citation="""
@inproceedings{hendricks2017localizing,
  title = {Localizing Moments in Video with Natural Language},
  author = {Hendricks, Lisa Anne and Wang, Oliver and Shechtman, Eli and Sivic, Josef and Darrell, Trevor and
            Russell, Bryan},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision (ICCV)},
  year = {2017}
}
""".strip(),
    homepage="https://github.com/LisaAnne/LocalizingMoments",
    languages=("en",),
    annotations_creators=("crowdsourced",),
    language_creators=("crowdsourced",),
    task_categories=("feature-extraction", "text-to-video", "video-text-to-text"),
    raw_layout="""
RAW/
├── videos/35034348999@N01_6060447507_dc1a90b8ef.mov    or ….mov.mp4; any one folder
├── {train,val,test}_data.json
└── {train,val,test}_list.txt                           optional: the videos to take, one name per line
""",
    remotes=(
        *(RemoteFile(f"{_DATA}/{split}_data.json", f"{split}_data.json") for split in SPLITS),
        *(RemoteFile(f"{_LISTS}/{split}_list.txt", f"{split}_list.txt") for split in SPLITS),
        RemoteFile(
            "https://github.com/LisaAnne/LocalizingMoments",
            "videos/",
            kind="page",
            how="download the videos as its README describes",
            terms="the Creative Commons license of each video",
        ),
    ),
    caption_mode="concat",
)

ANNOTATED_S = 30.0
"""Longer videos were cut to this many seconds for the annotators."""

_log = logging.getLogger(__name__)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video, with its descriptions in the order of the file."""
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    found = [(split, data) for split in SPLITS if (data := files.find_annotation(f"{split}_data.json"))]
    if not found:
        raise files.lacks(*(f"{split}_data.json" for split in SPLITS))
    yield from in_order(_samples(found, files))


def _samples(found: list[tuple[Split, Path]], files: RawFiles) -> Iterator[Sample]:
    taken: dict[str, str] = {}
    for split, data in found:
        videos = _moments(data)
        listed = files.find_annotation(f"{split}_list.txt")
        if listed is not None:
            wanted = {line.strip() for line in read_text(listed).splitlines() if line.strip()}
            if unknown := sorted(wanted - videos.keys()):
                _log.warning("%s: %d videos have no description, first %s", listed, len(unknown), unknown[0])
            videos = {video: rows for video, rows in videos.items() if video in wanted}
        for video, rows in videos.items():
            claim(taken, video, data, video)
            yield Sample(
                key=safe_key(video),
                split=split,
                media=_media(video, files) or f"videos/{video}",
                captions=tuple(_sentence(row["description"]) for row in rows),
                end_s=ANNOTATED_S,
                meta={
                    "videoID": video,
                    "times": [row.get("times") for row in rows],
                    "num_segments": rows[0].get("num_segments"),
                },
            )


class MomentEntry(TypedDict):
    """One description of a part of a video."""

    video: PathBelow
    description: str
    times: NotRequired[Any]
    num_segments: NotRequired[Any]


def _moments(data: Path) -> dict[str, list[MomentEntry]]:
    """The entries of each video, in the order of the file."""
    videos: dict[str, list[MomentEntry]] = {}
    for moment in annotation(read_json(data), list[MomentEntry], data):
        videos.setdefault(moment["video"], []).append(moment)
    return videos


def _sentence(description: str) -> str:
    return description if description.endswith(".") else f"{description}."


def _media(video: str, files: RawFiles) -> str | None:
    """The file of `….mov`: under its own name, as `….mov.mp4`, or with another suffix in place of its own."""
    return files.named(video) or files.stem(video) or files.stem(split_suffix(video)[0])
