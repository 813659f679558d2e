"""Is a training JSONL what the training needs? Every line, every file, every number; nothing is changed.

    train_09s.jsonl line 3: wrong_variant: text/3b6f0c2d5e7a9148_none.pt where the scene asks for ..._start.pt

The same check runs before a JSONL is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from preprocess.long_video.frame_settings import FrameSettings
from preprocess.long_video.latents import expected_latents
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.long_video.tensors import Expected, Fault, FaultCode, load_tensor, tensor_fault
from preprocess.long_video.text import MAX_TOKENS
from preprocess.samples import JSON

Code = (
    Literal[
        "missing_jsonl",
        "empty",
        "bad_line",
        "wrong_keys",
        "bad_path",
        "duplicate",
        "wrong_count",
        "wrong_variant",
        "wrong_text",
        "unknown_episode",
        "missing_episode",
    ]
    | FaultCode
)

KEYS = {"vid_emb", "text_chunk_emb"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One defect.

    Attributes:
        code: What kind; see `Code`.
        where: File and line.
        message: For a person.
    """

    code: Code
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.code}: {self.message}"


@dataclass(frozen=True, slots=True)
class Expectation:
    """What a JSONL is held against.

    Attributes:
        frames: Size and rate of the frames that were encoded.
        tokens: Length of a text embedding.
        width: Its width, or None for any, but one for all.
        seconds: Length of every episode, or None for any.
        plan: Texts of every episode by its `vid_emb`, where the plan is known.
        rejected: Keys of the episodes that may be missing.
    """

    frames: FrameSettings = field(default_factory=FrameSettings)
    tokens: int = MAX_TOKENS
    width: int | None = None
    seconds: int | None = None
    plan: Mapping[str, Sequence[str]] | None = None
    rejected: frozenset[str] = frozenset()


def check_file(path: Path, expectation: Expectation) -> list[Finding]:
    """All defects of a training JSONL, by line."""
    try:
        lines = path.read_bytes().decode().split("\n")
    except FileNotFoundError:
        return [Finding("missing_jsonl", path.name, "is not there")]
    except UnicodeDecodeError as error:
        return [Finding("bad_line", path.name, f"byte {error.start} is not UTF-8")]
    found, rows = [], []
    for number, text in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        where = f"{path.name} line {number}"
        try:
            row = json.loads(text)
        except ValueError as error:
            found.append(Finding("bad_line", where, f"is not JSON ({error})"))
            continue
        wrong = _wrong_keys(row)
        if wrong:
            found.append(Finding("wrong_keys", where, wrong))
        else:
            rows.append((where, row))
    return found + check_rows(rows, path, expectation)


def check_rows(rows: Sequence[tuple[str, JSON]], path: Path, expectation: Expectation) -> list[Finding]:
    """All defects of rows that have the right keys.

    Args:
        rows: Where it stands, and the row.
        path: The JSONL that they are or will be in: their paths are relative to its folder.
        expectation: What they are held against.
    """
    found = [] if rows else [Finding("empty", path.name, "has no usable line")]
    texts = _Texts(path.parent, Expected((expectation.tokens, expectation.width)))
    seen: dict[str, str] = {}
    for where, row in rows:
        found += _check_row(where, row, path.parent, expectation, texts)
        first = seen.setdefault(row["vid_emb"], where)
        if first != where:
            found.append(Finding("duplicate", where, f"{row['vid_emb']} is already in {first}"))
    for name in sorted((expectation.plan or {}).keys() - seen.keys()):
        if PurePosixPath(name).stem not in expectation.rejected:
            found.append(Finding("missing_episode", path.name, f"no line for {name}, which was not rejected"))
    return found


def _wrong_keys(row: object) -> str | None:
    if not isinstance(row, dict) or set(row) != KEYS:
        return f"has {sorted(row) if isinstance(row, dict) else type(row).__name__}, not {sorted(KEYS)}"
    texts = row["text_chunk_emb"]
    if not isinstance(row["vid_emb"], str) or not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        return "vid_emb must be a path and text_chunk_emb a list of paths"
    return None


def _check_row(where: str, row: JSON, root: Path, expectation: Expectation, texts: _Texts) -> Iterator[Finding]:
    video, names = row["vid_emb"], row["text_chunk_emb"]
    if expectation.seconds is not None and SEGMENT_S * len(names) != expectation.seconds:
        wanted = expectation.seconds // SEGMENT_S
        yield Finding("wrong_count", where, f"{len(names)} texts, not {wanted} for {expectation.seconds} s")
    bad = [name for name in (video, *names) if _leads_out(name)]
    for name in bad:
        yield Finding("bad_path", where, f"{name!r} is no relative path below the JSONL's folder")
    if video not in bad:
        yield from _check_latents(where, video, len(names), root, expectation)
    for name in names:
        wrong = None if name in bad else texts.fault(name)
        if wrong is not None:
            yield Finding(wrong.code, where, f"{name} {wrong.message}")
    if expectation.plan is None:
        return
    if video not in expectation.plan:
        yield Finding("unknown_episode", where, f"{video} is not in the plan of the episodes")
        return
    for name, wanted_name in zip(names, expectation.plan[video], strict=False):
        if name != wanted_name:
            same_text = name.rpartition("_")[0] == wanted_name.rpartition("_")[0]
            code: Code = "wrong_variant" if same_text else "wrong_text"
            yield Finding(code, where, f"{name} where the plan of the episode has {wanted_name}")


def _check_latents(where: str, name: str, texts: int, root: Path, expectation: Expectation) -> Iterator[Finding]:
    tensor = load_tensor(root / name)
    if isinstance(tensor, Fault):
        yield Finding(tensor.code, where, f"{name} {tensor.message}")
        return
    expected = expected_latents(expectation.seconds or SEGMENT_S * texts, expectation.frames)
    # A length that is wrong alone is told apart: either side may be the one that is wrong.
    any_length = replace(expected, shape=(None, *expected.shape[1:]))
    wrong = tensor_fault(tensor, any_length)
    if wrong is not None:
        yield Finding(wrong.code, where, f"{name} {wrong.message}")
    elif tensor.shape[0] != expected.shape[0]:
        yield Finding("wrong_count", where, f"{name} has {tensor.shape[0]} latent frames, not {expected.shape[0]}")


def _leads_out(name: str) -> bool:
    parts = PurePosixPath(name)
    return not name or parts.is_absolute() or ".." in parts.parts or "\0" in name or "\\" in name


class _Texts:
    """Text embeddings, each read once; where no width is given the first that is good sets it for all."""

    def __init__(self, root: Path, expected: Expected) -> None:
        self._root = root
        self._expected = expected
        self._faults: dict[str, Fault | None] = {}

    def fault(self, name: str) -> Fault | None:
        if name not in self._faults:
            tensor = load_tensor(self._root / name)
            wrong = tensor if isinstance(tensor, Fault) else tensor_fault(tensor, self._expected)
            if wrong is None and not isinstance(tensor, Fault):
                self._expected = replace(self._expected, shape=tuple(tensor.shape))
            self._faults[name] = wrong
        return self._faults[name]
