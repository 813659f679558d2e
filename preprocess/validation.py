"""Validation of values from outside: annotation files, manifests, metadata of samples, lines of our own records.

    class Caption(TypedDict):
        image_id: Count
        caption: Text

    rows = annotation(read_json(path), list[Caption], path)
    # AnnotationError: captions_val.json: entry 3: caption: got 7. Expected a string.

Types are the usual ones (TypedDict, dataclass, Literal, list, …), in strict mode: "3" is not a number, true is not 1.
`Must` adds a condition to a type. pydantic does the work; it is imported when the first value is validated, so that
commands that read nothing start fast.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import stat
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from preprocess.errors import AnnotationError, DamagedFileError

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
    from pydantic_core import CoreSchema, ErrorDetails

T = TypeVar("T")


# --- types ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Must:
    """A condition on a type: `Annotated[str, Must(SHA256.fullmatch, "64 hexadecimal digits")]`.

    Attributes:
        holds: Called with a value of the right type; a false result is a problem.
        expected: What the value should be, for the error message.
    """

    holds: Callable[[Any], object]
    expected: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import PydanticCustomError, core_schema

        problem = PydanticCustomError("must", "{expected}", {"expected": self.expected})

        def validate(value: Any) -> Any:
            if not self.holds(value):
                raise problem
            return value

        return core_schema.no_info_after_validator_function(validate, handler(source))


@dataclass(frozen=True, slots=True)
class Convert:
    """A conversion of a value that has the right type: `Annotated[str, Convert(str.lower)]`."""

    function: Callable[[Any], Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_after_validator_function(self.function, handler(source))


@dataclass(frozen=True, slots=True)
class FromList:
    """Reads a tuple from a list, which is what JSON has: `Annotated[tuple[str, int], FromList()]`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        from pydantic_core import core_schema

        return core_schema.no_info_before_validator_function(
            lambda value: tuple(value) if isinstance(value, list) else value, handler(source)
        )


def is_below(path: str) -> bool:
    """Whether a POSIX path stays below the folder that it is joined to."""
    parts = PurePosixPath(path)
    return bool(path) and not parts.is_absolute() and ".." not in parts.parts and "\0" not in path


Text = Annotated[str, Must(str.strip, "text that is not blank")]
Count = Annotated[int, Must(lambda n: 0 <= n < 2**63, "a whole number of at least 0")]
Seconds = Annotated[float, Must(lambda s: 0 <= s < math.inf, "seconds, as a number of at least 0")]
PathBelow = Annotated[str, Must(is_below, "a path below the raw folder"), Convert(lambda p: str(PurePosixPath(p)))]


# --- validation -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """One part of a value that is not what it should be.

    Attributes:
        path: Keys and indexes that lead from the value to that part.
        found: The part, shortened; None where it is missing.
        expected: What it should be, in words.
    """

    path: tuple[str | int, ...]
    found: str | None
    expected: str

    def place(self, where: str = "") -> str:
        """`shards[3].sha256`; in a list, `entry 3: caption`; behind `where`, if that is given."""
        path = self.path
        if path and isinstance(path[0], int):
            where, path = f"{where}: entry {path[0]}" if where else f"entry {path[0]}", path[1:]
        keys = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in path).removeprefix(".")
        return f"{where}: {keys}" if where and keys else where or keys

    def __str__(self) -> str:
        return "is missing" if self.found is None else f"should be {self.expected}, is {self.found}"


def annotation(value: object, kind: type[T], file: object, where: str = "") -> T:
    """Validates what an annotation file says.

    Args:
        value: Parsed JSON, or a row of a table.
        kind: The type that the value should have.
        file: The annotation file, for the error message.
        where: Where in the file the value stands.

    Returns:
        The value. Objects keep the fields that `kind` declares.

    Raises:
        AnnotationError: The value is something else: names the place, what was found, what was expected.
    """
    from pydantic import ValidationError

    try:
        valid: T = _adapter(kind).validate_python(value, strict=True)
        return valid
    except ValidationError as error:
        first = _problems(error, value)[0]
    if first.found is None:
        above = Problem(first.path[:-1], None, "").place(where)
        raise AnnotationError(file, above, f"{first.path[-1]!r} is missing", f"an object with {first.path[-1]!r}")
    raise AnnotationError(file, first.place(where), f"got {first.found}", first.expected)


def own_file(value: object, kind: type[T], file: object, remedy: str) -> T:
    """As `annotation`, for files that this project writes.

    Raises:
        DamagedFileError: The value is something else.
    """
    from pydantic import ValidationError

    try:
        valid: T = _adapter(kind).validate_python(value, strict=True)
        return valid
    except ValidationError as error:
        first = _problems(error, value)[0]
    raise DamagedFileError(file, first.place(), str(first), remedy)


def own_line(line: bytes, kind: type[T], file: object, number: int, remedy: str) -> T:
    """A record from one line of a JSON Lines file that this project writes; a field it does not know is an error.

    Raises:
        DamagedFileError: The line is something else.
    """
    from pydantic import ValidationError

    if _may_overflow(line):
        try:
            parse_json(line)
        except ValueError as error:
            raise DamagedFileError(file, f"line {number}", f"not JSON ({error})", remedy) from None
    try:
        record: T = _adapter(kind).validate_json(line, strict=True, extra="forbid")
        return record
    except ValidationError as error:
        first = _problems(error, None)[0]
    raise DamagedFileError(file, first.place(f"line {number}"), str(first), remedy)


def problems(value: object, kind: Any) -> list[Problem]:
    """Every part of a value that is not what `kind` says, one problem for each; empty if the value is a `kind`."""
    from pydantic import ValidationError

    try:
        _adapter(kind).validate_python(value, strict=True)
    except ValidationError as error:
        return _problems(error, value)
    return []


def parse_json(data: bytes | memoryview) -> Any:
    """Strict JSON: UTF-8, finite numbers, at most 200 levels deep.

    Raises:
        ValueError: The data are something else; says what and where.
    """
    content = bytes(data)
    value = _from_json()(content, allow_inf_nan=False, cache_strings="keys")  # values are mostly different ones
    if _may_overflow(content):
        json.dumps(value, allow_nan=False)  # 1e999 was read as infinity
    return value


def read_regular(path: Path, remedy: str) -> bytes:
    """The content of a file that may be anything: a folder or a pipe is an error, never waited for.

    Raises:
        FileNotFoundError: The file does not exist.
        DamagedFileError: It is not a regular file, or it cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise DamagedFileError(path, "", "not a regular file", remedy)
        return path.read_bytes()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(path, "", f"cannot be read: {error.strerror}", remedy) from None


def shown(value: object) -> str:
    """A value for an error message: cut to a length that fits on one line, whatever its size and depth."""
    text = _SHORT.repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


@cache
def _from_json() -> Callable[..., Any]:
    from pydantic_core import from_json  # kept: the statement takes a tenth of the time of parsing a sample's metadata

    return from_json


def _may_overflow(json_text: bytes) -> bool:
    """Whether a number may be too large for a float; most texts have no digits around an `e`, which is soon known."""
    classes = json_text.translate(_CLASSES)
    return (b"0e0" in classes or _MANY_DIGITS in classes) and _MAY_OVERFLOW.search(json_text) is not None


_MAY_OVERFLOW = re.compile(rb"[eE]\+?0*[1-9][0-9]{2}|[0-9]{300}")
_CLASSES = bytes(ord("0") if byte in b"0123456789+" else ord("e") if byte in b"eE" else ord(" ") for byte in range(256))
_MANY_DIGITS = b"0" * 300

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 76
_SHORT.maxlevel = 3

_ADAPTERS: dict[Any, TypeAdapter[Any]] = {}

_WORDS = {
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "dataclass_type": "an object",
    "none_required": "null",
    "json_invalid": "one JSON object in UTF-8",
    "unexpected_keyword_argument": "absent, as no such field is known",
}


def _adapter(kind: Any) -> TypeAdapter[Any]:
    """The validator of a type, made once: that takes a millisecond."""
    adapter = _ADAPTERS.get(kind)
    if adapter is None:
        from pydantic import TypeAdapter

        adapter = _ADAPTERS[kind] = TypeAdapter(kind)
    return adapter


def _problems(error: ValidationError, value: object) -> list[Problem]:
    """What pydantic found, one problem for each place: where a union was expected, each member reports its own."""
    found: dict[tuple[str | int, ...], Problem] = {}
    for detail in error.errors(include_url=False):
        missing = detail["type"] in ("missing", "missing_argument")
        path = detail["loc"] if value is None else _path(detail["loc"], value, missing)
        expected = _expected(detail)
        if path in found and expected not in found[path].expected:
            expected = f"{found[path].expected} or {expected}"
        found[path] = Problem(path, None if missing else shown(detail["input"]), expected)
    # A list of numbers where text or a list of text belongs is a wrong list, not a wrong text.
    above = {path[:depth] for path in found for depth in range(len(path))}
    return [problem for path, problem in found.items() if path not in above]


def _path(location: tuple[str | int, ...], value: Any, missing: bool) -> tuple[str | int, ...]:
    """`location` without the names of a union's members, which pydantic puts between the keys."""
    keys, absent = (location[:-1], location[-1:]) if missing else (location, ())
    path: list[str | int] = []
    for key in keys:
        known = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
        if key in known:
            path.append(key)
            value = value[key]
    return (*path, *absent)


def _expected(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    if detail["type"] in ("must", "literal_error"):
        return str(context["expected"])
    if detail["type"] == "value_error":  # from the `__post_init__` of a record
        return f"valid ({context['error']})"
    return _WORDS.get(detail["type"], detail["msg"])
