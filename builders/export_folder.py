"""The folder of an export: it appears whole, with a side file that says what is in it and where it comes from.

    export/source.json    {"format": "parquet", "dataset": "CLIP-MSRVTT", "manifest_sha256": "…", "encoder": {…}, …}

An earlier export is replaced; a folder that holds anything else is left alone.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from preprocess.errors import UserError
from preprocess.formats.layout import write_json
from preprocess.samples import JSON
from preprocess.storage import atomic_folder, is_remote, remove_temporary

SOURCE_FILE = "source.json"
"""What an export is of; a folder without it is not ours to replace."""


@contextmanager
def export_folder(out: Path) -> Iterator[tuple[Path, JSON]]:
    """Yields an empty folder, which becomes `out` when the block ends, and the content of its side file, to be filled.

    Raises:
        UserError: `out` is not on this machine, or holds something that is not an export.
    """
    if is_remote(out):
        raise UserError(f"{out} is not a folder of this machine", "Export to a local folder, then copy it.")
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"{out} exists and is not a folder", "Choose another --out.")
    if out.is_dir() and any(out.iterdir()) and not (out / SOURCE_FILE).is_file():
        raise UserError(f"{out} is not empty, and not an earlier export", "Choose another --out, or empty the folder.")
    remove_temporary(out.parent, out.name)
    source: JSON = {}
    with atomic_folder(out) as folder:
        yield folder, source
        write_json(folder / SOURCE_FILE, source)
        if out.is_dir():
            shutil.rmtree(out)
