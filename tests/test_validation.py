from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

import pytest
from typing_extensions import TypedDict

from preprocess.errors import AnnotationError, DamagedFileError
from preprocess.samples import Reject, Sample, canonical_json
from preprocess.validation import (
    Count,
    FromList,
    Must,
    PathBelow,
    Seconds,
    Text,
    annotation,
    own_file,
    own_line,
    parse_json,
    problems,
    read_regular,
    shown,
)


class Row(TypedDict):
    image: PathBelow
    caption: NotRequired[str | list[str]]
    kind: NotRequired[Literal["a", "b"]]
    span: NotRequired[Annotated[tuple[Seconds, Seconds], FromList()]]
    count: NotRequired[Count]
    text: NotRequired[Text]


def test_a_valid_value_keeps_the_declared_fields() -> None:
    row = {"image": "./a//b.jpg", "caption": ["x"], "kind": "a", "span": [0, 1.5], "count": 0, "more": 1}
    assert annotation([row], list[Row], "f") == [
        {"image": "a/b.jpg", "caption": ["x"], "kind": "a", "span": (0.0, 1.5), "count": 0}
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, r"f\.json: line 1: got \{\}\. Expected a list\."),
        ([3], r"line 1: entry 0: got 3\. Expected an object\."),
        ([{}], r"line 1: entry 0: 'image' is missing\. Expected an object with 'image'\."),
        ([{"image": 3}], r"entry 0: image: got 3\. Expected a string\."),
        ([{"image": "../a"}], r"entry 0: image: got '\.\./a'\. Expected a path below the raw folder\."),
        ([{"image": "a"}, {"image": "a", "caption": 3}], r"entry 1: caption: got 3\. Expected a string or a list\."),
        ([{"image": "a", "caption": ["x", 3]}], r"entry 0: caption\[1\]: got 3\. Expected a string\."),
        ([{"image": "a", "kind": "c"}], r"kind: got 'c'\. Expected 'a' or 'b'\."),
        ([{"image": "a", "span": [0, -1]}], r"span\[1\]: got -1\. Expected seconds, as a number of at least 0\."),
        ([{"image": "a", "span": [0, float("nan")]}], r"span\[1\]: got nan\. Expected seconds"),
        ([{"image": "a", "span": ["0", 1]}], r"span\[0\]: got '0'\. Expected a number\."),
        ([{"image": "a", "count": True}], r"count: got True\. Expected a whole number\."),
        ([{"image": "a", "count": 2**63}], r"count: got 9223372036854775808\. Expected a whole number of at least 0"),
        ([{"image": "a", "text": " "}], r"text: got ' '\. Expected text that is not blank\."),
    ],
)
def test_the_first_problem_is_named(value: Any, message: str) -> None:
    with pytest.raises(AnnotationError, match=message):
        annotation(value, list[Row], "f.json", "line 1")


def test_our_own_files_are_damaged() -> None:
    kind = dict[str, Annotated[str, Must(str.islower, "in lower case")]]
    assert own_file({"a": "b"}, kind, "f", "Pack again.") == {"a": "b"}
    with pytest.raises(DamagedFileError, match=r"f: a: should be in lower case, is 'B'\. Pack again\."):
        own_file({"a": "B"}, kind, "f", "Pack again.")


def test_all_problems_are_found() -> None:
    found = problems({"image": 1, "kind": 2, "caption": [3]}, Row)
    assert [problem.place() for problem in found] == ["image", "caption[0]", "kind"]


def test_records_come_back_from_their_lines() -> None:
    reject = Reject("k", "train", "list", "duplicate", "m")
    sample = Sample("k", "val", "a.mp4", ("a", "b"), start_s=0.5, meta={"x": [1, {"y": None}]})
    for record in (reject, sample):
        line = canonical_json(record.to_json()).encode()
        assert own_line(line, type(record), "f", 1, "R.") == record
        for bad in (b"", b"[]", line[:-1], b"[" * 10_000, line[:-1] + b', "more": 1}', line.replace(b'"k"', b"[1]")):
            with pytest.raises(DamagedFileError, match="f: line 7"):
                own_line(bad, type(record), "f", 7, "R.")
    with pytest.raises(DamagedFileError, match=r"captions of 'k' must be non-empty"):
        own_line(canonical_json({**sample.to_json(), "captions": []}).encode(), Sample, "f", 1, "R.")


@pytest.mark.parametrize("data", [b"[" * 10_000, b"NaN", b"1" * 5000, b'"\xff"', "{}".encode("utf-16"), b"{} {}", b""])
def test_json_is_strict(data: bytes) -> None:
    assert parse_json(memoryview(b'{"a": [1.5, null]}')) == {"a": [1.5, None]}
    with pytest.raises(ValueError, match="at line 1"):
        parse_json(data)


@pytest.mark.parametrize("number", ["1e999", "-1E+309", "1.5e00400", "-" + "1" * 310 + ".5"])
def test_numbers_beyond_all_floats_are_refused(number: str) -> None:
    for text in (f"[{number}]", f'{{"hash": "1e5", "a": [{number}]}}'):
        with pytest.raises(ValueError, match=r"at line 1|JSON compliant"):
            parse_json(text.encode())
    assert parse_json(b'{"hash": "1e999", "a": 1e30}') == {"hash": "1e999", "a": 1e30}


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path, tmp_path / "loop", Path("/dev/null")):
        with pytest.raises(DamagedFileError):
            read_regular(path, "R.")
    with pytest.raises(FileNotFoundError):
        read_regular(tmp_path / "none", "R.")


def test_what_is_shown_is_short_whatever_its_size() -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    for value in (deep, "x" * 10**6, list(range(10**6)), {i: i for i in range(10**5)}, 10**4000):
        assert len(shown(value)) <= 80


def test_listing_datasets_validates_nothing(root: Path) -> None:
    code = """
import sys
from preprocess import recipes
for name in recipes.names():
    if name != "demo":
        recipes.load(name)
from preprocess.formats import manifest
from preprocess import validation
assert not validation._ADAPTERS
"""
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True)
