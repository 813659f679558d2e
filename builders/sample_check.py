"""Checks one sample of a shard: the three members, and what is in them.

A sample that passes:

    vid_00000.npy    float16 (10, 512), finite, no row of zeros
    vid_00000.txt    a man is playing a guitar
    vid_00000.json   {"key": "video7010", …, "captions": ["a man is playing a guitar", …], "n_frames": 10,
                      "timestamps": [0.0, 1.0, …], …}
"""

from __future__ import annotations

import json
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from builders.findings import Findings
from preprocess.errors import DamagedFileError
from preprocess.formats.tar import iter_triples
from preprocess.formats.triples import CAPTION_INDEX, caption_text, npy_array
from preprocess.samples import JSON, KEY_PATTERN, CaptionMode

_PARTS = ["npy", "txt", "json"]
_DTYPES = {np.dtype("<f2"): (np.uint16, 0x7FFF, 0x7C00), np.dtype("<f4"): (np.uint32, 0x7FFF_FFFF, 0x7F80_0000)}
"""Stored dtype → its bits as integers, the mask that drops the sign, and the smallest value that is not finite."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What all samples of a dataset have in common.

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


def peek(path: Path) -> Expected:
    """What the first whole triple of a tar says of the dataset, for folders without a manifest.

    Raises:
        DamagedFileError: There is no triple to read.
    """
    for _, npy, _, text in iter_triples(path):
        vectors = npy_array(npy)
        meta = json.loads(bytes(text))
        return Expected(vectors.shape[-1], vectors.dtype.name, tuple(meta))
    raise DamagedFileError(path, "", "holds no sample", "Pack the dataset again.")


def check_sample(
    id_: str, group: list[tuple[str, memoryview]], expected: Expected, keys: list[str], found: Findings
) -> int:
    """Checks the members of one sample.

    Args:
        id_: What stands before the extension.
        group: Extension and data of its members, in the order of the tar.
        expected: What the dataset's samples have in common.
        keys: Gets the sample's key.
        found: Gets what is wrong.

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
                found.add("member_twice", f".{extension} is there {extensions.count(extension)} times", id_)
        if sorted(extensions) == sorted(_PARTS):
            found.add("member_order", f"the members are in the order {', '.join(extensions)}", id_)
    rows = _check_vectors(f"{id_}.npy", parts["npy"], expected, found) if "npy" in parts else None
    text = _check_text(f"{id_}.txt", parts["txt"], found) if "txt" in parts else None
    meta = _check_json(f"{id_}.json", parts["json"], expected, found) if "json" in parts else None
    if meta is not None:
        _check_meta(f"{id_}.json", meta, rows, found)
        if text is not None:
            _check_caption(f"{id_}.txt", text, meta, expected.caption_mode, found)
        if isinstance(meta.get("key"), str):
            keys.append(f"{meta['key']} {meta[CAPTION_INDEX]}" if CAPTION_INDEX in meta else meta["key"])
    return rows or 0


def _check_vectors(name: str, data: memoryview, expected: Expected, found: Findings) -> int | None:
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


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _check_json(name: str, data: memoryview, expected: Expected, found: Findings) -> JSON | None:
    try:
        meta = json.loads(bytes(data).decode(), parse_constant=_no_constant)
    except ValueError as error:
        found.add("json_unreadable", f"not JSON in UTF-8 ({error})", name)
        return None
    if not isinstance(meta, dict):
        found.add("json_unreadable", f"should be an object, is {type(meta).__name__}", name)
        return None
    if tuple(meta) != expected.meta_keys:
        missing = [key for key in expected.meta_keys if key not in meta]
        surplus = [key for key in meta if key not in expected.meta_keys]
        order = "" if missing or surplus else f"order {list(meta)}, should be {list(expected.meta_keys)}"
        told = [f"lacks {missing}"] * bool(missing) + [f"has {surplus} besides"] * bool(surplus) + [order] * bool(order)
        found.add("json_keys", ", ".join(told), name)
    return meta


def _check_meta(name: str, meta: JSON, rows: int | None, found: Findings) -> None:
    """Checks the values of `META_KEYS`; what is missing has been told already."""
    for key, problem in _value_problems(meta):
        found.add("json_value", f"{key} {problem}, is {meta[key]!r:.100}", name)
    n_frames, times = meta.get("n_frames"), meta.get("timestamps")
    if rows is not None and n_frames is not None and n_frames != rows:
        found.add("json_frames", f"n_frames is {n_frames!r}, the .npy has {rows} rows", name)
    if not isinstance(times, list) or not all(map(_is_seconds, times)):
        if times is not None:
            found.add("json_timestamps", f"should be seconds, one per row, is {times!r:.100}", name)
    elif rows is not None and len(times) != rows:
        found.add("json_timestamps", f"{len(times)} of them, the .npy has {rows} rows", name)
    elif not all(map(operator.lt, times, times[1:])):
        i = next(i for i, (a, b) in enumerate(pairwise(times)) if not a < b)
        found.add("json_timestamps", f"do not increase: {times[i]!r}, then {times[i + 1]!r}", name)


def _value_problems(meta: JSON) -> Iterator[tuple[str, str]]:
    """Key and what its value should be, where it is not."""
    for key, (is_good, expected) in _VALUES.items():
        if key in meta and not is_good(meta[key]):
            yield key, expected
    start: Any = meta.get("start_time")
    end: Any = meta.get("end_time")
    if _is_seconds(start) and _is_seconds(end) and not start < end:
        yield "end_time", f"should be after start_time {start!r}"


def _is_seconds(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "key": (lambda v: isinstance(v, str) and bool(KEY_PATTERN.fullmatch(v)), f"should match {KEY_PATTERN.pattern}"),
    "videoID": (_is_text, "should be a string"),
    "start_time": (lambda v: v is None or _is_seconds(v), "should be seconds or null"),
    "end_time": (lambda v: v is None or _is_seconds(v), "should be seconds or null"),
    "duration": (_is_seconds, "should be seconds"),
    "captions": (lambda v: isinstance(v, list) and bool(v) and all(map(_is_text, v)), "should be a list of texts"),
    "label": (lambda v: v is None or _is_text(v), "should be a string or null"),
    "n_frames": (lambda v: type(v) is int, "should be a whole number"),
    "source": (lambda v: _is_text(v) and not Path(v).is_absolute(), "should be a path below the raw folder or a URL"),
    "truncated": (lambda v: isinstance(v, bool), "should be true or false"),
}


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
