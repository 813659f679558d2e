"""Triples as files: per sample `<key>.npy`, `<key>.txt`, `<key>.json`, below a folder per split.

    processed/train/video7010.npy
    processed/train/video7010.txt
    processed/train/video7010.json

Each file appears complete and the `.json` last: a triple exists when its `.json` does. What a power failure may take is
known from the journal of the build (`preprocess.pipeline.journal`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from preprocess.errors import DamagedFileError
from preprocess.formats import members
from preprocess.formats.triples import npy_array, parse_json
from preprocess.samples import Split, Triple
from preprocess.storage import file_names, remove, write_atomic

_DONE = f".{members.MARK}"


def write_triple(folder: Path, split: Split, triple: Triple) -> int:
    """Writes `folder/split/<key>.npy`, `.txt` and, last, `.json`; a local folder of the split must exist.

    Returns:
        Bytes written.
    """
    return write_members(folder, split, triple.key, members.written(triple))


def write_members(folder: Path, split: Split, key: str, contents: Sequence[bytes]) -> int:
    """As `write_triple`, from the bytes of each member in the order of a shard."""
    base = folder / split
    for extension, data in members.in_order_of_writing(contents):
        write_atomic(base / f"{key}.{extension}", data, durable=False)
    return sum(map(len, contents))


def read_triple(folder: Path, split: Split, key: str) -> Triple:
    """Reads what `write_triple` wrote.

    Raises:
        FileNotFoundError: There is no such triple.
        DamagedFileError: A file is not valid.
    """
    npy, txt, json_ = (folder / split / f"{key}.{suffix}" for suffix in ("npy", "txt", "json"))
    meta = parse_json(json_.read_bytes(), json_)
    vectors = npy_array(npy.read_bytes(), npy)
    text = members.read_text(txt.read_bytes(), txt)
    try:
        return Triple(key, vectors, text, meta)
    except ValueError as error:
        raise DamagedFileError(npy, "", str(error), "Delete it and run encode again.") from None


def remove_triple(folder: Path, split: Split, key: str) -> None:
    """Removes a triple that is stale, the `.json` first: from then on it does not exist."""
    for extension in (members.MARK, *(e for e in members.extensions() if e != members.MARK)):
        remove(folder / split / f"{key}.{extension}")


def done_keys(folder: Path, split: Split) -> set[str]:
    """Keys of the triples below `folder/split`: one pass over the names, no file is opened."""
    return keys_among(file_names(folder / split))


def keys_among(names: Iterable[str]) -> set[str]:
    """Keys of the triples that exist, given the names of all files of a split."""
    return {name.removesuffix(_DONE) for name in names if name.endswith(_DONE) and not name.startswith(".")}
