"""Generations: what each append added to a dataset, and which rows it replaced.

    "generations": [
     {"number": 1, "shards": ["ds_00000.tar", "ds_00001.tar"], "replaced": {}},
     {"number": 2, "shards": ["ds_00002.tar"], "replaced": {"vid_00017": "vid_00096"}}]

A field of `manifest.json` that a dataset packed at once does not have. Each generation has its own tars, in the order
of train, val, test; ids and tars are numbered on from the generation before it. A row (one sample of a tar) whose
sample changed stays in its tar, which keeps its bytes; `replaced` leads from its id to that of the row that took its
place. So the current rows are all rows but the keys of `replaced`.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import (
    Annotated,
    Any,
    NotRequired,  # pydantic needs this one before Python 3.12
)

from typing_extensions import TypedDict

from preprocess.formats.shards import digits, row_id
from preprocess.formats.splits import TarName
from preprocess.samples import JSON, SPLITS
from preprocess.validation import Count, Must, shown

RowId = Annotated[str, Must(re.compile(r"vid_[0-9]{5,18}").fullmatch, "vid_<digits>")]


class Generation(TypedDict):
    """One generation. `replaced` maps ids of earlier generations to ids of this one.

    `versions` are those of the libraries, where they are not the ones that the manifest names.
    """

    number: Count
    shards: list[TarName]
    replaced: dict[RowId, RowId]
    versions: NotRequired[JSON]


class HasGenerations(TypedDict, total=False):
    """The part of a manifest that this module is about."""

    generations: list[Generation]


def replaced_rows(manifest: HasGenerations) -> dict[str, str]:
    """Id of every row that a later one replaces, and the id of that one.

    Every reader that must see a sample once leaves these rows out.
    """
    return {old: new for generation in manifest.get("generations", ()) for old, new in generation["replaced"].items()}


def with_generation(
    before: HasGenerations, shards: Sequence[str], added: Sequence[str], replaced: Mapping[str, str], versions: JSON
) -> list[Generation]:
    """The generations of a dataset after an append.

    Args:
        before: The manifest before it.
        shards: The tars before it.
        added: The tars that it added.
        replaced: The rows that it replaced: old id to new id.
        versions: Of the libraries, where they differ from the manifest's; else empty.
    """
    first: Generation = {"number": 1, "shards": list(shards), "replaced": {}}
    earlier = before.get("generations", [first])
    latest: Generation = {"number": len(earlier) + 1, "shards": list(added), "replaced": dict(replaced)}
    if versions:
        latest["versions"] = versions
    return [*earlier, latest]


def tars_by_generation(manifest: HasGenerations, shards: Sequence[str]) -> list[list[str]]:
    """The tars of each generation; all of them are one where the manifest lists none.

    Args:
        manifest: Of the dataset.
        shards: Names of all its tars, in order.
    """
    return [generation["shards"] for generation in manifest.get("generations", ())] or [list(shards)]


def wrong_generations(
    generations: Sequence[Generation], shards: Sequence[Mapping[str, Any]], *, one_to_one: bool
) -> Iterator[tuple[str, str]]:
    """Place and problem of everything in `generations` that contradicts the list of shards or itself.

    Args:
        generations: Of the manifest.
        shards: The `shards` of the manifest, of which `file`, `split` and `samples` are read.
        one_to_one: Whether a row replaces one row only: not so with a triple per caption, whose number may change.
    """
    listed = [file for generation in generations for file in generation["shards"]]
    if len(generations) < 2:
        yield "generations", f"should be absent, or have at least two entries, has {len(generations)}"
    elif listed != [shard["file"] for shard in shards]:
        yield "generations", "should name the shards in their order, each once"
    else:
        yield from _wrong_order(generations, shards)
        yield from _wrong_rows(generations, shards, one_to_one)


def _wrong_order(generations: Sequence[Generation], shards: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Wrong numbers, and tars that are not in the order in which one packing writes them."""
    split_of = {shard["file"]: SPLITS.index(shard["split"]) for shard in shards}
    for i, generation in enumerate(generations):
        if generation["number"] != i + 1:
            yield f"generations[{i}].number", f"should be {i + 1}, is {generation['number']}"
        if not generation["shards"]:
            yield f"generations[{i}].shards", "should name at least one tar, is []"
        for one, two in pairwise(generation["shards"]):
            if split_of[one] > split_of[two]:
                problem = f"{two} holds {SPLITS[split_of[two]]}, which comes before {SPLITS[split_of[one]]} of {one}"
                yield f"generations[{i}].shards", problem


def _wrong_rows(
    generations: Sequence[Generation], shards: Sequence[Mapping[str, Any]], one_to_one: bool
) -> Iterator[tuple[str, str]]:
    """Ids in `replaced` that do not lead from a current row of an earlier generation to a row of this one."""
    samples = {shard["file"]: shard["samples"] for shard in shards}
    sizes = [sum(samples[file] for file in generation["shards"]) for generation in generations]
    starts = [0, *accumulate(sizes)]

    def generation_of(id_: str) -> int | None:
        number = int(id_.removeprefix("vid_"))
        found = bisect_right(starts, number) - 1
        return found if found < len(sizes) and id_ == row_id(number, digits(starts[found + 1])) else None

    gone: set[str] = set()
    for i, generation in enumerate(generations):
        for old, new in generation["replaced"].items():
            place, before = f"generations[{i}].replaced", generation_of(old)
            if before is None or before >= i:
                yield place, f"{shown(old)} is not the id of a row of an earlier generation"
            elif generation_of(new) != i:
                yield place, f"{shown(new)} is not the id of a row of generation {i + 1}"
            elif old in gone:
                yield place, f"{shown(old)} was replaced before"
            gone.add(old)
        for new, count in Counter(generation["replaced"].values()).items():
            if one_to_one and count > 1:
                yield f"generations[{i}].replaced", f"{shown(new)} replaces {count} rows, should replace one"
