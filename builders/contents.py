"""Which files a packed dataset consists of. Verify reports everything else, and push sends nothing else.

    README.md  splits.csv  sizes.json  manifest.json  rejects.jsonl  LICENSE  .gitattributes
    ds_00000.tar …  preview/train_00000.tar …  assets/map.png …

Only regular files count: a symbolic link could point to any file of the machine, and uploading follows links.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from preprocess.formats.layout import REJECTS_FILE
from preprocess.formats.manifest import MANIFEST_FILE
from preprocess.formats.preview import PREVIEW_FOLDER, is_preview_tar
from preprocess.formats.shards import SHARD_NAME
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE
from preprocess.storage import files_below, is_remote

README_FILE = "README.md"
ASSETS_FOLDER = "assets"
FIGURES = ("frames.png", "classes.png", "captions.png", "map.png", "strip.png")
"""Names of the figures below `assets/`; a card shows those that its data suffice for."""

_FILES = frozenset(
    {README_FILE, SPLITS_FILE, SIZES_FILE, MANIFEST_FILE, REJECTS_FILE, ".gitattributes", "LICENSE", "LICENSE.md"}
)
_FOLDERS = (ASSETS_FOLDER, PREVIEW_FOLDER)
_HUB_CACHE = ".cache"  # left by `hf download --local-dir`; never uploaded

Kind = Literal["file", "unknown", "link", "special"]


class Entry(NamedTuple):
    """One entry of a dataset's folder.

    Attributes:
        path: Below the folder, POSIX; a folder that does not belong there ends with `/` and is not descended into.
        kind: `file` for a regular file of the dataset, `link` for a symbolic link, `special` for a FIFO, socket or
            device, or a folder with the name of a file; `unknown` for a name that is not one of the dataset's.
    """

    path: str
    kind: Kind


def entries(folder: Path, *, cached: bool = False) -> Iterator[Entry]:
    """Everything in the folder, sorted by name; links are not followed.

    Args:
        folder: The dataset's.
        cached: The folder is a snapshot in the Hub's cache, whose entries are links to blobs beside it.
    """
    if is_remote(folder):
        yield from _remote_entries(files_below(folder))
        return
    for entry in sorted(os.scandir(folder), key=lambda e: e.name):
        if entry.is_symlink() and not cached:
            yield Entry(entry.name, "link")
        elif not entry.is_dir():
            yield Entry(entry.name, _kind(entry, known=is_root_file(entry.name)))
        elif entry.name in _FOLDERS:
            for inner in sorted(os.scandir(entry.path), key=lambda e: e.name):
                known = _belongs(entry.name, inner.name)
                link = inner.is_symlink() and not cached
                yield Entry(f"{entry.name}/{inner.name}", "link" if link else _kind(inner, known))
        elif entry.name != _HUB_CACHE:
            yield Entry(f"{entry.name}/", "special" if is_root_file(entry.name) else "unknown")


def _remote_entries(paths: Sequence[str]) -> Iterator[Entry]:
    """As `entries`, from the paths of all objects below a folder, which are files and nothing else."""
    seen: set[str] = set()
    for path in paths:
        top, slash, name = path.partition("/")
        if not slash:
            yield Entry(path, "file" if is_root_file(path) else "unknown")
        elif top in _FOLDERS:
            yield Entry(path, "file" if _belongs(top, name) else "unknown")
        elif top not in seen:
            seen.add(top)
            yield Entry(f"{top}/", "unknown")


def _belongs(folder: str, name: str) -> bool:
    return name in FIGURES if folder == ASSETS_FOLDER else is_preview_tar(name)


def is_root_file(name: str) -> bool:
    """Whether a file of this name belongs at the root of a dataset."""
    return name in _FILES or bool(SHARD_NAME.fullmatch(name))


def _kind(entry: os.DirEntry[str], known: bool) -> Kind:
    if not known:
        return "unknown"
    return "file" if entry.is_file() else "special"
