"""The command line: `python -m preprocess …`. Parses, calls, prints; nothing else happens here."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from preprocess import console
from preprocess.errors import UserError
from preprocess.formats.layout import Layout

if TYPE_CHECKING:
    from preprocess.media.sampling import Sampling
    from preprocess.pipeline.encode import EncodeOptions
    from preprocess.pipeline.index import Source
    from preprocess.recipes import Recipe

app = console.new_app(
    "Raw videos and images to CLIP embeddings in WebDataset shards.\n\n"
    "The usual way is `make build DATASET=…`, which runs samples, encode and shards, writes the card and verifies. "
    "Every command can be run again: what is done is not done twice."
)

Dataset = Annotated[str, typer.Argument(help="Name of a dataset; `list` shows them.", show_default=False)]
Raw = Annotated[str | None, typer.Option(help="Raw folder, or the table file for `table`.", show_default=False)]
Out = Annotated[Path, typer.Option(help="Output folder.")]
Name = Annotated[str | None, typer.Option(help="Folder and Hub name instead of the dataset's own.", show_default=False)]
Split = Annotated[
    str | None,
    typer.Option(
        help="Shares of train, val, test where the raw data has no split. [default: 0.8,0.1,0.1]", show_default=False
    ),
]
Seed = Annotated[int | None, typer.Option(help="Seed of that split. [default: 0]", show_default=False)]
Protocol = Annotated[
    str | None, typer.Option(help="Published split to use, where there are several.", show_default=False)
]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes. [default: one a core]", show_default=False)]
Device = Annotated[str, typer.Option(help="auto (every GPU, else the CPU), cpu, cuda, cuda:N.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds one video may take.")]
MaxMemory = Annotated[
    float | None, typer.Option(help="Gigabytes one worker may hold. [default: its share]", show_default=False)
]
MaxRejectRate = Annotated[
    float, typer.Option(min=0, max=1, help="Share of samples that may fail to decode before the run counts as failed.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Throw away what is there and start afresh.")]


@app.command("list")
def list_datasets() -> None:
    """List the datasets that can be built."""
    from preprocess.recipes import load, names

    rows = [(name, load(name).SPEC) for name in names()]
    print(console.table([(name, spec.hub_name, spec.license, spec.homepage) for name, spec in rows]))


@app.command()
def samples(
    dataset: Dataset,
    raw: Raw = None,
    out: Out = Path("data"),
    name: Name = None,
    split: Split = None,
    seed: Seed = None,
    split_protocol: Protocol = None,
    overwrite: Overwrite = False,
) -> None:
    """List the samples of a dataset in samples.jsonl, without decoding anything."""
    from preprocess.pipeline.index import index_samples, only_run, settle_source

    recipe, layout = _open(dataset, out, name)
    with only_run(layout, afresh=overwrite):
        source = settle_source(recipe, layout, raw, _shares(split), seed, split_protocol)
        found = index_samples(recipe, source, layout)
    print(f"{len(found):,} samples in {layout.samples}")


@app.command()
def encode(
    dataset: Dataset,
    raw: Raw = None,
    out: Out = Path("data"),
    name: Name = None,
    split: Split = None,
    seed: Seed = None,
    split_protocol: Protocol = None,
    model: Annotated[
        str | None,
        typer.Option(
            help="Hub id or folder of a CLIP model, or tiny-clip. [default: the dataset's]", show_default=False
        ),
    ] = None,
    revision: Annotated[str | None, typer.Option(help="Revision of the model on the Hub.", show_default=False)] = None,
    fps: Annotated[float | None, typer.Option(help="Frames a second. [default: 1]", show_default=False)] = None,
    sampling: Annotated[
        str | None,
        typer.Option(
            help="Instead of --fps: every_nth=N, num_frames=N (uniform) or segment=N (middles).", show_default=False
        ),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 (exact), bf16 or fp16.")] = "auto",
    dtype: Annotated[
        str | None, typer.Option(help="float16 or float32 on disk. [default: float16]", show_default=False)
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Frames a forward pass. [default: 32, GPU 256]", show_default=False)
    ] = None,
    time_limit: TimeLimit = 600,
    max_memory: MaxMemory = None,
    max_reject_rate: MaxRejectRate = 0.05,
    overwrite: Overwrite = False,
) -> None:
    """Decode and encode every sample into a triple: .npy (frames x dim), .txt, .json.

    Options left out continue with what the output was made with.
    """
    from preprocess.pipeline.encode import EncodeOptions
    from preprocess.pipeline.index import only_run, settle_source

    recipe, layout = _open(dataset, out, name)
    options = EncodeOptions(
        model=model,
        revision=revision,
        sampling=_sampling(fps, sampling),
        precision=precision,
        dtype=dtype,
        device=device,
        workers=workers,
        batch_size=batch_size,
        time_limit_s=time_limit,
        memory_limit=_bytes(max_memory),
    )
    with only_run(layout, afresh=overwrite):
        source = settle_source(recipe, layout, raw, _shares(split), seed, split_protocol)
        _encode(recipe, source, layout, options, max_reject_rate)


@app.command()
def retry(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    device: Device = "auto",
    workers: Workers = None,
    time_limit: TimeLimit = 600,
    max_memory: MaxMemory = None,
    max_reject_rate: MaxRejectRate = 0.05,
) -> None:
    """Try the rejected samples again, with everything else as it was."""
    from preprocess.pipeline.encode import EncodeOptions
    from preprocess.pipeline.index import only_run, settle_source

    recipe, layout = _open(dataset, out, name)
    options = EncodeOptions(
        device=device, workers=workers, time_limit_s=time_limit, memory_limit=_bytes(max_memory), retry=True
    )
    with only_run(layout):
        _encode(recipe, settle_source(recipe, layout, None), layout, options, max_reject_rate)


@app.command()
def shards(
    dataset: Dataset,
    out: Out = Path("data"),
    name: Name = None,
    caption_mode: Annotated[
        str | None, typer.Option(help="first, concat, join or each. [default: the dataset's]", show_default=False)
    ] = None,
    per_shard: Annotated[int, typer.Option(min=1, help="Triples in one tar.")] = 10_000,
    shuffle: Annotated[bool, typer.Option(help="Mix the samples of a split, so that classes are mixed.")] = True,
    shuffle_seed: Annotated[int, typer.Option(help="Seed of that order.")] = 42,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Shards written at once. [default: one a core]", show_default=False)
    ] = None,
) -> None:
    """Pack the triples into tars of 10,000, with splits.csv, sizes.json and manifest.json."""
    from preprocess.pipeline.encode import usable_cores
    from preprocess.pipeline.index import only_run
    from preprocess.pipeline.pack import pack_dataset

    recipe, layout = _open(dataset, out, name)
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
    samples = sum(split["samples"] for split in packed.manifest["splits"].values())
    print(
        f"{samples:,} samples in {packed.written + packed.kept:,} shards in {layout.dataset} ({packed.written:,} new)"
    )


@app.command()
def where(dataset: Dataset, out: Out = Path("data"), name: Name = None) -> None:
    """Print the folder of the built dataset, for scripts."""
    print(_open(dataset, out, name)[1].dataset)


@app.command()
def report(dataset: Dataset, out: Out = Path("data"), name: Name = None) -> None:
    """Print what a build made: counts, rejects, bytes, seconds, and the Python that loads it."""
    from preprocess.pipeline.report import build_table

    _, layout = _open(dataset, out, name)
    print(build_table(layout))


@app.command()
def new(
    dataset: Annotated[str, typer.Argument(help="Name of the new dataset, such as ucf101.", show_default=False)],
) -> None:
    """Start a new dataset: a recipe to edit, prose for its card, a fixture for its tests."""
    from preprocess.recipes._scaffold import scaffold

    root = Path(__file__).resolve().parent.parent
    for path in scaffold(dataset, root):
        print(f"wrote {path.relative_to(root)}")
    print(f"Edit the recipe, then: make test ARGS='-k {dataset}' and make build DATASET={dataset} RAW=…")


def _open(dataset: str, out: Path, name: str | None) -> tuple[Recipe, Layout]:
    from preprocess.recipes import load

    recipe = load(dataset)
    return recipe, Layout(out, name or recipe.SPEC.hub_name)


def _encode(recipe: Recipe, source: Source, layout: Layout, options: EncodeOptions, max_reject_rate: float) -> None:
    from preprocess.pipeline.encode import encode_dataset
    from preprocess.pipeline.index import index_samples

    found = index_samples(recipe, source, layout)
    report = encode_dataset(recipe.SPEC, str(source.folder), found, layout, options)
    print(
        f"{report.written:,} triples written, {report.kept:,} kept, {sum(report.rejects.values()):,} rejected, "
        f"{report.frames:,} frames in {report.seconds:.1f} s"
    )
    failed = sum(n for reason, n in report.rejects.items() if reason not in ("missing", "download_failed"))
    if failed > max_reject_rate * len(found):
        console.fail(
            f"{failed} of {len(found)} samples could not be decoded, more than --max-reject-rate {max_reject_rate:g}. "
            f"{layout.rejects} has the reasons: mend the files and run `retry`, or allow a higher rate.",
            exit_code=1,
        )


def _bytes(gigabytes: float | None) -> int | None:
    return None if gigabytes is None else int(gigabytes * 1e9)


def _shares(split: str | None) -> tuple[float, float, float] | None:
    from preprocess.samples import RecipeOptions

    if split is None:
        return None
    try:
        train, val, test = (float(share) for share in split.split(","))
        return RecipeOptions(split=(train, val, test)).split
    except ValueError as error:
        raise UserError(f"--split {split!r} is not three shares that sum to 1", "Write --split 0.8,0.1,0.1.") from error


def _sampling(fps: float | None, text: str | None) -> Sampling | None:
    from preprocess.media.sampling import Sampling

    if fps is not None and text is not None:
        raise UserError("--fps and --sampling were both given", "Give one of them.")
    if fps is not None:
        return Sampling.parse(f"fps={fps}")
    return None if text is None else Sampling.parse(text)


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


app.command("build", help="Raw data to shards: encode, then shards, with the options of both.")(
    _in_turn(encode, shards)
)

if __name__ == "__main__":
    console.run(app, "python -m preprocess")
