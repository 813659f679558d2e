"""Parquet of rows: equal to what `tarfile` and `json` read from the tars, cut for range reads, published whole."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import load_dataset

from builders import parquet_rows
from builders.parquet_rows import write_parquet
from preprocess.errors import UserError
from preprocess.formats.splits import read_splits
from tests.builders.conftest import DIM, MakeDataset, write_dataset
from tests.builders.test_generations import build, current_ids

HUB = {"train": "train", "val": "validation", "test": "test"}
Row = tuple[str, str, float, str | None, str, bytes]


def rows_of_tars(folder: Path, ids: set[str] | None = None) -> list[Row]:
    """One row per frame, read with `tarfile`, `np.load` and `json` alone."""
    found: list[Row] = []
    for file, split in sorted(read_splits(folder / "splits.csv").items()):
        parts: dict[str, dict[str, bytes]] = {}
        with tarfile.open(folder / file) as tar:
            for info in tar:
                id_, _, extension = info.name.partition(".")
                member = tar.extractfile(info)
                assert member is not None
                parts.setdefault(id_, {})[extension] = member.read()
        for id_, part in parts.items():
            if ids is not None and id_ not in ids:
                continue
            meta = json.loads(part["json"])
            for time, vector in zip(meta["timestamps"], np.load(io.BytesIO(part["npy"])), strict=True):
                text = part["txt"].decode()
                found.append((meta["key"], HUB[split], time, meta["label"], text, vector.tobytes()))
    return sorted(found, key=str)


def rows_of_parquet(folder: Path) -> list[Row]:
    found: list[Row] = []
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        vectors = table["embedding"].combine_chunks()
        values = vectors.values.to_numpy().reshape(len(table), -1)
        columns = [table[name].to_pylist() for name in ("key", "split", "time", "label", "text")]
        found += zip(*columns, (row.tobytes() for row in values), strict=True)
    return sorted(found, key=str)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_row_is_that_of_the_tars(make_dataset: MakeDataset, tmp_path: Path, dtype: str) -> None:
    folder = make_dataset(dtype=dtype)
    done = write_parquet(str(folder), tmp_path / "out")
    rows = rows_of_tars(folder)
    assert rows_of_parquet(tmp_path / "out") == rows
    assert (done.rows, done.samples) == (len(rows), 13)
    names = ["train-00000.parquet", "train-00001.parquet", "validation-00000.parquet", "test-00000.parquet"]
    assert [path.name for path in done.files] == names
    field = pq.read_schema(done.files[0]).field("embedding").type
    assert (str(field.value_type), field.list_size) == ("halffloat" if dtype == "float16" else "float", DIM)


def test_replaced_rows_are_left_out(tmp_path: Path) -> None:
    folder = build(tmp_path)
    write_parquet(str(folder), tmp_path / "out")
    current = set(current_ids(folder))
    assert rows_of_parquet(tmp_path / "out") == rows_of_tars(folder, current)
    assert len(rows_of_tars(folder)) > len(rows_of_tars(folder, current))


def test_with_a_triple_per_caption_a_frame_is_one_row(tmp_path: Path) -> None:
    folder = build(tmp_path, caption_mode="each")
    write_parquet(str(folder), tmp_path / "out")
    found = rows_of_parquet(tmp_path / "out")
    current = rows_of_tars(folder, set(current_ids(folder)))
    assert len(current) > len(found) > 0
    assert sorted((row[0], row[2]) for row in found) == sorted({(row[0], row[2]) for row in current})
    assert set(found) <= set(current)


def test_datasets_opens_the_folder(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    write_parquet(str(folder), tmp_path / "out")
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in loaded.items()} == {
        split: sum(row[1] == split for row in rows_of_tars(folder)) for split in ("train", "validation", "test")
    }
    assert loaded["test"].features["embedding"].length == DIM
    row = loaded["test"].with_format("numpy")[0]
    assert row["embedding"].shape == (DIM,)


def test_it_is_cut_for_range_reads(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset(counts={"train": 40, "val": 1, "test": 1}, per_shard=40)
    done = write_parquet(str(folder), tmp_path / "out", group_bytes=7 * DIM * 2)
    meta = pq.read_metadata(done.files[0])
    rows = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    assert rows[:-1] == [7] * (len(rows) - 1)
    assert 0 < rows[-1] <= 7
    assert rows_of_parquet(tmp_path / "out") == rows_of_tars(folder)
    for column in map(meta.row_group(0).column, range(6)):
        assert column.has_offset_index
        assert column.has_column_index
        assert column.compression == ("UNCOMPRESSED" if column.path_in_schema.startswith("embedding") else "ZSTD")


def test_pages_follow_the_content(tmp_path: Path) -> None:
    """Without the first sample, all pages but the first ones have the bytes that they had: storage keeps them once."""
    for name, drop in (("a", 0), ("b", 1)):
        write_rows(tmp_path / name, drop)
    one, two = (pages(tmp_path / name / "out" / "train-00000.parquet") for name in ("a", "b"))
    assert len(one) > 2
    assert one[2:] == two[-len(one[2:]) :]


def write_rows(folder: Path, drop: int) -> None:
    """A dataset of one tar with 1,200 rows of 512, without the first `drop` samples."""
    write_dataset(folder / "set", {"train": 480, "val": 1, "test": 1}, per_shard=500, dim=512)
    tar = folder / "set" / "ds_00000.tar"
    if drop:
        manifest = json.loads((folder / "set" / "manifest.json").read_text())
        with tarfile.open(tar) as old:
            members = [(info, old.extractfile(info).read()) for info in old][3 * drop :]  # type: ignore[union-attr]
        with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as new:
            for info, content in members:
                new.addfile(info, io.BytesIO(content))
        (folder / "set" / "manifest.json").write_text(json.dumps(manifest))
    write_parquet(str(folder / "set"), folder / "out")


def pages(path: Path) -> list[bytes]:
    """The content of each page of the vectors: a header begins with type, bytes and compressed bytes, as varints."""
    column = pq.read_metadata(path).row_group(0).column(5)
    data = path.read_bytes()[column.data_page_offset :][: column.total_compressed_size]
    found, at = [], 0
    while at < len(data):
        assert data[at : at + 3] == b"\x15\x00\x15"
        end_of_first = at + 3 + next(i for i, byte in enumerate(data[at + 3 :]) if byte < 128) + 1
        size = shift = 0
        for byte in data[end_of_first + 1 :]:
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        after = data.find(b"\x15\x00\x15", at + size // 2)  # zigzag: twice the number
        after = len(data) if after < 0 else after
        found.append(data[after - size // 2 : after])
        at = after
    return found


def test_the_same_dataset_gives_the_same_bytes(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    contents = []
    for name in ("one", "two", "one"):  # the last one replaces the first
        write_parquet(str(folder), tmp_path / name)
        contents.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert contents[0] == contents[1] == contents[2]


def test_the_side_file_says_what_it_is_of(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    write_parquet(str(folder), tmp_path / "out")
    source = json.loads((tmp_path / "out" / "source.json").read_text())
    assert source["encoder"]["model"] == "tiny-clip"
    assert source["sampling"] == {"kind": "fps", "value": 1}
    own = pq.read_schema(tmp_path / "out" / "test-00000.parquet").metadata[b"video_embedding_dataset"]
    assert json.loads(own)["manifest_sha256"] == source["manifest_sha256"]


def test_a_damaged_tar_leaves_the_earlier_export(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    write_parquet(str(folder), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    tar = folder / "ds_00003.tar"
    tar.write_bytes(tar.read_bytes()[:2000])
    with pytest.raises(UserError, match=r"ds_00003\.tar"):
        write_parquet(str(folder), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "data") == ["out"]


def test_what_is_not_an_export_is_left_alone(make_dataset: MakeDataset, tmp_path: Path) -> None:
    folder = make_dataset()
    with pytest.raises(UserError, match="not an earlier export"):
        write_parquet(str(folder), folder)
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to(folder)
    for name in ("file", "link"):
        with pytest.raises(UserError, match="not a folder"):
            write_parquet(str(folder), tmp_path / name)
    with pytest.raises(UserError, match=r"manifest\.json does not exist"):
        write_parquet(str(tmp_path), tmp_path / "out")


def test_memory_holds_one_group(make_dataset: MakeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many samples a tar has, no more rows than those of a group are held."""
    folder = make_dataset(counts={"train": 60, "val": 1, "test": 1}, per_shard=60)
    held: list[int] = []
    table = parquet_rows._table

    def counted(group: Any, columns: Any) -> Any:
        held.append(sum(len(part.sample.times_s) for part in group))
        return table(group, columns)

    monkeypatch.setattr(parquet_rows, "_table", counted)
    write_parquet(str(folder), tmp_path / "out", group_bytes=10 * DIM * 2)
    assert max(held) == 10
    assert len(held) > 10
