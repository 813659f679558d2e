"""The command line: `python -m preprocess …`. Parses, calls, prints; nothing else happens here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preprocess import console, options
from preprocess.exports.commands import app as exports
from preprocess.formats.layout import Layout
from preprocess.long_video.commands import app as long_video

if TYPE_CHECKING:
    from preprocess.pipeline.encode import RunOptions
    from preprocess.pipeline.index import Source
    from preprocess.pipeline.settings import Encoding
    from preprocess.recipes import Recipe

app = console.new_app(
    "Raw videos and images to CLIP embeddings in WebDataset shards.\n\n"
    "The usual way is `make build DATASET=…`, which runs samples, encode and shards, writes the card and verifies. "
    "Every command can be run again: what is done is not done twice."
)


@app.command("list")
def list_datasets() -> None:
    """List the datasets that can be built."""
    from preprocess.recipes import load, names

    rows = [(name, load(name).SPEC) for name in names()]
    print(console.table([(name, spec.hub_name, spec.license, spec.homepage) for name, spec in rows]))


@app.command()
def samples(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
    overwrite: options.Overwrite = False,
) -> None:
    """List the samples in samples.jsonl, without decoding."""
    from preprocess.pipeline.index import index_samples, only_run, settle_source

    recipe, layout = options.open_dataset(dataset, out, name)
    shares = options.parse_shares(split)
    source = settle_source(recipe, layout, raw, shares, seed, split_protocol, afresh=overwrite)
    with only_run(layout, afresh=overwrite):
        found = index_samples(recipe, source, layout)
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
    model: Annotated[
        str | None,
        typer.Option(
            help="Hub id or folder of a CLIP model, or tiny-clip. [default: the dataset's]", show_default=False
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the model on the Hub.", show_default=False)] = None,
    fps: options.Fps = None,
    sampling: options.FrameSampling = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 (exact), bf16 or fp16.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="float16 or float32 on disk. [default: float16]", show_default=False)
    ] = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames a forward pass. [default: 32, GPU 256]", show_default=False)
    ] = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    max_reject_rate: options.MaxRejectRate = 0.05,
    overwrite: options.Overwrite = False,
) -> None:
    """Decode and encode every sample: .npy (frames x dim), .txt, .json.

    Options left out continue with what the output was made with.
    """
    from preprocess.pipeline.encode import RunOptions
    from preprocess.pipeline.index import settle_source
    from preprocess.pipeline.settings import EncodeOptions, settle_encoding

    recipe, layout = options.open_dataset(dataset, out, name)
    shares = options.parse_shares(split)
    source = settle_source(recipe, layout, raw, shares, seed, split_protocol, afresh=overwrite)
    wanted = EncodeOptions(model, revision, options.parse_sampling(fps, sampling), precision, dtype)
    encoding = settle_encoding(recipe.SPEC, layout, wanted, afresh=overwrite)
    run = RunOptions(device, workers, batch_size, time_limit, options.gigabytes(max_memory))
    _encode(recipe, source, layout, encoding, run, max_reject_rate, afresh=overwrite)


@app.command()
def retry(
    dataset: options.Dataset,
    out: options.Out = Path("data"),
    name: options.Name = None,
    device: options.Device = "auto",
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    max_reject_rate: options.MaxRejectRate = 0.05,
) -> None:
    """Try the rejected samples again, all else as it was."""
    from preprocess.pipeline.encode import RunOptions
    from preprocess.pipeline.index import settle_source
    from preprocess.pipeline.settings import EncodeOptions, settle_encoding

    recipe, layout = options.open_dataset(dataset, out, name)
    source = settle_source(recipe, layout, None)
    encoding = settle_encoding(recipe.SPEC, layout, EncodeOptions())
    run = RunOptions(device, workers, None, time_limit, options.gigabytes(max_memory), retry=True)
    _encode(recipe, source, layout, encoding, run, max_reject_rate)


@app.command()
def shards(
    dataset: options.Dataset,
    out: options.Out = Path("data"),
    name: options.Name = None,
    caption_mode: Annotated[
        str | None, typer.Option(help="first, concat, join or each. [default: the dataset's]", show_default=False)
    ] = None,
    per_shard: Annotated[int, typer.Option(min=1, help="Triples in one tar.")] = 10_000,
    shuffle: Annotated[bool, typer.Option(help="Mix the samples of a split, so that classes are mixed.")] = True,
    shuffle_seed: Annotated[int, typer.Option(help="Seed of that order.")] = 42,
    workers: options.Workers = None,
) -> None:
    """Pack the triples into tars, with splits.csv and manifest.json."""
    from preprocess.pipeline.index import only_run
    from preprocess.pipeline.machine import usable_cores
    from preprocess.pipeline.pack import pack_dataset

    recipe, layout = options.open_dataset(dataset, out, name)
    with only_run(layout):
        packed = pack_dataset(
            layout,
            recipe.SPEC,
            caption_mode=caption_mode,
            per_shard=per_shard,
            seed=shuffle_seed,
            shuffle=shuffle,
            workers=workers or usable_cores(),
        )
    count = sum(split["samples"] for split in packed.manifest["splits"].values())
    tars = packed.written + packed.kept
    print(f"{count:,} samples in {tars:,} shards in {layout.dataset} ({packed.written:,} new)")


@app.command()
def recheck(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Samples to encode.")] = 100,
    seed: Annotated[int, typer.Option(help="Another one chooses other samples.")] = 0,
    model: Annotated[
        str | None, typer.Option(help="Where the model is. [default: as in the build]", show_default=False)
    ] = None,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
) -> None:
    """Encode some packed samples again and compare; exit code 1 when any differs."""
    from preprocess.formats.manifest import MANIFEST_FILE, read
    from preprocess.pipeline.index import read_source, settle_source
    from preprocess.pipeline.recheck import RunOptions
    from preprocess.pipeline.recheck import recheck as compare

    recipe, layout = options.open_dataset(dataset, out, name)
    manifest = read(layout.dataset / MANIFEST_FILE)
    source = settle_source(recipe, layout, raw, moved=True)
    run = RunOptions(n, seed, model, workers, time_limit, options.gigabytes(max_memory))
    compared, differences = compare(manifest, read_source(recipe, source), str(source.folder), layout, run)
    for difference in differences:
        print(difference)
    print(f"{compared:,} samples encoded again, {len(differences):,} differ")
    if differences:
        raise typer.Exit(1)


@app.command()
def where(dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None) -> None:
    """Print the folder of the built dataset, for scripts."""
    print(options.open_dataset(dataset, out, name)[1].dataset)


@app.command()
def report(dataset: options.Dataset, out: options.Out = Path("data"), name: options.Name = None) -> None:
    """Print what a build made, and the Python that loads it."""
    from preprocess.pipeline.report import build_table

    print(build_table(options.open_dataset(dataset, out, name)[1]))


@app.command()
def new(
    dataset: Annotated[str, typer.Argument(help="Name of the new dataset, such as ucf101.", show_default=False)],
) -> None:
    """Start a dataset: a recipe, prose for its card, a fixture."""
    from preprocess.recipes._scaffold import scaffold

    root = Path(__file__).resolve().parent.parent
    for path in scaffold(dataset, root):
        print(f"wrote {path.relative_to(root)}")
    print(f"Edit the recipe, then: make test ARGS='-k {dataset}' and make build DATASET={dataset} RAW=…")


def _encode(
    recipe: Recipe,
    source: Source,
    layout: Layout,
    encoding: Encoding,
    run: RunOptions,
    max_reject_rate: float,
    afresh: bool = False,
) -> None:
    from preprocess.pipeline.encode import encode_dataset
    from preprocess.pipeline.index import index_samples, only_run

    with only_run(layout, afresh):
        found = index_samples(recipe, source, layout)
        done = encode_dataset(found, str(source.folder), layout, encoding, run, recipe.SPEC.caption_mode)
    print(
        f"{done.written:,} triples written, {done.kept:,} kept, {sum(done.rejects.values()):,} rejected, "
        f"{done.frames:,} frames in {done.seconds:.1f} s"
    )
    options.check_reject_rate(done.rejects, len(found), max_reject_rate, layout.rejects)


def _in_turn(*steps: Callable[..., None]) -> Callable[..., None]:
    """One command that runs several, taking the options of all."""
    signatures = [inspect.signature(step, eval_str=True) for step in steps]
    parameters = {p.name: p for signature in signatures for p in signature.parameters.values()}

    def run(**values: object) -> None:
        for step, signature in zip(steps, signatures, strict=True):
            step(**{name: values[name] for name in signature.parameters})

    run.__signature__ = inspect.Signature(list(parameters.values()))  # type: ignore[attr-defined]
    run.__annotations__ = {name: p.annotation for name, p in parameters.items()}
    return run


app.command("build", help="Raw data to shards: encode, then shards.")(_in_turn(encode, shards))
app.add_typer(exports)
app.add_typer(long_video, name="long-video")

if __name__ == "__main__":
    console.run(app, "python -m preprocess")
