"""`activitynet_qa`: ActivityNet-QA, ten questions on each of 5,800 ActivityNet videos. From val_q.json and val_a.json:

    [{"video_name": "1QIUV7WYKXg", "question": "is the athlete wearing trousers", "question_id": "v_1QIUV7WYKXg_3"}, …]
    [{"question_id": "v_1QIUV7WYKXg_3", "answer": "no", "type": 3}, …]

Types: 0 motion, 1 spatial and 2 temporal relationship; free questions by their answer: 3 yes/no, 4 color, 5 object,
6 location, 7 number, 8 other.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.readers.annotations import claim, read_json
from preprocess.readers.files import RawFiles
from preprocess.readers.splits import in_order
from preprocess.recipes.activitynet import VIDEOS, media_of
from preprocess.samples import SPLITS, VIDEO_SUFFIXES, DatasetSpec, RecipeOptions, RemoteFile, Sample, Split, safe_key
from preprocess.validation import Text, annotation

_DATA = "https://raw.githubusercontent.com/MILVLG/activitynet-qa/master/dataset"

SPEC = DatasetSpec(
    name="activitynet_qa",
    title="ActivityNet-QA",
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
    annotations_creators=("crowdsourced",),
    language_creators=("crowdsourced",),
    task_categories=("feature-extraction", "video-text-to-text", "visual-question-answering"),
    raw_layout="""
RAW/
├── videos/v_1QIUV7WYKXg.mp4    any one folder of v_<youtube id>.*
├── {train,val,test}_q.json     video_name, question, question_id
└── {train,val,test}_a.json     question_id, answer, type
""",
    remotes=(
        *(RemoteFile(f"{_DATA}/{split}_{kind}.json", f"{split}_{kind}.json") for split in SPLITS for kind in "qa"),
        VIDEOS,
    ),
)

_log = logging.getLogger(__name__)


class Asked(TypedDict):
    """An entry of a file of questions."""

    video_name: Text
    question: Text
    question_id: str


class Answer(TypedDict):
    """An entry of a file of answers."""

    question_id: str
    answer: Text
    type: int


@dataclass(frozen=True, slots=True)
class Question:
    """One question about one video, `v_<youtube id>`. `answer` and `kind` (its type) are None if it has no answer."""

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
        raise files.lacks(*(f"{split}_q.json" for split in SPLITS))
    yield from in_order(_samples(found, files))


def questions(asked: Path, answered: Path) -> list[Question]:
    """The questions of one file in its order, joined with the answers of another by `question_id`.

    A question without an answer is kept, and reported in the log.

    Raises:
        AnnotationError: One of the files is not what it should be.
    """
    answers: dict[str, Answer] = {}
    taken: dict[str, str] = {}
    for index, answer in enumerate(annotation(read_json(answered), list[Answer], answered)):
        claim(taken, answer["question_id"], answered, f"entry {index}")
        answers[answer["question_id"]] = answer
    found = []
    taken = {}
    for index, row in enumerate(annotation(read_json(asked), list[Asked], asked)):
        claim(taken, row["question_id"], asked, f"entry {index}")
        given = answers.get(row["question_id"])
        video = row["video_name"].removeprefix("v_")
        text, kind = (given["answer"], given["type"]) if given else (None, None)
        found.append(Question(row["question_id"], f"v_{video}", row["question"], text, kind))
    if unanswered := [question.id for question in found if question.answer is None]:
        ids = ", ".join(unanswered[:5]) + (", …" if len(unanswered) > 5 else "")
        _log.warning("%s: %d questions have no answer in %s (%s)", asked, len(unanswered), answered.name, ids)
    return found


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
