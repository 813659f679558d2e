"""`hub`: a dataset of the Hub, or any folder that `load_dataset` opens, with a column of videos or images.

    RAW=org/name                 also org/name@revision, hf://datasets/org/name, or a local folder
    --config NAME                one of its configurations

`datasets` says which files belong to which split, and what their columns are; class labels become names, and all other
columns that JSON can hold become metadata. To list the samples, only these columns are downloaded:

    VideoFolder, ImageFolder     a sample names a file                  train/red/a.mp4
    Parquet                      a cell, read when it is decoded        data/train-00000.parquet#row=17&column=video&…
    WebDataset                   a range of a tar, as in `webdataset`   data/train-000.tar#bytes=512-10879&…
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from preprocess.addresses import public_address
from preprocess.errors import AnnotationError, RawDataError, UserError
from preprocess.readers.annotations import captions_of, own_meta, words
from preprocess.readers.entries import EntryFile
from preprocess.readers.files import raw_data_error, split_suffix
from preprocess.readers.hub_rows import MediaRow, choose_columns, parquet_features, parquet_rows, streamed_rows
from preprocess.readers.splits import hash_split, in_order, split_named
from preprocess.recipes.webdataset import Tar, tar_entries
from preprocess.references import file_of
from preprocess.samples import JSON, DatasetSpec, RecipeOptions, Reject, Sample, Split, is_url, safe_key
from preprocess.storage import is_remote, location

if TYPE_CHECKING:
    from datasets import DatasetBuilder

SPEC = DatasetSpec(
    name="hub",
    title="Hub",
    license="unknown",
    citation="",
    homepage="",
    languages=(),
    task_categories=("feature-extraction",),
    raw_layout="""
RAW is a dataset of the Hub, <org>/<name> or <org>/<name>@<revision>, or a folder of the same layout, with
    one column of type Video or Image (of several, --url-col names one)
    caption, captions or text    optional: its captions (--caption-col)
    label                        optional: its class (--label-col)
All other columns become metadata; --id-col names one with ids of your own, --config a configuration.
""",
)

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(@[\w.-]+)?")
_ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)(?:@([^/]+))?(?:/(.*))?")
_CAPTIONS = ("caption", "captions", "text")


class _Row(NamedTuple):
    """A row that has a video or image.

    Attributes:
        name: Of its file, below the raw folder; of a row without one, its split and number.
        media: As samples have it.
    """

    split: str
    name: str
    media: str
    values: JSON


def address(raw: str) -> str:
    """`hf://datasets/org/name` for `org/name`, unless that is a folder here; everything else as it is."""
    return f"hf://datasets/{raw}" if _NAME.fullmatch(raw) and not Path(raw).exists() else raw


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample | Reject]:
    """One sample per row, in the splits of the dataset; where none of them has a known name, by hash."""
    builder, shown = _open(raw, options), public_address(str(raw))
    files = {str(split): [_below(path, raw) for path in paths] for split, paths in builder.config.data_files.items()}
    splits = _splits(list(files), shown)
    kind = type(builder).__module__.rpartition(".")[2]
    if kind == "webdataset":
        tars = [Tar(_place(raw, path), path, splits[split]) for split, paths in files.items() for path in paths]
        yield from tar_entries(tars, options, SPEC)
        return
    rows = _parquet(builder, files, raw, options) if kind == "parquet" else _streamed(builder, files, raw, options)
    found, columns = EntryFile(_Row), set[str]()
    rejects: list[Reject] = []
    numbers: Counter[str] = Counter()
    for split, row in rows:
        name = f"{split}_{numbers[split]:08d}"
        numbers[split] += 1
        if row.media is None:
            message = f"row {numbers[split]} of {split} has no video or image"
            rejects.append(
                Reject(safe_key(name), splits[split] or hash_split(name, options), "list", "missing", message)
            )
            continue
        if file_of(row.media) == row.media and not is_url(row.media):
            name = row.media
        found.add(split_suffix(name)[0], _Row(split, name, row.media, row.values))
        columns.update(row.values)
    if not found:
        raise raw_data_error(SPEC, f"{shown} has no row with a video or image")
    yield from in_order(_samples(found, sorted(columns), splits, options, shown))
    yield from rejects


def _samples(
    rows: EntryFile[_Row],
    columns: Sequence[str],
    splits: Mapping[str, Split | None],
    options: RecipeOptions,
    shown: str,
) -> Iterator[Sample]:
    named = {what: name for what, name in options.columns.items() if what in ("id", "caption", "label")}
    for what, column in named.items():
        if column not in columns:
            cause = f"{shown} has no column {column!r} (--{what}-col), only {', '.join(columns)[:200]}"
            raise RawDataError(cause, "Name one of them.")
    for row in rows:
        values = {name: row.values.get(name) for name in columns}
        stem = split_suffix(row.name)[0]
        own_name = row.name if rows.is_repeated(stem) else stem
        video = str(values.pop(named["id"])) if "id" in named else own_name
        texts = {name: values.pop(name) for name in (named.get("caption"),) if name} or {
            name: values.pop(name) for name in _CAPTIONS if name in values
        }
        label = values.pop(named.get("label", "label"), None)
        if isinstance(label, (list, dict)):
            raise AnnotationError(shown, row.name, "the label is a list", "a column with one class: --label-col NAME")
        label = None if label is None or not str(label).strip() else str(label)
        caption = next((text for text in texts.values() if text), None)
        captions = captions_of({"caption": caption}, shown, row.name) or (words(label or video),)
        meta = {"videoID": video, **own_meta(values)}
        if is_url(row.media):
            meta.setdefault("source", public_address(row.media))
        key = safe_key(video)
        yield Sample(key, splits[row.split] or hash_split(video, options), row.media, captions, label, meta=meta)


def _open(raw: Path, options: RecipeOptions) -> DatasetBuilder:
    """What `datasets` makes of the repository or folder, before it reads any data."""
    import datasets

    repository = _ADDRESS.fullmatch(str(raw))
    if is_remote(raw) and (repository is None or repository[3]):
        raise raw_data_error(SPEC, f"{public_address(str(raw))} is not a dataset of the Hub")
    if repository is None and not raw.is_dir():
        raise raw_data_error(SPEC, f"{raw} {'is not a folder' if raw.exists() else 'does not exist'}")
    datasets.disable_progress_bars()
    try:
        name, revision = (repository[1], repository[2]) if repository else (str(raw), None)
        builder: DatasetBuilder = datasets.load_dataset_builder(name, name=options.config, revision=revision)
    except Exception as error:  # `datasets` has errors of its own, and those of every layer below
        cause = " ".join(str(error).split())[:300]
        raise raw_data_error(SPEC, f"{public_address(str(raw))} cannot be opened: {cause}") from error
    if not builder.config.data_files:
        raise raw_data_error(SPEC, f"{public_address(str(raw))} has no data files that `datasets` knows")
    return builder


def _splits(names: Sequence[str], shown: str) -> dict[str, Split | None]:
    """The split of each of the dataset's; all None where none has a known name."""
    found = {name: split_named(name) for name in names}
    unknown = [name for name, split in found.items() if split is None]
    if unknown and len(unknown) < len(names):
        raise RawDataError(
            f"{shown} has the splits {', '.join(names)}, and {', '.join(unknown)} is none of train, validation, test",
            "Name another configuration (--config), or build a copy without it.",
        )
    return found


def _parquet(
    builder: DatasetBuilder, files: Mapping[str, Sequence[str]], raw: Path, options: RecipeOptions
) -> Iterator[tuple[str, MediaRow]]:
    first = next(path for paths in files.values() for path in paths)
    features = builder.info.features or parquet_features(_place(raw, first))
    columns = choose_columns(features, options.columns.get("url"), public_address(str(raw)))
    for split, paths in files.items():
        for path in paths:
            for row in parquet_rows(_place(raw, path), path, columns):
                yield split, row


def _streamed(
    builder: DatasetBuilder, files: Mapping[str, Sequence[str]], raw: Path, options: RecipeOptions
) -> Iterator[tuple[str, MediaRow]]:
    shown = public_address(str(raw))
    for split in files:
        try:
            stream: Any = builder.as_streaming_dataset(split=split)
            stream = stream if stream.features else stream._resolve_features()
            columns = choose_columns(stream.features or {}, options.columns.get("url"), shown)
            for row in streamed_rows(stream, columns, shown):
                yield split, MediaRow(None if row.media is None else _below(row.media, raw), row.values)
        except UserError:
            raise
        except Exception as error:
            cause = f"{split} cannot be read: {' '.join(str(error).split())[:300]}"
            raise raw_data_error(SPEC, f"{shown}: {cause}") from error


def _below(path: str, raw: Path) -> str:
    """A file as samples name it: below the raw folder, without the commit in its address; elsewhere as a URL."""
    if not is_url(path):
        file = Path(path)
        return file.relative_to(raw).as_posix() if file.is_relative_to(raw) else f"file://{file}"
    there, here = _ADDRESS.fullmatch(path), _ADDRESS.fullmatch(str(raw))
    return str(there[3]) if there and here and there[1] == here[1] and there[3] else path


def _place(raw: Path, path: str) -> Path:
    return location(path) if is_url(path) else raw / path
