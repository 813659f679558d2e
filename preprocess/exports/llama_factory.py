"""ActivityNet-QA as LLaMA-Factory reads it, to fine-tune Qwen2-VL: sharegpt JSON, and its entry in dataset_info.json.

    [{"messages": [{"content": "<video>is the athlete wearing trousers?", "role": "user"},
                   {"content": "no", "role": "assistant"}],
      "videos": ["/data/activitynet/videos/v_1QIUV7WYKXg.mp4"]}, …]

Every video listed was opened, and is longer than asked for, before the file is written.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import AnnotationError, MediaError, UserError
from preprocess.formats.atomic import write_atomic
from preprocess.recipes._annotations import expect, read_json
from preprocess.recipes._files import RawFiles
from preprocess.recipes.activitynet import media_of
from preprocess.recipes.activitynet_qa import SPEC, Question, questions
from preprocess.samples import JSON, SPLITS, VIDEO_SUFFIXES, Split

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
        if self.n < 1 or self.min_seconds < 0:
            raise ValueError(f"n must be at least 1 and min_seconds at least 0, got {self.n}, {self.min_seconds}")

    @property
    def title(self) -> str:
        """Name of the dataset, and of its file before `.json`."""
        return f"activitynet_qa_{self.type}_{self.n}_limit_{self.min_seconds:g}s"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how many questions were passed over by reason: `unanswered`, `short`, or a media reason."""

    file: Path
    questions: int
    videos: int
    passed_over: Mapping[str, int]


def export(raw: Path, out: Path, choice: Choice) -> ExportReport:
    """Writes `<title>.json` into `out` and merges its entry into `out/dataset_info.json`.

    Args:
        raw: The raw folder of the dataset `activitynet_qa`.
        out: LLaMA-Factory's data folder; made where it is missing.
        choice: Which questions to take.

    Raises:
        RawDataError: The questions, the answers or the raw folder are not there.
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
    merged = merged_info(info, choice.title)
    out.mkdir(parents=True, exist_ok=True)
    file = out / f"{choice.title}.json"
    write_atomic(file, _pretty(entries))
    write_atomic(info, _pretty(merged))
    return ExportReport(file, len(entries), len({entry["videos"][0] for entry in entries}), dict(passed_over))


def merged_info(info: Path, title: str) -> JSON:
    """The content of dataset_info.json with the entry of this dataset; all others as they were, in their order."""
    known = expect(read_json(info), dict, info, "") if info.exists() else {}
    return {**known, title: {"file_name": f"{title}.json", **_ENTRY}}


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
        MediaError: The file is not there, or is no video that can be opened.
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
