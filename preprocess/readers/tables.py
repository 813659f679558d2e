"""Rows of a table in any of four formats: CSV, TSV, JSON Lines, Parquet.

for where, row in read_rows(Path("videos.csv"), required=("videoLoc",)):
    where, row        # "line 2", {"videoID": "cat_01", "videoLoc": "clips/cat.mp4", "caption": None}
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import check_columns, read_csv, read_jsonl

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet", ".jsonl")

Row = tuple[str, dict[str, Any]]
"""Place of the row in its file, for errors, and its cells; empty cells are None."""


def read_rows(table: Path, required: tuple[str, ...] = (), only: Collection[str] | None = None) -> Iterator[Row]:
    """The rows of a table, in order; its suffix is one of `TABLE_SUFFIXES`.

    Args:
        table: The file.
        required: Columns that a header must have. JSON Lines have no header.
        only: Of a Parquet file, the columns that are read, where it has them; None for all.

    Raises:
        AnnotationError: The file is not what its suffix says, a column is missing, or a value is not JSON.
    """
    suffix = table.suffix.lower()
    if suffix == ".parquet":
        yield from _parquet_rows(table, required, only)
    elif suffix == ".jsonl":
        for line, row in read_jsonl(table):
            yield f"line {line}", row
    else:
        for line, cells in read_csv(table, required, "\t" if suffix == ".tsv" else None):
            yield f"line {line}", {name: value.strip() or None for name, value in cells.items()}


def _parquet_rows(table: Path, required: tuple[str, ...], only: Collection[str] | None) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with table.open("rb") as stream:
        try:
            with pq.ParquetFile(stream) as file:
                names = file.schema_arrow.names
                check_columns(table, names, required)
                number = 0
                for batch in file.iter_batches(columns=None if only is None else [n for n in names if n in only]):
                    for row in batch.to_pylist():
                        number += 1
                        where = f"row {number}"
                        yield where, {name: plain(value, table, f"{where}: {name}") for name, value in row.items()}
        except (pa.ArrowException, OSError, ValueError, OverflowError) as error:  # what pyarrow has for damaged files
            problem = " ".join(str(error).split())[:120]
            raise AnnotationError(table, "", f"it cannot be read ({problem})", "a Parquet file") from error


def plain(value: Any, table: object, where: str) -> Any:
    """A Parquet value as JSON has it: no NaN, times in ISO 8601.

    Raises:
        AnnotationError: It is something else, such as bytes.
    """
    if isinstance(value, decimal.Decimal):
        value = float(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, list):
        return [plain(item, table, where) for item in value]
    if isinstance(value, dict):
        return {name: plain(item, table, where) for name, item in value.items()}
    if value is None or isinstance(value, (str, int)):
        return value
    raise AnnotationError(table, where, f"a value of type {type(value).__name__}", "text, numbers, times, lists")
