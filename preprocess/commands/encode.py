"""`encode`: makes the triples of a dataset, of all its samples or of a slice of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preprocess import console, options
from preprocess.formats.layout import Layout, read_json, write_json

if TYPE_CHECKING:
    from preprocess.formats.slices import Slice
    from preprocess.pipeline.outputs import SourceOptions
    from preprocess.pipeline.settings import EncodeOptions
    from preprocess.recipes import Recipe
    from preprocess.runtime.options import RunOptions
    from preprocess.samples import JSON

ENCODE = "encode"
"""The part of `options.json` that holds what this command was given."""


def encode(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
    url_col: options.UrlColumn = None,
    id_col: options.IdColumn = None,
    caption_col: options.CaptionColumn = None,
    label_col: options.LabelColumn = None,
    split_col: options.SplitColumn = None,
    start_col: options.StartColumn = None,
    end_col: options.EndColumn = None,
    config: options.Config = None,
    model: options.Model = None,
    revision: Annotated[
        str | None,
        typer.Option(
            help="Revision of the model on the Hub. That of a raw dataset stands in --raw: org/name@revision.",
            show_default=False,
        ),
    ] = None,
    fps: options.Fps = None,
    sampling: options.FrameSampling = None,
    precision: Annotated[
        str, typer.Option(help="auto, fp32 (exact), bf16, fp16, or int8 (CLIP with --engine openvino).")
    ] = "auto",
    engine: Annotated[
        str | None,
        typer.Option(
            help="torch, or openvino on a CPU (install requirements-openvino.txt). [default: torch]", show_default=False
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float16 or float32 on disk. [default: float16]", show_default=False)
    ] = None,
    clip_stride: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=options.MAX_COUNT,
            help="Sampled frames between the starts of two clips, for encoders of clips. [default: a clip's length]",
            show_default=False,
        ),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    batch_size: options.BatchSize = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    gpus_per_actor: options.GpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
    max_reject_rate: options.MaxRejectRate = None,
    processed: options.ProcessedAs = None,
    check_urls: options.CheckUrls = True,
    part: options.SlicePart = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Decode and encode every sample: .npy (frames x dim), .txt, .json.

    Options left out continue with what the output was made with. Samples whose raw files were replaced since (another
    size or modification time; for URLs another ETag) are encoded again.
    """
    from preprocess.pipeline.outputs import SourceOptions
    from preprocess.pipeline.settings import EncodeOptions
    from preprocess.recipes import load

    run = options.run_options(
        workers,
        time_limit,
        max_memory,
        executor,
        device=device,
        batch_size=batch_size,
        cpus_per_actor=cpus_per_actor,
        gpus_per_actor=gpus_per_actor,
        memory_per_actor=memory_per_actor,
    )
    recipe = load(dataset)
    of_all = options.check_slice(part, recipe, processed)
    if of_all and model is None:
        model = recipe.SPEC.encoder  # which outputs exist is not the same for each of the slices that run at once
    recipe, models = options.open_outputs(dataset, out, name, model)
    columns = options.named_columns(
        url=url_col, id=id_col, caption=caption_col, label=label_col, split=split_col, start=start_col, end=end_col
    )
    of_samples = SourceOptions(raw, options.parse_shares(split), seed, split_protocol, columns, config)
    frames = options.parse_sampling(fps, sampling)
    of_vectors = EncodeOptions(None, revision, frames, precision, dtype, clip_stride, engine)
    noted: JSON = {
        "workers": workers,
        "time_limit": time_limit,
        "max_memory": max_memory,
        "executor": executor,
        "cpus_per_actor": cpus_per_actor,
        "gpus_per_actor": gpus_per_actor,
        "memory_per_actor": memory_per_actor,
        "device": device,
        "batch_size": batch_size,
        "max_reject_rate": max_reject_rate,
        "check_urls": check_urls,
    }
    run_encode(
        recipe,
        models,
        of_samples,
        of_vectors,
        run,
        max_reject_rate,
        "parts" if of_all else processed,
        check_urls=check_urls,
        overwrite=overwrite,
        noted=noted,
        part=of_all,
    )


def run_encode(
    recipe: Recipe,
    models: Sequence[tuple[Layout, str | None]],
    of_samples: SourceOptions,
    of_vectors: EncodeOptions,
    run: RunOptions,
    max_reject_rate: float | None,
    processed: str | None = None,
    *,
    check_urls: bool = True,
    overwrite: bool = False,
    noted: JSON | None = None,
    part: Slice | None = None,
) -> None:
    """Encodes the outputs of a dataset and prints what became of them; of a `part`, only the samples of that slice."""
    from preprocess.pipeline.encode import encode_datasets
    from preprocess.pipeline.index import list_source, write_samples
    from preprocess.pipeline.outputs import differing_samples, only_runs, resolve_outputs, resolve_sources
    from preprocess.pipeline.preload import start_imports
    from preprocess.pipeline.slices import begin_slice, finish_slice, refuse_whole

    models = [(layout.of_slice(part), model) for layout, model in models]
    layouts = [layout for layout, _ in models]
    if part is None and not overwrite:
        join(layouts)
    for layout in layouts if part else ():
        refuse_whole(layout)
    with console.waiting("reading the settings and the model's files"):
        source = resolve_sources(recipe, layouts, of_samples, overwrite=overwrite)
        start_imports(str(source.folder), models, recipe.SPEC.encoder, run, of_vectors.engine, overwrite=overwrite)
        outputs = resolve_outputs(recipe, models, of_vectors, source.raw, overwrite=overwrite)
    with only_runs(layouts, overwrite):
        with console.waiting("listing the samples"):
            found, rejected = list_source(recipe, source)
        if part:
            for output in outputs:
                begin_slice(output.layout, source, found, rejected, output.encoding.record, overwrite=overwrite)
            found, rejected = part.of(found), part.of(rejected)
        for layout in layouts:
            write_samples(found, source, layout, rejected)
            if noted is not None:
                write_json(layout.options, {**read_json(layout.options), ENCODE: noted})
        mode = recipe.SPEC.caption_mode
        reports = encode_datasets(found, str(source.folder), outputs, run, mode, processed, check_urls=check_urls)
        for layout in layouts if part else ():
            finish_slice(layout, found)
    for layout, done in zip(layouts, reports, strict=True):
        if done.changed:
            print(f"{layout}: encoded again, as the raw files changed: {done.changed:,}")
        print(
            f"{layout}: {done.written:,} triples written, {done.kept:,} kept, "
            f"{sum(done.rejects.values()):,} rejected, {done.frames:,} rows in {done.seconds:.1f} s"
        )
    for layout in layouts if part is None else ():
        for other, count in differing_samples(layout, recipe.SPEC.name):
            print(
                f"note: {count:,} samples are only in one of {layout.hub_name} and {other.hub_name}: their ids differ"
            )
    for layout, done in zip(layouts, reports, strict=True):
        options.check_reject_rate(done.rejects, len(found), max_reject_rate, layout.rejects)


def join(layouts: Iterable[Layout]) -> None:
    """Joins the slices of outputs that were encoded in slices, and says so."""
    from preprocess.pipeline.slices import join_slices

    for layout in layouts:
        if count := join_slices(layout):
            print(f"{layout.hub_name}: {count:,} slices joined")
