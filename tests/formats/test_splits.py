from __future__ import annotations

import csv
from pathlib import Path

import pytest

from preprocess.errors import DamagedFileError
from preprocess.formats.splits import read_sizes, read_splits, sizes_json, splits_csv


def test_splits_are_two_columns_and_come_back(tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes(splits_csv({"ds_00000.tar": "train", "ds_00001.tar": "test"}))
    assert path.read_bytes() == b"tar_file,split\nds_00000.tar,train\nds_00001.tar,test\n"
    assert read_splits(path) == {"ds_00000.tar": "train", "ds_00001.tar": "test"}
    with path.open(newline="") as file:
        assert [set(row) for row in csv.DictReader(file)] == [{"tar_file", "split"}] * 2


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", 1),
        ("file,split\n", 1),
        ("tar_file,split,n\n", 1),
        ("tar_file,split\nds_00000.tar,validation\n", 2),
        ("tar_file,split\n../ds_00000.tar,train\n", 2),
        ("tar_file,split\nds_00000.tar\n", 2),
        ("tar_file,split\nds_00000.tar,train\nds_00000.tar,val\n", 3),
    ],
)
def test_splits_that_cannot_be_trusted_are_refused(tmp_path: Path, text: str, line: int) -> None:
    path = tmp_path / "splits.csv"
    path.write_text(text)
    with pytest.raises(DamagedFileError, match=rf"splits\.csv: line {line}: "):
        read_splits(path)


def test_sizes_come_back(tmp_path: Path) -> None:
    path = tmp_path / "sizes.json"
    path.write_bytes(sizes_json({"ds_00000.tar": 10_000, "ds_00001.tar": 3}))
    assert read_sizes(path) == {"ds_00000.tar": 10_000, "ds_00001.tar": 3}


@pytest.mark.parametrize("text", ["", "[]", '{"../x.tar": 1}', '{"ds_00000.tar": "1"}', '{"ds_00000.tar": -1}'])
def test_sizes_that_cannot_be_trusted_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "sizes.json"
    path.write_text(text)
    with pytest.raises(DamagedFileError, match=r"sizes\.json"):
        read_sizes(path)
