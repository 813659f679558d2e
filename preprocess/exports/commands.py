"""The commands that export the samples in other formats: `frames`, `annotations`, `llama-factory`, `preview`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from preprocess import console, options
from preprocess.errors import REASONS
from preprocess.formats.preview import PREVIEW_FOLDER

app = typer.Typer()


RequiredRaw = Annotated[
    str, typer.Option("--raw", help="Raw folder, or the table file for `table`.", show_default=False)
]


@app.command("frames")
def export_frames(
    dataset: options.Dataset,
    raw: RequiredRaw,
    out: Annotated[Path, typer.Option(help="Output folder; it gets one folder per video.", show_default=False)],
    fps: Annotated[
        float | None,
        typer.Option(callback=console.finite, help="Frames per second. [default: every frame]", show_default=False),
    ] = None,
    short_side: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65_500,
            help="Resize the shorter side to this many pixels. [default: original size]",
            show_default=False,
        ),
    ] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="JPEG quality.")] = 95,
    split: options.Split = None,
    seed: options.Seed = None,
    split_protocol: options.Protocol = None,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
    max_reject_rate: options.MaxRejectRate = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try the rejected samples again.")] = False,
) -> None:
    """Write every video's frames as JPEG: <out>/<video>/image_00001.jpg …, as AdaCLIP reads them.

    The names are those of `annotations`. Finished videos are not exported again.
    """
    from preprocess.exports.frames import FrameExportSettings, write_frames
    from preprocess.formats.layout import REJECTS_FILE
    from preprocess.pipeline.index import list_samples

    retried = REASONS if retry else ()
    run = options.run_options(
        workers,
        time_limit,
        max_memory,
        executor,
        retry=retried,
        cpus_per_actor=cpus_per_actor,
        memory_per_actor=memory_per_actor,
    )
    options.parse_sampling(fps, None)
    settings = FrameExportSettings(fps, short_side, quality)
    samples, folder = list_samples(dataset, raw, options.parse_shares(split), seed, split_protocol)
    done = write_frames(dataset, samples, folder, out, settings, run)
    facts = [
        ("written", f"{done.written:,} videos, {done.frames:,} frames, {console.human_bytes(done.bytes)}"),
        *([("kept", f"{done.kept:,} videos")] if done.kept else []),
        *([("changed", f"{done.changed:,} videos, exported again")] if done.changed else []),
        *([("truncated", f"{done.truncated:,} of the written")] if done.truncated else []),
        *[("rejected", f"{count:,} {reason}") for reason, count in done.rejects.items()],
        ("time", console.human_seconds(done.seconds)),
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
        first = console.printable(written.missing[0])
        print(f"{len(written.missing):,} videos are missing and have no entry; the first is {first}")
    print(f"in {out}")


@app.command("llama-factory")
def export_llama_factory(
    raw: Annotated[Path, typer.Option(help="Raw folder of activitynet_qa.", show_default=False)],
    out: Annotated[Path, typer.Option(help="LLaMA-Factory's data folder; dataset_info.json is merged.")],
    type: Annotated[
        Literal["train", "val", "test"], typer.Option("--type", "-type", help="Split of the questions.")
    ] = "train",
    name: Annotated[
        str | None, typer.Option("--name", "-name", help="File of questions, without .json. [default: <type>_q]")
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, max=options.MAX_COUNT, help="Maximum number of questions.")] = 250,
    min_seconds: Annotated[
        float,
        typer.Option(
            "--min-seconds", "-seconds", min=0, callback=console.finite, help="Videos must be longer than this."
        ),
    ] = 20,
    register: Annotated[
        list[str] | None,
        typer.Option(
            help="Also enter this name with an empty file, as Xtune needs caltech101 and activitynet; repeatable.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write ActivityNet-QA as sharegpt JSON for LLaMA-Factory.

    -name, -type and -seconds are also accepted as Xtune's guide spells them.
    """
    from preprocess.exports.llama_factory import Choice, export

    choice = Choice(type, name, n, min_seconds)
    done = export(raw, out, choice, register or [])
    print(f"{done.questions:,} questions on {done.videos:,} videos in {done.file}")
    print(f"entries in {out / 'dataset_info.json'}: {', '.join([*choice.names, *(register or [])])}")
    for reason, count in sorted(done.passed_over.items()):
        print(f"passed over: {count:,} {reason}")


@app.command("preview")
def export_preview(
    dataset: options.Dataset,
    raw: options.Raw = None,
    out: options.Out = Path("data"),
    name: options.Name = None,
    model: options.Model = None,
    samples: Annotated[
        int, typer.Option(min=1, max=options.MAX_COUNT, help="Maximum number of contact sheets per split.")
    ] = 100,
    allow_frames: Annotated[
        bool,
        typer.Option(
            "--allow-frames", help="Confirm that you have the rights to publish frames, regardless of the license."
        ),
    ] = False,
    workers: options.Workers = None,
    time_limit: options.TimeLimit = 600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
) -> None:
    """Add contact sheets of some samples to a packed dataset.

    They become a second config, `preview`, once the card is written again.
    """
    from preprocess.exports.preview import make_preview
    from preprocess.formats.manifest import MANIFEST_FILE, read
    from preprocess.licenses import check_license
    from preprocess.pipeline.index import only_run, read_source, resolve_source

    run = options.run_options(
        workers, time_limit, max_memory, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    recipe, layout = options.open_dataset(dataset, out, name, model)
    check_license(recipe.SPEC, allow_frames)
    manifest = read(layout.dataset / MANIFEST_FILE)
    source = resolve_source(recipe, layout, raw, moved=True)
    with only_run(layout):
        found = read_source(recipe, source)
        done = make_preview(manifest, found, str(source.folder), layout, run, per_split=samples)
    for reject in done.rejects:
        print(console.printable(f"no contact sheet of {reject.key}: {reject.reason}, {reject.message}"))
    sheets = sum(tar.samples for tar in done.tars)
    print(f"{sheets:,} contact sheets in {layout.dataset / PREVIEW_FOLDER} ({done.drawn:,} new)")
