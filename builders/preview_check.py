"""Checks the tars of contact sheets in `preview/`: pairs of .jpg and .txt, of samples that are in the shards.

preview/train_00000.tar    vid_00012.jpg  vid_00012.txt  vid_00040.jpg  …
"""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builders.findings import Finding, Findings
from preprocess.errors import DamagedFileError
from preprocess.formats.preview import PREVIEW_FOLDER, preview_tars, report
from preprocess.formats.tar import iter_members
from preprocess.samples import ShardReport, Split

_ID = re.compile(r"vid_([0-9]{5,18})")
_NONE = np.empty(0, np.int64)


def check_preview(
    folder: Path, numbers: Mapping[Split, NDArray[np.int64]]
) -> tuple[list[ShardReport] | None, list[Finding]]:
    """What the tars of the preview hold (None if one cannot be read), and every problem found in them.

    Args:
        folder: The dataset's.
        numbers: Of the ids in the shards, int64 `(samples,)` per split.
    """
    tars = preview_tars(folder)
    reports: list[ShardReport] = []
    told: list[Finding] = []
    for path, split in tars:
        found = Findings(f"{PREVIEW_FOLDER}/{path.name}")
        try:
            _check_sheets(path, numbers.get(split, _NONE), found)
            reports.append(report(path, split))
        except DamagedFileError as error:
            found.add("tar_damaged", error.cause.removeprefix(f"{path}: "))
        told += found
    return reports if len(reports) == len(tars) else None, told


def _check_sheets(path: Path, numbers: NDArray[np.int64], found: Findings) -> None:
    from PIL import Image

    sheets: dict[str, list[str]] = {}
    for name, data, *_ in iter_members(path):
        id_, _, extension = name.partition(".")
        sheets.setdefault(id_, []).append(extension)
        if extension == "jpg":
            try:
                Image.open(io.BytesIO(data), formats=["JPEG"]).load()
            except (
                OSError,
                ValueError,
                SyntaxError,
                Image.DecompressionBombError,
            ) as error:  # as Pillow's readers raise
                found.add("preview_sheet", f"is not a JPEG image: {error}", name)
        elif extension == "txt":
            try:
                str(data, "utf-8")
            except UnicodeDecodeError as error:
                found.add("txt_utf8", f"byte {error.start} is not UTF-8", name)
    for id_, extensions in sheets.items():
        if extensions != ["jpg", "txt"]:
            found.add("preview_sheet", f"should be .jpg and .txt, is {', '.join(extensions)}", id_)
        match = _ID.fullmatch(id_)
        if not match or int(match[1]) not in numbers:
            found.add("preview_sheet", "is not a sample of this split", id_)
