"""Validates a training JSONL: every line, every referenced file, every number. Read-only.

    train_09s.jsonl line 3: wrong_variant: text/3b6f0c2d5e7a9148_none.pt where the scene asks for ..._start.pt

The same checks run before a JSONL is written.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from preprocess.console import printable
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.latents import expected_latents
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.long_video.tensors import Fault, FaultCode, TensorSpec, load_tensor, tensor_fault
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
class Defect:
    """One problem found.

    Attributes:
        code: Kind of problem; see `Code`.
        where: File and line.
        message: Human-readable description.
    """

    code: Code
    where: str
    message: str

    def __str__(self) -> str:
        return printable(f"{self.where}: {self.code}: {self.message}")


@dataclass(frozen=True, slots=True)
class Expectation:
    """The expected content of a JSONL.

    Attributes:
        frames: Size and rate of the frames that were encoded.
        tokens: Number of tokens in a text embedding, or None for any number as long as all files agree.
        width: Embedding width, or None for any width as long as all files agree.
        seconds: Length of every episode, or None for any.
        plan: Text files of every episode by its `vid_emb`, where the plan is known.
        rejected: Keys of the episodes that may be missing.
    """

    frames: FrameFormat = field(default_factory=FrameFormat)
    tokens: int | None = None
    width: int | None = None
    seconds: int | None = None
    plan: Mapping[str, Sequence[str]] | None = None
    rejected: frozenset[str] = frozenset()


def check_file(path: Path, expectation: Expectation) -> list[Defect]:
    """Finds all problems of a training JSONL, by line."""
    try:
        lines = path.read_bytes().decode().split("\n")
    except FileNotFoundError:
        return [Defect("missing_jsonl", path.name, "not found")]
    except UnicodeDecodeError as error:
        return [Defect("bad_line", path.name, f"byte {error.start} is not UTF-8")]
    found, rows = [], []
    for number, text in enumerate(lines[:-1] if lines[-1] == "" else lines, start=1):
        where = f"{path.name} line {number}"
        try:
            row = json.loads(text)
        except ValueError as error:
            found.append(Defect("bad_line", where, f"is not JSON ({error})"))
            continue
        wrong = _wrong_keys(row)
        if wrong:
            found.append(Defect("wrong_keys", where, wrong))
        else:
            rows.append((where, row))
    return found + check_rows(rows, path, expectation)


def check_rows(rows: Sequence[tuple[str, JSON]], path: Path, expectation: Expectation) -> list[Defect]:
    """Finds all problems of rows that have the right keys.

    Args:
        rows: Location and content of each row.
        path: The JSONL that holds (or will hold) them; their paths are relative to its folder.
        expectation: The expected content.
    """
    found = [] if rows else [Defect("empty", path.name, "has no usable line")]
    texts = _Texts(path.parent, TensorSpec((expectation.tokens, expectation.width)))
    seen: dict[str, str] = {}
    for where, row in rows:
        found += _check_row(where, row, path.parent, expectation, texts)
        first = seen.setdefault(row["vid_emb"], where)
        if first != where:
            found.append(Defect("duplicate", where, f"{row['vid_emb']} is already in {first}"))
    for name in sorted((expectation.plan or {}).keys() - seen.keys()):
        if PurePosixPath(name).stem not in expectation.rejected:
            found.append(Defect("missing_episode", path.name, f"no line for {name}, which was not rejected"))
    return found


def _wrong_keys(row: object) -> str | None:
    if not isinstance(row, dict) or set(row) != KEYS:
        return f"has {sorted(row) if isinstance(row, dict) else type(row).__name__}, not {sorted(KEYS)}"
    texts = row["text_chunk_emb"]
    if not isinstance(row["vid_emb"], str) or not isinstance(texts, list) or not all(isinstance(t, str) for t in texts):
        return "vid_emb must be a path and text_chunk_emb a list of paths"
    return None


def _check_row(where: str, row: JSON, root: Path, expectation: Expectation, texts: _Texts) -> Iterator[Defect]:
    video, names = row["vid_emb"], row["text_chunk_emb"]
    if expectation.seconds is not None and SEGMENT_S * len(names) != expectation.seconds:
        wanted = expectation.seconds // SEGMENT_S
        yield Defect("wrong_count", where, f"{len(names)} texts, not {wanted} for {expectation.seconds} s")
    bad = [name for name in (video, *names) if _leads_out(name)]
    for name in bad:
        yield Defect("bad_path", where, f"{name!r} is not a relative path below the folder of the JSONL")
    if video not in bad:
        yield from _check_latents(where, video, len(names), root, expectation)
    for name in names:
        wrong = None if name in bad else texts.fault(name)
        if wrong is not None:
            yield Defect(wrong.code, where, f"{name} {wrong.message}")
    if expectation.plan is None:
        return
    if video not in expectation.plan:
        yield Defect("unknown_episode", where, f"{video} is not in the plan of the episodes")
        return
    for name, wanted_name in zip(names, expectation.plan[video], strict=False):
        if name != wanted_name:
            same_text = name.rpartition("_")[0] == wanted_name.rpartition("_")[0]
            code: Code = "wrong_variant" if same_text else "wrong_text"
            yield Defect(code, where, f"{name} where the plan of the episode has {wanted_name}")


def _check_latents(where: str, name: str, texts: int, root: Path, expectation: Expectation) -> Iterator[Defect]:
    tensor = load_tensor(root / name)
    if isinstance(tensor, Fault):
        yield Defect(tensor.code, where, f"{name} {tensor.message}")
        return
    expected = expected_latents(expectation.seconds or SEGMENT_S * texts, expectation.frames)
    # A wrong length alone gets its own code: the error may be in the latents or in the number of texts.
    any_length = replace(expected, shape=(None, *expected.shape[1:]))
    wrong = tensor_fault(tensor, any_length)
    if wrong is not None:
        yield Defect(wrong.code, where, f"{name} {wrong.message}")
    elif tensor.shape[0] != expected.shape[0]:
        yield Defect("wrong_count", where, f"{name} has {tensor.shape[0]} latent frames, not {expected.shape[0]}")


def _leads_out(name: str) -> bool:
    parts = PurePosixPath(name)
    return not name or parts.is_absolute() or ".." in parts.parts or "\0" in name or "\\" in name


class _Texts:
    """Text embeddings, each read once; the first valid file sets the width and length that are not given."""

    def __init__(self, root: Path, expected: TensorSpec) -> None:
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
