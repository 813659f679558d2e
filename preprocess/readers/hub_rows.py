"""Rows of a dataset that `datasets` opens: where the video or image of each is, and its other columns as JSON has them.

for row in parquet_rows(Path("data/train-00000.parquet"), "data/train-00000.parquet", columns):
    row.media, row.values    # "data/train-00000.parquet#row=0&column=video&name=a.mp4", {"label": "cat", "fps": 25}

Of a Parquet file, only the columns that are not media are read; nothing is decoded here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from preprocess.errors import AnnotationError, RawDataError
from preprocess.readers.annotations import below
from preprocess.readers.tables import plain
from preprocess.references import Cell
from preprocess.samples import IMAGE_SUFFIXES, JSON, VIDEO_SUFFIXES, is_url

if TYPE_CHECKING:
    import datasets
    import pyarrow.parquet as pq

_BATCH = 1000  # rows


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of a dataset.

    Attributes:
        media: Name of the one with the videos or images.
        is_image: Which of the two.
        own: Features of the columns that JSON can hold, by name.
    """

    media: str
    is_image: bool
    own: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class MediaRow:
    """One row.

    Attributes:
        media: As samples have it; a path or URL where the dataset has only that, None where it has neither.
        values: The other columns.
    """

    media: str | None
    values: JSON


def choose_columns(features: Mapping[str, Any], named: str | None, shown: str) -> Columns:
    """The column of videos or images, and those that become metadata. Other media, bytes and arrays are passed over.

    Args:
        features: As `datasets` has them.
        named: Name of the column, where the user gives one.
        shown: What to call the dataset in errors.

    Raises:
        RawDataError: There is no such column, or there are several to choose from.
    """
    import datasets

    media = [name for name, feature in features.items() if isinstance(feature, (datasets.Video, datasets.Image))]
    videos = [name for name in media if isinstance(features[name], datasets.Video)]
    chosen = [named] if named else videos or media
    if len(chosen) != 1 or chosen[0] not in media:
        kinds = ", ".join(f"{name} ({type(feature).__name__})" for name, feature in features.items())
        cause = "several columns" if len(chosen) > 1 else f"no column {named!r}" if named else "no column"
        raise RawDataError(
            f"{shown} has {cause} of type Video or Image: {kinds[:300]}", "Name the column to embed: --url-col NAME."
        )
    own = {name: feature for name, feature in features.items() if name not in media and _is_plain(feature)}
    return Columns(chosen[0], isinstance(features[chosen[0]], datasets.Image), own)


def parquet_features(file: Path) -> datasets.Features:
    """The features of a Parquet file, as `datasets` stored or would infer them.

    Raises:
        AnnotationError: It is not a Parquet file.
    """
    import datasets

    with file.open("rb") as stream, _parquet(stream, file) as table:
        return datasets.Features.from_arrow_schema(table.schema_arrow)


def parquet_rows(file: Path, path: str, columns: Columns) -> Iterator[MediaRow]:
    """The rows of one Parquet file, in its order.

    Args:
        file: Where it is read.
        path: What samples call it.
        columns: Of the dataset; the file may lack some.

    Raises:
        AnnotationError: It is not a Parquet file, or a path in it leads out of the raw folder.
    """
    import pyarrow as pa

    with file.open("rb") as stream, _parquet(stream, file) as table:
        names = set(table.schema_arrow.names)
        own = {name: feature for name, feature in columns.own.items() if name in names}
        read = [*own, f"{columns.media}.path"]
        number = 0
        try:
            for group in range(table.num_row_groups):
                embedded = _has_bytes(table, group, columns.media)
                for batch in table.iter_batches(_BATCH, row_groups=[group], columns=read):
                    for cells in batch.to_pylist():
                        where = f"row {number + 1}"
                        name: str | None = (cells.pop(columns.media, None) or {}).get("path")
                        values = {key: _value(feature, cells[key], file, where) for key, feature in own.items()}
                        if embedded:
                            cell = Cell(number, columns.media, _name(name, number, columns.is_image))
                            yield MediaRow(cell.of(path), values)
                        else:
                            yield MediaRow(name if name is None or is_url(name) else below(name, file, where), values)
                        number += 1
        except (pa.ArrowException, OSError) as error:
            raise _not_parquet(file, error) from error


def streamed_rows(stream: datasets.IterableDataset, columns: Columns, shown: str) -> Iterator[MediaRow]:
    """The rows of a split that `datasets` streams, whose media are files.

    Raises:
        RawDataError: They are bytes in rows that cannot be read one by one.
    """
    for number, cells in enumerate(stream.decode(False)):
        cell = cells[columns.media] or {}
        if cell.get("bytes") is not None:
            raise RawDataError(
                f"{shown} holds its media in files of which single rows cannot be read", "Convert it to Parquet."
            )
        values = {
            name: _value(feature, cells.get(name), shown, f"row {number + 1}") for name, feature in columns.own.items()
        }
        yield MediaRow(cell.get("path"), values)


def _parquet(stream: Any, file: Path) -> pq.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        raise _not_parquet(file, error) from error


def _not_parquet(file: Path, error: Exception) -> AnnotationError:
    return AnnotationError(file, "", f"it cannot be read ({' '.join(str(error).split())[:120]})", "a Parquet file")


def _has_bytes(table: pq.ParquetFile, group: int, column: str) -> bool:
    """Whether cells of a row group hold bytes, rather than paths of files alone."""
    metadata = table.metadata.row_group(group)
    for i in range(metadata.num_columns):
        leaf = metadata.column(i)
        if leaf.path_in_schema in (f"{column}.bytes", column):
            found = leaf.statistics
            return not (found is not None and found.has_null_count and found.null_count == metadata.num_rows)
    return False


def _name(path: str | None, number: int, is_image: bool) -> str:
    """A file name for the content of a cell, whose suffix says which of the two it is."""
    name = PurePosixPath(path or f"{number:08d}").name.replace("\0", "") or f"{number:08d}"
    suffixes, usual = (IMAGE_SUFFIXES, ".jpg") if is_image else (VIDEO_SUFFIXES, ".mp4")
    return name if PurePosixPath(name).suffix.lower() in suffixes else f"{name}{usual}"


def _is_plain(feature: Any) -> bool:
    """Whether JSON can hold the values of a feature."""
    import datasets

    if isinstance(feature, dict):
        return all(map(_is_plain, feature.values()))
    if isinstance(feature, (datasets.List, datasets.LargeList)):
        return _is_plain(feature.feature)
    if isinstance(feature, datasets.ClassLabel):
        return True
    return isinstance(feature, datasets.Value) and "binary" not in feature.dtype


def _value(feature: Any, value: Any, file: object, where: str) -> Any:
    """A value as JSON has it; a class by its name, None for one that is not known."""
    import datasets

    if isinstance(feature, datasets.ClassLabel):
        return feature.int2str(int(value)) if value is not None and value >= 0 else None
    if isinstance(feature, dict) and isinstance(value, dict):
        return {name: _value(feature.get(name), one, file, where) for name, one in value.items()}
    if isinstance(feature, (datasets.List, datasets.LargeList)) and isinstance(value, list):
        return [_value(feature.feature, one, file, where) for one in value]
    return plain(value, file, where)
