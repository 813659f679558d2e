"""Which triples go into which shard, and a digest of everything that a shard is made from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from preprocess.formats import members
from preprocess.formats.manifest import FORMAT_VERSION
from preprocess.formats.processed import Processed, TriplePlace
from preprocess.formats.shards import Shard, plan_shards
from preprocess.samples import SPLITS, CaptionMode, Sample, Split, canonical_json


class Item(NamedTuple):
    """One triple of a shard: the sample, the index of its caption (None: by the caption mode), the processed triple."""

    sample: Sample
    caption: int | None
    place: TriplePlace


@dataclass(frozen=True, slots=True)
class PackSettings:
    """Settings that all shards of one run share; sent to the worker processes."""

    processed: Processed
    states: Path
    out: Path
    caption_mode: CaptionMode
    meta_keys: tuple[str, ...]
    dim: int
    dtype: str


class Job(NamedTuple):
    """One shard to write: its items, and the digest of everything it is made from."""

    shard: Shard
    items: tuple[Item, ...]
    digest: str

    @property
    def key(self) -> str:
        """The name of the tar."""
        return self.shard.file

    @property
    def split(self) -> Split:
        """The split that it holds."""
        return self.shard.split


def plan_items(samples: Sequence[Sample], settings: PackSettings) -> dict[str, Item]:
    """What is to be packed, by the name of the row: one per sample, or one per caption.

    Raises:
        DamagedFileError: A triple has lost its `.npy`.
    """
    by_split: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for sample in samples:
        by_split[sample.split].append(sample.key)
    places = {split: settings.processed.places(split, keys) for split, keys in by_split.items() if keys}
    return {
        row_name(sample.key, caption): Item(sample, caption, places[sample.split][sample.key])
        for sample in samples
        for caption in (range(len(sample.captions)) if settings.caption_mode == "each" else (None,))
    }


def plan_jobs(
    items: Mapping[str, Item],
    settings: PackSettings,
    *,
    per_shard: int,
    seed: int,
    shuffle: bool,
    first_shard: int = 0,
    first_id: int = 0,
) -> list[Job]:
    """Plans the shards of items, as `plan_shards`, and takes the digest of what goes into each."""
    names: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for name, item in items.items():
        names[item.sample.split].append(name)
    shards = plan_shards(
        names, per_shard=per_shard, seed=seed, shuffle=shuffle, first_shard=first_shard, first_id=first_id
    )
    jobs = []
    for shard in shards:
        chosen = tuple(items[name] for name in shard.names)
        jobs.append(Job(shard, chosen, rows_digest(settings, shard.split, shard.ids, chosen)))
    return jobs


def row_name(key: str, caption: int | None) -> str:
    """The name of a row: the key of the sample, and the caption where each has a row. A key has no `:`."""
    return key if caption is None else f"{key}:{caption:05d}"


def rows_digest(settings: PackSettings, split: Split, ids: Sequence[str], items: Sequence[Item | None]) -> str:
    """A digest of everything that the rows of one tar are made from; None for a row that is of no concern."""
    shared: list[object] = [FORMAT_VERSION, settings.caption_mode, settings.meta_keys, settings.dim, settings.dtype]
    shared += [split, members.extensions()]
    digest = hashlib.sha256(canonical_json(shared).encode())
    for id_, item in zip(ids, items, strict=True):
        row = [id_] if item is None else [id_, item.caption, item.sample.to_json(), *item.place.stamp]
        digest.update(canonical_json(row).encode())
    return digest.hexdigest()
