"""Numbers and settings in words: counts, the sampling rule, the fields of the metadata, one sample.

>>> number(1234567.0)
'1,234,567'
>>> sampling_rule({"kind": "every_nth", "value": 8})
'Every 8th frame of each video is taken, starting with the first.'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataset_cards.statistics import Row
from preprocess.console import plain_number
from preprocess.samples import JSON, canonical_json

MEANINGS: Mapping[str, str] = {
    "key": "name of the sample in the source, unique in the dataset",
    "videoID": "id of the video or image in the source",
    "start_time": "start of the sample in the source, in seconds, as annotated",
    "end_time": "end of the sample in the source, in seconds",
    "duration": "duration of the sampled part, in seconds (0 for an image)",
    "captions": "all captions",
    "label": "class name, or null",
    "n_frames": "number of rows of the `.npy`",
    "timestamps": "time of each row, in seconds from the first frame of the file",
    "source": "file or address that was decoded",
    "truncated": "true if the source file ended early",
    "spans": "start and end of the clip that each row encodes, in seconds from the first frame of the file",
    "caption_timestamps": "start and end of each caption, in seconds, as annotated",
    "padded_frames": "number of frames that pad the last clip by repeating the last frame",
}
"""Meanings of the fields that several datasets have; the other fields of a recipe are explained in its prose."""

_CAPTIONS = {
    "first": "the first caption",
    "concat": "all captions, joined by a space",
    "join": "all captions, joined by `;`",
    "each": "one caption; each of the other captions of the video is a separate sample",
}


def number(value: float) -> str:
    """A number for reading: an integer if it is whole, else four significant digits.

    Examples:
        >>> number(12.0), number(1234567.0), number(3.14159), number(0.012345)
        ('12', '1,234,567', '3.142', '0.01235')
    """
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.4g}"


def count(n: int, one: str, many: str | None = None) -> str:
    """`1 tar`, `2 tars`, `1,000 classes`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def times(factor: float) -> str:
    """A ratio: `1.27 times`, `38 times`."""
    return f"{factor:.3g} times" if factor < 10 else f"{factor:,.0f} times"


def sampling_rule(sampling: JSON, unit: str = "frame") -> str:
    """The sentence for `preprocess.media.sampling.Sampling.to_json()`.

    Args:
        sampling: `sampling` of the manifest.
        unit: What a row encodes, a frame or a clip.
    """
    value = plain_number(sampling["value"]) if sampling["kind"] == "fps" else number(float(sampling["value"]))
    match sampling["kind"]:
        case "fps":
            at = "k" if value == "1" else f"k/{value}"
            frames = "1 frame" if value == "1" else f"{value} frames"
            what = "row k is the frame" if unit == "frame" else "sampled frame k is the one"
            return f"Videos are sampled at {frames} per second: {what} on screen {at} seconds after the first frame."
        case "every_nth":
            return f"Every {ordinal(int(sampling['value']))} frame of each video is taken, starting with the first."
        case "num_frames":
            return (
                f"{value} evenly spaced frames of each video are taken: those with the indices floor(i·n/{value}) of n."
            )
        case "segment":
            return f"Each video is divided into {value} parts of equal length, and the middle frame of each is taken."
        case other:
            return f"Videos are sampled by the rule {other} with the value {value}."


def ordinal(n: int) -> str:
    """`1st`, `2nd`, `3rd`, `11th`."""
    return f"{n}{'th' if n // 10 % 10 == 1 else {1: 'st', 2: 'nd', 3: 'rd'}.get(n % 10, 'th')}"


def text_meaning(caption_mode: str) -> str:
    """What the `.txt` holds."""
    return f"the text of the sample: {_CAPTIONS.get(caption_mode, 'the caption')}"


def field_meaning(name: str) -> str:
    """What a field of the `.json` means; other fields come from the annotations of the source."""
    return MEANINGS.get(name, "from the annotations of the source")


def instance(row: Row, items: int = 6, width: int = 300) -> str:
    """One sample as a block of text: the first of its numbers, its text, its metadata; long values are truncated.

    Args:
        row: The sample.
        items: Number of entries shown of a list in the metadata.
        width: Number of characters shown of a text.
    """
    key, vectors, text, meta = row
    lines = [f"{key}.npy   {vectors.dtype} {vectors.shape}", *_corner(vectors)]
    lines += [f"{key}.txt   {_cut(' '.join(text.split()), width)}", f"{key}.json  {{"]
    entries = [f'  "{name}": {_value(value, items, width)}' for name, value in meta.items()]
    return "\n".join([*lines, ",\n".join(entries), "}"])


def _corner(vectors: np.ndarray[Any, Any], n_rows: int = 2, n_columns: int = 5) -> list[str]:
    """The first numbers of the first rows."""
    shown = [
        "  [" + ", ".join(f"{x:.4f}" for x in row[:n_columns].tolist()) + (", …" if len(row) > n_columns else "") + "]"
        for row in vectors[:n_rows]
    ]
    return [*shown, "  …"] if len(vectors) > n_rows else shown


def _value(value: Any, items: int, width: int) -> str:
    if isinstance(value, list) and len(value) > items:
        head = ", ".join(_value(item, items, width) for item in value[:items])
        return f"[{head}, … {len(value) - items:,} more]"
    return _cut(canonical_json(value), width)


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[:width] + "…"


def tree(folder: str, shards: Sequence[tuple[str, Sequence[str]]], others: Sequence[str]) -> str:
    """The files of a dataset as a tree.

    Args:
        folder: Name of the root.
        shards: Name of each tar and the ids of its first samples; the name "…" stands for the tars not shown.
        others: Names of the other files; those of folders end with `/`.
    """
    entries: list[tuple[str, list[str]]] = [(name, []) for name in others]
    for name, ids in shards:
        inner = [f"{id_}.{ext}" for id_ in ids for ext in ("npy", "txt", "json")] + (["…"] if ids else [])
        entries.append((name, inner))
    lines = [f"{folder}/"]
    for i, (name, inner) in enumerate(entries):
        last = i == len(entries) - 1
        lines.append(f"{'└──' if last else '├──'} {name}")
        bar = " " if last else "│"
        lines += [f"{bar}   {'└──' if j == len(inner) - 1 else '├──'} {file}" for j, file in enumerate(inner)]
    return "\n".join(lines)
