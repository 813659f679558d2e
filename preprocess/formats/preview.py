"""The `preview` config: small tars of contact sheets, which the Hub's viewer shows; written beside the shards.

    preview/train_00000.tar    vid_00012.jpg, vid_00012.txt, vid_00040.jpg, vid_00040.txt, …

A sheet has the id and the text of its sample in the shards.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from preprocess.formats.tar import end_of_archive, iter_members, member
from preprocess.samples import SPLITS, ShardReport, Split
from preprocess.storage import file_names, is_remote, make_folder, remove, remove_temporary, write_if_changed

PREVIEW_FOLDER = "preview"
SHEETS_PER_TAR = 100
_NAME = re.compile(r"(train|val|test)_[0-9]{5}\.tar")


class Sheet(NamedTuple):
    """One contact sheet to be: the id of its sample in the shards, the picture as a file, the text."""

    id: str
    jpg: Path
    txt: bytes


def is_preview_tar(name: str) -> bool:
    """Whether a file of this name below `preview/` is one of the preview's tars."""
    return bool(_NAME.fullmatch(name))


def preview_tars(folder: Path) -> list[tuple[Path, Split]]:
    """The tars of the preview below a dataset's folder, split by split, in order; none where there is no preview."""
    below = folder / PREVIEW_FOLDER
    names = file_names(below)
    return [
        (below / name, split)
        for split in SPLITS
        for name in names
        if (match := _NAME.fullmatch(name)) and match[1] == split
    ]


def read_preview(folder: Path) -> list[ShardReport]:
    """What the preview of a dataset holds, tar by tar; `file` is below the dataset's folder, a sheet is one frame.

    Raises:
        DamagedFileError: A tar cannot be read.
    """
    return [report(path, split) for path, split in preview_tars(folder)]


def report(path: Path, split: Split) -> ShardReport:
    """What one tar of the preview holds, as in `read_preview`."""
    samples = len({part.name.partition(".")[0] for part in iter_members(path)})
    data = path.read_bytes()
    file = f"{PREVIEW_FOLDER}/{path.name}"
    return ShardReport(file, split, samples, samples, len(data), hashlib.sha256(data).hexdigest())


def write_preview(folder: Path, sheets: Mapping[Split, Sequence[Sheet]]) -> list[ShardReport]:
    """Writes the tars of the preview, those that change, and removes those that are no longer part of it.

    Args:
        folder: The dataset's.
        sheets: Per split, in the order in which they are to be shown.
    """
    below = folder / PREVIEW_FOLDER
    make_folder(below)
    remove_temporary(below)
    planned = dict(_tars(sheets))
    for path, _ in preview_tars(folder):
        if path.name not in planned:
            remove(path)
    for name, group in planned.items():
        body = b"".join(_members(group))
        write_if_changed(below / name, body + end_of_archive(len(body)))
    return read_preview(folder)


def remove_preview(folder: Path) -> None:
    """Removes the preview of shards that are about to change: its ids and texts would be those of other samples."""
    for path, _ in preview_tars(folder):
        remove(path)
    if not is_remote(folder):
        with contextlib.suppress(OSError):  # not there, or something else is in it
            (folder / PREVIEW_FOLDER).rmdir()


def _tars(sheets: Mapping[Split, Sequence[Sheet]]) -> Iterator[tuple[str, tuple[Sheet, ...]]]:
    for split in SPLITS:
        for index, first in enumerate(range(0, len(sheets.get(split, ())), SHEETS_PER_TAR)):
            yield f"{split}_{index:05d}.tar", tuple(sheets[split][first : first + SHEETS_PER_TAR])


def _members(sheets: Iterable[Sheet]) -> Iterator[bytes]:
    for sheet in sheets:
        yield member(f"{sheet.id}.jpg", sheet.jpg.read_bytes())
        yield member(f"{sheet.id}.txt", sheet.txt)
