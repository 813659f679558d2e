"""Numbers and settings in words: sizes, shares, the sampling rule, the fields of the metadata, one sample.

>>> size(8_123_456_789)
'8.1 GB'
>>> sampling_rule({"kind": "every_nth", "value": 8})
'One frame of 8 is taken from each video, beginning with the first.'
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dataset_cards.statistics import Row
from preprocess.samples import JSON, canonical_json

UNITS = ("kB", "MB", "GB", "TB")

MEANINGS: Mapping[str, str] = {
    "key": "name of the sample in the source, unique in the dataset",
    "videoID": "the source's own id of the video or image",
    "start_time": "where the sample begins in the source, seconds, as annotated",
    "end_time": "where it ends, seconds",
    "duration": "length of what was sampled, seconds (0 for an image)",
    "captions": "all captions",
    "label": "class name, null where there is none",
    "n_frames": "rows of the `.npy`",
    "timestamps": "time of each row, seconds from the first frame of the file",
    "source": "file or address that was decoded",
    "truncated": "true where the source broke off before its end",
}
"""What the fields that every dataset has mean; a recipe's own fields are explained by its prose, if at all."""

_CAPTIONS = {
    "first": "the first caption",
    "concat": "all captions, joined by a space",
    "join": "all captions, joined by `;`",
    "each": "one caption; the other captions of the video are in samples of their own",
}


def size(n: int) -> str:
    """Bytes in decimal units, as the Hub counts them."""
    if n < 1000:
        return f"{n} bytes"
    power = 1
    while n / 1000**power >= 999.95 and power < len(UNITS):
        power += 1
    return f"{n / 1000**power:.1f} {UNITS[power - 1]}"


def number(value: float) -> str:
    """A number as a person writes it: whole where it is whole, else four significant digits.

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


def sampling_rule(sampling: JSON) -> str:
    """The sentence for `preprocess.media.sampling.Sampling.to_json()`."""
    value = number(float(sampling["value"]))
    match sampling["kind"]:
        case "fps":
            times = "k" if value == "1" else f"k/{value}"
            frames = "1 frame" if value == "1" else f"{value} frames"
            return (
                f"Videos are sampled at {frames} per second: row k holds the frame that is on screen {times} seconds "
                "after the first one."
            )
        case "every_nth":
            return f"One frame of {value} is taken from each video, beginning with the first."
        case "num_frames":
            return (
                f"{value} frames are taken from each video, evenly spread: those with the indices floor(i·n/{value})."
            )
        case "segment":
            return f"Each video is cut into {value} parts of equal length, and the middle frame of each is taken."
        case other:
            return f"Videos are sampled by the rule {other} with the value {value}."


def text_meaning(caption_mode: str) -> str:
    """What the `.txt` holds."""
    return f"the text that goes with the embeddings: {_CAPTIONS.get(caption_mode, 'the caption')}"


def field_meaning(name: str) -> str:
    """What a field of the `.json` means; a recipe's own field says whose it is."""
    return MEANINGS.get(name, "as the source annotates it")


def instance(row: Row, items: int = 6, width: int = 300) -> str:
    """One sample as a block of text: the corner of its vectors, its text, its metadata; long values are cut.

    Args:
        row: The sample.
        items: Entries shown of a list in the metadata.
        width: Characters shown of a text.
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
    """The files of a dataset, drawn as a tree.

    Args:
        folder: Name of the root.
        shards: Per tar its name and the ids of its first samples; an id that is "…" stands for those left out.
        others: Names of the other files, with `/` behind folders.
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
