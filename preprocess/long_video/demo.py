"""Inputs of `long-video demo`: rendered videos with several scenes, and three small untrained models.

One line of the annotations that come with the videos:

    {"video": "garden.mp4", "start": 10.0, "end": 16.5, "text": "a blue star moving up"}

The models have the classes of CogVideoX's components and are loaded by the same `from_pretrained`; their configs are
small and their weights are random with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from preprocess.demo.scenes import ShapeScene
from preprocess.long_video.components import require
from preprocess.long_video.folder import write_rows
from preprocess.storage import atomic_folder, remove_temporary

SIZE = (64, 96)
"""Height and width in pixels, with the aspect ratio of 480x720."""

FPS = 24
"""Frame rate of the rendered videos; it differs from the 16 of the training set, so that resampling is exercised."""

VIDEOS: dict[str, tuple[tuple[float, ShapeScene], ...]] = {
    "garden.mp4": (
        (10.0, ShapeScene("red", "circle", "left")),
        (6.5, ShapeScene("blue", "star", "up")),
        (2.5, ShapeScene("green", "square", "right")),
        (1.5, ShapeScene("purple", "heart", "down")),  # too short: discarded
        (3.0, ShapeScene("yellow", "ring", "left")),
    ),
    "harbour.mp4": (
        (9.0, ShapeScene("cyan", "cross", "down")),
        (7.25, ShapeScene("orange", "diamond", "left")),
    ),
}
"""Seconds and content of each scene."""


def render_videos(raw: Path) -> Path:
    """Renders missing videos and writes the annotation file beside them; returns the path of that file."""
    from preprocess.demo.render import write_video

    rows = []
    for name, scenes in VIDEOS.items():
        if not (raw / name).is_file():
            write_video(raw / name, scene_frames(scenes), FPS)
        start = 0.0
        for seconds, scene in scenes:
            rows.append({"video": name, "start": start, "end": start + seconds, "text": scene.caption})
            start += seconds
    annotations = raw / "scenes.jsonl"
    write_rows(annotations, rows)
    return annotations


def scene_frames(
    scenes: tuple[tuple[float, ShapeScene], ...], size: tuple[int, int] = SIZE
) -> Iterator[NDArray[np.uint8]]:
    """The frames of consecutive scenes with a hard cut between them, uint8 `(H, W, 3)` each."""
    from preprocess.demo.render import render_frames

    for number, (seconds, scene) in enumerate(scenes):
        yield from render_frames(scene, round(seconds * FPS), size, seed=number)


def make_models(folder: Path) -> None:
    """Writes missing `vae`, `text_encoder` and `tokenizer` folders, laid out as on the Hub."""
    require("diffusers")
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from transformers import T5Config, T5EncoderModel, T5Tokenizer

    from preprocess.encoders.process import quiet

    quiet()
    remove_temporary(folder)
    if not (folder / "vae").is_dir():
        torch.manual_seed(0)
        vae: Any = AutoencoderKLCogVideoX(  # type: ignore[no-untyped-call]
            block_out_channels=(8, 8, 8, 8),
            layers_per_block=1,
            norm_num_groups=4,
            sample_height=SIZE[0],
            sample_width=SIZE[1],
        )
        _save(vae, folder / "vae")
    if not (folder / "tokenizer").is_dir():
        _save(T5Tokenizer(vocab=_pieces(), extra_ids=0), folder / "tokenizer")
    if not (folder / "text_encoder").is_dir():
        torch.manual_seed(0)
        config = T5Config(
            vocab_size=len(_pieces()),
            d_model=32,
            d_kv=8,
            d_ff=64,
            num_layers=2,
            num_heads=4,
            feed_forward_proj="gated-gelu",
            is_encoder_decoder=False,
        )
        _save(T5EncoderModel(config), folder / "text_encoder")


def _save(component: Any, folder: Path) -> None:
    """Publishes a whole folder, so that an interrupted run leaves nothing that looks complete."""
    with atomic_folder(folder) as temporary:
        component.save_pretrained(temporary)


def _pieces() -> list[tuple[str, float]]:
    """A vocabulary in T5's order, with log-probabilities: special tokens, then the captions' words, then letters."""
    words = sorted({word for scenes in VIDEOS.values() for _, scene in scenes for word in scene.caption.split()})
    letters = "▁abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,'!?-"
    special = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0)]
    return [*special, *((f"▁{word}", -3.0) for word in words if len(word) > 1), *((letter, -8.0) for letter in letters)]
