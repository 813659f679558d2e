"""The processed dataset: per sample three files, `<key>.npy`, `<key>.txt`, `<key>.json`, below a folder per split.

    processed/train/video7010.npy    float16 (10, 512)
    processed/train/video7010.txt    a man is playing a guitar
    processed/train/video7010.json   {"key": "video7010", "videoID": "video7010", "start_time": 3.0, "end_time": 13.0,
        "duration": 10.0, "captions": ["a man is playing a guitar", …], "label": null, "n_frames": 10,
        "timestamps": [3.0, 4.0, …], "source": "videos/video7010.mp4", "truncated": false, "category": 0}

Each file appears by rename and the `.json` last: a triple exists when its `.json` does.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import DamagedFileError, UnknownNameError
from preprocess.formats.atomic import write_atomic
from preprocess.samples import CAPTION_MODES, JSON, CaptionMode, Sample, Split, Triple, canonical_json, is_url

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

OVERRIDABLE_KEYS = frozenset({"videoID", "start_time", "end_time", "source"})
"""Those of `META_KEYS` that a recipe may set itself."""

CAPTION_INDEX = "caption_index"
"""Only in shards packed with the mode `each`: which of `captions` the `.txt` is."""

_RESERVED_KEYS = (frozenset(META_KEYS) - OVERRIDABLE_KEYS) | {CAPTION_INDEX}
_LOCAL_SCHEMES = frozenset({"file", "local"})
_REMEDY = "Delete it and run encode again."

Vectors = NDArray[np.floating[Any]]


# --- metadata ---------------------------------------------------------------------------------------------------------


def public_source(media: str) -> str:
    """What may be published of a sample's `media`: no host path, no user, no password, no token.

    Examples:
        >>> public_source("videos/a.mp4")
        'videos/a.mp4'
        >>> public_source("https://me:secret@host.org/a.mp4?X-Amz-Signature=1f2e#t=3")
        'https://host.org/a.mp4'
        >>> public_source("file:///home/me/a.mp4")
        'a.mp4'
    """
    if not is_url(media):
        return media
    # Of a chain of file systems ("zip://a.mp4::file:///home/me/x.zip") only the first names the video.
    scheme, _, rest = media.partition("::")[0].partition("://")
    rest = re.split(r"[?#]", rest, maxsplit=1)[0]
    if scheme.lower() in _LOCAL_SCHEMES:
        return rest.replace("\\", "/").rpartition("/")[2]
    host, slash, path = rest.partition("/")
    return f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"


def own_meta_keys(samples: Iterable[Sample]) -> tuple[str, ...]:
    """The recipe's own keys over all samples, sorted: what follows `META_KEYS` in every `.json` of a dataset."""
    keys: set[str] = set()
    for sample in samples:
        keys.update(sample.meta)
    return tuple(sorted(keys - OVERRIDABLE_KEYS))


def triple_meta(
    sample: Sample, n_frames: int, timestamps_s: Iterable[float], duration_s: float, truncated: bool
) -> JSON:
    """The `.json` of a triple.

    Args:
        sample: What is known before decoding.
        n_frames: Rows of the `.npy`.
        timestamps_s: One per row, seconds from the first frame of the file.
        duration_s: Seconds of the part embedded (the window, where the sample has one; 0 for an image).
        truncated: Whether the file was cut off and only its beginning is embedded.

    Returns:
        `META_KEYS` in order, then the sample's own metadata sorted by key. Times are floats, rounded to a microsecond.

    Raises:
        ValueError: The sample's metadata claims a key that is measured, e.g. `n_frames`, or the number of timestamps
            is not `n_frames`.
    """
    meta = sample.meta
    if not _RESERVED_KEYS.isdisjoint(meta):
        raise ValueError(f"meta of {sample.key!r} may not set {sorted(_RESERVED_KEYS & set(meta))}")
    times = [_seconds(float(t)) for t in timestamps_s]
    if len(times) != n_frames:
        raise ValueError(f"one timestamp per row of {sample.key!r}, got {len(times)} for {n_frames} rows")
    result: JSON = {
        "key": sample.key,
        "videoID": meta.get("videoID", sample.key),
        "start_time": _seconds(meta.get("start_time", sample.start_s)),
        "end_time": _seconds(meta.get("end_time", sample.end_s)),
        "duration": _seconds(float(duration_s)),
        "captions": list(sample.captions),
        "label": sample.label,
        "n_frames": n_frames,
        "timestamps": times,
        "source": meta.get("source", public_source(sample.media)),
        "truncated": bool(truncated),
    }
    for key in sorted(meta):
        if key not in OVERRIDABLE_KEYS:
            result[key] = meta[key]
    return result


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
        DamagedFileError: Not a `.npy` file, cut off, or an array of Python objects, which is never unpickled.
    """
    start = _header_length(data)
    try:
        dtype, shape, fortran, size = _parse_npy_header(bytes(data[:start]))
    except ValueError as error:
        raise DamagedFileError(name, "header", str(error), _REMEDY) from None
    if len(data) != start + size:
        raise DamagedFileError(name, "", f"should be {start + size:,} bytes, is {len(data):,}", _REMEDY)
    array = np.frombuffer(data, dtype, offset=start) if size else np.empty(0, dtype)
    return array.reshape(shape[::-1]).T if fortran else array.reshape(shape)


@lru_cache(maxsize=4096)
def _npy_header(descr: str, shape: tuple[int, ...]) -> bytes:
    file = BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue()


def _header_length(data: bytes | memoryview) -> int:
    """Bytes before the array; of anything that is not `.npy` this is garbage, which parsing refuses."""
    if data[6:7] == b"\x01":
        return 10 + int.from_bytes(data[8:10], "little")
    return 12 + int.from_bytes(data[8:12], "little")


@lru_cache(maxsize=4096)
def _parse_npy_header(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Dtype, shape, whether Fortran order, bytes of the array. Raises ValueError."""
    file = BytesIO(header)
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"npy version {version} is not one of (1, 0), (2, 0)")
    if dtype.hasobject:
        raise ValueError("an array of Python objects is never unpickled")
    return dtype, shape, fortran, math.prod(shape) * dtype.itemsize


# --- files ------------------------------------------------------------------------------------------------------------


def write_triple(folder: Path, split: Split, triple: Triple) -> int:
    """Writes `folder/split/<key>.npy`, `.txt` and, last, `.json`; the split's folder must exist.

    Returns:
        Bytes written.
    """
    base = folder / split
    parts = (
        (".npy", npy_bytes(triple.vectors)),
        (".txt", triple.text.encode()),
        (".json", canonical_json(triple.meta).encode()),
    )
    for suffix, data in parts:
        write_atomic(base / f"{triple.key}{suffix}", data)
    return sum(len(data) for _, data in parts)


def read_triple(folder: Path, split: Split, key: str) -> Triple:
    """Reads what `write_triple` wrote.

    Raises:
        FileNotFoundError: There is no such triple.
        DamagedFileError: A file is not what it should be.
    """
    npy, txt, json_ = (folder / split / f"{key}.{suffix}" for suffix in ("npy", "txt", "json"))
    meta = parse_json(json_.read_bytes(), json_)
    vectors = npy_array(npy.read_bytes(), npy)
    text = txt.read_bytes().decode()
    try:
        return Triple(key, vectors, text, meta)
    except ValueError as error:
        raise DamagedFileError(npy, "", str(error), _REMEDY) from None


def parse_json(data: bytes | memoryview, name: object) -> JSON:
    """A JSON object.

    Raises:
        DamagedFileError: Not UTF-8, not JSON, or not an object.
    """
    try:
        value = json.loads(bytes(data))
    except ValueError as error:
        raise DamagedFileError(name, "", f"not JSON ({error})", _REMEDY) from None
    if not isinstance(value, dict):
        raise DamagedFileError(name, "", f"should be a JSON object, is {type(value).__name__}", _REMEDY)
    return value


def remove_triple(folder: Path, split: Split, key: str) -> None:
    """Removes a triple that is stale, the `.json` first: from then on it does not exist."""
    for suffix in ("json", "txt", "npy"):
        (folder / split / f"{key}.{suffix}").unlink(missing_ok=True)


def done_keys(folder: Path, split: Split) -> set[str]:
    """Keys of the triples that exist below `folder/split`: one pass over the names, no file is opened."""
    try:
        entries = os.scandir(folder / split)
    except FileNotFoundError:
        return set()
    with entries:
        return {e.name[:-5] for e in entries if e.name.endswith(".json") and not e.name.startswith(".")}
