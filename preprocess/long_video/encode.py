"""The steps `latents` and `text`: valid files stay, the others are made, and rejects are recorded."""

from __future__ import annotations

import dataclasses
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from preprocess.console import progress
from preprocess.errors import UserError
from preprocess.formats.layout import read_json
from preprocess.long_video.components import (
    find_component,
    load_text_encoder,
    load_tokenizer,
    require,
    versions,
)
from preprocess.long_video.devices import DTYPES, Rank, choose_devices
from preprocess.long_video.folder import Folder, read_rows, require_same_settings
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.jsonl import frame_settings, read_episodes
from preprocess.long_video.lengths import fitting_tokens
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.long_video.segments import segment_texts
from preprocess.long_video.tensors import TensorSpec, fault, save_tensor, tensor_fault
from preprocess.long_video.text import (
    Prompt,
    add_scene_tokens,
    embed_prompts,
    load_scene_tokens,
    prompts_of,
    save_scene_tokens,
)
from preprocess.pipeline.ledger import Ledger
from preprocess.runtime.devices import devices_of_actor, for_devices
from preprocess.runtime.executors import make_executor
from preprocess.runtime.machine import usable_cores
from preprocess.runtime.options import RunOptions
from preprocess.runtime.runner import run_items
from preprocess.samples import Reject
from preprocess.storage import remove_temporary

_EPISODES_PER_TASK = 4
PRELOAD = (
    "diffusers.models.autoencoders.autoencoder_kl_cogvideox",
    "preprocess.media.video",
    "preprocess.long_video.latents",
)
"""What workers find imported: starting one takes milliseconds instead of seconds. None of it touches a GPU."""


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """Which model, and where and how it runs.

    Attributes:
        model: Hub id or folder.
        revision: On the Hub.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        device: `auto`, `cpu`, `cuda`, `cuda:N`.
        overwrite: Delete what was made with other settings.
    """

    model: str
    revision: str | None = None
    precision: str = "auto"
    device: str = "auto"
    overwrite: bool = False


@dataclass(slots=True)
class Count:
    """What a step did in this process.

    Attributes:
        made: Files of this run.
        changed: Those of them whose videos were replaced since they had been made before.
        kept: Files of earlier runs that are good.
        rejected: Episodes that could not be used.
        cut: Texts that were longer than the model takes.
        seconds: Wall time.
    """

    made: int = 0
    changed: int = 0
    kept: int = 0
    rejected: int = 0
    cut: int = 0
    seconds: float = 0.0


def encode_latents(
    folder: Folder, stages: Sequence[int], options: ModelOptions, chunk_seconds: int, run: RunOptions, rank: Rank
) -> Count:
    """Makes the latents of all episodes of some stages; each rank takes its share.

    Args:
        folder: Of the training set.
        stages: Seconds of the episodes of each stage.
        options: The VAE, and where it runs (`options.device`, not that of `run`).
        chunk_seconds: Seconds that the VAE sees at a time.
        run: Limits and workers (on a cluster, of each actor); default: one worker per device.
        rank: This process among those that share the work.

    Raises:
        UserError: Something is missing, or the latents that are there were made in another way.
    """
    require("diffusers")
    from preprocess.long_video.latents import EncodeEpisodes, LatentSettings

    began = time.monotonic()
    raw, frames = folder.raw(), frame_settings(folder)
    run = dataclasses.replace(run, device=options.device)
    machine = make_executor(run, PRELOAD).machine
    if machine is None:
        devices, cores = choose_devices(options.device, rank), usable_cores()
    else:
        run = for_devices(run, machine)
        machine = make_executor(run, PRELOAD).machine or machine
        devices, cores = devices_of_actor(run), machine.cores
    vae = find_component(options.model, "vae", options.revision)
    ask = machine.ask if machine and devices != ("cpu",) else None
    precision = resolve_precision(options, folder.latents_settings, devices[0], ask)
    record = {
        **vae.record(),
        "precision": precision,
        "chunk_seconds": chunk_seconds,
        "dtype": "bfloat16",
        "scaled": False,
        "versions": versions("av", "diffusers", "torch"),
    }
    require_same_settings(folder.latents_settings, record, overwrite=options.overwrite)
    folder.note(vae=place(options.model))
    workers = run.workers or len(devices)
    run = dataclasses.replace(run, workers=workers)
    ledger, count = Ledger(folder.rejects("latents")), Count()
    episodes = [episode for seconds in stages for episode in read_episodes(folder, seconds)]
    for seconds in stages:
        folder.latents(seconds).mkdir(parents=True, exist_ok=True)
    _remove_temporary_latents(folder, stages, rank)
    share = rank.share(episodes)
    with tempfile.TemporaryDirectory(prefix="long-video-") as claims:
        settings = LatentSettings(
            raw=raw,
            folder=folder,
            vae=vae,
            frames=frames,
            chunk_seconds=chunk_seconds,
            precision=precision,
            devices=tuple(devices[i % len(devices)] for i in range(workers)),
            claims=Path(claims).name,
            threads=max(1, cores // workers),
        )
        for report in run_items(
            share,
            EncodeEpisodes(settings),
            run,
            per_task=_EPISODES_PER_TASK,
            preload=PRELOAD,
            description="latents",
            unit=" episodes",
            counted="frames",
        ):
            if isinstance(report, Reject):
                ledger.add(report)
                count.rejected += 1
            else:
                count.made += report.made
                count.changed += report.changed
                count.kept += not report.made
    _remove_temporary_latents(folder, stages, rank)
    if rank.world == 1:  # others' rejects are in the file, not in this memory
        ledger.keep(_still_rejected(folder, stages))
    count.seconds = time.monotonic() - began
    return count


def _remove_temporary_latents(folder: Folder, stages: Sequence[int], rank: Rank) -> None:
    """Of killed runs or workers; while no worker runs, unless other ranks may be writing."""
    if rank.world == 1:
        for seconds in stages:
            remove_temporary(folder.latents(seconds))
            remove_temporary(folder.latents_media(seconds))


def embed_texts(
    folder: Folder,
    stages: Sequence[int],
    options: ModelOptions,
    tokenizer: str | None,
    max_tokens: int | None,
    seed: int,
    batch_size: int | None,
    extra: Iterable[Path],
    rank: Rank,
) -> Count:
    """Makes the text embeddings that the episodes call for, each distinct text and variant once.

    Args:
        folder: Of the training set.
        stages: Whose texts.
        options: The text encoder; its pipeline's tokenizer is taken unless `tokenizer` names another.
        tokenizer: Hub id or folder.
        max_tokens: Length of an embedding; None for the one that fits the length of each episode.
        seed: Of vocabulary rows that the checkpoint does not have.
        batch_size: Texts per forward pass; default: 8 on a GPU, 1 on a CPU.
        extra: More JSONL files with `scene_start`, `scene_end`, `text_0` … `text_n`.
        rank: This process among those that share the work.

    Raises:
        UserError: A text is missing, or the embeddings that are there were made in another way.
    """
    import torch

    began = time.monotonic()
    frames = frame_settings(folder)
    prompts = wanted_prompts([*(folder.episodes(s) for s in stages), *extra], frames, max_tokens)
    device = choose_devices(options.device, rank)[0]
    encoder = find_component(options.model, "text_encoder", options.revision)
    words = find_component(tokenizer or options.model, "tokenizer", None if tokenizer else options.revision)
    precision = resolve_precision(options, folder.text_settings, device)
    model = load_text_encoder(encoder, device, getattr(torch, DTYPES[precision]))
    tokens = load_tokenizer(words)
    record = {
        **encoder.record(),
        "tokenizer": words.id,
        "precision": precision,
        "max_tokens": max_tokens,
        "dim": int(model.config.d_model),
        "dtype": "bfloat16",
        "scene_token_seed": seed,
        "versions": versions("torch", "transformers"),
    }
    require_same_settings(folder.text_settings, record, overwrite=options.overwrite)
    folder.note(text_encoder=place(options.model), tokenizer=place(tokenizer or options.model))
    if folder.scene_tokens.is_file():
        load_scene_tokens(folder.scene_tokens, tokens, model)
    else:
        save_scene_tokens(folder.scene_tokens, add_scene_tokens(tokens, model, seed))
    expected = {length: TensorSpec((length, record["dim"])) for length in {length for length, _ in prompts}}
    for length in expected:
        folder.texts(length).mkdir(parents=True, exist_ok=True)
        if rank.world == 1:
            remove_temporary(folder.texts(length))
    share = rank.share(prompts)
    todo = [(n, prompt) for n, prompt in share if fault(folder.texts(n) / prompt.file, expected[n]) is not None]
    count = Count(kept=len(share) - len(todo))
    size = batch_size or (1 if device == "cpu" else 8)
    with progress(len(todo), " texts", "text") as bar:
        for length, of_length in groupby(todo, key=itemgetter(0)):
            batch = [prompt for _, prompt in of_length]
            for prompt, embedding, was_cut in embed_prompts(model, tokens, batch, length, size):
                wrong = tensor_fault(embedding.to(torch.bfloat16), expected[length])
                if wrong is not None:
                    raise UserError(
                        f"the text encoder's embedding of {prompt.tagged[:60]!r} {wrong.message}",
                        "Use --precision bf16 or fp32.",
                    )
                save_tensor(folder.texts(length) / prompt.file, embedding)
                count.made += 1
                count.cut += was_cut
                bar.update()
    count.seconds = time.monotonic() - began
    return count


def wanted_prompts(
    files: Iterable[Path], frames: FrameFormat, max_tokens: int | None = None
) -> list[tuple[int, Prompt]]:
    """The distinct prompts of some JSONL files with the length of their embeddings, by length and file name.

    Args:
        files: Episodes, or other files with `scene_start`, `scene_end`, `text_0` … `text_n`.
        frames: Of the episodes' videos.
        max_tokens: The length of all embeddings; None for the one that fits the length of each episode.

    Raises:
        UserError: A segment has no text.
    """
    prompts: dict[tuple[int, str], Prompt] = {}
    for path in files:
        for line, row in read_rows(path):
            segments = segment_texts(row, path, line)
            length = max_tokens or fitting_tokens(SEGMENT_S * len(segments), frames)[0]
            for prompt in prompts_of(segments):
                if not prompt.text.strip():
                    raise UserError(
                        f"{path} line {line} has a segment without a text",
                        "Write the texts into scenes.jsonl (`text`), or put a .txt beside each video and run `scenes` "
                        "with --overwrite; then run `segments` again. The latents stay.",
                    )
                prompts[length, prompt.file] = prompt
    return [(length, prompts[length, file]) for length, file in sorted(prompts)]


def place(model: str) -> str:
    """The name by which a later run finds a model: a Hub id, or the absolute path of a folder."""
    folder = Path(model).expanduser()
    return str(folder.resolve()) if folder.is_dir() else model


def resolve_precision(options: ModelOptions, settings: Path, device: str, ask: Callable[..., str] | None = None) -> str:
    """The precision that was asked for; `auto` is that of the files that are there, else what the device does best.

    Args:
        options: Of the user.
        settings: What the files that are there were made with.
        device: Where the model runs.
        ask: Calls a function where the device is, if that is another machine.
    """
    from preprocess.encoders.devices import choose_precision

    before = {} if options.overwrite else read_json(settings)
    if options.precision == "auto" and "precision" in before:
        return str(before["precision"])
    if ask is not None:
        return ask(choose_precision, options.precision, device)
    return choose_precision(options.precision, device)


def _still_rejected(folder: Folder, stages: Sequence[int]) -> list[str]:
    return [
        episode.key
        for seconds in {*folder.stages(), *stages}
        for episode in read_episodes(folder, seconds)
        if not (folder.latents(seconds) / f"{episode.key}.pt").is_file()
    ]
