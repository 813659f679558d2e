"""`activitynet_qa`: ActivityNet-QA, ten questions on each of 5,800 ActivityNet videos. From val_q.json and val_a.json:

    [{"video_name": "1QIUV7WYKXg", "question": "is the athlete wearing trousers", "question_id": "v_1QIUV7WYKXg_3"}, …]
    [{"question_id": "v_1QIUV7WYKXg_3", "answer": "no", "type": 3}, …]

Types: 0 motion, 1 spatial and 2 temporal relationship; free questions by their answer: 3 yes/no, 4 colour, 5 object,
6 location, 7 number, 8 other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from preprocess.recipes._annotations import claim, expect, field, read_json, text
from preprocess.recipes._files import RawFiles, raw_data_error
from preprocess.recipes._splits import in_order
from preprocess.recipes.activitynet import media_of
from preprocess.samples import SPLITS, VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key

_DATA = "https://raw.githubusercontent.com/MILVLG/activitynet-qa/master/dataset"

SPEC = DatasetSpec(
    name="activitynet_qa",
    hub_name="CLIP-ActivityNet-QA",
    license="mit",
    citation="""
@inproceedings{yu2019activitynetqa,
  title = {{ActivityNet-QA}: A Dataset for Understanding Complex Web Videos via Question Answering},
  author = {Yu, Zhou and Xu, Dejing and Yu, Jun and Yu, Ting and Zhao, Zhou and Zhuang, Yueting and Tao, Dacheng},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  pages = {9127--9134},
  year = {2019}
}
""".strip(),
    homepage="https://github.com/MILVLG/activitynet-qa",
    languages=("en",),
    task_categories=("feature-extraction", "video-text-to-text", "visual-question-answering"),
    raw_layout="""
RAW/
├── videos/v_1QIUV7WYKXg.mp4    any one folder of v_<youtube id>.*
├── {train,val,test}_q.json     video_name, question, question_id
└── {train,val,test}_a.json     question_id, answer, type
""",
    remotes=(
        *(RemoteFile(f"{_DATA}/{split}_{kind}.json", f"{split}_{kind}.json") for split in SPLITS for kind in "qa"),
        RemoteFile("http://activity-net.org/download.html", "videos/"),
    ),
)

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one video, `v_<youtube id>`. `answer` and `kind` (its type) are None where none was given."""

    id: str
    video: str
    text: str
    answer: str | None
    kind: int | None


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video; its captions are its questions, each with its answer."""
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    found = [(split, asked) for split in SPLITS if (asked := files.find_annotation(f"{split}_q.json"))]
    if not found:
        raise raw_data_error(SPEC, f"{raw} holds no train_q.json, val_q.json or test_q.json")
    yield from in_order(_samples(found, files))


def questions(asked: Path, answered: Path) -> list[Question]:
    """The questions of one file in its order, joined with the answers of another by `question_id`.

    A question without an answer is kept, and reported in the log.

    Raises:
        AnnotationError: One of the files is not what it should be.
    """
    answers: dict[str, tuple[str, int]] = {}
    taken: dict[str, str] = {}
    for id_, where, row in _entries(answered):
        claim(taken, id_, answered, where)
        answer = text(field(row, "answer", str, answered, id_), answered, f"{id_}: answer")
        answers[id_] = (answer, field(row, "type", int, answered, id_))
    found = []
    taken = {}
    for id_, where, row in _entries(asked):
        claim(taken, id_, asked, where)
        video = text(field(row, "video_name", str, asked, id_), asked, f"{id_}: video_name").removeprefix("v_")
        question = text(field(row, "question", str, asked, id_), asked, f"{id_}: question")
        found.append(Question(id_, f"v_{video}", question, *answers.get(id_, (None, None))))
    if bare := [question.id for question in found if question.answer is None]:
        shown = ", ".join(bare[:5]) + (", …" if len(bare) > 5 else "")
        _log.warning("%s: %d questions have no answer in %s (%s)", asked, len(bare), answered.name, shown)
    return found


def _entries(path: Path) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The id, the place and the row of each entry of a file."""
    for index, item in enumerate(expect(read_json(path), list, path, "")):
        where = f"entry {index}"
        row = expect(item, dict, path, where)
        yield field(row, "question_id", str, path, where), where, row


def _samples(found: list[tuple[Split, Path]], files: RawFiles) -> Iterator[Sample]:
    taken: dict[str, str] = {}
    for split, asked in found:
        videos: dict[str, list[Question]] = {}
        for question in questions(asked, files.annotation(f"{split}_a.json")):
            videos.setdefault(question.video, []).append(question)
        for video, about in videos.items():
            claim(taken, video, asked, about[0].id)
            yield Sample(
                key=safe_key(video),
                split=split,
                media=media_of(video, files),
                captions=tuple(f"{q.text}? {q.answer or ''}".rstrip() for q in about),
                meta={
                    "videoID": video,
                    "question_ids": [q.id for q in about],
                    "questions": [q.text for q in about],
                    "answers": [q.answer for q in about],
                    "types": [q.kind for q in about],
                },
            )
