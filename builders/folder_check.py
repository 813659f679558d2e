"""Checks everything but the content of single tars: names, splits.csv, sizes.json, manifest, rejects.

The tars are the reference: every table is compared with what was found in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from builders.contents import entries
from builders.findings import Finding, Findings
from builders.shard_check import ShardScan
from preprocess.errors import DamagedFileError
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.shards import SHARD_NAME
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE
from preprocess.formats.triples import META_KEYS
from preprocess.samples import Reject, Split
from preprocess.validation import own_line, read_regular


def check_names(folder: Path, *, cached: bool = False) -> Iterator[Finding]:
    """Entries of the folder that do not belong to a dataset, and tars whose names do not count up from zero.

    Args:
        folder: The dataset's.
        cached: As in `contents.entries`.
    """
    tars = []
    for path, kind in entries(folder, cached=cached):
        root = "/" not in path
        if root and path.endswith(".tar"):
            tars.append(path)
        if kind == "link":
            yield Finding(path, "symlink", "is a symbolic link")
        elif kind == "special":
            yield Finding(path, "stray_file", "is not a regular file")
        elif kind == "unknown" and root and path.endswith(".tar"):
            yield Finding(path, "shard_name", "is not ds_<at least five digits>.tar")
        elif kind == "unknown" and root and path.endswith(".py"):
            yield Finding(path, "root_script", "a Python file at the root")
        elif kind == "unknown":
            yield Finding(path, "stray_file", f"is not a {'folder' if path.endswith('/') else 'file'} of a dataset")
    if not tars:
        yield Finding(".", "no_shards", "no tar in the folder")
    shards = [name for name in tars if SHARD_NAME.fullmatch(name)]
    for index, name in enumerate(shards):
        if name != f"ds_{index:0{max(5, len(str(len(shards) - 1)))}d}.tar":
            yield Finding(name, "shard_name", f"is tar number {index} of {len(shards)} by name")
            return


def check_splits(
    generations: Sequence[Sequence[ShardScan]], splits: Mapping[str, Split], per_shard: int
) -> Iterator[Finding]:
    """splits.csv lists exactly the tars, in their order; all tars of a split except the last are full.

    Args:
        generations: The tars; each generation has a last tar of its own.
        splits: Of splits.csv.
        per_shard: Samples in a full tar.
    """
    found = Findings(SPLITS_FILE)
    yield from _same_files([scan for scans in generations for scan in scans], splits, found, "splits_csv")
    if list(splits) != sorted(splits):
        found.add("splits_csv", "the tars are not in the order of their names")
    yield from found
    for scans in generations:
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
    """The manifest describes every tar correctly, and contains no path of this machine."""
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
    """rejects.jsonl and the manifest have the same counts, and no reject is in a tar.

    Args:
        path: rejects.jsonl, one `Reject` per line; it does not exist if nothing was rejected.
        manifest: The dataset's.
        keys: Keys of all samples in the tars.
    """
    found = Findings(path.name)
    counts: Counter[tuple[str, str]] = Counter()
    try:
        lines = read_regular(path, "").splitlines()
    except FileNotFoundError:
        lines = []
    except DamagedFileError as error:
        yield Finding(path.name, "rejects", error.cause.removeprefix(f"{path}: "))
        return
    for number, line in enumerate(lines, 1):
        try:
            reject = own_line(line, Reject, path, number, "")
        except DamagedFileError as error:
            found.add("rejects", error.cause.removeprefix(f"{path}: "))
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
