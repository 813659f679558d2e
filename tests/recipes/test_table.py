from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocess.errors import AnnotationError, UserError
from preprocess.pipeline import plan
from preprocess.readers import splits
from preprocess.readers.splits import hash_split
from preprocess.readers.tables import Row, read_rows
from preprocess.recipes import table as recipe
from preprocess.recipes.table import samples
from preprocess.samples import RecipeOptions, Sample


def read(table: Path, options: RecipeOptions | None = None) -> list[Sample]:
    return list(samples(table, options or RecipeOptions()))


def write(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_the_same_table_in_every_form(tmp_path: Path) -> None:
    csv = write(
        tmp_path, "a.csv", "videoID,videoLoc,caption,split,camera\nv1,a/1.mp4,a cat,train,left\nv2,2.mp4,,val,\n"
    )
    tsv = write(
        tmp_path,
        "a.tsv",
        "videoID\tvideoLoc\tcaption\tsplit\tcamera\nv1\ta/1.mp4\ta cat\ttrain\tleft\nv2\t2.mp4\t\tval\t\n",
    )
    jsonl = write(
        tmp_path,
        "a.jsonl",
        '{"videoID": "v1", "videoLoc": "a/1.mp4", "caption": "a cat", "split": "train", "camera": "left"}\n'
        '{"videoID": "v2", "videoLoc": "2.mp4", "split": "validation"}\n',
    )
    columns = {
        "videoID": ["v1", "v2"],
        "videoLoc": ["a/1.mp4", "2.mp4"],
        "caption": ["a cat", None],
        "split": ["train", "val"],
        "camera": ["left", None],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    expected = [
        Sample("v1", "train", "a/1.mp4", ("a cat",), meta={"videoID": "v1", "camera": "left"}),
        Sample("v2", "val", "2.mp4", ("v2",), meta={"videoID": "v2", "camera": None}),
    ]
    for table in (csv, tsv, jsonl, tmp_path / "a.parquet"):
        assert read(table) == expected, table.name


def test_where_media_lies(tmp_path: Path) -> None:
    folder = tmp_path / "lists"
    folder.mkdir()
    rows = {
        "below": "./clips/../clips/a b.mp4",
        "beside": "../videos/b.mp4",
        "absolute": f"{tmp_path}/videos/c.mp4",
        "own": f"{folder}/d.mp4",
        "http": "https://me:secret@example.org/e.mp4?signature=1",
        "s3": "s3://bucket/f.mp4",
    }
    table = write(folder, "t.csv", "videoID,videoLoc\n" + "".join(f"{name},{loc}\n" for name, loc in rows.items()))
    found = {sample.key: sample for sample in read(table)}
    assert {key: sample.media for key, sample in found.items()} == {
        "below": "clips/a b.mp4",
        "beside": f"file://{tmp_path}/videos/b.mp4",
        "absolute": f"file://{tmp_path}/videos/c.mp4",
        "own": "d.mp4",
        "http": rows["http"],
        "s3": rows["s3"],
    }
    assert {key: sample.meta.get("source") for key, sample in found.items()} == {
        "below": None,
        "beside": "b.mp4",
        "absolute": "c.mp4",
        "own": None,
        "http": "https://example.org/e.mp4",
        "s3": "s3://bucket/f.mp4",
    }


def test_parts_of_one_video_are_samples_of_one_split(tmp_path: Path) -> None:
    table = write(
        tmp_path,
        "t.csv",
        "videoID,videoLoc,start_time,end_time\n" + "".join(f"v,v.mp4,{i},{i + 0.5}\n" for i in range(20)),
    )
    found = read(table)
    assert (found[3].key, found[3].start_s, found[3].end_s) == ("v_00003000_00003500", 3.0, 3.5)
    assert len({sample.key for sample in found}) == 20
    assert len({sample.split for sample in found}) == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("v,,,,", r"line 2: videoLoc is None"),
        (",a.mp4,,,", r"line 2: videoID is None"),
        ("v,a.mp4,dev,,", r"line 2: split is 'dev'"),
        ("v,a.mp4,,x,", r"line 2: start_time: 'x' is not a time"),
        ("v,a.mp4,,5,5", r"line 2: end_time 5 is not after start_time 5"),
        ("v,a.mp4,,,\nw,b.mp4,,,\nv,c.mp4,,,", r"line 4: 'v' was already given in t\.csv, line 2"),
    ],
)
def test_a_row_that_is_wrong_is_refused_with_its_line(tmp_path: Path, row: str, message: str) -> None:
    table = write(tmp_path, "t.csv", f"videoID,videoLoc,split,start_time,end_time\n{row}\n")
    with pytest.raises(AnnotationError, match=message):
        read(table)


@pytest.mark.parametrize(
    ("label", "caption"),
    [("riding_a_bike", "riding a bike"), ("sports/", "sports"), ("/", "/"), ("_", "_"), (" ", "a")],
)
def test_without_a_caption_the_label_or_the_id_is_one(tmp_path: Path, label: str, caption: str) -> None:
    (tmp_path / "a.mp4").touch()
    table = tmp_path / "list.csv"
    table.write_text(f"videoID,videoLoc,label\na,a.mp4,{label}\n")
    (sample,) = read(table)
    assert sample.captions == (caption,)


def test_an_address_without_a_file_name_is_its_own_caption(tmp_path: Path) -> None:
    (sample,) = read(write(tmp_path, "list.csv", "videoLoc\nhttps://example.org/?id=7\n"))
    assert sample.captions[0].strip()


def test_parquet_values_become_json(tmp_path: Path) -> None:
    columns = {
        "videoID": [7],
        "videoLoc": ["a.mp4"],
        "captions": [["one", "two"]],
        "score": [float("nan")],
        "day": [datetime.date(2024, 2, 29)],
        "label": ["cat"],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    (sample,) = read(tmp_path / "t.parquet")
    assert (sample.key, sample.captions, sample.label) == ("7", ("one", "two"), "cat")
    assert sample.meta == {"videoID": "7", "score": None, "day": "2024-02-29"}


def test_parquet_that_is_wrong_is_refused(tmp_path: Path) -> None:
    table = write(tmp_path, "t.parquet", "no parquet at all")
    with pytest.raises(AnnotationError, match=r"t\.parquet: it cannot be read"):
        read(table)
    pq.write_table(pa.table({"videoID": ["a"]}), table)
    with pytest.raises(AnnotationError, match="no column videoLoc"):
        read(table)
    pq.write_table(pa.table({"videoID": ["a"], "videoLoc": ["a"], "blob": [b"x"]}), table)
    with pytest.raises(AnnotationError, match="row 1: blob: a value of type bytes"):
        read(table)


def test_columns_of_any_name(tmp_path: Path) -> None:
    header = "name;link;text;kind;part;from;to;captions;camera"
    table = write(
        tmp_path, "t.csv", f"{header}\nv1;a.mp4;a cat, jumping;cat;dev;1;2.5;other;left\n".replace("dev", "test")
    )
    columns = {
        "id": "name",
        "url": "link",
        "caption": "text",
        "label": "kind",
        "split": "part",
        "start": "from",
        "end": "to",
    }
    (sample,) = read(table, RecipeOptions(columns=columns))
    assert sample == Sample(
        "v1_00001000_00002500",
        "test",
        "a.mp4",
        ("a cat, jumping",),
        "cat",
        1.0,
        2.5,
        {"videoID": "v1", "camera": "left", "captions_": "other"},
    )


@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_a_column_that_is_not_there_is_named(tmp_path: Path, suffix: str) -> None:
    table = tmp_path / f"t.{suffix}"
    if suffix == "parquet":
        pq.write_table(pa.table({"link": ["a.mp4"]}), table)
    else:
        table.write_text('{"link": "a.mp4"}\n' if suffix == "jsonl" else "link\na.mp4\n")
    assert read(table, RecipeOptions(columns={"url": "link"}))[0].media == "a.mp4"
    with pytest.raises(AnnotationError, match="address"):
        read(table, RecipeOptions(columns={"url": "address"}))
    with pytest.raises(AnnotationError, match="videoLoc"):
        read(table)


def test_without_ids_the_files_names_are_ids(tmp_path: Path) -> None:
    table = write(tmp_path, "t.csv", "videoLoc\nclips/a.mp4\nhttps://me:secret@example.org/x/b.mp4?key=1\n")
    assert {sample.meta["videoID"]: sample.media for sample in read(table)} == {
        "clips/a": "clips/a.mp4",
        "b": "https://me:secret@example.org/x/b.mp4?key=1",
    }
    table = write(tmp_path, "t.csv", "videoLoc\nhttps://a.org/b.mp4\nhttps://c.org/b.mp4\n")
    with pytest.raises(AnnotationError, match=r"line 3: 'b' was already given in t\.csv, line 2"):
        read(table)


def test_a_table_without_rows(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no rows"):
        read(write(tmp_path, "t.csv", "videoID,videoLoc\n"))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_of_many_rows_few_are_held(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows become samples as they are read; what is said twice is found when the samples are sorted."""
    for module in (recipe, splits, plan):
        monkeypatch.setattr(module, "AS_OBJECTS", 10)
    rows = [(f"v{i * 37 % 101:03d}", f"{i}.mp4") for i in range(101)]
    if suffix == "csv":
        text = "videoID,videoLoc\n" + "".join(f"{id_},{media}\n" for id_, media in rows)
    else:
        more = [{}, *[{"camera": "left"}] * 100]  # a column that the first row does not have
        lines = ({"videoID": id_, "videoLoc": media, **own} for (id_, media), own in zip(rows, more, strict=True))
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
    path = write(tmp_path, f"t.{suffix}", text)
    seen: list[str] = []

    def noted(*given: Any) -> Iterator[Row]:
        for where, row in read_rows(*given):
            seen.append(where)
            yield where, row

    monkeypatch.setattr(recipe, "read_rows", noted)
    stream = samples(path, RecipeOptions())
    next(stream)
    assert len(seen) <= 101 * (suffix == "jsonl") + 13, "the first sample comes before all rows are read"
    found = plan.collected(samples(path, RecipeOptions()))  # type: ignore[arg-type]
    assert [sample.key for sample in found if sample.split == "train"] == sorted(
        id_ for id_, _ in rows if hash_split(id_, RecipeOptions()) == "train"
    )
    assert len(found) == 101
    assert all("camera" in sample.meta for sample in found) == (suffix == "jsonl")
    path.write_text(text + (text.splitlines()[60] + "\n"))
    with pytest.raises(UserError, match=r"the key 'v\d+' occurs 2 times: of \d+\.mp4, \d+\.mp4"):
        plan.collected(samples(path, RecipeOptions()))  # type: ignore[arg-type]
