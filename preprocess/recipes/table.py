"""`table`: a file that lists videos, one row each, as clip-video-encode reads them.

    videoID,videoLoc,caption,split,start_time,end_time,camera
    cat_01,clips/cat.mp4,a cat jumps,train,0,4.5,left
    cat_02,https://example.org/cat.mp4,a cat sleeps,test,,,right

`videoLoc` is a path relative to the table's own folder, or a URL. A row with `start_time` or `end_time` uses only that
part of the file, so one video may stand in several rows. Further columns become metadata.
"""

from __future__ import annotations

import datetime
import decimal
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preprocess.errors import AnnotationError
from preprocess.recipes._annotations import (
    captions_of,
    check_columns,
    claim,
    own_meta,
    read_csv,
    read_jsonl,
    seconds,
)
from preprocess.recipes._files import raw_data_error
from preprocess.recipes._splits import hash_split, in_order, split_named
from preprocess.recipes.folder import words
from preprocess.samples import DatasetSpec, RecipeOptions, Sample, Split, is_url, safe_key

SPEC = DatasetSpec(
    name="table",
    hub_name="CLIP-Table",
    license="unknown",
    citation="",
    homepage="",
    languages=(),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW is one file: videos.csv, .tsv, .parquet or .jsonl, with the columns
    videoID      an id of your own
    videoLoc     a path relative to the table's folder, or a URL (http, https, s3, gs, hf, file)
and, if you like, caption, label, split (train, val, test), start_time, end_time (s); all others become metadata
""",
)

_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")
_REQUIRED = ("videoID", "videoLoc")

Row = tuple[str, dict[str, Any]]
"""Where the row stands in its file, for errors, and its cells; empty cells are None."""


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per row of the table `raw`. Rows without a split get one by hash of their videoID."""
    if raw.suffix.lower() not in _SUFFIXES or not raw.is_file():
        problem = "is not there" if not raw.exists() else f"is no {', '.join(_SUFFIXES)} file"
        raise raw_data_error(SPEC, f"{raw} {problem}")
    rows = list(_rows(raw))
    if not rows:
        raise AnnotationError(raw, "", "the table has no rows", "one row per video")
    columns = sorted({name for _, row in rows for name in row} - {*_REQUIRED, *_SPECIAL})
    taken: dict[str, str] = {}

    def sample(where: str, row: dict[str, Any]) -> Sample:
        video = _cell(row, "videoID", raw, where)
        start_s, end_s = _window(row, raw, where)
        key = _key(video, start_s, end_s)
        claim(taken, key, raw, where)
        media = _media(_cell(row, "videoLoc", raw, where), raw, where)
        label = None if row.get("label") is None else str(row["label"])
        captions = captions_of(row, raw, where) or (words(label or video),)
        meta = {"videoID": video, **own_meta({name: row.get(name) for name in columns})}
        if is_url(media) and meta.get("source") is None:
            meta["source"] = _public(media)
        return Sample(key, _split(row, video, options, raw, where), media, captions, label, start_s, end_s, meta)

    yield from in_order(sample(where, row) for where, row in rows)


_SPECIAL = ("caption", "captions", "label", "split", "start_time", "end_time")


def _rows(table: Path) -> Iterator[Row]:
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(table)
    elif suffix == ".jsonl":
        for line, row in read_jsonl(table):
            yield f"line {line}", row
    else:
        for line, cells in read_csv(table, _REQUIRED, "\t" if suffix == ".tsv" else None):
            yield f"line {line}", {name: value.strip() or None for name, value in cells.items()}


def _parquet_rows(table: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(table) as file:
            check_columns(table, file.schema_arrow.names, _REQUIRED)
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    where = f"row {number}"
                    yield where, {name: _plain(value, table, f"{where}: {name}") for name, value in row.items()}
    except pa.ArrowInvalid as error:
        raise AnnotationError(table, "", f"it cannot be read ({str(error)[:120]})", "a Parquet file") from error


def _plain(value: Any, table: Path, where: str) -> Any:
    """A Parquet value as JSON has it: no NaN, times in ISO 8601."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, list):
        return [_plain(item, table, where) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item, table, where) for name, item in value.items()}
    if value is None or isinstance(value, (str, int)):
        return value
    raise AnnotationError(table, where, f"a value of type {type(value).__name__}", "text, numbers, times, lists")


def _cell(row: Mapping[str, Any], name: str, table: Path, where: str) -> str:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise AnnotationError(table, where, f"{name} is {value!r}", f"the columns {' and '.join(_REQUIRED)} filled")
    return str(value)


def _window(row: Mapping[str, Any], table: Path, where: str) -> tuple[float | None, float | None]:
    start, end = (
        None if row.get(name) is None else seconds(row[name], table, f"{where}: {name}")
        for name in ("start_time", "end_time")
    )
    if end is not None and end <= (start or 0.0):
        raise AnnotationError(table, where, f"end_time {end:g} is not after start_time {start or 0:g}", "a later end")
    return start, end


def _key(video: str, start_s: float | None, end_s: float | None) -> str:
    """`cat_01`, or `cat_01_00000000_00004500` (ms) for a part of it."""
    if start_s is None and end_s is None:
        return safe_key(video)
    end = "end" if end_s is None else f"{round(end_s * 1000):08d}"
    return safe_key(f"{video}_{round((start_s or 0) * 1000):08d}_{end}")


def _split(row: Mapping[str, Any], video: str, options: RecipeOptions, table: Path, where: str) -> Split:
    value = row.get("split")
    if value is None:
        return hash_split(video, options)
    split = split_named(str(value))
    if split is None:
        raise AnnotationError(table, where, f"split is {value!r}", "train, val or test")
    return split


def _media(location: str, table: Path, where: str) -> str:
    """`videoLoc` as samples have it: below the table's folder as a path, elsewhere on this machine as file://…"""
    if is_url(location):
        return location
    if "\0" in location:
        raise AnnotationError(table, where, "videoLoc holds a null byte", "a path or URL")
    folder = os.path.normpath(table.parent.absolute())
    path = os.path.normpath(table.parent.absolute() / location)  # by the names alone: links stay as they were set
    return Path(path).relative_to(folder).as_posix() if Path(path).is_relative_to(folder) else f"file://{path}"


def _public(url: str) -> str:
    """The part of a URL that may be published: no folder of this machine, no password, no signature."""
    parts = urlsplit(url)
    if parts.scheme.lower() == "file":
        return url.rpartition("/")[2]
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
