"""Reading annotation files as they are published: CSV with any of three delimiters, JSON, JSON Lines, UTF-8 with a BOM.

Every problem is an `AnnotationError` that names the file, the line or key, and what was expected; what the parsed
values should be is said by types (`preprocess.validation`).
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NoReturn

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import AnnotationError
from preprocess.samples import JSON
from preprocess.validation import PathBelow, annotation, parse_json, shown

_DELIMITERS = ",;\t"
_CELL_LIMIT = 16 << 20  # characters; csv's own default of 131,072 is less than a long caption
_MAX_S = 1e9  # keys have times in milliseconds as whole numbers

RESERVED = frozenset({"key", "duration", "captions", "label", "n_frames", "timestamps", "truncated"})
"""Keys of a triple's JSON that are computed: metadata of the same name gets an underscore behind it."""


def read_text(path: Path) -> str:
    """The whole file as text, without a byte order mark.

    Raises:
        AnnotationError: It is not UTF-8; the line is named.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        _refuse_encoding(path, error)


def read_csv(
    path: Path, required: tuple[str, ...], delimiter: str | None = None
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields `(line, row)` of a table with a header; `line` is where the row begins, the header's is 1.

    The delimiter is the one of `,` `;` tab that makes the header hold the required columns.

    Args:
        path: A `.csv` or `.tsv` file.
        required: Columns that must be there.
        delimiter: Fixes it, e.g. tab for `.tsv`.

    Raises:
        AnnotationError: No header, a column missing or twice, a row of another length, an open quote, not UTF-8.
    """
    csv.field_size_limit(max(_CELL_LIMIT, csv.field_size_limit()))
    begins = 1
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header_line = file.readline()
            delimiter = delimiter or _sniff(header_line, required)
            file.seek(0)
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            header = [cell.strip() for cell in next(reader, [])]
            check_columns(path, header, required)
            begins = reader.line_num + 1
            for cells in reader:
                if cells:  # blank lines are skipped
                    if len(cells) != len(header):
                        raise AnnotationError(
                            path, f"line {begins}", f"{len(cells)} cells", f"{len(header)}, as in the header"
                        )
                    yield begins, dict(zip(header, cells, strict=True))
                begins = reader.line_num + 1
    except UnicodeDecodeError as error:
        _refuse_encoding(path, error)
    except csv.Error as error:
        raise AnnotationError(path, f"line {begins}", str(error), "cells quoted as in RFC 4180") from error


def check_columns(path: Path, header: list[str], required: tuple[str, ...]) -> None:
    """Refuses a table whose header is empty, lacks a required column or names one twice.

    Raises:
        AnnotationError: It does.
    """
    if not header:
        raise AnnotationError(path, "line 1", "the file is empty", f"a header with {', '.join(required)}")
    missing = [column for column in required if column not in header]
    if missing:
        found = f"no column {', '.join(missing)} in the header ({', '.join(header)[:200]})"
        raise AnnotationError(path, "line 1", found, f"the columns {', '.join(required)}")
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise AnnotationError(path, "line 1", f"the column {twice!r} occurs twice", "every column once")


def read_json(path: Path) -> Any:
    """The value of a JSON file, of any size that fits in memory.

    Raises:
        AnnotationError: Not JSON (the line is named), not UTF-8, or an object holds a key twice.
    """
    return _parse(path, read_text(path), "")


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields `(line, object)` of a file with one JSON object per line; blank lines are skipped."""
    for line, text in enumerate(read_text(path).split("\n"), start=1):
        if text.strip():
            where = f"line {line}"
            yield line, annotation(_parse(path, text, where), JSON, path, where)


def seconds(value: object, file: object, where: str) -> float:
    """A time from 0 s to 31 years, from a number or its digits.

    Raises:
        AnnotationError: The value is not a time.
    """
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if not 0 <= number <= _MAX_S:
        raise AnnotationError(file, where, f"{shown(value)} is not a time", "seconds, as a number")
    return number


def text(value: str, file: object, where: str) -> str:
    """A cell that is not blank, as it is.

    Raises:
        AnnotationError: It is blank.
    """
    if not value.strip():
        raise AnnotationError(file, where, "the text is empty", "some text")
    return value


class _Captions(TypedDict, total=False):
    caption: str | list[str] | None
    captions: str | list[str] | None


def captions_of(row: dict[str, Any], file: object, where: str) -> tuple[str, ...]:
    """Removes `caption` and `captions` from `row` and returns them; blank ones are left out.

    Raises:
        AnnotationError: One of them is neither a string nor a list of strings.
    """
    given = annotation({name: row.pop(name, None) for name in ("caption", "captions")}, _Captions, file, where)
    found = [text for value in (given["caption"], given["captions"]) for text in as_list(value)]
    return tuple(caption for caption in found if caption.strip())


def as_list(value: str | list[str] | None) -> list[str]:
    """One caption or several as a list."""
    return [value] if isinstance(value, str) else value or []


def below(path: str, file: object, where: str) -> str:
    """A relative path that stays below its folder, which an annotation may not be trusted to give.

    Raises:
        AnnotationError: It is absolute or leads upwards.
    """
    return str(PurePosixPath(annotation(path, PathBelow, file, where)))


def claim(taken: dict[str, str], name: str, file: object, where: str) -> None:
    """Records that `name` is given here.

    Raises:
        AnnotationError: It was given before; both places are named.
    """
    if name in taken:
        raise AnnotationError(file, where, f"{name!r} was already given in {taken[name]}", "every id once")
    taken[name] = f"{Path(str(file)).name}, {where}"


def words(name: str) -> str:
    """The name of a file or folder as a caption: "riding a bike" for `sports/riding_a_bike`."""
    last = name.rstrip("/").rpartition("/")[2]
    return " ".join(last.replace("_", " ").split()) or last or name


def own_meta(row: Mapping[str, Any]) -> dict[str, Any]:
    """A user's own metadata; names that a triple's JSON reserves get an underscore behind them."""
    return {f"{name}_" if name in RESERVED else name: value for name, value in row.items()}


def _sniff(header: str, required: tuple[str, ...]) -> str:
    def score(delimiter: str) -> tuple[int, int]:
        cells = {cell.strip().strip('"') for cell in header.strip().split(delimiter)}
        return sum(column in cells for column in required), header.count(delimiter)

    return max(_DELIMITERS, key=score)


def _parse(path: Path, document: str, where: str) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):  # the parser alone would silently keep the last
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise AnnotationError(path, where or f"key {twice!r}", f"{twice!r} is given twice", "every key once")
        return found

    def refuse(constant: str) -> NoReturn:
        raise AnnotationError(path, where, f"{constant} is not JSON", "finite numbers or null")

    try:
        value = json.loads(document, object_pairs_hook=unique, parse_constant=refuse)
        parse_json(document.encode())  # refuses what could not be written again: half a surrogate, 1e999, great depth
    except json.JSONDecodeError as error:
        place = where or f"line {error.lineno} column {error.colno}"
        raise AnnotationError(path, place, f"not JSON: {error.msg}", "JSON") from error
    except ValueError as error:
        raise AnnotationError(path, where, f"not JSON: {error}", "plain JSON") from None
    except RecursionError:
        raise AnnotationError(path, where, "nested too deeply", "plain JSON") from None
    return value


def _refuse_encoding(path: Path, error: UnicodeDecodeError) -> NoReturn:
    with path.open("rb") as file:
        for line, raw in enumerate(file, start=1):
            try:
                raw.decode()
            except UnicodeDecodeError as bad:
                problem = f"byte 0x{raw[bad.start]:02x} is not UTF-8"
                raise AnnotationError(path, f"line {line}", problem, "a file saved as UTF-8") from error
    raise AnnotationError(path, "", "it is not UTF-8", "a file saved as UTF-8") from error
