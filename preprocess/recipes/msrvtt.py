"""`msrvtt`: MSR-VTT, web video clips of 10 to 30 s with 20 sentences each. From MSRVTT_data.json:

    {"videos": [{"video_id": "video7020", "start time": 221.77, "end time": 233.08, "category": 10, "split": "test",
                 "url": "https://www.youtube.com/watch?v=…"}, …],
     "sentences": [{"video_id": "video7020", "caption": "a woman makes a fondant baby", "sen_id": 140400}, …]}

and from MSRVTT_JSFUSION_test.csv, published with `,` and with `;`: `key,vid_key,video_id,sentence`.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NotRequired

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import claim, read_csv, read_json, read_text, text
from preprocess.readers.files import RawFiles
from preprocess.readers.splits import in_order, protocol, split_named
from preprocess.samples import VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key
from preprocess.validation import Seconds, Text, annotation

SPEC = DatasetSpec(
    name="msrvtt",
    title="MSRVTT",
    license="unknown",
    citation="""
@inproceedings{xu2016msrvtt,
  title = {{MSR-VTT}: A Large Video Description Dataset for Bridging Video and Language},
  author = {Xu, Jun and Mei, Tao and Yao, Ting and Rui, Yong},
  booktitle = {Proceedings of the IEEE Conference on Computer Vision and Pattern Recognition (CVPR)},
  pages = {5288--5296},
  year = {2016}
}
@inproceedings{yu2018jsfusion,
  title = {A Joint Sequence Fusion Model for Video Question Answering and Retrieval},
  author = {Yu, Youngjae and Kim, Jongseok and Kim, Gunhee},
  booktitle = {Proceedings of the European Conference on Computer Vision (ECCV)},
  year = {2018}
}
""".strip(),
    homepage="https://www.microsoft.com/en-us/research/publication/"
    "msr-vtt-a-large-video-description-dataset-for-bridging-video-and-language/",
    languages=("en",),
    annotations_creators=("crowdsourced",),
    language_creators=("crowdsourced",),
    task_categories=("feature-extraction", "text-to-video", "video-text-to-text"),
    raw_layout="""
RAW/
├── MSRVTT/videos/all/video0.mp4    or any one folder of video<N>.*
├── MSRVTT_data.json
├── MSRVTT_train.9k.csv             --split-protocol jsfusion (default); 7k: MSRVTT_train.7k.csv
└── MSRVTT_JSFUSION_test.csv        jsfusion and 7k; full needs the JSON alone

or MSRVTT.zip, unpacked (jsfusion and full):
RAW/MSRVTT/
├── videos/all/video0.mp4
├── annotation/MSR_VTT.json
└── structured-symlinks/{train,val,test}_list_*.txt
""",
    remotes=(
        RemoteFile(
            "https://www.robots.ox.ac.uk/~maxbain/frozen-in-time/data/MSRVTT.zip",
            "MSRVTT/",
            kind="archive",
            gives=("video[0-9]*.*",),
        ),
        RemoteFile(
            "https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msrvtt_data.zip",
            "MSRVTT_data.json and the .csv files",
            kind="archive",
            gives=("MSRVTT_data.json", "MSRVTT_train.9k.csv", "MSRVTT_train.7k.csv", "MSRVTT_JSFUSION_test.csv"),
        ),
    ),
    split_protocols=("jsfusion", "full", "7k"),
)

Video = TypedDict(  # a video of MSRVTT_data.json; MSR_VTT.json has nothing but ids
    "Video",
    {
        "video_id": str,
        "start time": NotRequired[Seconds],
        "end time": NotRequired[Seconds],
        "split": NotRequired[str],
        "category": NotRequired[Any],
        "url": NotRequired[Any],
    },
)


class Sentence(TypedDict):
    """A sentence of MSRVTT_data.json."""

    video_id: str
    caption: Text


class Document(TypedDict):
    """MSRVTT_data.json."""

    videos: list[Video]
    sentences: list[Sentence]


class ZipSentence(TypedDict):
    """A sentence of MSR_VTT.json."""

    image_id: str
    caption: Text


class ZipData(TypedDict):
    """MSR_VTT.json, of MSRVTT.zip."""

    annotations: list[ZipSentence]


@dataclass(frozen=True, slots=True)
class _Corpus:
    """Content of one of the two JSON files: metadata by video, sentences by video in the order of the file."""

    file: Path
    videos: dict[str, Video]
    sentences: dict[str, list[str]]


_ZIP_LISTS: dict[str, dict[Split, str]] = {
    "jsfusion": {"train": "train_list_jsfusion.txt", "test": "val_list_jsfusion.txt"},
    "full": {"train": "train_list_full.txt", "val": "val_list_full.txt", "test": "test_list_full.txt"},
}
"""Lists in `structured-symlinks/` of MSRVTT.zip, by protocol. The .pkl beside them is never read."""

_log = logging.getLogger(__name__)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video of the chosen protocol; a video of the 1k-A test has the one sentence of its CSV."""
    chosen = protocol(SPEC, options)
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    if data := files.find_annotation("MSRVTT_data.json"):
        corpus = _read(data)
    elif data := files.find_annotation("MSR_VTT.json"):
        corpus = _read_zip(data)
    else:
        raise files.lacks("MSRVTT_data.json", "MSR_VTT.json")
    splits, single = _splits(chosen, files, corpus)

    def sample(video: str) -> Sample:
        if video not in corpus.videos:
            raise AnnotationError(data, video, "a listed video is missing", "every video of the lists")
        row = corpus.videos[video]
        captions = (single[video],) if video in single else tuple(corpus.sentences.get(video, ()))
        if not captions:
            raise AnnotationError(data, video, "the video has no sentence", "at least one")
        return Sample(
            key=safe_key(video),
            split=splits[video],
            media=files.stem(video) or f"MSRVTT/videos/all/{safe_key(video)}.mp4",
            captions=captions,
            meta={
                "videoID": video,
                "start_time": row.get("start time"),
                "end_time": row.get("end time"),
                "category": row.get("category"),
                "url": row.get("url"),
            },
        )

    yield from in_order(map(sample, splits))


def _splits(chosen: str, files: RawFiles, corpus: _Corpus) -> tuple[dict[str, Split], dict[str, str]]:
    """The split of each video of a protocol, and the sentences of the videos that have a single one."""
    if chosen == "full":
        if corpus.file.name == "MSRVTT_data.json":
            return {video: _published(row, corpus.file) for video, row in corpus.videos.items()}, {}
        return _zip_splits(chosen, files), {}
    train_list = f"MSRVTT_train.{'9k' if chosen == 'jsfusion' else '7k'}.csv"
    test = files.find_annotation("MSRVTT_JSFUSION_test.csv")
    if (
        chosen == "jsfusion"
        and not files.find_annotation(train_list)
        and files.find_annotation("train_list_jsfusion.txt")
    ):
        splits = _zip_splits(chosen, files)
        single = {} if test is None else _column(test, "sentence")
        if test is None:
            _log.warning("%s: without MSRVTT_JSFUSION_test.csv, test videos keep all their sentences", corpus.file)
        return splits, {video: sentence for video, sentence in single.items() if splits.get(video) == "test"}
    train = _column(files.annotation(train_list), "video_id")
    test = files.annotation("MSRVTT_JSFUSION_test.csv")
    single = _column(test, "sentence")
    _refuse_both(train, single, test)
    return {**dict.fromkeys(train, "train"), **dict.fromkeys(single, "test")}, single


def _zip_splits(chosen: str, files: RawFiles) -> dict[str, Split]:
    """The splits of the lists in MSRVTT.zip: one video id per line."""
    splits: dict[str, Split] = {}
    for split, name in _ZIP_LISTS[chosen].items():
        path = files.annotation(name)
        videos = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        _refuse_both(splits, videos, path)
        splits |= dict.fromkeys(videos, split)
    return splits


def _refuse_both(before: Collection[str], videos: Iterable[str], path: Path) -> None:
    both = next((video for video in videos if video in before), None)
    if both is not None:
        raise AnnotationError(path, both, "the video is in the train list too", "no video in two splits")


def _read(data: Path) -> _Corpus:
    document = annotation(read_json(data), Document, data)
    videos: dict[str, Video] = {}
    taken: dict[str, str] = {}
    for index, row in enumerate(document["videos"]):
        claim(taken, row["video_id"], data, f"videos[{index}]")
        videos[row["video_id"]] = row
    sentences: dict[str, list[str]] = {}
    for sentence in document["sentences"]:
        sentences.setdefault(sentence["video_id"], []).append(sentence["caption"])
    return _Corpus(data, videos, sentences)


def _read_zip(data: Path) -> _Corpus:
    sentences: dict[str, list[str]] = {}
    for row in annotation(read_json(data), ZipData, data)["annotations"]:
        sentences.setdefault(row["image_id"], []).append(row["caption"])
    return _Corpus(data, {video: {"video_id": video} for video in sentences}, sentences)


def _column(table: Path, name: str) -> dict[str, str]:
    """`video_id` → that column of a CSV file."""
    found: dict[str, str] = {}
    taken: dict[str, str] = {}
    for line, row in read_csv(table, ("video_id", name) if name != "video_id" else ("video_id",)):
        where = f"line {line}"
        video = text(row["video_id"], table, f"{where}: video_id")
        claim(taken, video, table, where)
        found[video] = text(row[name], table, f"{where}: {name}")
    return found


def _published(row: Video, data: Path) -> Split:
    name = row.get("split", "")
    split = split_named(name)
    if split is None:
        raise AnnotationError(data, row["video_id"], f"split is {name!r}", "train, validate or test")
    return split
