"""`activitynet`: ActivityNet Captions, untrimmed videos described by paragraphs of timed sentences. From train.json:

{"v_QOlSCBRmfWY": {"duration": 82.73, "timestamps": [[0.83, 19.86], [17.37, 60.81], [56.26, 79.42]],
                   "sentences": ["A young woman is seen standing in a room and leads into her dancing.", …]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import claim, read_json
from preprocess.readers.files import RawFiles
from preprocess.readers.splits import in_order, protocol
from preprocess.samples import VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key
from preprocess.validation import Seconds, annotation

VIDEOS = RemoteFile(
    "http://activity-net.org/download.html",
    "videos/",
    kind="page",
    how="request the videos with its form",
    terms="the videos belong to their uploaders",
)
"""Shared by all that is annotated on these videos."""

SPEC = DatasetSpec(
    name="activitynet",
    title="ActivityNet",
    license="unknown",
    citation="""
@inproceedings{krishna2017dense,
  title = {Dense-Captioning Events in Videos},
  author = {Krishna, Ranjay and Hata, Kenji and Ren, Frederic and Fei-Fei, Li and Niebles, Juan Carlos},
  booktitle = {Proceedings of the IEEE International Conference on Computer Vision (ICCV)},
  pages = {706--715},
  year = {2017}
}
@inproceedings{caba2015activitynet,
  title = {{ActivityNet}: A Large-Scale Video Benchmark for Human Activity Understanding},
  author = {Caba Heilbron, Fabian and Escorcia, Victor and Ghanem, Bernard and Niebles, Juan Carlos},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {961--970},
  year = {2015}
}
""".strip(),
    homepage="https://cs.stanford.edu/people/ranjaykrishna/densevid/",
    languages=("en",),
    annotations_creators=("crowdsourced",),
    language_creators=("crowdsourced",),
    task_categories=("feature-extraction", "text-to-video", "video-text-to-text"),
    raw_layout="""
RAW/
├── videos/v_QOlSCBRmfWY.mp4    any one folder of v_<youtube id>.*
├── train.json
├── val_1.json                  --split-protocol val_1 (default)
└── val_2.json                  --split-protocol val_2: the same videos, other annotators
""",
    remotes=(
        RemoteFile(
            "https://cs.stanford.edu/people/ranjaykrishna/densevid/captions.zip",
            "train.json and val_*.json",
            kind="archive",
            gives=("train.json", "val_1.json", "val_2.json"),
        ),
        VIDEOS,
    ),
    caption_mode="concat",
    split_protocols=("val_1", "val_2"),
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video; val is `val_1.json` unless the other one is asked for."""
    val = f"{protocol(SPEC, options)}.json"
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    named: tuple[tuple[Split, str], ...] = (("train", "train.json"), ("val", val))
    found = [(split, data) for split, name in named if (data := files.find_annotation(name))]
    if not found:
        raise files.lacks("train.json", val)
    yield from in_order(_samples(found, files))


def media_of(video: str, files: RawFiles) -> str:
    """The file of the video `v_<id>`, or where it would be. Shared by all that is annotated on these videos."""
    name = video if video.startswith("v_") else f"v_{video}"
    return files.stem(name) or files.stem(name.removeprefix("v_")) or f"videos/{safe_key(name)}.mp4"


class Paragraph(TypedDict):
    """The annotation of one video."""

    duration: Seconds
    timestamps: list[list[Seconds]]
    sentences: list[str]


def _samples(found: list[tuple[Split, Path]], files: RawFiles) -> Iterator[Sample]:
    taken: dict[str, str] = {}
    for split, data in found:
        for video, paragraph in annotation(read_json(data), dict[str, Paragraph], data).items():
            claim(taken, video, data, video)
            events = _events(paragraph, data, video)
            yield Sample(
                key=safe_key(video),
                split=split,
                media=media_of(video, files),
                captions=tuple(sentence for sentence, _ in events),
                meta={
                    "videoID": video,
                    "annotated_duration": paragraph["duration"],
                    "caption_timestamps": [times for _, times in events],
                },
            )


def _events(paragraph: Paragraph, data: Path, video: str) -> list[tuple[str, list[float]]]:
    """Sentences that are not blank, each with its `[start, end]` in seconds.

    Many sentences begin or end with a space; the joined paragraph would have two in a row.
    """
    sentences, timestamps = paragraph["sentences"], paragraph["timestamps"]
    if len(sentences) != len(timestamps):
        problem = f"{len(sentences)} sentences and {len(timestamps)} timestamps"
        raise AnnotationError(data, video, problem, "one timestamp for each sentence")
    pairs = zip(sentences, timestamps, strict=True)
    events = [(" ".join(sentence.split()), times) for sentence, times in pairs if sentence.strip()]
    if not events:
        raise AnnotationError(data, video, "all sentences are blank", "at least one sentence")
    return events
