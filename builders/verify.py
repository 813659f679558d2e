"""Proves that a folder of shards is what it says it is, or says what is wrong, where, and how to mend it.

    python -m builders verify data/CLIP-Shapes
    96 samples, 1,152 frames in 3 tars: all is well.

Each tar is read once, in a process of its own; then the tables and the card are compared with what was found.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from builders.card_check import check_card
from builders.findings import Finding, Findings
from builders.folder_check import (
    REJECTS_FILE,
    check_ids,
    check_manifest,
    check_names,
    check_rejects,
    check_sizes,
    check_splits,
)
from builders.preview_check import check_preview
from builders.sample_check import Expected, peek
from builders.shard_check import ShardScan, scan_shard
from preprocess.console import progress
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.shards import PER_SHARD, SHARD_NAME
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE, read_sizes, read_splits
from preprocess.samples import ShardReport, Split

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Verification:
    """What was read, and what is wrong with it.

    Attributes:
        findings: In the order of files; empty when all is well.
        tars, samples, frames, bytes: What the tars hold.
    """

    findings: tuple[Finding, ...]
    tars: int
    samples: int
    frames: int
    bytes: int


def verify(folder: Path, *, workers: int = 1) -> Verification:
    """Checks everything about a dataset's folder.

    Args:
        folder: What would be pushed.
        workers: Processes that read tars.

    Raises:
        UserError: There is no such folder.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder", "Give the folder of a packed dataset, e.g. data/CLIP-Shapes.")
    found = list(check_names(folder))
    paths = sorted(path for path in folder.iterdir() if SHARD_NAME.fullmatch(path.name) and path.is_file())
    splits = _read(read_splits, folder / SPLITS_FILE, "splits_csv", found)
    sizes = _read(read_sizes, folder / SIZES_FILE, "sizes_json", found)
    manifest = _read(manifests.read, folder / MANIFEST_FILE, "manifest_invalid", found)
    expected = _expected(paths, manifest, found)
    if expected is None:
        return Verification(tuple(sorted(found)), len(paths), 0, 0, sum(path.stat().st_size for path in paths))
    scans = scan_shards(paths, expected, workers)
    for scan in scans:
        found += scan.findings
    found += check_ids(scans)
    if splits is not None:
        per_shard = PER_SHARD if manifest is None else manifest["order"]["per_shard"]
        found += check_splits(scans, splits, per_shard)
    if sizes is not None:
        found += check_sizes(scans, sizes)
    if manifest is not None:
        found += check_manifest(scans, splits, manifest)
        found += check_rejects(folder / REJECTS_FILE, manifest, frozenset(key for scan in scans for key in scan.keys))
    if splits is not None:
        preview, wrong = check_preview(folder, _numbers(scans, splits))
        found += wrong
        found += check_card(folder, list(_reports(scans, splits)), expected.dim, expected.dtype, preview)
    return Verification(
        findings=tuple(sorted(set(found))),
        tars=len(scans),
        samples=sum(scan.samples for scan in scans),
        frames=sum(scan.frames for scan in scans),
        bytes=sum(scan.bytes for scan in scans),
    )


def scan_shards(paths: Sequence[Path], expected: Expected, workers: int) -> list[ShardScan]:
    """Reads all tars, several at once; in the order of the paths."""
    with progress(sum(path.stat().st_size for path in paths), "B", "verify") as bar:
        bar.unit_scale = True
        if workers <= 1 or len(paths) <= 1:
            scans = []
            for path in paths:
                scans.append(scan_shard(path, expected))
                bar.update(scans[-1].bytes)
            return scans
        # Spawned, not forked: pyarrow and tqdm have threads.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(paths)), mp_context=context) as pool:
            jobs = [pool.submit(scan_shard, path, expected) for path in paths]
            for job in as_completed(jobs):
                bar.update(job.result().bytes)
            return [job.result() for job in jobs]


def _read(read: Callable[[Path], T], path: Path, code: str, found: list[Finding]) -> T | None:
    """A table, or None and a finding where it cannot be read."""
    try:
        return read(path)
    except FileNotFoundError:
        problem = "is not there"
    except UserError as error:
        problem = error.cause.removeprefix(f"{path}: ").removeprefix(f"{path} ")
    except ValueError as error:
        problem = f"cannot be read ({error})"
    found.append(Finding(path.name, code, problem))
    return None


def _expected(paths: Sequence[Path], manifest: Manifest | None, found: list[Finding]) -> Expected | None:
    """What all samples should have in common: what the manifest says, else what the first sample has."""
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
    expected = Expected(
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
    # Where the two differ, one finding tells it; the tars are then compared among themselves.
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
