"""The commands that give the samples another shape: `frames`, `annotations`, `llama-factory`, `preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from preprocess import console, options
from preprocess.formats.preview import PREVIEW_FOLDER

app = typer.Typer()


RequiredRaw = Annotated[
    str, typer.Option("--raw", help="Raw folder, or the table file for `table`.", show_default=False)
]


@app.command("frames")
def export_frames(
    dataset: options.Dataset,
    raw: RequiredRaw,
    out: Annotated[Path, typer.Option(help="Folder for one folder a video.", show_default=False)],
    fps: Annotated[
        float | None, typer.Option(help="Frames a second. [default: every frame]", show_default=False)
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(min=1, help="Shrink the shorter side to so many pixels. [default: as it is]", show_default=False),
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="Of the JPEG.")] = 95,
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    max_reject_rate: options.MaxRejectRate = 0.05,
    retry: Annotated[bool, typer.Option("--retry", help="Try the rejected samples again.")] = False,
) -> None:
    """Write every video's frames as JPEG: <out>/<video>/image_00001.jpg …, as AdaCLIP reads them.

    The names are those of the `annotations`. What is done is not done again.
    """
    from preprocess.exports.frames import REJECTS_FILE, FrameSettings, RunOptions, write_frames
    from preprocess.pipeline.index import list_samples
    from preprocess.pipeline.report import human_bytes, human_seconds

    options.parse_sampling(fps, None)
    settings = FrameSettings(fps, short_side, quality)
    samples, folder = list_samples(dataset, raw, options.parse_shares(split), seed, split_protocol)
    run = RunOptions(workers, time_limit, options.gigabytes(max_memory), retry)
    done = write_frames(dataset, samples, folder, out, settings, run)
    facts = [
        ("written", f"{done.written:,} videos, {done.frames:,} frames, {human_bytes(done.bytes)}"),
        *([("kept", f"{done.kept:,} videos")] if done.kept else []),
        *([("truncated", f"{done.truncated:,} of the written")] if done.truncated else []),
        *[("rejected", f"{count:,} {reason}") for reason, count in done.rejects.items()],
        ("time", human_seconds(done.seconds)),
        ("frames", out),
    ]
    print(console.table(facts))
    options.check_reject_rate(done.rejects, len(samples), max_reject_rate, out / REJECTS_FILE)


@app.command("annotations")
def export_annotations(
    dataset: options.Dataset,
    raw: RequiredRaw,
    out: Annotated[Path, typer.Option(help="Folder for train.json, val.json, test.json.", show_default=False)],
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
) -> None:
    """Write the split files that AdaCLIP reads."""
    from preprocess.exports.annotations import write_annotations
    from preprocess.pipeline.index import list_samples

    samples, folder = list_samples(dataset, raw, options.parse_shares(split), seed, split_protocol)
    written = write_annotations(samples, folder, out)
    print(console.table([(split, count, "videos") for split, count in written.written.items()], right=frozenset({1})))
    if written.missing:
        print(f"{len(written.missing):,} videos are not there and have no entry, first {written.missing[0]}")
    print(f"in {out}")


@app.command("llama-factory")
def export_llama_factory(
    raw: Annotated[Path, typer.Option(help="Raw folder of activitynet_qa.", show_default=False)],
    out: Annotated[Path, typer.Option(help="LLaMA-Factory's data folder; dataset_info.json is merged.")],
    type: Annotated[Literal["train", "val", "test"], typer.Option(help="Split of the questions.")] = "train",
    name: Annotated[str | None, typer.Option(help="File of questions, without .json. [default: <type>_q]")] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="Questions at most.")] = 250,
    min_seconds: Annotated[float, typer.Option(min=0, help="Videos must be longer than this.")] = 20,
) -> None:
    """Write ActivityNet-QA as sharegpt JSON for LLaMA-Factory."""
    from preprocess.exports.llama_factory import Choice, export

    done = export(raw, out, Choice(type, name, n, min_seconds))
    print(f"{done.questions:,} questions on {done.videos:,} videos in {done.file}")
    for reason, count in sorted(done.passed_over.items()):
        print(f"passed over: {count:,} {reason}")


@app.command("preview")
def export_preview(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    samples: Annotated[int, typer.Option(min=1, help="Contact sheets for each split, at most.")] = 100,
    allow_frames: Annotated[
        bool, typer.Option("--allow-frames", help="You have the rights to publish frames, whatever the licence says.")
    ] = False,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
) -> None:
    """Add contact sheets of some samples to a packed dataset.

    They become a second config, `preview`, once the card is written again.
    """
    from preprocess.exports.preview import RunOptions, check_licence, make_preview
    from preprocess.formats.manifest import MANIFEST_FILE, read
    from preprocess.pipeline.index import only_run, read_source, settle_source

    recipe, layout = options.open_dataset(dataset, out, name)
    check_licence(recipe.SPEC, allow_frames)
    manifest = read(layout.dataset / MANIFEST_FILE)
    source = settle_source(recipe, layout, raw, moved=True)
    run = RunOptions(samples, workers, time_limit, options.gigabytes(max_memory))
    with only_run(layout):
        done = make_preview(manifest, read_source(recipe, source), str(source.folder), layout, run)
    for reject in done.rejects:
        print(f"no sheet of {reject.key}: {reject.reason}, {reject.message}")
    sheets = sum(tar.samples for tar in done.tars)
    print(f"{sheets:,} contact sheets in {layout.dataset / PREVIEW_FOLDER} ({done.drawn:,} new)")
