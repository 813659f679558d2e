"""Checks that a folder of shards is complete and consistent; reports each problem with its place and remedy.

    python -m builders verify data/CLIP-Shapes            or s3://bucket/data/CLIP-Shapes
    96 samples, 387 frames in 3 tars: OK

Each tar is read once, one a task, and from an object store as a temporary copy; then the tables and the card are
compared with what was found.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from builders.card_check import check_card
from builders.features import embedding_features
from builders.findings import Finding, Findings
from builders.folder_check import (
    check_manifest,
    check_names,
    check_rejects,
    check_sizes,
    check_splits,
)
from builders.generation_check import by_generation, check_generations, check_ids
from builders.json_types import MetaTypes, merge_meta
from builders.preview_check import check_preview
from builders.sample_check import SampleSchema, peek
from builders.shard_check import ShardScan, scan_shard
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import REJECTS_FILE
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.shards import PER_SHARD, SHARD_NAME
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE, read_sizes, read_splits
from preprocess.runtime.options import ONE_WORKER, RunOptions
from preprocess.runtime.tars import TarItem, of_each_tar
from preprocess.samples import ShardReport, Split
from preprocess.storage import fingerprints, reaching

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verification:
    """What was read, and the problems found.

    Attributes:
        findings: In the order of files; empty if there is no problem.
        tars, samples, frames, bytes: What the tars hold.
    """

    findings: tuple[Finding, ...]
    tars: int
    samples: int
    frames: int
    bytes: int


def verify(folder: Path, *, run: RunOptions = ONE_WORKER, cached: bool = False) -> Verification:
    """Checks everything in a dataset's folder.

    Args:
        folder: What would be pushed.
        run: Where tars are read: worker processes (one local one is this process), or the actors of a cluster.
        cached: The folder is a snapshot in the Hub's cache, whose entries are links.

    Raises:
        UserError: There is no such folder.
    """
    with reaching(folder):
        is_folder = folder.is_dir()
    if not is_folder:
        raise UserError(f"{folder} is not a folder", "Give the folder of a packed dataset, e.g. data/CLIP-Shapes.")
    found = list(check_names(folder, cached=cached))
    stamps = fingerprints(folder)
    paths = [folder / name for name in sorted(stamps) if SHARD_NAME.fullmatch(name)]
    size = sum(stamps[path.name][0] for path in paths)
    splits = _read(read_splits, folder / SPLITS_FILE, "splits_csv", found)
    sizes = _read(read_sizes, folder / SIZES_FILE, "sizes_json", found)
    manifest = _read(manifests.read, folder / MANIFEST_FILE, "manifest_invalid", found)
    expected = _expected(paths, manifest, found)
    if expected is None:
        return Verification(tuple(sorted(found)), len(paths), 0, 0, size)
    scans = scan_shards(paths, expected, run)
    for scan in scans:
        found += scan.findings
    found += check_ids(scans, manifest)
    if splits is not None:
        per_shard = PER_SHARD if manifest is None else manifest["order"]["per_shard"]
        found += check_splits(by_generation(scans, manifest), splits, per_shard)
    if sizes is not None:
        found += check_sizes(scans, sizes)
    if manifest is not None:
        found += check_manifest(scans, splits, manifest)
        found += check_generations(scans, splits, manifest)
        keys = frozenset(key for scan in scans for key in scan.keys if key is not None)
        found += check_rejects(folder / REJECTS_FILE, manifest, keys)
    if splits is not None:
        preview, wrong = check_preview(folder, _numbers(scans, splits))
        found += wrong
        types: MetaTypes = {}
        for scan in scans:
            merge_meta(types, scan.types)
        features = embedding_features(expected.dim, expected.dtype, types)
        found += check_card(folder, list(_reports(scans, splits)), features, preview)
    return Verification(
        findings=tuple(sorted(set(found))),
        tars=len(scans),
        samples=sum(scan.samples for scan in scans),
        frames=sum(scan.frames for scan in scans),
        bytes=sum(scan.bytes for scan in scans),
    )


def scan_shards(paths: Sequence[Path], expected: SampleSchema, run: RunOptions) -> list[ShardScan]:
    """Reads all tars, several at a time; returns them in the order of the paths.

    Raises:
        UserError: A process died twice on a tar.
    """
    if len(paths) <= 1 and run.executor == "local":
        run = replace(run, workers=1)
    tars = [TarItem(path) for path in paths]
    return of_each_tar(tars, ScanTar(expected), run, "verify", preload=("builders.shard_check",))


@dataclass(frozen=True, slots=True)
class ScanTar:
    """Scans a tar, whatever process that is in."""

    expected: SampleSchema

    def __call__(self, tar: TarItem) -> ShardScan:
        """What is in it; see `scan_shard`."""
        return scan_shard(tar.path, self.expected)


def _read(read: Callable[[Path], T], path: Path, code: str, found: list[Finding]) -> T | None:
    """A table; None and a finding if it cannot be read."""
    try:
        if path.exists() and not path.is_file():  # reading a FIFO would block forever
            raise ValueError("not a regular file")
        return read(path)
    except FileNotFoundError:
        problem = "is missing"
    except UserError as error:
        problem = error.cause.removeprefix(f"{path}: ").removeprefix(f"{path} ")
    except ValueError as error:
        problem = f"cannot be read ({error})"
    found.append(Finding(path.name, code, problem))
    return None


def _expected(paths: Sequence[Path], manifest: Manifest | None, found: list[Finding]) -> SampleSchema | None:
    """What all samples must have in common: as in the manifest, else as in the first sample."""
    seen = None
    for path in paths:
        try:
            seen = peek(path)
            break
        except (DamagedFileError, ValueError):
            continue
    if manifest is None:
        return seen
    encoder = manifest["encoder"]
    expected = SampleSchema(
        int(encoder["dim"]), str(encoder.get("dtype")), tuple(manifest["meta_keys"]), manifest["caption_mode"]
    )
    if seen is None:
        return expected
    told = Findings(MANIFEST_FILE)
    for field, says, is_ in (("dim", expected.dim, seen.dim), ("dtype", expected.dtype, seen.dtype)):
        if says != is_:
            told.add("manifest_encoder", f"encoder.{field} is {says!r}, the tars hold {is_!r}")
    if encoder.get("normalized") is not False:
        told.add("manifest_encoder", f"encoder.normalized is {encoder.get('normalized')!r}, should be false")
    found += told
    # One finding reports the difference; the tars are then compared with each other.
    return replace(expected, dim=seen.dim, dtype=seen.dtype)


def _numbers(scans: Iterable[ShardScan], splits: Mapping[str, Split]) -> dict[Split, NDArray[np.int64]]:
    """The numbers of the ids in the tars of each split."""
    numbers: dict[Split, list[NDArray[np.int64]]] = {}
    for scan in scans:
        if scan.file in splits:
            numbers.setdefault(splits[scan.file], []).append(scan.numbers)
    return {split: np.concatenate(parts) for split, parts in numbers.items()}


def _reports(scans: Iterable[ShardScan], splits: Mapping[str, Split]) -> Iterator[ShardReport]:
    """The tars that splits.csv names, as the card should describe them."""
    for scan in scans:
        if scan.file in splits:
            yield ShardReport(scan.file, splits[scan.file], scan.samples, scan.frames, scan.bytes, scan.sha256)
