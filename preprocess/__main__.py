"""The command line: `python -m preprocess …`. Parses, calls, prints; nothing else happens here."""

from __future__ import annotations

if __name__ == "__main__":
    from preprocess import interrupts

    interrupts.end_at_once()  # until `run` takes over

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from preprocess import console, options
from preprocess.download.commands import app as download
from preprocess.errors import UserError
from preprocess.exports.commands import app as exports
from preprocess.formats.layout import Layout, read_json, write_json
from preprocess.long_video.commands import app as long_video
from preprocess.samples import CaptionMode

if TYPE_CHECKING:
    from preprocess.formats.slices import Slice
    from preprocess.pipeline.outputs import SourceOptions
    from preprocess.pipeline.settings import EncodeOptions
    from preprocess.recipes import Recipe
    from preprocess.runtime.options import RunOptions
    from preprocess.samples import JSON

ENCODE, PACK = "encode", "shards"
"""The parts of `options.json`: what the commands of these names were given."""

app = console.new_app(
    "Raw videos and images to embeddings in WebDataset shards.\n\n"
    "The usual way is `make build DATASET=…`, which runs samples, encode and shards, writes the card and verifies. "
    "Every command can be run again: finished work is not repeated."
)


@app.command("list")
def list_datasets() -> None:
    """List the datasets that can be built."""
    from preprocess.recipes import load, names

    specs = [(name, load(name).SPEC) for name in names()]
    rows = [(name, spec.title, spec.license, spec.homepage) for name, spec in specs]
    rows.append(("long-demo", "long-demo", load("demo").SPEC.license, "(a training set for long-video models)"))
    print(console.table([("dataset", "title", "license", "homepage"), *sorted(rows)]))


@app.command()
def samples(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    model: options.Model = None,
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
    overwrite: options.Overwrite = False,
) -> None:
    """List the samples in samples.jsonl, without decoding."""
    from preprocess.pipeline.index import list_source, write_samples
    from preprocess.pipeline.outputs import SourceOptions, only_runs, resolve_sources

    recipe, models = options.open_outputs(dataset, out, name, model)
    layouts = [layout for layout, _ in models]
    columns = options.named_columns(
        url=url_col, id=id_col, caption=caption_col, label=label_col, split=split_col, start=start_col, end=end_col
    )
    wanted = SourceOptions(raw, options.parse_shares(split), seed, split_protocol, columns, config)
    source = resolve_sources(recipe, layouts, wanted, overwrite=overwrite)
    with only_runs(layouts, overwrite=overwrite):
        found, rejected = list_source(recipe, source)
        for layout in layouts:
            write_samples(found, source, layout, rejected)
            print(f"{len(found):,} samples in {layout.samples}")


@app.command()
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
    precision: Annotated[str, typer.Option(help="auto, fp32 (exact), bf16 or fp16.")] = "auto",
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
    _encode(
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


@app.command()
def retry(
    ctx: typer.Context,
    dataset: options.Dataset,
    out: options.Out = Path("data"),
    name: options.Name = None,
    model: options.Model = None,
    only: Annotated[
        str | None,
        typer.Option(help="Reasons to try again, such as missing,timeout. [default: all]", show_default=False),
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    batch_size: options.BatchSize = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    gpus_per_actor: options.GpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
    max_reject_rate: options.MaxRejectRate = None,
    check_urls: options.CheckUrls = True,
) -> None:
    """Encode the rejected samples again, then pack.

    Options left out are those of the build that is repeated.
    """
    from preprocess.pipeline.outputs import SourceOptions
    from preprocess.pipeline.settings import EncodeOptions

    reasons = options.parse_reasons(only)
    recipe, models = options.open_outputs(dataset, out, name, model)
    _join(layout for layout, _ in models)
    before = read_json(models[0][0].options)
    given = {"workers": workers, "time_limit": time_limit, "max_memory": max_memory, "executor": executor}
    given |= {"cpus_per_actor": cpus_per_actor, "gpus_per_actor": gpus_per_actor, "memory_per_actor": memory_per_actor}
    given |= {"device": device, "batch_size": batch_size, "max_reject_rate": max_reject_rate, "check_urls": check_urls}
    chosen = options.given(ctx, given, before.get(ENCODE, {}))
    rate, check_urls = chosen.pop("max_reject_rate"), chosen.pop("check_urls")
    run = options.run_options(**chosen, retry=reasons)
    _encode(recipe, models, SourceOptions(), EncodeOptions(), run, rate, check_urls=check_urls)
    where_packed = {name: chosen[name] for name in ("workers", "executor", "cpus_per_actor", "memory_per_actor")}
    shards(dataset, out, name, model, **before.get(PACK, {}), **where_packed)


@app.command()
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
    _join(layouts)
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


@app.command()
def unpack(dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None) -> None:
    """Turn the parts of the processed dataset into files: .npy, .txt, .json per sample."""
    from preprocess.formats.processed import KIND_FIELD, Processed
    from preprocess.pipeline.index import only_run

    layout = options.open_dataset(dataset, out, name)[1]
    with only_run(layout):
        count = Processed(layout.processed).unpack()
        if source := read_json(layout.source):
            write_json(layout.source, {**source, KIND_FIELD: "files"})
    print(f"{count:,} triples unpacked in {layout.processed}")


@app.command()
def recheck(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    n: Annotated[int, typer.Option("-n", min=1, max=options.MAX_COUNT, help="Samples to encode.")] = 100,
    seed: Annotated[int, typer.Option(min=0, max=options.MAX_SEED, help="Seed of the choice of samples.")] = 0,
    model: options.Model = None,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
) -> None:
    """Encode some packed samples again and compare; exit code 1 when any differs.

    Samples without a raw file are listed and not compared.
    """
    from preprocess.formats.manifest import MANIFEST_FILE, read
    from preprocess.pipeline.index import read_source, resolve_source
    from preprocess.pipeline.recheck import recheck as compare

    run = options.run_options(
        workers, time_limit, max_memory, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    recipe, layout = options.open_dataset(dataset, out, name, model)
    manifest = read(layout.dataset / MANIFEST_FILE)
    source = resolve_source(recipe, layout, raw, moved=True)
    chosen, findings = compare(
        manifest, read_source(recipe, source), str(source.folder), layout, run, n=n, seed=seed, model=model
    )
    for finding in findings:
        print(finding)
    differ = sum(finding.compared for finding in findings)
    missing = len(findings) - differ
    without = f"; without a raw file: {missing:,}" if missing else ""
    print(f"{chosen - missing:,} samples encoded again, {differ:,} differ{without}")
    if differ:
        raise typer.Exit(1)


@app.command()
def where(
    dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None, model: options.Model = None
) -> None:
    """Print the folder of the built dataset, for scripts; one line per output."""
    for layout, _ in options.open_outputs(dataset, out, name, model)[1]:
        print(layout.dataset)


@app.command()
def report(
    dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None, model: options.Model = None
) -> None:
    """Print what a build made, and the Python that loads it."""
    from preprocess.pipeline.report import build_table

    tables = [build_table(layout) for layout, _ in options.open_outputs(dataset, out, name, model)[1]]
    print("\n\n".join(tables))


@app.command()
def new(
    dataset: Annotated[str, typer.Argument(help="Name of the new dataset, such as ucf101.", show_default=False)],
) -> None:
    """Start a dataset: a recipe, prose for its card, a fixture."""
    from preprocess.scaffold import scaffold

    root = Path(__file__).resolve().parent.parent
    if not (root / "tests" / "recipes").is_dir():
        raise UserError(
            f"{root} is not a checkout of the project, and a new dataset is part of the source",
            "Clone the repository and run the command there.",
        )
    for path in scaffold(dataset, root):
        print(f"wrote {path.relative_to(root)}")
    print(f"Edit the recipe, then: make test ARGS='-k {dataset}' and make build DATASET={dataset} RAW=…")


def _encode(
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
    from preprocess.pipeline.encode import encode_datasets, start_imports
    from preprocess.pipeline.index import list_source, write_samples
    from preprocess.pipeline.outputs import differing_samples, only_runs, resolve_outputs, resolve_sources
    from preprocess.pipeline.slices import begin_slice, finish_slice, refuse_whole

    models = [(layout.of_slice(part), model) for layout, model in models]
    layouts = [layout for layout, _ in models]
    if part is None and not overwrite:
        _join(layouts)
    for layout in layouts if part else ():
        refuse_whole(layout)
    with console.waiting("reading the settings and the model's files"):
        source = resolve_sources(recipe, layouts, of_samples, overwrite=overwrite)
        start_imports(str(source.folder), layouts, run)
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


def _join(layouts: Iterable[Layout]) -> None:
    from preprocess.pipeline.slices import join_slices

    for layout in layouts:
        if count := join_slices(layout):
            print(f"{layout.hub_name}: {count:,} slices joined")


def build(**values: Any) -> None:
    """Encodes, then packs; notes how to pack first, for a `retry` of a build that ends before it packs."""
    packing = {name: values[name] for name in ("caption_mode", "per_shard", "shuffle", "shuffle_seed")}
    packing["append"] = values["append"] or None  # a retry never undoes an append that was made since
    if values["overwrite"] and values["append"] is None:
        values["append"] = False  # what is deleted is not appended to
    try:
        encode(**{name: values[name] for name in inspect.signature(encode).parameters if name in values})
    finally:
        for layout, _ in options.open_outputs(values["dataset"], values["out"], values["name"], values["model"])[1]:
            if layout.options.is_file():
                write_json(layout.options, {**read_json(layout.options), PACK: packing})
    shards(**{name: values[name] for name in inspect.signature(shards).parameters})


def _options_of(*commands: Callable[..., None]) -> inspect.Signature:
    """The signature of a command that takes the options of several, but works on whole outputs."""
    signatures = [inspect.signature(command, eval_str=True) for command in commands]
    parameters = {p.name: p for signature in signatures for p in signature.parameters.values() if p.name != "part"}
    return inspect.Signature(list(parameters.values()))


build.__signature__ = _options_of(encode, shards)  # type: ignore[attr-defined]
build.__annotations__ = {name: p.annotation for name, p in build.__signature__.parameters.items()}  # type: ignore[attr-defined]
app.command("build", help="Raw data to shards: encode, then shards.")(build)
app.add_typer(download)
app.add_typer(exports)
app.add_typer(long_video, name="long-video")

if __name__ == "__main__":
    console.run(app, "python -m preprocess")
