"""Appending: a further generation of a packed dataset, with what is new or has changed.

    base        ds_00000.tar train  ds_00001.tar test         stays as it is, byte for byte
    generation  ds_00002.tar train  ds_00003.tar test         new samples, and samples that changed

`preprocess.pipeline.base` finds out what there is, `preprocess.formats.generations` describes the result.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from preprocess.errors import UserError
from preprocess.formats.generations import with_generation
from preprocess.formats.manifest import Manifest, Order
from preprocess.formats.shards import digits
from preprocess.pipeline.base import ANEW, Base, sample_key
from preprocess.pipeline.pack_plan import Jobs, PackItems, plan_jobs, row_name
from preprocess.samples import JSON


@dataclass(frozen=True, slots=True)
class Appended:
    """What an append did.

    Attributes:
        generation: Number of the last generation; the same as before if there was nothing to add.
        new: Rows of samples, or captions, that the dataset did not have.
        changed: Rows that take the place of others.
        kept: Samples that keep their rows although they are not in the raw data any more, or could not be read again.
    """

    generation: int
    new: int
    changed: int
    kept: int

    def __str__(self) -> str:
        added = f"rows added: {self.new + self.changed:,} ({self.new:,} new, {self.changed:,} changed)"
        text = f"generation {self.generation}: {added}" if self.new or self.changed else "nothing to append"
        return f"{text}; samples without readable raw data, whose rows stay: {self.kept:,}" if self.kept else text


def plan_generation(base: Base, items: PackItems, order: Order) -> Jobs:
    """The shards of what is new or has changed, numbered on from those of the base.

    Args:
        base: What there is.
        items: What would be packed today.
        order: As that of the base.

    Raises:
        UserError: The names of the tars would become longer, and their order another one.
    """
    wanted = (name not in base.rows or name in base.changed for name in items.row_of)
    before = base.reports
    jobs = plan_jobs(
        items,
        rows=np.fromiter(wanted, np.bool_, len(items)),
        first_shard=len(before),
        first_id=sum(report.samples for report in before),
        **order,
    )
    if digits(len(before)) != digits(len(before) + len(jobs)):
        raise UserError(f"{len(before) + len(jobs):,} tars need longer names than {before[-1].file}", ANEW)
    return jobs


def replacements(base: Base, jobs: Jobs) -> dict[str, str]:
    """Ids of the rows of the base that the jobs replace, in the order of the tars, and the ids of the new ones.

    A row of a caption that its sample does not have any more is replaced by the row of the first caption.
    """
    new = dict(jobs.ids())
    by_name = {name: new[name] for name in base.changed}
    for name in base.rows:
        if ":" in name and name not in base.changed and (first := row_name(sample_key(name), 0)) in base.changed:
            by_name[name] = new[first]  # the captions of a sample change together, so this one is gone
    return {old: by_name[name] for name, old in base.rows.items() if name in by_name}


def add_generation(manifest: Manifest, base: Base, jobs: Jobs, versions: JSON, items: PackItems) -> Appended:
    """Adds to the manifest what was appended, and what `manifest.build` does not know of the base.

    Args:
        manifest: As it is without generations; is changed.
        base: What there was.
        jobs: What was added.
        versions: Of the libraries today.
        items: What there is today.
    """
    if jobs:
        shards = [report.file for report in base.reports]
        other = versions if versions != base.manifest["versions"] else {}
        added = [tar.file for tar in jobs.tars]
        manifest["generations"] = with_generation(base.manifest, shards, added, replacements(base, jobs), other)
    elif "generations" in base.manifest:
        manifest["generations"] = base.manifest["generations"]
    if "filtered_from" in base.manifest:
        manifest["filtered_from"] = base.manifest["filtered_from"]
    return Appended(
        generation=len(manifest.get("generations", [None])),
        new=jobs.rows() - len(base.changed),
        changed=len(base.changed),
        kept=len(base.keys - {sample_key(name) for name in items.row_of}),
    )
