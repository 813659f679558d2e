"""`table`: a file that lists videos, one row each, as clip-video-encode reads them.

    videoID,videoLoc,caption,split,start_time,end_time,camera
    cat_01,clips/cat.mp4,a cat jumps,train,0,4.5,left
    cat_02,https://example.org/cat.mp4,a cat sleeps,test,,,right

`videoLoc` is a path relative to the table's own folder, or a URL. A row with `start_time` or `end_time` uses only that
part of the file, so one video may occur in several rows. Further columns become metadata. Options name the columns of a
table that calls them otherwise: `--url-col link --caption-col text`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from preprocess.addresses import public_address
from preprocess.errors import AnnotationError
from preprocess.readers.annotations import captions_of, claim, own_meta, seconds, words
from preprocess.readers.files import raw_data_error, split_suffix
from preprocess.readers.splits import hash_split, in_order, split_named
from preprocess.readers.tables import TABLE_SUFFIXES, read_rows
from preprocess.sample_table import AS_OBJECTS
from preprocess.samples import DatasetSpec, RecipeOptions, Sample, Split, is_url, safe_key
from preprocess.storage import is_remote

SPEC = DatasetSpec(
    name="table",
    title="Table",
    license="unknown",
    citation="",
    homepage="",
    languages=(),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW is one file: videos.csv, .tsv, .parquet or .jsonl, with the columns
    videoLoc     a path relative to the table's folder, or a URL (http, https, s3, gs, hf, file)
    videoID      an id of your own; without this column, the name of the file
and, if you like, caption, label, split (train, val, test), start_time, end_time (s); all others become metadata.
Columns of other names: --url-col, --id-col, --caption-col, --label-col, --split-col, --start-col, --end-col
""",
)

_USUAL = {
    "url": "videoLoc",
    "id": "videoID",
    "label": "label",
    "split": "split",
    "start": "start_time",
    "end": "end_time",
}
"""Names of the columns where `RecipeOptions.columns` names no other. Captions are `caption`, `captions` or both."""

_CAPTIONS = ("caption", "captions")


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """One sample per row of the table `raw`. Rows without a split get one by hash of their id."""
    if raw.suffix.lower() not in TABLE_SUFFIXES or not raw.is_file():
        problem = "does not exist" if not raw.exists() else f"is not a {', '.join(TABLE_SUFFIXES)} file"
        raise raw_data_error(SPEC, f"{raw} {problem}")
    columns = {**_USUAL, **options.columns}
    required = tuple(dict.fromkeys((columns["url"], *options.columns.values())))
    names = _names(raw, required)
    _check_named(options.columns, names, raw)
    own = sorted(names - {*columns.values(), *(() if "caption" in columns else _CAPTIONS)})
    taken: dict[str, str] = {}

    def sample(where: str, row: dict[str, Any]) -> Sample:
        media = _media(_cell(row, columns["url"], raw, where), raw, where)
        video = _cell(row, columns["id"], raw, where) if columns["id"] in names else _name(media)
        start_s, end_s = _window(row, columns, raw, where)
        key = _key(video, start_s, end_s)
        if key in taken or len(taken) < AS_OBJECTS:  # a key that many rows later occurs again is found by sorting
            claim(taken, key, raw, where)
        said = row.get(columns["label"])
        label = str(said) if said is not None and str(said).strip() else None
        texts = {"caption": row.get(columns["caption"])} if "caption" in columns else dict(row)
        captions = captions_of(texts, raw, where) or (words(label or video or media),)
        meta = {"videoID": video, **own_meta({name: row.get(name) for name in own})}
        if is_url(media) and meta.get("source") is None:
            meta["source"] = public_address(media)
        split = _split(row.get(columns["split"]), video, options, raw, where)
        return Sample(key, split, media, captions, label, start_s, end_s, meta)

    yield from in_order(sample(where, row) for where, row in read_rows(raw, required))


def _names(table: Path, required: tuple[str, ...]) -> set[str]:
    """Names of the columns: JSON Lines may have other ones in each row, and are read twice for that.

    Raises:
        AnnotationError: There are no rows.
    """
    rows = (row for _, row in read_rows(table, required))
    first = next(rows, None)
    if first is None:
        raise AnnotationError(table, "", "the table has no rows", "one row per video")
    return set(first).union(*rows) if table.suffix.lower() == ".jsonl" else set(first)


def _check_named(named: Mapping[str, str], names: Collection[str], table: Path) -> None:
    """Checks that the columns named by the user occur, as the header does for the other formats."""
    for what, column in named.items():
        if column not in names:
            found = f"no row has {column!r} (--{what}-col), only {', '.join(sorted(names))[:200]}"
            raise AnnotationError(table, "", found, "the name of a column")


def _name(media: str) -> str:
    """An id from the path or address of a file: `clips/cat` for `clips/cat.mp4`."""
    path = urlsplit(public_address(media)).path.rpartition("/")[2] if is_url(media) else media
    return split_suffix(path)[0] or path


def _cell(row: Mapping[str, Any], name: str, table: Path, where: str) -> str:
    value = row.get(name)
    if isinstance(value, bool) or not isinstance(value, (str, int)) or not str(value).strip():
        raise AnnotationError(table, where, f"{name} is {value!r}", "every row to have one")
    return str(value)


def _window(
    row: Mapping[str, Any], columns: Mapping[str, str], table: Path, where: str
) -> tuple[float | None, float | None]:
    start, end = (
        None if row.get(name) is None else seconds(row[name], table, f"{where}: {name}")
        for name in (columns["start"], columns["end"])
    )
    if end is not None and end <= (start or 0.0):
        problem = f"{columns['end']} {end:g} is not after {columns['start']} {start or 0:g}"
        raise AnnotationError(table, where, problem, "a later end")
    return start, end


def _key(video: str, start_s: float | None, end_s: float | None) -> str:
    """`cat_01`, or `cat_01_00000000_00004500` (ms) for a part of it."""
    if start_s is None and end_s is None:
        return safe_key(video)
    end = "end" if end_s is None else f"{round(end_s * 1000):08d}"
    return safe_key(f"{video}_{round((start_s or 0) * 1000):08d}_{end}")


def _split(value: object, video: str, options: RecipeOptions, table: Path, where: str) -> Split:
    if value is None:
        return hash_split(video, options)
    split = split_named(str(value))
    if split is None:
        raise AnnotationError(table, where, f"split is {value!r}", "train, val or test")
    return split


def _media(location: str, table: Path, where: str) -> str:
    """`videoLoc` as samples have it: below the table's folder as a path, elsewhere as an address."""
    if is_url(location):
        try:
            urlsplit(location)
        except ValueError as error:  # half an IPv6 address
            problem = f"videoLoc {public_address(location)!r} is not a URL ({error})"
            raise AnnotationError(table, where, problem, "a path or URL") from None
        return location
    if "\0" in location:
        raise AnnotationError(table, where, "videoLoc holds a null byte", "a path or URL")
    if is_remote(table):
        return _remote_media(location, table, where)
    folder = os.path.normpath(table.parent.absolute())
    path = os.path.normpath(table.parent.absolute() / location)  # by the names alone: links stay as they were set
    return Path(path).relative_to(folder).as_posix() if Path(path).is_relative_to(folder) else f"file://{path}"


def _remote_media(location: str, table: Path, where: str) -> str:
    """As `_media`, for a table at an address: a path stays in the table's bucket."""
    scheme, _, folder = str(table.parent).partition("://")
    path = posixpath.normpath(posixpath.join(folder, location))
    if posixpath.isabs(location) or path.partition("/")[0] != folder.partition("/")[0]:
        raise AnnotationError(table, where, f"videoLoc {location!r} is outside the bucket", "a path in it, or a URL")
    return path[len(folder) + 1 :] if path.startswith(f"{folder}/") else f"{scheme}://{path}"
