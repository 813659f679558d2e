"""ActivityNet-QA as LLaMA-Factory reads it, to fine-tune Qwen2-VL: sharegpt JSON, and its entry in dataset_info.json.

    [{"messages": [{"content": "<video>is the athlete wearing trousers?", "role": "user"},
                   {"content": "no", "role": "assistant"}],
      "videos": ["/data/activitynet/videos/v_1QIUV7WYKXg.mp4"]}, …]

Every video listed was opened, and is longer than asked for, before the file is written.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocess.console import plain_number
from preprocess.errors import AnnotationError, MediaError, UserError
from preprocess.readers.annotations import read_json
from preprocess.readers.files import RawFiles
from preprocess.recipes.activitynet import media_of
from preprocess.recipes.activitynet_qa import SPEC, Question, questions
from preprocess.samples import JSON, KEY_PATTERN, SPLITS, VIDEO_SUFFIXES, Split
from preprocess.storage import write_atomic
from preprocess.validation import annotation

_PLACEHOLDER = re.compile(r"<(?:video|image|audio)>")

_ENTRY: JSON = {
    "formatting": "sharegpt",
    "columns": {"messages": "messages", "videos": "videos"},
    "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"},
}


@dataclass(frozen=True, slots=True)
class Choice:
    """Which questions to take.

    Attributes:
        type: Split whose answers are joined.
        name: File of questions, without `.json`; None for `<type>_q`.
        n: How many at most, in the order of the file.
        min_seconds: Videos must be longer than this.
    """

    type: Split = "train"
    name: str | None = None
    n: int = 250
    min_seconds: float = 20.0

    def __post_init__(self) -> None:
        if self.type not in SPLITS:
            raise ValueError(f"type must be one of {SPLITS}, got {self.type!r}")
        if self.n < 1 or not 0 <= self.min_seconds < math.inf:
            raise ValueError(f"n must be at least 1 and min_seconds at least 0, got {self.n}, {self.min_seconds}")

    @property
    def title(self) -> str:
        """Name of the dataset, and of its file before `.json`."""
        return f"activitynet_qa_{self.type}_{self.n}_limit_{plain_number(self.min_seconds)}s"

    @property
    def names(self) -> tuple[str, ...]:
        """The names of its entries: the title, and for train what the commands of Xtune's guide call it."""
        return (self.title, self.title.replace("_train", "", 1)) if self.type == "train" else (self.title,)


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how many questions were skipped, by reason: `unanswered`, `short`, or a media reason."""

    file: Path
    questions: int
    videos: int
    passed_over: Mapping[str, int]


def export(raw: Path, out: Path, choice: Choice, register: Iterable[str] = ()) -> ExportReport:
    """Writes `<title>.json` into `out` and merges its entries into `out/dataset_info.json`.

    Args:
        raw: The raw folder of the dataset `activitynet_qa`.
        out: LLaMA-Factory's data folder; made where it is missing.
        choice: Which questions to take.
        register: More names to enter, such as `caltech101`: Xtune's CLIP and AdaCLIP fine-tuning lists datasets by
            their entry and reads the data from elsewhere, so that its file is an empty list. It is left alone if it
            exists.

    Raises:
        RawDataError: The questions, the answers or the raw folder are missing.
        AnnotationError: One of the files, dataset_info.json among them, is not what it should be.
        UserError: No question is left. Nothing is written in any of these cases.
    """
    files = RawFiles.list(raw, SPEC, VIDEO_SUFFIXES)
    asked = files.annotation(f"{choice.name or f'{choice.type}_q'}.json")
    listed = questions(asked, files.annotation(f"{choice.type}_a.json"))
    passed_over: Counter[str] = Counter()
    entries = []
    for question, video in _usable(listed, files, choice.min_seconds, passed_over):
        entries.append(_conversation(question, _path_from(out, video), asked))
        if len(entries) == choice.n:
            break
    if not entries:
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(passed_over.items()))
        raise UserError(f"none of {len(listed)} questions can be used ({reasons})", "Check RAW and --min-seconds.")
    info = out / "dataset_info.json"
    listed_names = [_plain_name(name) for name in register]
    merged = merged_info(info, choice, listed_names)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{choice.title}.json"
    write_atomic(file, _pretty(entries))
    for name in listed_names:
        if not (out / f"{name}.json").exists():
            write_atomic(out / f"{name}.json", _pretty([]))
    write_atomic(info, _pretty(merged))
    return ExportReport(file, len(entries), len({entry["videos"][0] for entry in entries}), dict(passed_over))


def merged_info(info: Path, choice: Choice, register: Iterable[str] = ()) -> JSON:
    """The content of dataset_info.json with the entries of this dataset; all others as they were, in their order."""
    known = annotation(read_json(info), JSON, info) if info.exists() else {}
    own = {name: {"file_name": f"{choice.title}.json", **_ENTRY} for name in choice.names}
    listed = {name: {"file_name": f"{name}.json"} for name in register if name not in known}
    return {**known, **own, **listed}


def _plain_name(name: str) -> str:
    """A name that is to be that of an entry and of a file.

    Raises:
        UserError: It has other characters than letters, digits, `_` and `-`.
    """
    if not KEY_PATTERN.fullmatch(name):
        raise UserError(f"{name!r} cannot be the name of a dataset", "Use letters, digits, '_' and '-'.")
    return name


def _usable(
    listed: Iterable[Question], files: RawFiles, min_seconds: float, passed_over: Counter[str]
) -> Iterator[tuple[Question, Path]]:
    """Questions with an answer and a video that opens and is long enough; each video is looked at once."""
    verdicts: dict[Path, str | None] = {}
    for question in listed:
        video = files.raw / media_of(question.video, files)
        if question.answer is None:
            passed_over["unanswered"] += 1
            continue
        if video not in verdicts:
            verdicts[video] = _verdict(video, min_seconds)
        reason = verdicts[video]
        if reason is None:
            yield question, video
        else:
            passed_over[reason] += 1


def _verdict(video: Path, min_seconds: float) -> str | None:
    """Why a video cannot be used, or None."""
    try:
        seconds = duration_s(video)
    except MediaError as error:
        return error.reason
    return None if seconds > min_seconds else "short"


def duration_s(video: Path) -> float:
    """From the first frame that is shown to the end of the last, by the packets: headers are often wrong.

    Raises:
        MediaError: The file does not exist or is not a readable video.
    """
    from preprocess.media.container import open_video
    from preprocess.media.packets import read_index

    with open_video(video) as (container, stream):
        index = read_index(container, stream, video)
    shown = index.display_pts()
    return float((int(shown[-1]) + index.last_duration - int(shown[0])) * index.time_base) if shown.size else 0.0


def _conversation(question: Question, video: str, asked: Path) -> JSON:
    if _PLACEHOLDER.search(f"{question.text} {question.answer}"):
        raise AnnotationError(asked, question.id, "the text holds a placeholder such as <video>", "plain text")
    return {
        "messages": [
            {"content": f"<video>{question.text.rstrip('? ')}?", "role": "user"},
            {"content": question.answer, "role": "assistant"},
        ],
        "videos": [video],
    }


def _path_from(out: Path, video: Path) -> str:
    """Relative where the video is in LLaMA-Factory's data folder, so that the folder may move; else absolute."""
    # By the names alone: links stay as they are, for a video's name is its id.
    here, there = (Path(os.path.normpath(path.absolute())) for path in (out, video))
    return there.relative_to(here).as_posix() if there.is_relative_to(here) else str(there)


def _pretty(value: object) -> bytes:
    """As LLaMA-Factory's own files are written."""
    return (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode()
