"""`splits.csv` and `sizes.json`: which split a tar belongs to, and how many samples it holds.

    tar_file,split
    ds_00000.tar,train
    ds_00001.tar,val

    {"ds_00000.tar": 10000, "ds_00001.tar": 497}

`sizes.json` is what OpenCLIP's and LAION's loaders ask for.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path

from preprocess.errors import DamagedFileError
from preprocess.formats.shards import SHARD_NAME
from preprocess.samples import SPLITS, Split

SPLITS_FILE = "splits.csv"
SIZES_FILE = "sizes.json"
_COLUMNS = ["tar_file", "split"]
_REMEDY = "Pack the dataset again."


def splits_csv(splits: Mapping[str, Split]) -> bytes:
    """The bytes of `splits.csv`, from tar name to split, in the order given."""
    return "".join(f"{file},{split}\n" for file, split in ((_COLUMNS[0], _COLUMNS[1]), *splits.items())).encode()


def read_splits(path: Path) -> dict[str, Split]:
    """Reads `splits.csv`: from tar name to split, in the order of the file.

    The names are safe to join to a folder: nothing but `ds_<digits>.tar` is accepted.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: Another header, name or split; or a tar that is named twice.
    """
    rows = list(csv.reader(io.StringIO(path.read_text("utf-8"))))
    if not rows or rows[0] != _COLUMNS:
        raise DamagedFileError(path, "line 1", f"should be {','.join(_COLUMNS)!r}, is {rows[:1]!r}", _REMEDY)
    by_name = {split: split for split in SPLITS}
    splits: dict[str, Split] = {}
    for number, row in enumerate(rows[1:], 2):
        if len(row) != 2 or not SHARD_NAME.fullmatch(row[0]) or row[1] not in by_name:
            raise DamagedFileError(path, f"line {number}", f"should be 'ds_00000.tar,train', is {row!r}", _REMEDY)
        if row[0] in splits:
            raise DamagedFileError(path, f"line {number}", f"{row[0]} is named twice", _REMEDY)
        splits[row[0]] = by_name[row[1]]
    return splits


def sizes_json(sizes: Mapping[str, int]) -> bytes:
    """The bytes of `sizes.json`, from tar name to number of samples, in the order given."""
    return (json.dumps(dict(sizes), indent=1) + "\n").encode()


def read_sizes(path: Path) -> dict[str, int]:
    """Reads `sizes.json`: from tar name to number of samples.

    Raises:
        FileNotFoundError: There is no such file.
        DamagedFileError: Not an object of tar names and counts.
    """
    try:
        sizes = json.loads(path.read_bytes())
    except ValueError as error:
        raise DamagedFileError(path, "", f"not JSON ({error})", _REMEDY) from None
    if not isinstance(sizes, dict) or not all(
        SHARD_NAME.fullmatch(file) and type(count) is int and count >= 0 for file, count in sizes.items()
    ):
        raise DamagedFileError(path, "", 'should be {"ds_00000.tar": <number of samples>, …}', _REMEDY)
    return sizes
