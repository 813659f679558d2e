"""`msrvtt`: MSR-VTT, web video clips of 10 to 30 s with 20 sentences each. From MSRVTT_data.json:

    {"videos": [{"video_id": "video7020", "start time": 221.77, "end time": 233.08, "category": 10, "split": "test",
                 "url": "https://www.youtube.com/watch?v=…"}, …],
     "sentences": [{"video_id": "video7020", "caption": "a woman makes a fondant baby", "sen_id": 140400}, …]}

and from MSRVTT_JSFUSION_test.csv, published with `,` and with `;`: `key,vid_key,video_id,sentence`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import claim, expect, field, read_csv, read_json, seconds, text
from preprocess.recipes._files import RawFiles
from preprocess.recipes._splits import in_order, protocol, split_named
from preprocess.samples import VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key

SPEC = DatasetSpec(
    name="msrvtt",
    hub_name="CLIP-MSRVTT",
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
    task_categories=("feature-extraction", "text-to-video", "video-text-to-text"),
    raw_layout="""
RAW/
├── MSRVTT/videos/all/video0.mp4    or any one folder of video<N>.*
├── MSRVTT_data.json
├── MSRVTT_train.9k.csv             --split-protocol jsfusion (default); 7k: MSRVTT_train.7k.csv
└── MSRVTT_JSFUSION_test.csv        jsfusion and 7k; full needs the JSON alone
""",
    remotes=(
        RemoteFile("https://www.robots.ox.ac.uk/~maxbain/frozen-in-time/data/MSRVTT.zip", "MSRVTT/"),
        RemoteFile(
            "https://github.com/ArrowLuo/CLIP4Clip/releases/download/v0.0/msrvtt_data.zip",
            "MSRVTT_data.json and the .csv files",
        ),
    ),
    split_protocols=("jsfusion", "full", "7k"),
)

Row = dict[str, Any]


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video of the chosen protocol; a video of the 1k-A test has the one sentence of its CSV."""
    chosen = protocol(SPEC, options)
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    data = files.annotation("MSRVTT_data.json")
    videos, sentences = _read(data)
    splits: dict[str, Split]
    if chosen == "full":
        splits, single = {video: _published(row, data, video) for video, row in videos.items()}, {}
    else:
        train = _column(files.annotation(f"MSRVTT_train.{'9k' if chosen == 'jsfusion' else '7k'}.csv"), "video_id")
        test = files.annotation("MSRVTT_JSFUSION_test.csv")
        single = _column(test, "sentence")
        both = next((video for video in single if video in train), None)
        if both is not None:
            raise AnnotationError(test, both, "the video is in the train list too", "no video in two splits")
        splits = {**dict.fromkeys(train, "train"), **dict.fromkeys(single, "test")}

    def sample(video: str) -> Sample:
        if video not in videos:
            raise AnnotationError(data, video, "a listed video is missing", "every video of the CSV files")
        row = videos[video]
        captions = (single[video],) if video in single else tuple(sentences[video])
        if not captions:
            raise AnnotationError(data, video, "the video has no sentence", "at least one")
        return Sample(
            key=safe_key(video),
            split=splits[video],
            media=files.stem(video) or f"MSRVTT/videos/all/{safe_key(video)}.mp4",
            captions=captions,
            meta={
                "videoID": video,
                "start_time": seconds(field(row, "start time", object, data, video), data, f"{video}: start time"),
                "end_time": seconds(field(row, "end time", object, data, video), data, f"{video}: end time"),
                "category": row.get("category"),
                "url": row.get("url"),
            },
        )

    yield from in_order(map(sample, splits))


def _read(data: Path) -> tuple[dict[str, Row], dict[str, list[str]]]:
    """The rows and the sentences of each video, in the order of the file."""
    document = expect(read_json(data), dict, data, "")
    videos: dict[str, Row] = {}
    taken: dict[str, str] = {}
    for index, row in enumerate(field(document, "videos", list, data, "")):
        where = f"videos[{index}]"
        video = field(expect(row, dict, data, where), "video_id", str, data, where)
        claim(taken, video, data, where)
        videos[video] = row
    sentences: dict[str, list[str]] = defaultdict(list)
    for index, row in enumerate(field(document, "sentences", list, data, "")):
        where = f"sentences[{index}]"
        video = field(expect(row, dict, data, where), "video_id", str, data, where)
        sentences[video].append(text(field(row, "caption", str, data, where), data, where))
    return videos, sentences


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


def _published(row: Row, data: Path, video: str) -> Split:
    name = field(row, "split", str, data, video)
    split = split_named(name)
    if split is None:
        raise AnnotationError(data, video, f"split is {name!r}", "train, validate or test")
    return split
