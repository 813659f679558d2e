"""The commands `python -m preprocess long-video …`. Parses, calls, prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from preprocess import console, options
from preprocess.errors import UserError
from preprocess.formats.layout import read_json
from preprocess.long_video.choices import MAX_STAGE_S, chosen_frames, chosen_model, parse_size, parse_stages
from preprocess.long_video.components import COGVIDEOX
from preprocess.long_video.folder import STAGES_S, Folder
from preprocess.long_video.frame_format import MAX_FPS
from preprocess.runtime.options import MAX_BATCH_SIZE, MAX_WORKERS

if TYPE_CHECKING:
    from preprocess.long_video.plan import Stage

app = console.new_app(
    "Training sets for long-video diffusion models: scenes, segments, latents, text, jsonl, check.\n\n"
    "Each command takes the folder of the training set and can be run again: valid files are kept."
)

Root = Annotated[Path, typer.Argument(help="Folder of the training set, such as data/long-tom.", show_default=False)]
Stages = Annotated[str | None, typer.Option(help="Only these stages, such as 3,9. [default: all]", show_default=False)]
Model = Annotated[
    str | None,
    typer.Option(
        help=f"Hub id, or a folder, of CogVideoX or of the component itself. [default: as before, else {COGVIDEOX}]",
        show_default=False,
    ),
]
Revision = Annotated[str | None, typer.Option(help="Revision of the model on the Hub.", show_default=False)]
Size = Annotated[
    str | None,
    typer.Option(help="Height x width of the frames. [default: as before, else 480x720]", show_default=False),
]
Fps = Annotated[
    int | None,
    typer.Option(min=1, max=MAX_FPS, help="Frames per second. [default: as before, else 16]", show_default=False),
]
Fit = Annotated[
    Literal["crop", "pad"] | None,
    typer.Option(help="Fill the frame, or leave black bars. [default: as before, else crop]", show_default=False),
]
PrecisionOption = Annotated[Literal["auto", "fp32", "bf16", "fp16"], typer.Option("--precision")]
TimeLimit = Annotated[float, typer.Option(callback=console.finite, help="Seconds one video or episode may take.")]


@app.command()
def scenes(
    root: Root,
    raw: Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False)],
    annotations: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, JSON or JSONL: video, start, end, text. [default: detect]", show_default=False),
    ] = None,
    detector: Annotated[Literal["content", "adaptive"], typer.Option(help="Detector of PySceneDetect.")] = "content",
    threshold: Annotated[
        float | None,
        typer.Option(
            callback=console.finite,
            help="Changes above this value are cuts. [default: 27, adaptive 3]",
            show_default=False,
        ),
    ] = None,
    min_scene: Annotated[
        float, typer.Option(min=0, callback=console.finite, help="Minimum number of seconds between two cuts.")
    ] = 0.6,
    workers: options.Workers = None,
    time_limit: TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a scenes.jsonl that differs.")] = False,
) -> None:
    """Find the scenes of every video, or take them from annotators: scenes.jsonl."""
    from preprocess.long_video.components import require
    from preprocess.long_video.detect import Detector
    from preprocess.long_video.find import find_scenes

    run = options.run_options(
        workers, time_limit, max_memory, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    if annotations is None:
        require("scenedetect", "cv2")
    folder, settings = Folder(root), Detector(detector, threshold, min_scene)
    with folder.only_run("scenes"):
        found, rejects = find_scenes(folder, raw, annotations, settings, run, overwrite=overwrite)
    print(f"{len(found):,} scenes of {len({s.video for s in found}):,} videos in {folder.scenes}")
    _say_rejects(len(rejects), folder.rejects("scenes"))


@app.command()
def segments(
    root: Root,
    seconds: Annotated[str, typer.Option(help="Lengths of the stages.")] = ",".join(map(str, STAGES_S)),
    size: Size = None,
    fps: Fps = None,
    fit: Fit = None,
) -> None:
    """Cut scenes into segments of 3 s and join these into the episodes of each stage."""
    from preprocess.long_video.plan import plan_episodes

    folder, wanted = Folder(root), parse_stages(seconds) or STAGES_S
    frames = chosen_frames(folder, size, fps, fit)
    with folder.only_run("segments"):
        stages, short = plan_episodes(folder, wanted, frames)
    _say_stages(stages)
    _say_rejects(short, folder.rejects("segments"))


@app.command("import")
def import_episodes(
    root: Root,
    raw: Annotated[Path, typer.Option(help="Folder with one folder of clips per episode.", show_default=False)],
    annotations: Annotated[
        Path,
        typer.Option(help="JSONL of scene_start, scene_end, text_0, …, a line per folder or clip.", show_default=False),
    ],
    seconds: Annotated[
        str | None, typer.Option(help="Cut into episodes of these lengths. [default: as they are]", show_default=False)
    ] = None,
    size: Size = None,
    fps: Fps = None,
    fit: Fit = None,
    workers: options.Workers = None,
    time_limit: TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
) -> None:
    """Take ready-made episodes, in place of `scenes` and `segments`: clips of 3, 6, 9, … s and a JSONL."""
    from preprocess.long_video.ready_made import import_clips

    run = options.run_options(
        workers, time_limit, max_memory, executor, cpus_per_actor=cpus_per_actor, memory_per_actor=memory_per_actor
    )
    folder, wanted = Folder(root), parse_stages(seconds)
    frames = chosen_frames(folder, size, fps, fit)
    with folder.only_run("segments"):
        stages, rejected = import_clips(folder, raw, annotations, wanted, frames, run)
    _say_stages(stages)
    _say_rejects(rejected, folder.rejects("scenes"))


@app.command()
def latents(
    root: Root,
    vae: Model = None,
    revision: Revision = None,
    seconds: Stages = None,
    chunk_seconds: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_STAGE_S,
            help="Seconds that the VAE sees at once; part of the result. [default: as before, else 1]",
            show_default=False,
        ),
    ] = None,
    precision: PrecisionOption = "auto",
    device: options.Device = "auto",
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_WORKERS, help="Processes. [default: one per GPU, else one]", show_default=False),
    ] = None,
    time_limit: TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    executor: options.Executor = "local",
    cpus_per_actor: options.CpusPerActor = None,
    gpus_per_actor: options.GpusPerActor = None,
    memory_per_actor: options.MemoryPerActor = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Encode every episode with the CogVideoX VAE: bfloat16 (16 L / 4 + 1, 32, 60, 90)."""
    from preprocess.long_video.devices import Rank
    from preprocess.long_video.encode import ModelOptions, encode_latents

    run = options.run_options(
        workers,
        time_limit,
        max_memory,
        executor,
        device=device,
        cpus_per_actor=cpus_per_actor,
        gpus_per_actor=gpus_per_actor,
        memory_per_actor=memory_per_actor,
    )
    folder, rank = Folder(root), Rank.from_environment()
    _not_from_many(rank.world, overwrite)
    before = {} if overwrite else read_json(folder.latents_settings)
    with folder.only_run("latents", rank.index):
        count = encode_latents(
            folder,
            folder.stages(parse_stages(seconds)),
            ModelOptions(*chosen_model(folder, "vae", vae, revision, before), precision, device, overwrite),
            chunk_seconds or before.get("chunk_seconds", 1),
            run,
            rank,
        )
    again = f" ({count.changed:,} of videos that changed)" if count.changed else ""
    print(f"{count.made:,} latents made{again}, {count.kept:,} kept, in {count.seconds:.1f} s")
    _say_rejects(count.rejected, folder.rejects("latents"))


@app.command()
def text(
    root: Root,
    model: Model = None,
    revision: Revision = None,
    seconds: Stages = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Hub id or folder. [default: the model's]", show_default=False)
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="More JSONL with scene_start, scene_end, text_0, …", show_default=False)
    ] = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            min=8,
            max=65_536,
            help="Tokens of one embedding. [default: as before, else what fits the stage: 498 for 3 s, 502 for 9 s]",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=options.MAX_SEED,
            help="Seed of the scene token rows that the checkpoint lacks. [default: as before, else 0]",
            show_default=False,
        ),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(min=1, max=MAX_BATCH_SIZE, help="Texts per forward pass. [default: 1, GPU 8]", show_default=False),
    ] = None,
    precision: PrecisionOption = "auto",
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Encode every text with T5, in the scene-token variants that the episodes need: bfloat16 (498, d) for 3 s.

    An episode is trained on in mini-batches of 64 tokens: each stage has the number of tokens that makes it divisible.
    """
    from preprocess.long_video.devices import Rank
    from preprocess.long_video.encode import ModelOptions, embed_texts
    from preprocess.long_video.jsonl import mini_batch, text_tokens
    from preprocess.long_video.lengths import MINI_BATCH

    folder, rank = Folder(root), Rank.from_environment()
    _not_from_many(rank.world, overwrite)
    before = {} if overwrite else read_json(folder.text_settings)
    with folder.only_run("text", rank.index):
        count = embed_texts(
            folder,
            folder.stages(parse_stages(seconds)),
            ModelOptions(*chosen_model(folder, "text_encoder", model, revision, before), precision, device, overwrite),
            tokenizer or (folder.noted("tokenizer") if model is None else None),
            max_tokens or before.get("max_tokens"),
            before.get("scene_token_seed", 0) if seed is None else seed,
            batch_size,
            also or [],
            rank,
        )
    print(f"{count.made:,} texts encoded, {count.kept:,} kept, in {count.seconds:.1f} s")
    for stage in folder.stages(parse_stages(seconds)):
        tokens, fits = text_tokens(folder, stage), mini_batch(folder, stage)
        other = f"; train with mini_batch_size = {fits}" if fits < MINI_BATCH else ""
        print(f"{tokens} tokens a text in episodes of {stage} s{other}")
    if count.cut:
        print(f"{count.cut:,} of them have more tokens than an embedding and were cut")


@app.command()
def jsonl(root: Root, seconds: Stages = None) -> None:
    """Write the training JSONL of each stage, checked before it is written."""
    from preprocess.long_video.jsonl import write_jsonl

    folder = Folder(root)
    with folder.only_run("jsonl"):
        for stage in folder.stages(parse_stages(seconds)):
            written = write_jsonl(folder, stage)
            print(f"{written.lines:,} episodes of {stage} s in {folder.train(stage)}")
            _say_rejects(written.rejected, folder.rejects("latents"))


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of a training set, or one training JSONL.", show_default=False)],
    size: Annotated[str, typer.Option(help="Height x width of the frames, for a JSONL.")] = "480x720",
    fps: Annotated[int, typer.Option(min=1, max=MAX_FPS, help="Frames per second, for a JSONL.")] = 16,
    seconds: Annotated[
        str | None,
        typer.Option(help="Stages of a folder, or the length of the episodes of a JSONL.", show_default=False),
    ] = None,
) -> None:
    """Check every line and every tensor of the training JSONL; exit code 1 if there is any problem."""
    from preprocess.long_video.check import Expectation, check_file
    from preprocess.long_video.frame_format import FrameFormat
    from preprocess.long_video.jsonl import check_folder

    stages = parse_stages(seconds)
    if path.is_dir():
        findings = check_folder(Folder(path), stages)
    elif stages and len(stages) > 1:
        raise UserError(f"the episodes of {path} cannot have several lengths: {seconds}", "Give one: --seconds 9.")
    else:
        height, width = parse_size(size)
        findings = check_file(path, Expectation(FrameFormat(fps, height, width), seconds=stages[0] if stages else None))
    for finding in findings:
        print(finding)
    if findings:
        console.fail(f"{len(findings):,} things are wrong in {path}", exit_code=1)
    print(f"{path}: nothing is wrong")


@app.command()
def demo(
    out: options.Out = Path("data"),
    seconds: Annotated[str, typer.Option(help="Lengths of the stages.")] = "3,9",
) -> None:
    """Run all steps on rendered videos with tiny models of random weights: out/long-demo, ready to load."""
    from preprocess.long_video.demo import SIZE, make_models, render_videos

    root = out / "long-demo"
    raw, models = root / "raw", root / "models"
    annotations = render_videos(raw)
    make_models(models)
    scenes(root, raw, annotations, workers=1)
    segments(root, seconds, size=f"{SIZE[0]}x{SIZE[1]}")
    latents(root, vae=str(models), device="cpu")
    text(root, model=str(models), device="cpu")
    jsonl(root)
    check(root)
    first = Folder(root).train(Folder(root).stages()[0])
    print(f"\nLoad it:\n  PreembeddingDataset({str(root)!r}, scale_factor=0.7, jsonl_paths={str(first)!r})")


def _say_stages(stages: Sequence[Stage]) -> None:
    rows = [("seconds", "episodes", "segments left over"), *((s.seconds, s.episodes, s.left_over) for s in stages)]
    print(console.table(rows, right=frozenset({0, 1, 2})))


def _say_rejects(count: int, ledger: Path) -> None:
    if count:
        print(f"{count:,} could not be used; {ledger} has the reasons")


def _not_from_many(world: int, overwrite: bool) -> None:
    if overwrite and world > 1:
        raise UserError("--overwrite from several ranks would delete what the others make", "Remove the folder first.")
