"""Everything that a card is rendered from, read from the files of one dataset.

    data/CLIP-MSRVTT/         manifest.json, splits.csv, ds_*.tar, rejects.jsonl   the dataset, and what was left out
    data/work/CLIP-MSRVTT/    evaluation.json                                      quality of the embeddings
    dataset_cards/msrvtt.md   prose                                                written by hand

Counts come from the shards alone; a manifest that disagrees is an error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dataset_cards.prose import Prose, read_prose
from dataset_cards.statistics import Row, Statistics, collect
from preprocess.errors import UserError
from preprocess.formats.layout import Layout, json_bytes, read_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.preview import read_preview
from preprocess.formats.splits import SPLITS_FILE, read_splits
from preprocess.formats.tar import TarTriple, iter_triples
from preprocess.formats.triples import npy_array, parse_json
from preprocess.samples import JSON, SPLITS, DatasetSpec, Reject, ShardReport, Split, is_url
from preprocess.storage import location, mapped, read_if_there, total_size, write_if_changed
from preprocess.validation import own_line

RAW_SIZE = "raw_size.json"
REJECTS = "rejects.jsonl"

REPACK = "Run the build again: it repacks what is incomplete."


@dataclass(frozen=True, slots=True)
class CardInputs:
    """The content of a dataset's files.

    Attributes:
        repository: `org/hub_name`, or empty if no organization was given.
        manifest: Content of manifest.json.
        sha256: Checksum of all shards; see `dataset_sha256`.
        instance: The first row of the first shard.
        rejects: The lines of `rejects.jsonl`; empty if there is no such file.
        evaluation: `evaluation.json` if it was computed from these shards, else None.
        raw_bytes: Size of the source files; None if unknown.
        preview: The tars of contact sheets; empty if there are none.
    """

    spec: DatasetSpec
    layout: Layout
    repository: str
    manifest: Manifest
    shards: tuple[ShardReport, ...]
    sha256: str
    statistics: Statistics
    instance: Row
    rejects: tuple[Reject, ...]
    prose: Prose
    evaluation: JSON | None
    raw_bytes: int | None
    preview: tuple[ShardReport, ...]


def read_card_inputs(
    spec: DatasetSpec, layout: Layout, org: str | None = None, prose: Prose | None = None
) -> CardInputs:
    """Reads manifest, shards, rejects, prose and evaluation.

    Raises:
        UserError: A file is missing or damaged, or the shards do not match the manifest.
    """
    manifest = read_manifest(layout.dataset / MANIFEST_FILE)
    shards = read_shards(layout.dataset, manifest)
    statistics = collect((shard.split, rows(layout.dataset / shard.file)) for shard in shards)
    check_counts(layout.dataset, manifest, statistics)
    evaluation = read_json(layout.work / "evaluation.json")
    sha256 = dataset_sha256(shards)
    return CardInputs(
        spec=spec,
        layout=layout,
        repository=f"{org}/{layout.hub_name}" if org else "",
        manifest=manifest,
        shards=shards,
        sha256=sha256,
        statistics=statistics,
        instance=next(rows(layout.dataset / shards[0].file)),
        rejects=tuple(read_rejects(layout.dataset / REJECTS)),
        prose=read_prose(spec.name) if prose is None else prose,
        evaluation=evaluation if evaluation.get("dataset_sha256") == sha256 else None,
        # What was appended to may have samples whose raw files are gone.
        raw_bytes=None if "generations" in manifest else raw_bytes(layout),
        preview=tuple(read_preview(layout.dataset)),
    )


def rows(shard: Path, without: Collection[str] = ()) -> Iterator[Row]:
    """The samples of one tar: id, vectors `(T, D)`, text, metadata; but those whose ids are in `without`."""
    return (_row(triple, shard) for triple in iter_triples(mapped(shard), name=shard) if triple.id not in without)


def _row(triple: TarTriple, shard: Path) -> Row:
    where = f"{shard}: {triple.id}"
    vectors = npy_array(triple.npy, f"{where}.npy")
    return triple.id, vectors, bytes(triple.txt).decode(), parse_json(triple.json, f"{where}.json")


def spread_rows(
    folder: Path, shards: Sequence[ShardReport], n: int, without: Collection[str] = ()
) -> Iterator[tuple[Split, Row]]:
    """About `n` rows with their splits, evenly spaced over all shards in order; the others are not parsed.

    Args:
        folder: The dataset's.
        shards: Its tars.
        n: How many rows.
        without: Ids of rows to leave out.
    """
    step = max(1, -(-(sum(s.samples for s in shards) - len(without)) // n))
    place = 0
    for shard in shards:
        for triple in iter_triples(mapped(folder / shard.file), name=folder / shard.file):
            if triple.id in without:
                continue
            if place % step == 0:
                yield shard.split, _row(triple, folder / shard.file)
            place += 1


def read_shards(folder: Path, manifest: Manifest) -> tuple[ShardReport, ...]:
    """The shards listed in `splits.csv`, after checking that their bytes match the manifest.

    Raises:
        UserError: The two lists differ, a shard is missing, or its bytes differ from what was packed.
    """
    shards = tuple(ShardReport(**row) for row in manifest["shards"])
    if not shards:
        raise UserError(f"{folder} has no shards", "Build it from raw data in which at least one video can be read.")
    try:
        listed = read_splits(folder / SPLITS_FILE)
        differing = [s.file for s in shards if file_sha256(folder / s.file) != s.sha256]
    except FileNotFoundError as error:
        raise UserError(f"{error.filename} is missing", REPACK) from None
    if listed != {s.file: s.split for s in shards}:
        raise UserError(f"{folder}: {SPLITS_FILE} and {MANIFEST_FILE} do not list the same tars", REPACK)
    if differing:
        raise UserError(f"{folder / differing[0]} does not match {MANIFEST_FILE} (SHA-256)", REPACK)
    return shards


def check_counts(folder: Path, manifest: Manifest, statistics: Statistics) -> None:
    """Raises UserError if the counts of the manifest differ from those of the shards."""
    for split, stated in manifest["splits"].items():
        mine = statistics.splits.get(split)
        counted = (mine.samples, mine.frames) if mine else (0, 0)
        if counted != (stated["samples"], stated["frames"]):
            raise UserError(
                f"{folder / MANIFEST_FILE} states {stated['samples']:,} samples with {stated['frames']:,} frames in "
                f"{split}, but the tars hold {counted[0]:,} with {counted[1]:,}",
                REPACK,
            )


def dataset_sha256(shards: Iterable[ShardReport]) -> str:
    """One checksum for all shards: what `sha256sum ds_*.tar | sha256sum` prints in the dataset's folder."""
    listing = "".join(f"{s.sha256}  {s.file}\n" for s in sorted(shards, key=lambda s: s.file))
    return hashlib.sha256(listing.encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(mapped(path)).hexdigest()


def read_rejects(path: Path) -> Iterator[Reject]:
    """The lines of `rejects.jsonl`, sorted by split and key; none if there is no file."""
    lines = enumerate((read_if_there(path) or b"").splitlines(), 1)
    found = [own_line(line, Reject, path, number, "Pack the dataset again.") for number, line in lines]
    yield from sorted(found, key=lambda r: (SPLITS.index(r.split), r.key))


def raw_bytes(layout: Layout) -> int | None:
    """Bytes of the source files of all samples in the shards; None if one of them is a URL or no longer exists.

    Stored in the work folder, so that the card does not change when the raw files are deleted.
    """
    note = layout.work / RAW_SIZE
    noted = read_json(note)
    samples, source = read_if_there(layout.samples), read_json(layout.source)
    if samples is None or not source:
        return None
    lost = {reject.key for reject in read_rejects(layout.dataset / REJECTS)}
    # Bytes: a caption may hold U+2028, which ends a line for str.splitlines.
    lines = [json.loads(line) for line in samples.splitlines()]
    media: list[str] = sorted({line["media"] for line in lines if line["key"] not in lost})
    digest = hashlib.sha256("\n".join(media).encode()).hexdigest()
    if noted.get("media_sha256") == digest:
        return int(noted["bytes"])
    if any(map(is_url, media)):
        return None
    raw = location(source["raw"])
    size = total_size(raw if raw.is_dir() else raw.parent, media)
    if size is None:
        return None
    write_if_changed(note, json_bytes({"files": len(media), "bytes": size, "media_sha256": digest}))
    return size
