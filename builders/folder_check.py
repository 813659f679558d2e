"""Checks what stands beside and between the tars: names, ids over all tars, splits.csv, sizes.json, manifest, rejects.

The tars are the truth here: every table is compared with what was found in them.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from builders.findings import Finding, Findings
from builders.shard_check import ShardScan
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.preview import PREVIEW_FOLDER
from preprocess.formats.shards import SHARD_NAME
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE
from preprocess.formats.triples import META_KEYS
from preprocess.samples import Reject, Split

README_FILE = "README.md"
REJECTS_FILE = "rejects.jsonl"
_FILES = frozenset(
    {README_FILE, SPLITS_FILE, SIZES_FILE, MANIFEST_FILE, REJECTS_FILE, ".gitattributes", "LICENSE", "LICENSE.md"}
)
_FOLDERS = frozenset({PREVIEW_FOLDER, "assets"})
_HUB_CACHE = ".cache"  # what `hf download --local-dir` leaves, and never uploads


def check_names(folder: Path) -> Iterator[Finding]:
    """What lies in the folder and should not, and tars whose names do not count up from zero."""
    tars = []
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            if entry.name not in _FOLDERS and entry.name != _HUB_CACHE:
                yield Finding(f"{entry.name}/", "stray_file", "no folder of a dataset")
        elif entry.suffix == ".tar":
            tars.append(entry.name)
            if not SHARD_NAME.fullmatch(entry.name):
                yield Finding(entry.name, "shard_name", "is not ds_<at least five digits>.tar")
        elif entry.suffix == ".py":
            yield Finding(entry.name, "root_script", "a Python file at the root")
        elif entry.name not in _FILES:
            yield Finding(entry.name, "stray_file", "no file of a dataset")
    if not tars:
        yield Finding(".", "no_shards", "no tar in the folder")
    shards = [name for name in tars if SHARD_NAME.fullmatch(name)]
    for index, name in enumerate(shards):
        if name != f"ds_{index:0{max(5, len(str(len(shards) - 1)))}d}.tar":
            yield Finding(name, "shard_name", f"is tar number {index} of {len(shards)} by name")
            return


def check_ids(scans: Sequence[ShardScan]) -> Iterator[Finding]:
    """Ids count up from zero over all tars, without gap or repetition, at one width; keys are unique.

    Args:
        scans: In the order of the tars' names.
    """
    widths = sorted(set().union(*(scan.widths for scan in scans)))
    total = sum(scan.samples for scan in scans)
    if len(widths) > 1 or (widths and widths[0] < len(str(total - 1))):
        yield Finding(".", "id_width", f"ids have {' and '.join(map(str, widths))} digits, for {total:,} samples")
    numbers = np.concatenate([scan.numbers for scan in scans]) if scans else np.empty(0, np.int64)
    yield from _check_repeats(scans, numbers)
    first = 0
    for scan in scans:
        found = Findings(scan.file)
        steps = np.diff(scan.numbers, prepend=first - 1)
        for i in np.flatnonzero(steps != 1)[:20]:
            id_, step = f"vid_{scan.numbers[i]:05d}", int(steps[i])
            if step > 1:
                found.add("id_gap", f"{step - 1:,} numbers before it are not there", id_)
            elif step < 0:
                found.add("id_order", f"stands behind vid_{scan.numbers[i] - step:05d}", id_)
        yield from found
        first = int(scan.numbers[-1]) + 1 if scan.samples else first


def _check_repeats(scans: Sequence[ShardScan], numbers: NDArray[np.int64]) -> Iterator[Finding]:
    found = Findings(".")
    values, counts = np.unique(numbers, return_counts=True)
    for number in values[counts > 1]:
        files = [scan.file for scan in scans if number in scan.numbers]
        found.add("id_twice", f"vid_{number:05d} is in {' and '.join(files)}{' twice' * (len(files) == 1)}")
    for key, count in Counter(key for scan in scans for key in scan.keys).items():
        if count > 1:
            found.add("key_twice", f"key {key!r} is there {count} times")
    yield from found


def check_splits(scans: Sequence[ShardScan], splits: Mapping[str, Split], per_shard: int) -> Iterator[Finding]:
    """splits.csv names exactly the tars, in their order; each but the last of a split is full."""
    found = Findings(SPLITS_FILE)
    yield from _same_files(scans, splits, found, "splits_csv")
    if list(splits) != sorted(splits):
        found.add("splits_csv", "the tars are not in the order of their names")
    yield from found
    for split in sorted(set(splits.values())):
        of_split = [scan for scan in scans if splits.get(scan.file) == split]
        for scan in of_split:
            last = scan is of_split[-1]
            if scan.samples > per_shard or not scan.samples or (not last and scan.samples != per_shard):
                most = "at most " * last
                yield Finding(
                    scan.file, "shard_size", f"{scan.samples:,} samples of {split}, should be {most}{per_shard:,}"
                )


def check_sizes(scans: Sequence[ShardScan], sizes: Mapping[str, int]) -> Iterator[Finding]:
    """sizes.json has every tar and its number of samples."""
    found = Findings(SIZES_FILE)
    yield from _same_files(scans, sizes, found, "sizes_json")
    for scan in scans:
        if sizes.get(scan.file, scan.samples) != scan.samples:
            found.add("sizes_json", f"{scan.file} has {scan.samples:,} samples, it says {sizes[scan.file]:,}")
    yield from found


def check_manifest(
    scans: Sequence[ShardScan], splits: Mapping[str, Split] | None, manifest: Manifest
) -> Iterator[Finding]:
    """The manifest says of every tar what is in it, and nothing of this machine."""
    found = Findings(MANIFEST_FILE)
    entries = {entry["file"]: entry for entry in manifest["shards"]}
    yield from _same_files(scans, entries, found, "manifest_shards")
    for scan in scans:
        entry = entries.get(scan.file)
        if entry is None:
            continue
        for field, got in (("samples", scan.samples), ("frames", scan.frames)):
            if entry[field] != got:  # type: ignore[literal-required]
                found.add("manifest_counts", f"{scan.file} has {got:,} {field}, it says {entry[field]:,}")  # type: ignore[literal-required]
        if entry["sha256"] != scan.sha256:
            found.add(
                "manifest_sha256",
                f"{scan.file} is {scan.sha256[:12]}… with {scan.bytes:,} bytes, "
                f"it says {entry['sha256'][:12]}… with {entry['bytes']:,}",
            )
        elif entry["bytes"] != scan.bytes:
            found.add("manifest_counts", f"{scan.file} has {scan.bytes:,} bytes, it says {entry['bytes']:,}")
        if splits is not None and splits.get(scan.file, entry["split"]) != entry["split"]:
            found.add("manifest_shards", f"{scan.file} is {entry['split']}, splits.csv says {splits[scan.file]}")
    if list(entries) != sorted(entries):
        found.add("manifest_shards", "the tars are not in the order of their names")
    if tuple(manifest["meta_keys"])[: len(META_KEYS)] != META_KEYS:
        found.add("json_keys", f"meta_keys begin with {list(manifest['meta_keys'])[: len(META_KEYS)]}")
    found.extend("manifest_private", (f"names the path {path!r}" for path in _host_paths(manifest)))
    yield from found


def _same_files(
    scans: Sequence[ShardScan], named: Mapping[str, object], found: Findings, code: str
) -> Iterator[Finding]:
    """Tars that the table misses, and those it names that are not there."""
    there = {scan.file for scan in scans}
    for file in sorted(there - named.keys()):
        yield Finding(file, "shard_unlisted", f"{found.where} does not name it")
    for file in sorted(named.keys() - there):
        yield Finding(file, "shard_missing", f"{found.where} names it, the folder does not have it")
    if not named and there:
        found.add(code, "names no tar")


def _host_paths(value: object) -> Iterator[str]:
    """Strings that are absolute paths or file URLs, anywhere in a JSON value."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _host_paths(key)
            yield from _host_paths(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _host_paths(inner)
    elif isinstance(value, str) and (
        PurePosixPath(value).is_absolute()
        or (PureWindowsPath(value).is_absolute() and value[1:2] == ":")
        or value.startswith(("file:", "~/"))
    ):
        yield value


def check_rejects(path: Path, manifest: Manifest, keys: frozenset[str]) -> Iterator[Finding]:
    """rejects.jsonl and the manifest name the same numbers, and no reject is in a tar.

    Args:
        path: rejects.jsonl, one `Reject` a line; not there when nothing was rejected.
        manifest: The dataset's.
        keys: Keys of all samples in the tars.
    """
    found = Findings(path.name)
    counts: Counter[tuple[str, str]] = Counter()
    for number, line in enumerate(path.read_bytes().splitlines() if path.is_file() else [], 1):
        try:
            reject = Reject(**json.loads(line))
        except (ValueError, TypeError) as error:
            found.add("rejects", f"line {number} is no reject ({error})")
            continue
        counts[reject.split, reject.reason] += 1
        if reject.key in keys:
            found.add("rejects", f"line {number}: {reject.key!r} is a reject and in a tar")
        found.extend("rejects", (f"line {number}: names the path {path!r}" for path in _paths_in(reject.message)))
    listed: dict[tuple[str, str], int] = {
        (split, reason): count
        for split, of_split in manifest["splits"].items()
        for reason, count in {"missing": of_split["missing"], **of_split["rejected"]}.items()
        if count
    }
    for split, reason in sorted(counts.keys() | listed.keys()):
        got, says = counts[split, reason], listed.get((split, reason), 0)
        if got != says:
            found.add("rejects", f"{got:,} samples of {split} are {reason}, the manifest says {says:,}")
    yield from found


def _paths_in(message: str) -> Iterator[str]:
    """Words of a message that are absolute paths of at least two parts."""
    for word in message.split():
        path = word.strip("'\"()[],:;")
        if len(PurePosixPath(path).parts) > 2 and PurePosixPath(path).is_absolute():
            yield path
