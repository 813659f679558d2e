"""The content of a triple: the metadata and the text of a sample, and the bytes of `.npy` and `.json`.

    video7010.npy    float16 (10, 512)
    video7010.txt    a man is playing a guitar
    video7010.json   {"key": "video7010", "videoID": "video7010", "start_time": 3.0, "end_time": 13.0,
        "duration": 10.0, "captions": ["a man is playing a guitar", …], "label": null, "n_frames": 10,
        "timestamps": [3.0, 4.0, …], "source": "videos/video7010.mp4", "truncated": false, "category": 0}

Where triples lie is in `preprocess.formats.processed`; which members a sample has in `preprocess.formats.members`.
"""

from __future__ import annotations

import math
import re
import secrets
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from io import BytesIO
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from preprocess import validation
from preprocess.addresses import public_address
from preprocess.errors import DamagedFileError, UnknownNameError
from preprocess.samples import CAPTION_MODES, JSON, CaptionMode, Sample

META_KEYS = (
    "key",
    "videoID",
    "start_time",
    "end_time",
    "duration",
    "captions",
    "label",
    "n_frames",
    "timestamps",
    "source",
    "truncated",
)
"""Keys that every `.json` has, in this order; the recipe's own follow, sorted."""

TIME_KEYS = ("start_time", "end_time", "duration")
"""Seconds: floats, or null where there is no time."""

CLIP_KEYS = ("spans", "padded_frames")
"""Keys that follow `META_KEYS` where each row encodes a clip of frames: `[[start_s, end_s], …]`, one per row, whose
starts are `timestamps`; and how many frames pad the last clip by repeating the last frame."""

OVERRIDABLE_KEYS = frozenset({"videoID", "start_time", "end_time", "source"})
"""Those of `META_KEYS` that a recipe may set itself."""

CAPTION_INDEX = "caption_index"
"""Only in shards packed with the mode `each`: which of `captions` the `.txt` is."""

_RESERVED_KEYS = (frozenset(META_KEYS) - OVERRIDABLE_KEYS) | {CAPTION_INDEX, *CLIP_KEYS}
_REMEDY = "Encode it again, or download the dataset again."

_NPY_HEADER = re.compile(
    rb"\{ *'descr': *'(?P<descr>[<>|=]?[biuf][0-9]{1,2})', *'fortran_order': *(?P<fortran>True|False), *"
    rb"'shape': *\((?P<shape>(?:[0-9]{1,18}(?:, *|(?=\))))*)\),? *\} *\n?"
)
_USUAL_HEADER = 128
"""Bytes before the array, which `np.save` pads to a multiple of 64."""
_MAX_DIMENSIONS = 32
_MAX_ARRAY_BYTES = 1 << 50

Vectors = NDArray[np.floating[Any]]


# --- metadata ---------------------------------------------------------------------------------------------------------


def own_meta_keys(samples: Iterable[Sample]) -> tuple[str, ...]:
    """The recipe's own keys over all samples, sorted: what follows `META_KEYS` in every `.json` of a dataset."""
    keys: set[str] = set()
    for sample in samples:
        keys.update(sample.meta)
    return tuple(sorted(keys - OVERRIDABLE_KEYS))


def triple_meta(
    sample: Sample,
    n_frames: int,
    timestamps_s: Iterable[float],
    duration_s: float,
    truncated: bool,
    spans: Sequence[Sequence[float]] | None = None,
    padded_frames: int = 0,
) -> JSON:
    """The `.json` of a triple.

    Args:
        sample: What is known before decoding.
        n_frames: Rows of the `.npy`.
        timestamps_s: One per row, seconds from the first frame of the file.
        duration_s: Seconds of the part embedded (the window, where the sample has one; 0 for an image).
        truncated: Whether the file was cut off and only its beginning is embedded.
        spans: For encoders of clips, start and end of each row in seconds; see `preprocess.media.clips.clip_spans`.
        padded_frames: For encoders of clips, frames that pad the last clip.

    Returns:
        `META_KEYS` in order, for encoders of clips `CLIP_KEYS`, then the sample's own metadata sorted by key. Times are
        floats, rounded to a microsecond.

    Raises:
        ValueError: The sample's metadata claims a key that is measured, e.g. `n_frames`, or the number of timestamps
            or spans is not `n_frames`.
    """
    meta = sample.meta
    if not _RESERVED_KEYS.isdisjoint(meta):
        raise ValueError(f"meta of {sample.key!r} may not set {sorted(_RESERVED_KEYS & set(meta))}")
    times = [round(t, 6) if math.isfinite(t) else None for t in map(float, timestamps_s)]
    if len(times) != n_frames:
        raise ValueError(f"one timestamp per row of {sample.key!r}, got {len(times)} for {n_frames} rows")
    result: JSON = {
        "key": sample.key,
        "videoID": meta.get("videoID", sample.key),
        "start_time": _seconds(meta.get("start_time", sample.start_s)),
        "end_time": _seconds(meta.get("end_time", _end_s(sample, duration_s))),
        "duration": _seconds(float(duration_s)),
        "captions": list(sample.captions),
        "label": sample.label,
        "n_frames": n_frames,
        "timestamps": times,
        "source": meta.get("source", public_address(sample.media)),
        "truncated": bool(truncated),
    }
    if spans is not None:
        if len(spans) != n_frames:
            raise ValueError(f"one span per row of {sample.key!r}, got {len(spans)} for {n_frames} rows")
        result["spans"] = [[_seconds(start), _seconds(end)] for start, end in spans]
        result["padded_frames"] = padded_frames
    for key in sorted(meta):
        if key not in OVERRIDABLE_KEYS:
            result[key] = meta[key]
    return result


def _end_s(sample: Sample, duration_s: float) -> float | None:
    """Where the part embedded ends: the end of the window, or of a file that is shorter."""
    if sample.end_s is None or duration_s <= 0:
        return sample.end_s
    return min(sample.end_s, (sample.start_s or 0.0) + duration_s)


def _seconds(value: Any) -> Any:
    """Numbers as floats (a column that starts with 1 and goes on with 1.5 would be read as integers), inf as None."""
    if not isinstance(value, int | float):
        return value
    return round(float(value), 6) if math.isfinite(value) else None


def caption_text(captions: Sequence[str], mode: CaptionMode) -> str:
    """The one text of a sample.

    `first` takes the first caption; `concat` joins all by a space; `join` by `;`, as LAION's retrieval evaluation
    splits them again, so a `;` inside a caption becomes a comma; `each` makes a triple per caption when packing, and
    is `first` before that.

    Raises:
        UnknownNameError: There is no such mode.
    """
    if mode == "concat":
        return " ".join(captions)
    if mode == "join":
        return ";".join(caption.replace(";", ",") for caption in captions)
    if mode in ("first", "each"):
        return captions[0]
    raise UnknownNameError("caption mode", mode, CAPTION_MODES)


# --- .npy -------------------------------------------------------------------------------------------------------------


def npy_bytes(vectors: Vectors) -> bytes:
    """A `.npy` file (version 1.0): float16 or float32 `(T, D)`, little-endian, C order, as `np.save` writes it.

    Raises:
        ValueError: Another type or shape.
    """
    if vectors.ndim != 2 or vectors.dtype.kind != "f" or vectors.dtype.itemsize not in (2, 4):
        raise ValueError(f"vectors must be float16 or float32 (T, D), got {vectors.dtype} {vectors.shape = }")
    descr = f"<f{vectors.dtype.itemsize}"
    return _npy_header(descr, vectors.shape) + vectors.astype(descr, copy=False).tobytes()


def npy_array(data: bytes | memoryview, name: object = ".npy") -> NDArray[Any]:
    """The array of a `.npy` file, as a read-only view of `data`: no copy.

    The header is parsed once per distinct header, which is what makes this faster than `np.load` on small arrays.

    Args:
        data: The whole file.
        name: What to call it in an error.

    Raises:
        DamagedFileError: Not a `.npy` file of numbers, or cut off. Python objects are never unpickled.
    """
    start = _header_length(data)
    try:
        dtype, shape, fortran, size = _parse_npy_header(bytes(data[:start]))
    except ValueError as error:
        raise DamagedFileError(name, "header", str(error), _REMEDY) from None
    if len(data) != start + size:
        raise DamagedFileError(name, "", f"should be {start + size:,} bytes, is {len(data):,}", _REMEDY)
    return np.ndarray(shape, dtype, data, start, order="F" if fortran else "C")


def npy_vectors(data: bytes | memoryview, name: object = ".npy") -> Vectors:
    """As `npy_array`, for an embedding: float16 or float32 `(n_frames, dim)`.

    Raises:
        DamagedFileError: As `npy_array`, or an array of another type or shape.
    """
    array = npy_array(data, name)
    if array.ndim != 2 or array.dtype.kind != "f" or array.dtype.itemsize not in (2, 4):
        problem = f"is {array.dtype} {array.shape}, should be float16 or float32 (n_frames, dim)"
        raise DamagedFileError(name, "", problem, _REMEDY)
    return array


@lru_cache(maxsize=4096)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _header_length(data: bytes | memoryview) -> int:
    """Bytes before the array; of anything that is not `.npy` this is garbage, which parsing refuses."""
    if data[6:10] == b"\x01\0v\0":  # 118, in nearly every file
        return _USUAL_HEADER
    if data[6:7] == b"\x01":
        return 10 + int.from_bytes(data[8:10], "little")
    return 12 + int.from_bytes(data[8:12], "little")


@lru_cache(maxsize=4096)
def _parse_npy_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Dtype, shape, whether Fortran order, bytes of the array. Raises ValueError.

    `np.lib.format` evaluates the header as a Python literal: nested brackets exhaust the stack, and subarrays, records
    and impossible shapes come out as dtypes and sizes that fail later. An array of numbers needs none of that.
    """
    if header[:6] != b"\x93NUMPY":
        raise ValueError("not a .npy file")
    version = tuple(header[6:8])
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"npy version {version} is not one of (1, 0), (2, 0)")
    match = _NPY_HEADER.fullmatch(header, 10 if version == (1, 0) else 12)
    if match is None:
        if b"'|O" in header or b"'O'" in header:
            raise ValueError("an array of Python objects is never unpickled")
        raise ValueError(f"the header is not that of an array of numbers: {header[10:90]!r}")
    shape = tuple(int(n) for n in match["shape"].split(b",") if n.strip())
    try:
        dtype = np.dtype(match["descr"].decode())
    except TypeError as error:
        raise ValueError(str(error)) from None
    size = math.prod(shape) * dtype.itemsize
    if len(shape) > _MAX_DIMENSIONS or math.prod(n or 1 for n in shape) * dtype.itemsize > _MAX_ARRAY_BYTES:
        raise ValueError(f"the shape {str(shape)[:80]} is too large")
    return dtype, shape, match["fortran"] == b"True", size


def many_vectors(contents: Sequence[memoryview], name: Callable[[int], object]) -> list[Vectors]:
    """As `npy_vectors` for each of many: of those with the same header, one is looked at.

    Args:
        contents: One file each.
        name: What to call the one of this number in an error.

    Raises:
        DamagedFileError: As `npy_vectors`.
    """
    arrays: list[Vectors] = []
    seen: dict[tuple[int, bytes], tuple[tuple[int, ...], np.dtype[Any], int, Literal["C", "F"]]] = {}
    for i, content in enumerate(contents):
        kind = len(content), bytes(content[:_USUAL_HEADER])
        if kind not in seen:
            array = npy_vectors(content, name(i))
            start = len(content) - array.nbytes
            if start > _USUAL_HEADER:  # which the files do not have in common
                arrays.append(array)
                continue
            seen[kind] = array.shape, array.dtype, start, "C" if array.flags.c_contiguous else "F"
        shape, dtype, start, order = seen[kind]
        arrays.append(np.ndarray(shape, dtype, content, start, order=order))
    return arrays


# --- .json ------------------------------------------------------------------------------------------------------------


def parse_json(data: bytes | memoryview, name: object) -> JSON:
    """A JSON object.

    Raises:
        DamagedFileError: Not UTF-8, not JSON (NaN and infinity are not), deeper than 200 levels, or not an object.
    """
    try:
        value = validation.parse_json(data)
    except ValueError as error:
        raise DamagedFileError(name, "", f"not JSON in UTF-8 ({error})", _REMEDY) from None
    if not isinstance(value, dict):
        raise DamagedFileError(name, "", f"should be a JSON object, is {type(value).__name__}", _REMEDY)
    return value


def parse_jsons(contents: Sequence[bytes], name: Callable[[int], object]) -> list[JSON]:
    """As `parse_json` for each of many, in three quarters of the time: all are parsed by one call.

    What is put between them is a random number, so that no content can be read as the end of one and the beginning of
    the next. Where anything is wrong, each is parsed on its own.

    Args:
        contents: One JSON object each.
        name: What to call the one of this number in an error.

    Raises:
        DamagedFileError: As `parse_json`.
    """
    try:
        values = validation.parse_json(b"[%s]" % (b",%d," % _BETWEEN).join(contents))
    except ValueError:
        values = []
    objects, between = values[::2], values[1::2]
    if len(objects) == len(contents) and between == [_BETWEEN] * len(between) and {type(o) for o in objects} == {dict}:
        return list(objects)
    return [parse_json(content, name(i)) for i, content in enumerate(contents)]


_BETWEEN = 10**17 + secrets.randbelow(9 * 10**17)  # as an int of 64 bits it is read fastest
