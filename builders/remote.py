"""The tars of one split, on this machine: of a folder, of the Hub, or of any other address.

An appended dataset also has rows that later ones replace; which ones is in its manifest.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from builders.card_yaml import HUB_SPLITS
from builders.hub import local_folder
from preprocess.addresses import public_address
from preprocess.console import progress
from preprocess.errors import UnknownNameError, UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.manifest import MANIFEST_FILE, read_appended
from preprocess.formats.splits import SPLITS_FILE, read_splits
from preprocess.samples import SPLITS, Split, canonical_json
from preprocess.storage import Stamp, atomic_file, fingerprint, location, reaching

DEFAULT_CACHE = Path("~/.cache/video-embedding-datasets")
_CHUNK = 8 << 20


def local_tars(source: str | Path, split: str, cache_dir: str | Path | None = None) -> list[Path]:
    """The tars of a split, in order; those at an address are copied here first, each once.

    Args:
        source: Folder, `hf://datasets/<org>/<name>[@<revision>]`, or another address that fsspec opens.
        split: `train`, `val` or `validation`, or `test`.
        cache_dir: Where copies are kept; those of `hf://` are in the Hub's own cache.

    Raises:
        UserError: There is no such split, or nothing at the address.
    """
    ours: dict[str, Split] = {**{s: s for s in SPLITS}, **{theirs: s for s, theirs in HUB_SPLITS.items()}}
    if split not in ours:
        raise UnknownNameError("split", split, ours)
    address = str(source)
    if address.startswith("hf://"):
        folder = local_folder(address, only=[SPLITS_FILE, MANIFEST_FILE])
        tars = _of_split(folder, ours[split])
        return [local_folder(address, only=[SPLITS_FILE, *tars]) / tar for tar in tars]
    if "://" in address:
        cache = _cache(address, cache_dir)
        _copy(address, [SPLITS_FILE], cache)
        tars = _of_split(cache, ours[split])
        _copy(address, tars, cache)
        return [cache / tar for tar in tars]
    folder = Path(address)
    if (folder / SPLITS_FILE).is_file():
        return [folder / tar for tar in _of_split(folder, ours[split])]
    paths = sorted(folder.glob("*.tar")) if split == "train" else []  # older datasets: one split
    if not paths:
        raise UserError(f"{folder} has neither {SPLITS_FILE} nor a tar", "Give the folder of a packed dataset.")
    return paths


def replaced_ids(source: str | Path, cache_dir: str | Path | None = None) -> frozenset[str]:
    """Ids of the rows that later ones replace, for readers that give each sample once; arguments as `local_tars`.

    Raises:
        UserError: The manifest of an appended dataset is damaged, or is not that of the tars.
    """
    address = str(source)
    if address.startswith("hf://"):
        folder = local_folder(address, only=[SPLITS_FILE, MANIFEST_FILE])
    elif "://" in address:
        folder = _cache(address, cache_dir)
        if not (folder / MANIFEST_FILE).is_file():
            with reaching(location(address)):
                there = (location(address) / MANIFEST_FILE).is_file()
            _copy(address, [MANIFEST_FILE] * there, folder)
    else:
        folder = Path(address)
    if not (folder / MANIFEST_FILE).is_file():  # older datasets
        return frozenset()
    manifest = read_appended(folder / MANIFEST_FILE)
    if manifest is None:
        return frozenset()
    replaced = frozenset(replaced_rows(manifest))
    if replaced and read_splits(folder / SPLITS_FILE).keys() != {shard["file"] for shard in manifest["shards"]}:
        cause = f"{folder}: {SPLITS_FILE} and {MANIFEST_FILE} do not list the same tars"
        raise UserError(cause, "Copy or download the dataset again; delete an older copy of it first.")
    return replaced


def _cache(address: str, cache_dir: str | Path | None) -> Path:
    """Where copies of files below an address are kept: those of a dataset that is packed again, in another folder."""
    folder = location(address)
    with reaching(folder):
        stamps = [_stamp(folder / name) for name in (SPLITS_FILE, MANIFEST_FILE)]
    digest = hashlib.sha256(canonical_json([address, stamps]).encode()).hexdigest()
    return Path(cache_dir or DEFAULT_CACHE).expanduser() / digest[:16]


def _stamp(file: Path) -> Stamp | None:
    try:
        return fingerprint(file)
    except FileNotFoundError:
        return None


def _of_split(folder: Path, split: Split) -> list[str]:
    splits = read_splits(folder / SPLITS_FILE)  # names are safe: ds_<digits>.tar
    tars = [tar for tar, of_tar in splits.items() if of_tar == split]
    if not tars:
        raise UnknownNameError("split", split, sorted(set(splits.values())))
    return tars


def _copy(address: str, files: Iterable[str], folder: Path) -> None:
    """Copies files from below an address, each by rename when it is whole; those that are here are left alone."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [file for file in files if not (folder / file).is_file()]
    with progress(len(missing), "file", "copy") as bar:
        for file in missing:
            with atomic_file(folder / file) as here:
                here.writelines(_chunks(location(address) / file))
            bar.update()


def _chunks(file: Path) -> Iterator[bytes]:
    """The content of a remote file.

    Raises:
        UserError: It does not exist, or the store cannot be reached.
    """
    with reaching(file):
        try:
            with file.open("rb") as there:
                while chunk := there.read(_CHUNK):
                    yield chunk
        except FileNotFoundError:
            cause = f"{public_address(str(file))} does not exist"
            raise UserError(cause, "Give the address of a packed dataset's folder.") from None
