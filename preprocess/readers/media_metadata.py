"""What a folder says about its videos and images: `metadata.csv` as the Hub has it, and files beside each of them.

metadata.csv                      file_name,text,camera          (also .jsonl, .parquet; in any folder)
                                  clips/a.mp4,a cat jumps,left   (relative to the folder of metadata.csv)
clips/a.txt                       a cat jumps                    (captions, one per line)
clips/a.json                      {"camera": "left", "label": "cat", "captions": ["a cat jumps"]}
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError, RawDataError
from preprocess.readers.annotations import below, captions_of, claim, own_meta, read_json, read_text
from preprocess.readers.files import split_suffix
from preprocess.readers.splits import split_named
from preprocess.readers.tables import read_rows
from preprocess.samples import JSON, Split
from preprocess.validation import Text, annotation

METADATA_FILES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_SAYS_SOMETHING = frozenset(
    [
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".ndjson",
        ".parquet",
        ".arrow",
        ".txt",
        ".xls",
        ".xlsx",
        ".xml",
        ".yaml",
        ".yml",
    ]
)
_DOCUMENTS = frozenset({"readme", "license", "licence", "notice", "copying", "citation", "changelog"})
_FILE_NAME = "file_name"


@dataclass(frozen=True, slots=True)
class MediaMetadata:
    """What is said about one video or image.

    Attributes:
        captions: Empty where nothing is said.
        label: Its class.
        split: Its split.
        meta: Everything else.
    """

    captions: tuple[str, ...] = ()
    label: str | None = None
    split: Split | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class _Given(TypedDict):
    label: Text | None
    split: Text | None


def read_media_metadata(raw: Path, paths: Collection[str], media: Iterable[str]) -> dict[str, MediaMetadata]:
    """What a folder says of each video and image, by its path below the folder.

    Files beside a video take precedence over a metadata file, key by key.

    Args:
        raw: The folder.
        paths: All files below it.
        media: The videos and images among them.

    Returns:
        An entry for each of `media`, and for each file that a metadata file lists, whether it exists or not.

    Raises:
        RawDataError: A file looks like metadata, but belongs to no video or image.
        AnnotationError: Metadata are not what they should be; the file and line are named.
    """
    media = list(media)
    speaking = frozenset(path for path in paths if split_suffix(path)[1] in _SAYS_SOMETHING)
    tables = sorted(path for path in speaking if path.rpartition("/")[2].lower() in METADATA_FILES)
    stems = {split_suffix(path)[0] for path in media} if speaking else set()
    for path in sorted(speaking):
        _check_known(path, stems, tables)
    found = dict.fromkeys(media, MediaMetadata())
    found |= _listed(raw, tables)
    return {path: _with_sidecars(raw, path, entry, speaking) for path, entry in found.items()}


def _check_known(path: str, stems: Collection[str], tables: Collection[str]) -> None:
    stem, suffix = split_suffix(path)
    if path in tables or (suffix in (".txt", ".json") and stem in stems):
        return
    if stem.rpartition("/")[2].partition(".")[0].lower() in _DOCUMENTS:
        return
    raise RawDataError(
        f"{path} looks like metadata, but is neither {', '.join(METADATA_FILES)} nor named after a video beside it",
        "Name it metadata.csv (with a column file_name) or <video>.txt or <video>.json, or move it out of the folder.",
    )


def _listed(raw: Path, tables: Iterable[str]) -> dict[str, MediaMetadata]:
    """The entries of the metadata files."""
    found: dict[str, MediaMetadata] = {}
    taken: dict[str, str] = {}
    for table in tables:
        file, folder = raw / table, posixpath.dirname(table)
        rows = list(read_rows(file))
        name = _file_name_column(file, rows)
        for where, row in rows:
            value = row.pop(name, None)
            if not isinstance(value, str):
                raise AnnotationError(file, where, f"{name} is {value!r}", "the path of a file below this folder")
            path = posixpath.join(folder, below(value, file, where))
            claim(taken, path, table, where)
            found[path] = _entry(row, file, where)
    return found


def _file_name_column(file: Path, rows: Iterable[tuple[str, JSON]]) -> str:
    """The column that names the file: `file_name`, or the only one that ends in `_file_name`."""
    columns = list(dict.fromkeys(column for _, row in rows for column in row))
    if _FILE_NAME in columns:
        return _FILE_NAME
    named = [column for column in columns if column.endswith(f"_{_FILE_NAME}")]
    if len(named) != 1:
        problem = f"the columns {', '.join(named)}" if named else f"no column {_FILE_NAME} ({', '.join(columns)[:200]})"
        raise AnnotationError(file, "", problem, f"one column {_FILE_NAME}, with a path below the file's folder")
    return named[0]


def _entry(row: JSON, file: Path, where: str) -> MediaMetadata:
    """One object of metadata; `text` is the caption where there is neither `caption` nor `captions`."""
    if isinstance(row.get("text"), str) and not {"caption", "captions"} & row.keys():
        row["caption"] = row.pop("text")
    captions = captions_of(row, file, where)
    given = annotation({name: row.pop(name, None) for name in ("label", "split")}, _Given, file, where)
    split = None if given["split"] is None else split_named(given["split"])
    if split is None and given["split"] is not None:
        raise AnnotationError(file, where, f"split is {given['split']!r}", "train, val or test")
    return MediaMetadata(captions, given["label"], split, own_meta(row))


def _with_sidecars(raw: Path, path: str, entry: MediaMetadata, present: Collection[str]) -> MediaMetadata:
    stem, _ = split_suffix(path)
    if f"{stem}.json" in present:
        file = raw / f"{stem}.json"
        own = _entry(annotation(read_json(file), JSON, file), file, "")
        entry = MediaMetadata(
            captions=own.captions or entry.captions,
            label=own.label or entry.label,
            split=own.split or entry.split,
            meta={**entry.meta, **own.meta},
        )
    if f"{stem}.txt" in present:
        captions = tuple(_lines(read_text(raw / f"{stem}.txt")))
        entry = replace(entry, captions=captions or entry.captions)
    return entry


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())
