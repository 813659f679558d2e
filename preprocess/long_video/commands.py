"""The commands `python -m preprocess long-video …`. Parses, calls, prints."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import typer

from preprocess import console, options
from preprocess.errors import UserError
from preprocess.long_video.folder import STAGES_S, Folder

app = console.new_app(
    "Training sets for long-video diffusion models: scenes, segments, latents, text, jsonl, check.\n\n"
    "Each command takes the folder of the training set and can be run again: what is there and good stays."
)

Root = Annotated[Path, typer.Argument(help="Folder of the training set, such as data/long-tom.", show_default=False)]
Stages = Annotated[
    str | None, typer.Option(help="Only these stages, such as 3,9. [default: all there are]", show_default=False)
]
Model = Annotated[str, typer.Option(help="Hub id, or a folder, of CogVideoX or of the part itself.")]
Revision = Annotated[str | None, typer.Option(help="Revision of the model on the Hub.", show_default=False)]
PrecisionOption = Annotated[str, typer.Option("--precision", help="auto, fp32, bf16 or fp16.")]
TimeLimit = Annotated[float, typer.Option(help="Seconds one video or episode may take.")]
COGVIDEOX = "THUDM/CogVideoX-5b"


@app.command()
def scenes(
    root: Root,
    raw: Annotated[Path, typer.Option(help="Folder of the videos.", show_default=False)],
    annotations: Annotated[
        Path | None,
        typer.Option(help="CSV, TSV, JSON or JSONL: video, start, end, text. [default: detect]", show_default=False),
    ] = None,
    detector: Annotated[Literal["content", "adaptive"], typer.Option(help="Of PySceneDetect.")] = "content",
    threshold: Annotated[
        float | None, typer.Option(help="A change above it is a cut. [default: 27, adaptive 3]", show_default=False)
    ] = None,
    min_scene: Annotated[float, typer.Option(help="Seconds between two cuts at least.")] = 0.6,
    workers: options.Workers = None,
    time_limit: TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a scenes.jsonl that differs.")] = False,
) -> None:
    """Find the scenes of every video, or take them from annotators: scenes.jsonl."""
    from preprocess.long_video.components import require
    from preprocess.long_video.detect import Detector
    from preprocess.long_video.find import find_scenes
    from preprocess.pipeline.executors import LocalExecutor
    from preprocess.pipeline.machine import usable_cores

    if annotations is None:
        require("scenedetect", "cv2")
    folder = Folder(root)
    limits = LocalExecutor(workers or usable_cores(), time_limit, options.gigabytes(max_memory))
    with folder.only_run("scenes"):
        found, rejects = find_scenes(
            folder, raw, annotations, Detector(detector, threshold, min_scene), limits, overwrite=overwrite
        )
    print(f"{len(found):,} scenes of {len({s.video for s in found}):,} videos in {folder.scenes}")
    _say_rejects(len(rejects), folder.rejects("scenes"))


@app.command()
def segments(
    root: Root,
    seconds: Annotated[str, typer.Option(help="Lengths of the stages.")] = ",".join(map(str, STAGES_S)),
    size: Annotated[str, typer.Option(help="Height x width of the frames.")] = "480x720",
    fps: Annotated[int, typer.Option(min=1, help="Frames per second.")] = 16,
    fit: Annotated[Literal["crop", "pad"], typer.Option(help="Fill the frame, or leave black bars.")] = "crop",
) -> None:
    """Cut scenes into segments of 3 s and join these into the episodes of each stage."""
    from preprocess.long_video.frame_settings import FrameSettings
    from preprocess.long_video.plan import plan_episodes

    folder = Folder(root)
    height, width = _size(size)
    with folder.only_run("segments"):
        stages, short = plan_episodes(folder, _stages(seconds), FrameSettings(fps, height, width, fit))
    rows = [("seconds", "episodes", "segments left over"), *((s.seconds, s.episodes, s.left_over) for s in stages)]
    print(console.table(rows, right=frozenset({0, 1, 2})))
    _say_rejects(short, folder.rejects("segments"))


@app.command()
def latents(
    root: Root,
    vae: Model = COGVIDEOX,
    revision: Revision = None,
    seconds: Stages = None,
    chunk_seconds: Annotated[
        int, typer.Option(min=1, help="Seconds that the VAE sees at once; part of the result.")
    ] = 1,
    precision: PrecisionOption = "auto",
    device: options.Device = "auto",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. [default: one a GPU, or one]", show_default=False)
    ] = None,
    time_limit: TimeLimit = 3600,
    max_memory: options.MaxMemory = None,
    overwrite: options.Overwrite = False,
) -> None:
    """Encode every episode with the CogVideoX VAE: bfloat16 (16 L / 4 + 1, 32, 60, 90)."""
    from preprocess.long_video.devices import Rank
    from preprocess.long_video.encode import Limits, ModelOptions, encode_latents

    folder, rank = Folder(root), Rank.from_environment()
    _not_from_many(rank.world, overwrite)
    with folder.only_run("latents", rank.index):
        count = encode_latents(
            folder,
            _stages(seconds) if seconds else folder.stages(),
            ModelOptions(vae, revision, precision, device, overwrite),
            chunk_seconds,
            Limits(workers, time_limit, options.gigabytes(max_memory)),
            rank,
        )
    print(f"{count.made:,} latents made, {count.kept:,} kept, in {count.seconds:.1f} s")
    _say_rejects(count.rejected, folder.rejects("latents"))


@app.command()
def text(
    root: Root,
    model: Model = COGVIDEOX,
    revision: Revision = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Hub id or folder. [default: the model's]", show_default=False)
    ] = None,
    also: Annotated[
        list[Path] | None, typer.Option(help="More JSONL with scene_start, scene_end, text_0, …", show_default=False)
    ] = None,
    max_tokens: Annotated[int, typer.Option(min=8, help="Tokens of one embedding.")] = 493,
    seed: Annotated[int, typer.Option(help="Of scene token rows that the checkpoint does not have.")] = 0,
    batch_size: Annotated[
        int | None, typer.Option(min=1, help="Texts a forward pass. [default: 1, GPU 8]", show_default=False)
    ] = None,
    precision: PrecisionOption = "auto",
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
) -> None:
    """Encode every text with T5, in the scene-token variants that the episodes call for: bfloat16 (493, d)."""
    from preprocess.long_video.devices import Rank
    from preprocess.long_video.encode import ModelOptions, embed_texts

    folder, rank = Folder(root), Rank.from_environment()
    _not_from_many(rank.world, overwrite)
    with folder.only_run("text", rank.index):
        count = embed_texts(
            folder,
            ModelOptions(model, revision, precision, device, overwrite),
            tokenizer,
            max_tokens,
            seed,
            batch_size,
            also or [],
            rank,
        )
    print(f"{count.made:,} texts encoded, {count.kept:,} kept, in {count.seconds:.1f} s")
    if count.cut:
        print(f"{count.cut:,} of them are longer than {max_tokens} tokens and were cut")


@app.command()
def jsonl(root: Root) -> None:
    """Write the training JSONL of each stage, checked before it is written."""
    from preprocess.long_video.jsonl import write_jsonl

    folder = Folder(root)
    with folder.only_run("jsonl"):
        for seconds in folder.stages():
            written = write_jsonl(folder, seconds)
            print(f"{written.lines:,} episodes of {seconds} s in {folder.train(seconds)}")
            _say_rejects(written.rejected, folder.rejects("latents"))


@app.command()
def check(
    path: Annotated[Path, typer.Argument(help="Folder of a training set, or one training JSONL.", show_default=False)],
    size: Annotated[str, typer.Option(help="Height x width of the frames, for a JSONL.")] = "480x720",
    fps: Annotated[int, typer.Option(min=1, help="Frames per second, for a JSONL.")] = 16,
    seconds: Annotated[
        int | None, typer.Option(help="Length of its episodes, for a JSONL. [default: any]", show_default=False)
    ] = None,
) -> None:
    """Check every line and every tensor of the training JSONL; exit code 1 when something is wrong."""
    from preprocess.long_video.check import Expectation, check_file
    from preprocess.long_video.frame_settings import FrameSettings
    from preprocess.long_video.jsonl import check_folder

    if path.is_dir():
        findings = check_folder(Folder(path))
    else:
        height, width = _size(size)
        findings = check_file(path, Expectation(FrameSettings(fps, height, width), seconds=seconds))
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


def _say_rejects(count: int, ledger: Path) -> None:
    if count:
        print(f"{count:,} could not be used; {ledger} has the reasons")


def _not_from_many(world: int, overwrite: bool) -> None:
    if overwrite and world > 1:
        raise UserError("--overwrite from several ranks would delete what the others make", "Remove the folder first.")


def _stages(text: str) -> tuple[int, ...]:
    try:
        return tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise UserError(f"--seconds {text!r} is no list of whole numbers", "Write --seconds 3,9,18.") from error


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UserError(f"--size {text!r} is not height x width", "Write --size 480x720.")
    return int(match[1]), int(match[2])
