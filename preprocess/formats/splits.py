"""`splits.csv` and `sizes.json`: which split a tar belongs to, and how many samples it holds.

    tar_file,split
    ds_00000.tar,train
    ds_00001.tar,val

    {"ds_00000.tar": 10000, "ds_00001.tar": 497}

`sizes.json` is read by OpenCLIP's and LAION's loaders.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from preprocess.errors import DamagedFileError
from preprocess.formats.shards import SHARD_NAME
from preprocess.samples import SPLITS, Split
from preprocess.validation import Count, Must, own_file, parse_json, read_regular, shown

SPLITS_FILE = "splits.csv"
SIZES_FILE = "sizes.json"
_COLUMNS = ["tar_file", "split"]
_REMEDY = "Pack the dataset again."

TarName = Annotated[str, Must(SHARD_NAME.fullmatch, "ds_<digits>.tar")]
Sizes = dict[TarName, Count]


def splits_csv(splits: Mapping[str, Split]) -> bytes:
    """The bytes of `splits.csv`, from tar name to split, in the order given."""
    return "".join(f"{file},{split}\n" for file, split in ((_COLUMNS[0], _COLUMNS[1]), *splits.items())).encode()


def read_splits(path: Path) -> dict[str, Split]:
    """Reads `splits.csv`: from tar name to split, in the order of the file.

    The names are safe to join to a folder: nothing but `ds_<digits>.tar` is accepted.

    Raises:
        FileNotFoundError: The file does not exist.
        DamagedFileError: The file is not CSV in UTF-8, or has another header, name or split, or a tar twice.
    """
    data = read_regular(path, _REMEDY)
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8"))))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DamagedFileError(path, "", f"not a CSV file in UTF-8 ({error})", _REMEDY) from None
    if not rows or rows[0] != _COLUMNS:
        header = shown(",".join(rows[0])) if rows else "empty"
        raise DamagedFileError(path, "line 1", f"should be {','.join(_COLUMNS)!r}, is {header}", _REMEDY)
    by_name = {split: split for split in SPLITS}
    splits: dict[str, Split] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2 or not SHARD_NAME.fullmatch(row[0]) or row[1] not in by_name:
            raise DamagedFileError(
                path, f"line {number}", f"should be 'ds_00000.tar,train', is {shown(','.join(row))}", _REMEDY
            )
        if row[0] in splits:
            raise DamagedFileError(path, f"line {number}", f"{row[0]} is listed twice", _REMEDY)
        splits[row[0]] = by_name[row[1]]
    return splits


def sizes_json(sizes: Mapping[str, int]) -> bytes:
    """The bytes of `sizes.json`, from tar name to number of samples, in the order given."""
    return (json.dumps(dict(sizes), indent=1) + "\n").encode()


def read_sizes(path: Path) -> dict[str, int]:
    """Reads `sizes.json`: from tar name to number of samples.

    Raises:
        FileNotFoundError: The file does not exist.
        DamagedFileError: The file is not an object of tar names and counts.
    """
    data = read_regular(path, _REMEDY)
    try:
        sizes = parse_json(data)
    except ValueError as error:
        raise DamagedFileError(path, "", f"not JSON ({error})", _REMEDY) from None
    return own_file(sizes, Sizes, path, _REMEDY)
