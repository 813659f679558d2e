"""`activitynet`: ActivityNet Captions, untrimmed videos told as paragraphs of timed sentences. From train.json:

{"v_QOlSCBRmfWY": {"duration": 82.73, "timestamps": [[0.83, 19.86], [17.37, 60.81], [56.26, 79.42]],
                   "sentences": ["A young woman is seen standing in a room and leads into her dancing.", …]}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import claim, expect, field, read_json, seconds
from preprocess.recipes._files import RawFiles, raw_data_error
from preprocess.recipes._splits import in_order, protocol
from preprocess.samples import VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key

SPEC = DatasetSpec(
    name="activitynet",
    hub_name="CLIP-ActivityNet",
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
    task_categories=("feature-extraction", "text-to-video", "video-text-to-text"),
    raw_layout="""
RAW/
├── videos/v_QOlSCBRmfWY.mp4    any one folder of v_<youtube id>.*
├── train.json
├── val_1.json                  --split-protocol val_1 (default)
└── val_2.json                  --split-protocol val_2: the same videos, told by other people
""",
    remotes=(
        RemoteFile("https://cs.stanford.edu/people/ranjaykrishna/densevid/captions.zip", "train.json and val_*.json"),
        RemoteFile("http://activity-net.org/download.html", "videos/"),
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
        raise raw_data_error(SPEC, f"{raw} holds no train.json or {val}")
    yield from in_order(_samples(found, files))


def media_of(video: str, files: RawFiles) -> str:
    """The file of the video `v_<id>`, or where it would be. Shared by all that is annotated on these videos."""
    name = video if video.startswith("v_") else f"v_{video}"
    return files.stem(name) or files.stem(name.removeprefix("v_")) or f"videos/{safe_key(name)}.mp4"


def _samples(found: list[tuple[Split, Path]], files: RawFiles) -> Iterator[Sample]:
    taken: dict[str, str] = {}
    for split, data in found:
        for video, row in expect(read_json(data), dict, data, "").items():
            claim(taken, video, data, video)
            events = _events(expect(row, dict, data, video), data, video)
            yield Sample(
                key=safe_key(video),
                split=split,
                media=media_of(video, files),
                captions=tuple(sentence for sentence, _ in events),
                meta={
                    "videoID": video,
                    "annotated_duration": seconds(field(row, "duration", object, data, video), data, video),
                    "caption_timestamps": [times for _, times in events],
                },
            )


def _events(row: dict[str, Any], data: Path, video: str) -> list[tuple[str, list[float]]]:
    """Sentences that say something, each with its `[start, end]` in seconds."""
    sentences = field(row, "sentences", list, data, video)
    timestamps = field(row, "timestamps", list, data, video)
    if len(sentences) != len(timestamps):
        problem = f"{len(sentences)} sentences and {len(timestamps)} timestamps"
        raise AnnotationError(data, video, problem, "as many of one as of the other")
    events = []
    for sentence, span in zip(sentences, timestamps, strict=True):
        times = [seconds(time, data, f"{video}: timestamps") for time in expect(span, list, data, video)]
        if expect(sentence, str, data, f"{video}: sentences").strip():
            events.append((sentence, times))
    if not events:
        raise AnnotationError(data, video, "no sentence says anything", "at least one")
    return events
