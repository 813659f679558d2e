"""Replaying: an encoder that is added to a dataset with generations gets the ids of the other outputs.

    CLIP-MSRVTT      ds_00000.tar  ds_00001.tar      generation 2: ds_00002.tar, replaces vid_00017 by vid_00096
    SigLIP2-MSRVTT   the same names, ids and generations

The raw file that a replaced row was made from no longer exists. In the new output, such a row has the content of the
row that replaces it; readers leave it out. If the outputs differ in samples or settings, nothing can be replayed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from preprocess.errors import UserError
from preprocess.formats.generations import Generation, replaced_rows, tars_by_generation
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import Manifest, Order
from preprocess.pipeline.base import ANEW, packed_manifest, read_rows
from preprocess.pipeline.pack_plan import Jobs, PackItems, PackSettings, PlannedTar
from preprocess.samples import SPLITS


@dataclass(frozen=True, slots=True)
class Replay:
    """The shards of each generation, and what the manifest is to say of the generations."""

    jobs: Sequence[Jobs]
    generations: list[Generation]


def plan_replay(like: Layout, settings: PackSettings, items: PackItems, order: Order) -> Replay | None:
    """The shards of another output, to be written with the triples of this one.

    Args:
        like: The other output.
        settings: Of this run.
        items: What is to be packed.
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
    tars = _tars(like, manifest, settings, items)
    if tars is None:
        return None
    by_generation = tars_by_generation(manifest, [])
    generations: list[Generation] = [
        {"number": one["number"], "shards": one["shards"], "replaced": one["replaced"]}
        for one in manifest["generations"]
    ]
    return Replay([Jobs(items, [tars[file] for file in files]) for files in by_generation], generations)


def _tars(like: Layout, manifest: Manifest, settings: PackSettings, items: PackItems) -> dict[str, PlannedTar] | None:
    """The shards by name; None if a row has no item in its split, or an item has no current row."""
    replaced = replaced_rows(manifest)
    tars: dict[str, PlannedTar] = {}
    current: set[str] = set()
    row_of, in_split = items.row_of, {split: frozenset(items.of_split(split).tolist()) for split in SPLITS}
    for shard in manifest["shards"]:
        tar = like.dataset / shard["file"]
        if not tar.is_file():
            raise UserError(
                f"{tar} is missing, so its ids cannot be used for {settings.out}",
                f"Restore or download the tars of {like.hub_name}. {ANEW}",
            )
        rows = list(read_rows(tar))
        found = [row_of[name] for _, name in rows if name in row_of]
        if len(found) < len(rows) or not in_split[shard["split"]].issuperset(found):
            return None
        current.update(name for id_, name in rows if id_ not in replaced)
        ids = [id_ for id_, _ in rows]
        tars[shard["file"]] = PlannedTar(shard["file"], shard["split"], ids, np.array(found, np.int64))
    return tars if current == row_of.keys() else None
