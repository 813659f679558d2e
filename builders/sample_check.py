"""Checks one sample of a shard: its three members and their content.

A sample that passes:

    vid_00000.npy    float16 (10, 512), finite, no row of zeros
    vid_00000.txt    a man is playing a guitar
    vid_00000.json   {"key": "video7010", …, "captions": ["a man is playing a guitar", …], "n_frames": 10,
                      "timestamps": [0.0, 1.0, …], …}
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import numpy as np
from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from builders.findings import Findings
from builders.json_types import MetaTypes, add_meta
from preprocess.errors import DamagedFileError
from preprocess.formats.members import extensions
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import CAPTION_INDEX, caption_text, npy_array, npy_vectors, parse_json
from preprocess.samples import JSON, KEY_PATTERN, CaptionMode
from preprocess.validation import Must, Seconds, Text, problems, shown

_PARTS = list(extensions())
_DTYPES = {np.dtype("<f2"): (np.uint16, 0x7FFF, 0x7C00), np.dtype("<f4"): (np.uint32, 0x7FFF_FFFF, 0x7F80_0000)}
"""Stored dtype → its bits as integers, the mask that drops the sign, and the smallest value that is not finite."""


@dataclass(frozen=True, slots=True)
class SampleSchema:
    """The properties common to all samples of a dataset.

    Attributes:
        dim: Length of one vector.
        dtype: `float16` or `float32`.
        meta_keys: Keys of every `.json`, in order.
        caption_mode: How the `.txt` follows from the captions; None where no manifest says.
    """

    dim: int
    dtype: str
    meta_keys: tuple[str, ...]
    caption_mode: CaptionMode | None = None


class SampleMeta(TypedDict, total=False):
    """Values of the keys that every `.json` has; whether the keys are present is checked against the manifest."""

    key: Annotated[str, Must(KEY_PATTERN.fullmatch, f"text that matches {KEY_PATTERN.pattern}")]
    videoID: Text
    start_time: Seconds | None
    end_time: Seconds | None
    duration: Seconds
    captions: Annotated[list[Text], Must(len, "a list of at least one text")]
    label: Text | None
    n_frames: int
    timestamps: Annotated[list[float], Must(lambda t: not t or 0 <= t[0] <= t[-1] < float("inf"), "increasing seconds")]
    source: Annotated[Text, Must(lambda s: not Path(s).is_absolute(), "a path below the raw folder or a URL")]
    truncated: bool
    spans: list[Annotated[list[Seconds], Must(lambda span: len(span) == 2, "a start and an end in seconds")]]
    padded_frames: Annotated[int, Must(lambda n: n >= 0, "a count")]


def peek(path: Path) -> SampleSchema:
    """The schema of a dataset without a manifest, from the first triple of a tar.

    Raises:
        DamagedFileError: The tar has no readable triple.
    """
    with path.open("rb") as stream:  # the first triple only: a remote tar is not downloaded
        triple = next(iter_triples(stream, name=path), None)
    if triple is None:
        raise DamagedFileError(path, "", "holds no sample", "Pack the dataset again.")
    vectors = npy_vectors(triple.npy, f"{path}: {triple.id}.npy")
    meta = parse_json(triple.json, f"{path}: {triple.id}.json")
    return SampleSchema(vectors.shape[1], vectors.dtype.name, tuple(meta))


def check_sample(
    id_: str,
    group: list[tuple[str, memoryview]],
    expected: SampleSchema,
    keys: list[str | None],
    types: MetaTypes,
    found: Findings,
) -> int:
    """Checks the members of one sample.

    Args:
        id_: The name of its members without the extension.
        group: Extension and data of its members, in the order of the tar.
        expected: The properties common to the dataset's samples.
        keys: Collects the sample's key; None if it has none.
        types: Collects the types of the values of its `.json`.
        found: Collects the findings.

    Returns:
        Rows of its `.npy`.
    """
    if not group:
        return 0
    parts = dict(group)
    extensions = [extension for extension, _ in group]
    if extensions != _PARTS:
        for extension in _PARTS:
            if extension not in parts:
                found.add("triple_part", f"has no .{extension}", id_)
            if extensions.count(extension) > 1:
                found.add("member_twice", f".{extension} occurs {extensions.count(extension)} times", id_)
        if sorted(extensions) == sorted(_PARTS):
            found.add("member_order", f"the members are in the order {', '.join(extensions)}", id_)
    rows = _check_vectors(f"{id_}.npy", parts["npy"], expected, found) if "npy" in parts else None
    text = _check_text(f"{id_}.txt", parts["txt"], found) if "txt" in parts else None
    meta = _check_json(f"{id_}.json", parts["json"], expected, found) if "json" in parts else None
    if meta is not None:
        add_meta(types, meta)
    if meta is not None:
        _check_meta(f"{id_}.json", meta, rows, found)
        if text is not None:
            _check_caption(f"{id_}.txt", text, meta, expected.caption_mode, found)
    keys.append(_key(meta or {}))
    return rows or 0


def _key(meta: JSON) -> str | None:
    key = meta.get("key")
    if not isinstance(key, str):
        return None
    return f"{key} {shown(meta[CAPTION_INDEX])}" if CAPTION_INDEX in meta else key


def _check_vectors(name: str, data: memoryview, expected: SampleSchema, found: Findings) -> int | None:
    """Rows of a `.npy`; None where it cannot be read."""
    if bytes(data[6:8]) == b"\x02\x00":
        found.add("npy_layout", "is .npy version 2.0", name)
    try:
        vectors = npy_array(data, name)
    except DamagedFileError as error:
        problem = error.cause.removeprefix(f"{name}: ")
        found.add("npy_layout" if "Python objects" in problem else "npy_unreadable", problem, name)
        return None
    if vectors.ndim != 2:
        found.add("npy_shape", f"has shape {vectors.shape}, should be (n_frames, {expected.dim})", name)
        return None
    if vectors.shape[1] != expected.dim:
        found.add("npy_shape", f"has shape {vectors.shape}, should be ({vectors.shape[0]}, {expected.dim})", name)
    if not vectors.flags.c_contiguous:
        found.add("npy_layout", "is in Fortran order", name)
        vectors = np.ascontiguousarray(vectors)
    if vectors.dtype.byteorder == ">":
        found.add("npy_layout", f"is big-endian ({vectors.dtype.str})", name)
    if vectors.dtype.name != expected.dtype:
        found.add("npy_dtype", f"is {vectors.dtype.name}, should be {expected.dtype}", name)
    if not len(vectors):
        found.add("npy_empty", "has no rows", name)
    elif vectors.dtype in _DTYPES and vectors.size:
        bits, mask, infinite = _DTYPES[vectors.dtype]
        largest = (vectors.view(bits) & mask).max(axis=1)
        if largest.max() >= infinite:
            found.add("npy_not_finite", f"row {int(np.argmax(largest >= infinite))} has NaN or infinity", name)
        if not largest.min():
            found.add("npy_zero_row", f"row {int(np.argmin(largest))} is all zeros", name)
    return len(vectors)


def _check_text(name: str, data: memoryview, found: Findings) -> str | None:
    try:
        text = str(data, "utf-8")
    except UnicodeDecodeError as error:
        found.add("txt_utf8", f"byte {error.start} is not UTF-8", name)
        return None
    if not text.strip():
        found.add("txt_empty", "is empty", name)
    return text


def _check_json(name: str, data: memoryview, expected: SampleSchema, found: Findings) -> JSON | None:
    try:
        meta = parse_json(data, name)
    except DamagedFileError as error:
        found.add("json_unreadable", error.cause.removeprefix(f"{name}: "), name)
        return None
    if tuple(meta) != expected.meta_keys:
        missing = [key for key in expected.meta_keys if key not in meta]
        surplus = [key for key in meta if key not in expected.meta_keys]
        order = f"order {list(meta)}, should be {list(expected.meta_keys)}"
        differences = [f"lacks {shown(missing)}"] * bool(missing) + [f"also has {shown(surplus)}"] * bool(surplus)
        found.add("json_keys", ", ".join(differences) or order, name)
    return meta


_CODES = {"timestamps": "json_timestamps", "spans": "json_spans"}


def _check_meta(name: str, meta: JSON, rows: int | None, found: Findings) -> None:
    """Checks the values of `META_KEYS`; missing keys have been reported already."""
    wrong = set()
    for problem in problems(meta, SampleMeta):
        wrong.add(problem.path[0])
        found.add(_CODES.get(str(problem.path[0]), "json_value"), f"{problem.place()} {problem}", name)
    if wrong.isdisjoint(("start_time", "end_time")):
        start, end = meta.get("start_time"), meta.get("end_time")
        if start is not None and end is not None and not start < end:
            found.add("json_value", f"end_time should be after start_time {start!r}, is {end!r}", name)
    if rows is None:
        return
    if meta.get("n_frames", rows) != rows:
        found.add("json_frames", f"n_frames is {meta['n_frames']!r:.100}, the .npy has {rows} rows", name)
    times = meta.get("timestamps")
    if times is None or "timestamps" in wrong:
        return
    if len(times) != rows:
        found.add("json_timestamps", f"{len(times)} of them, the .npy has {rows} rows", name)
    elif not all(map(operator.lt, times, times[1:])):
        i = next(i for i, (a, b) in enumerate(pairwise(times)) if not a < b)
        found.add("json_timestamps", f"do not increase: {times[i]!r}, then {times[i + 1]!r}", name)
    if "spans" in meta and "spans" not in wrong:
        _check_spans(name, meta, found)


def _check_spans(name: str, meta: JSON, found: Findings) -> None:
    """Checks what encoders of clips add: one `[start_s, end_s]` per row, which starts at the row's timestamp."""
    spans, times = meta["spans"], meta["timestamps"]
    if [start for start, _ in spans] != times:
        found.add("json_spans", f"should start at the timestamps {shown(times)}, are {shown(spans)}", name)
    elif empty := [span for span in spans if span[0] >= span[1] and meta.get("duration")]:  # an image lasts no time
        found.add("json_spans", f"should end after its start, is {empty[0]!r}", name)


def _check_caption(name: str, text: str, meta: JSON, mode: CaptionMode | None, found: Findings) -> None:
    captions: Sequence[str] = meta.get("captions") or ()
    if mode is None or not isinstance(captions, list) or not all(isinstance(c, str) for c in captions) or not captions:
        return
    index = meta.get(CAPTION_INDEX)
    if mode == "each" and type(index) is int and 0 <= index < len(captions):
        wanted = captions[index]
    else:
        wanted = caption_text(captions, mode)
    if text != wanted:
        found.add("txt_caption", f"is {text!r:.80}, caption mode {mode!r} gives {wanted!r:.80}", name)
