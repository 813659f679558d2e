"""`shards`: packs the triples of a dataset into tars."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated

import typer

from preprocess import options
from preprocess.commands.encode import join
from preprocess.samples import CaptionMode

PACK = "shards"
"""The part of `options.json` that holds how to pack."""


def shards(
    dataset: options.Dataset,
    out: options.Out = Path("data"),
    name: options.Name = None,
    model: options.Model = None,
    caption_mode: Annotated[
        CaptionMode | None,
        typer.Option(help="How several captions become one text. [default: the dataset's]", show_default=False),
    ] = None,
    per_shard: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=options.MAX_COUNT,
            help="Triples in one tar. [default: as before, else 10000]",
            show_default=False,
        ),
    ] = None,
    shuffle: Annotated[
        bool | None,
        typer.Option(
            help="Shuffle the samples of a split, so that classes are mixed. [default: as before, else shuffle]",
            show_default=False,
        ),
    ] = None,
    shuffle_seed: Annotated[
        int | None,
        typer.Option(
            min=0, max=options.MAX_SEED, help="Seed of that order. [default: as before, else 42]", show_default=False
        ),
    ] = None,
    append: Annotated[
        bool | None,
        typer.Option(
            "--append/--no-append",
            help="Keep the tars of an earlier run as they are, and write new and changed samples into further ones; or "
            "pack everything anew. [default: as before, else --no-append]",
            show_default=False,
        ),
    ] = None,
    workers: options.Workers = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
) -> None:
    """Pack the triples into tars, with splits.csv and manifest.json.

    Options left out continue with what this output, or another one of the dataset, was packed with.
    """
    from preprocess.pipeline.base import packed_order
    from preprocess.pipeline.index import only_run
    from preprocess.pipeline.outputs import appended_output, packing_order
    from preprocess.pipeline.pack import pack_dataset

    run = options.run_options(
        workers, math.inf, None, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    recipe, models = options.open_outputs(dataset, out, name, model)
    layouts = [layout for layout, _ in models]
    join(layouts)
    for layout in sorted(layouts, key=lambda one: packed_order(one) is None):  # a new one is packed like the others
        order = packing_order(layout, dataset, per_shard, shuffle_seed, shuffle)
        like = appended_output(layout, dataset)
        with only_run(layout):
            packed = pack_dataset(
                layout,
                recipe.SPEC,
                caption_mode=caption_mode,
                **order,
                append=append,
                like=like,
                run=run,
            )
        count = sum(split["samples"] for split in packed.manifest["splits"].values())
        tars = packed.written + packed.kept
        print(f"{count:,} samples in {tars:,} shards in {layout.dataset} ({packed.written:,} new)")
        if packed.appended is not None:
            print(packed.appended)
        if like is not None and "generations" not in packed.manifest:
            print(f"note: {like.hub_name} was appended to, {layout.hub_name} was packed at once: their ids differ")
