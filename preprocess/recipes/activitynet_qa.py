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
    """One question about one video. `answer` and `kind` (its type, 0…8) are None where none was given."""

    id: str
    video: str
    text: str
    answer: str | None
    kind: int | None


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per video; its captions are its questions, each with its answer."""
    files = index(raw)
    yield from in_order(_samples(files))


def index(raw: Path) -> RawFiles:
    """The files below `raw`, of which at least one split's questions are."""
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    if not any(files.find_annotation(f"{split}_q.json") for split in SPLITS):
        raise raw_data_error(SPEC, f"{raw} holds no train_q.json, val_q.json or test_q.json")
    return files


def questions(files: RawFiles, split: Split) -> list[Question]:
    """The questions of a split in the order of its file, joined with their answers by `question_id`.

    A question without an answer is kept and reported; so is an answer without a question.

    Raises:
        RawDataError: The split has no file of questions or of answers.
        AnnotationError: One of them is not what it should be.
    """
    asked, answered = files.annotation(f"{split}_q.json"), files.annotation(f"{split}_a.json")
    answers: dict[str, tuple[str, int]] = {}
    taken: dict[str, str] = {}
    for place, row in enumerate(expect(read_json(answered), list, answered, "")):
        where = f"entry {place}"
        id_ = field(expect(row, dict, answered, where), "question_id", str, answered, where)
        claim(taken, id_, answered, where)
        answer = text(field(row, "answer", str, answered, id_), answered, f"{id_}: answer")
        answers[id_] = (answer, field(row, "type", int, answered, id_))
    found = []
    taken = {}
    for place, row in enumerate(expect(read_json(asked), list, asked, "")):
        where = f"entry {place}"
        id_ = field(expect(row, dict, asked, where), "question_id", str, asked, where)
        claim(taken, id_, asked, where)
        question = text(field(row, "question", str, asked, id_), asked, f"{id_}: question")
        answer_, kind = answers.pop(id_, (None, None))
        found.append(
            Question(id_, text(field(row, "video_name", str, asked, id_), asked, id_), question, answer_, kind)
        )
    _report(f"{asked}: %d questions have no answer in {answered.name}", [q.id for q in found if q.answer is None])
    _report(f"{answered}: %d answers have no question in {asked.name}", list(answers))
    return found


def _report(message: str, ids: list[str]) -> None:
    if ids:
        _log.warning(f"{message} (%s%s)", len(ids), ", ".join(ids[:5]), ", …" if len(ids) > 5 else "")


def _samples(files: RawFiles) -> Iterator[Sample]:
    taken: dict[str, str] = {}
    for split in SPLITS:
        asked_in = files.find_annotation(f"{split}_q.json")
        if asked_in is None:
            continue
        videos: dict[str, list[Question]] = {}
        for question in questions(files, split):
            videos.setdefault(question.video.removeprefix("v_"), []).append(question)
        for video, asked in videos.items():
            claim(taken, video, asked_in, asked[0].id)
            yield Sample(
                key=safe_key(f"v_{video}"),
                split=split,
                media=media_of(video, files),
                captions=tuple(f"{q.text}? {q.answer or ''}".rstrip() for q in asked),
                meta={
                    "videoID": f"v_{video}",
                    "question_ids": [q.id for q in asked],
                    "questions": [q.text for q in asked],
                    "answers": [q.answer for q in asked],
                    "types": [q.kind for q in asked],
                },
            )
