from __future__ import annotations

import json
from pathlib import Path

import pytest

from preprocess.errors import AnnotationError
from preprocess.readers.annotations import below, captions_of, claim, read_csv, read_json, read_jsonl, seconds


def rows(path: Path, *required: str) -> list[tuple[int, dict[str, str]]]:
    return list(read_csv(path, required or ("id", "text")))


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_csv_as_it_is_published(tmp_path: Path, delimiter: str, newline: str, mark: bytes) -> None:
    path = tmp_path / "list.csv"
    lines = [
        delimiter.join(("id", "text")),
        f'a{delimiter}"one, two; three"',
        "",
        f'b{delimiter}"two{newline}lines, ""quoted"""',
        f"c{delimiter}👍 مرحبا",
    ]
    path.write_bytes(mark + newline.join(lines).encode())
    assert rows(path) == [
        (2, {"id": "a", "text": "one, two; three"}),
        (4, {"id": "b", "text": f'two{newline}lines, "quoted"'}),
        (6, {"id": "c", "text": "👍 مرحبا"}),
    ]


def test_the_delimiter_follows_from_the_required_columns(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text('id;text;"a,b,c,d"\n1;x, y, z;2\n', encoding="utf-8")
    assert rows(path) == [(2, {"id": "1", "text": "x, y, z", "a,b,c,d": "2"})]


def test_long_cells_are_read(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"id,text\na,{'x' * 1_000_000}\n", encoding="utf-8")
    assert len(rows(path)[0][1]["text"]) == 1_000_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"list\.csv: line 1: the file is empty"),
        (b"id,name\na,b\n", r"line 1: no column text in the header \(id, name\)"),
        (b"id,text,id\na,b,c\n", r"line 1: the column 'id' occurs twice"),
        (b"id,text\na,b\n\nc\n", r"line 4: 1 cells\. Expected 2"),
        (b"id,text\na,b,c\n", r"line 2: 3 cells\. Expected 2"),
        (b'id,text\na,"x\ny"\nb,"open\nc,d\n', r"line 4: unexpected end of data"),
        (b'id,text\na,b\nb,"x"y\n', r"line 3: ',' expected after '\"'"),
        (b"id,text\na,b\nc,caf\xe9\n", r"line 3: byte 0xe9 is not UTF-8"),
        ("id,text\na,b\n".encode("utf-16"), r"line 1: byte 0xff is not UTF-8"),
    ],
)
def test_a_csv_that_is_wrong_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        rows(path)


def test_json_with_a_byte_order_mark(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"a": ["é", 1.5, None]}, ensure_ascii=False).encode())
    assert read_json(path) == {"a": ["é", 1.5, None]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a\.json: line 1 column 1: not JSON"),
        (b'{"a": 1,\n "b": }', r"line 2 column 7: not JSON"),
        (b'{"v_1": 1, "v_2": 2, "v_1": 3}', r"key 'v_1': 'v_1' is given twice"),
        (b'{"a": NaN}', r"NaN is not JSON"),
        (b'{"a":\n "\xff"}', r"line 2: byte 0xff is not UTF-8"),
        (b"[" * 100_000, r"nested too deeply"),
    ],
)
def test_a_json_that_is_wrong_is_refused_with_its_place(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        read_json(path)


def test_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"a": "line\u2028separator"}\r\n\r\n{"b": 2}'.encode())
    assert list(read_jsonl(path)) == [(1, {"a": "line\u2028separator"}), (3, {"b": 2})]
    path.write_bytes(b'{"a": 1}\n[2]\n')
    with pytest.raises(AnnotationError, match=r"line 2: got \[2\]\. Expected an object"):
        list(read_jsonl(path))
    path.write_bytes(b'{"a": 1}\n{"a": \n')
    with pytest.raises(AnnotationError, match=r"line 2: not JSON"):
        list(read_jsonl(path))


@pytest.mark.parametrize(("value", "expected"), [("1.5", 1.5), (2, 2.0), (0, 0.0), (" 3 ", 3.0)])
def test_seconds(value: object, expected: float) -> None:
    assert seconds(value, "f", "line 1") == expected


@pytest.mark.parametrize("value", ["", "1:30", -1, "nan", "inf", None, [1], True])
def test_what_is_no_time(value: object) -> None:
    with pytest.raises(AnnotationError, match=r"f: line 1: .+ is not a time\. Expected seconds"):
        seconds(value, "f", "line 1")


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.jpg", "a/../../b.jpg", "", "a\0b"])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(AnnotationError, match="Expected a path below the raw folder"):
        below(path, "f", "entry 1")


def test_a_path_below_is_kept() -> None:
    assert below("./val2014//a.jpg", "f", "entry 1") == "val2014/a.jpg"


def test_captions_are_taken_out_of_a_row() -> None:
    row = {"caption": "one", "captions": ["two", " "], "camera": 1}
    assert captions_of(row, "f", "") == ("one", "two")
    assert row == {"camera": 1}
    with pytest.raises(AnnotationError, match="caption"):
        captions_of({"caption": 3}, "f", "line 2")


def test_an_id_given_twice_names_both_places() -> None:
    taken: dict[str, str] = {}
    claim(taken, "v1", "/raw/train.csv", "line 2")
    with pytest.raises(AnnotationError, match=r"val\.csv: line 9: 'v1' was already given in train\.csv, line 2"):
        claim(taken, "v1", "/raw/val.csv", "line 9")
