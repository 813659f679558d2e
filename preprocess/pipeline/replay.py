"""Replaying: an encoder that is added to a dataset with generations gets the ids of the other outputs.

    CLIP-MSRVTT      ds_00000.tar  ds_00001.tar      generation 2: ds_00002.tar, replaces vid_00017 by vid_00096
    SigLIP2-MSRVTT   the same names, ids and generations

The raw file that a replaced row was made from no longer exists. In the new output, such a row has the content of the
row that replaces it; readers leave it out. If the outputs differ in samples or settings, nothing can be replayed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from preprocess.errors import UserError
from preprocess.formats.generations import Generation, replaced_rows, tars_by_generation
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import Manifest, Order
from preprocess.formats.shards import Shard
from preprocess.pipeline.base import ANEW, packed_manifest, read_rows
from preprocess.pipeline.pack_plan import Item, Job, PackSettings, rows_digest


@dataclass(frozen=True, slots=True)
class Replay:
    """The shards of each generation, and what the manifest is to say of the generations."""

    jobs: Sequence[Sequence[Job]]
    generations: list[Generation]


def plan_replay(like: Layout, settings: PackSettings, items: Mapping[str, Item], order: Order) -> Replay | None:
    """The shards of another output, to be written with the triples of this one.

    Args:
        like: The other output.
        settings: Of this run.
        items: What is to be packed, by name.
        order: Of this run.

    Returns:
        None if the other output has no generations, another order or caption mode, or other samples.

    Raises:
        UserError: A tar of the other output is missing or damaged.
    """
    manifest = packed_manifest(like)
    if manifest is None or "generations" not in manifest:
        return None
    if (manifest["order"], manifest["caption_mode"]) != (order, settings.caption_mode):
        return None
    jobs = _jobs(like, manifest, settings, items)
    if jobs is None:
        return None
    by_generation = tars_by_generation(manifest, [])
    generations: list[Generation] = [
        {"number": one["number"], "shards": one["shards"], "replaced": one["replaced"]}
        for one in manifest["generations"]
    ]
    return Replay([[jobs[file] for file in files] for files in by_generation], generations)


def _jobs(like: Layout, manifest: Manifest, settings: PackSettings, items: Mapping[str, Item]) -> dict[str, Job] | None:
    """The shards by name; None if a row has no item in its split, or an item has no current row."""
    replaced = replaced_rows(manifest)
    jobs: dict[str, Job] = {}
    current: set[str] = set()
    for shard in manifest["shards"]:
        tar = like.dataset / shard["file"]
        if not tar.is_file():
            raise UserError(
                f"{tar} is missing, so its ids cannot be used for {settings.out}",
                f"Restore or download the tars of {like.hub_name}. {ANEW}",
            )
        rows = list(read_rows(tar))
        chosen = tuple(items[name] for _, name in rows if name in items)
        if len(chosen) < len(rows) or any(item.sample.split != shard["split"] for item in chosen):
            return None
        current.update(name for id_, name in rows if id_ not in replaced)
        ids, names = (tuple(column) for column in zip(*rows, strict=True))
        digest = rows_digest(settings, shard["split"], ids, chosen)
        jobs[shard["file"]] = Job(Shard(shard["file"], shard["split"], ids, names), chosen, digest)
    return jobs if current == items.keys() else None
