"""Trains the tiny CLIP on rendered videos, evaluates it on others, and writes the folder that `from_pretrained` opens.

    python -m tools.tiny_clip.train --out preprocess/demo/tiny_clip --seed 0

A batch is one image of each of the 64 classes and one prompt for each image, so every text has one matching image
and CLIP's loss applies as it is:

    pixels (64, 3, 64, 64)    texts ["a photo of a red circle", "the red square moving up.", …]
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer

from preprocess.console import new_app, progress, run, table
from preprocess.demo.render import render_frames, write_video
from preprocess.demo.scenes import CLEAR, COLORS, FPS, MOTIONS, SHAPES, SIZE, Disturbance, ShapeScene
from preprocess.options import MAX_SEED
from preprocess.storage import publish
from tools.tiny_clip.prompts import (
    END,
    MAX_TOKENS,
    SEEN_TEMPLATES,
    START,
    UNSEEN_TEMPLATES,
    build_tokenizer,
    prompt,
    random_prompt,
)

if TYPE_CHECKING:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

IMAGE_SIZE = 64
PATCH_SIZE = 16
PROJECTION_DIM = 512
FRAMES_PER_CLIP = 4
EVALUATED_PER_CLASS = 4

TRAIN_STREAM, EVALUATION_STREAM = 1, 2
"""Second part of the seeds `(seed, stream, number)`: evaluation clips are never training clips, nor the demo's."""

CARD = Path(__file__).with_name("model_card.md")

Scenes = list[ShapeScene]


@dataclass(frozen=True, slots=True)
class Pool:
    """Frames of rendered videos, as the model's image processor returns them before normalization.

    Attributes:
        scenes: One per clip; clips of one class are adjacent.
        pixels: uint8 `(clips, T, 3, H, W)`.
    """

    scenes: Scenes
    pixels: torch.Tensor

    @property
    def truth(self) -> torch.Tensor:
        """int64 `(clips,)`: the place of each clip's class in `classes()`."""
        places = {scene.label: i for i, scene in enumerate(classes())}
        return torch.tensor([places[scene.label] for scene in self.scenes])


def classes() -> Scenes:
    """One scene of each of the 64 classes, in the order of `labels()`; cycling through the motions."""
    cells = [(color, shape) for color in COLORS for shape in SHAPES]
    return [ShapeScene(color, shape, MOTIONS[i % len(MOTIONS)]) for i, (color, shape) in enumerate(cells)]


def build_image_processor() -> CLIPImageProcessor:
    """Shorter side to 64 pixels, center crop of 64 by 64, and a mean and deviation that suit gray backgrounds."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.25, 0.25, 0.25],
    )


def build_model(tokenizer: CLIPTokenizer, layers: int = 3, width: int = 128) -> CLIPModel:
    """An untrained CLIP, determined by torch's seed; of 1.3 million weights with the default vision tower.

    Args:
        tokenizer: For the size of the vocabulary.
        layers: Of the vision tower.
        width: Of its rows, a multiple of 32, which is the width of a head.
    """
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        projection_dim=PROJECTION_DIM,
        initializer_factor=2.0,
        vision_config={
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": layers,
            "initializer_factor": 2.0,
            "hidden_act": "gelu",  # `quick_gelu` takes three kernels on a CPU, a third of the time
            "num_attention_heads": width // 32,
            "projection_dim": PROJECTION_DIM,
        },
        text_config={
            "vocab_size": len(tokenizer),
            "max_position_embeddings": MAX_TOKENS,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 2,
            "hidden_act": "gelu",
            "num_attention_heads": 4,
            "projection_dim": PROJECTION_DIM,
            # The text's vector is read at the first end token.
            "bos_token_id": tokenizer.convert_tokens_to_ids(START),
            "eos_token_id": tokenizer.convert_tokens_to_ids(END),
            "pad_token_id": tokenizer.convert_tokens_to_ids(END),
        },
    )
    model = CLIPModel(config)
    # Shapes depend on where the patches are; from CLIP's own initialization, near zero, positions are learned slowly.
    positions = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        positions[1:] = 0.5 * _sines(IMAGE_SIZE // PATCH_SIZE, positions.shape[1])
    return model


def _sines(side: int, dim: int) -> torch.Tensor:
    """Positions of a square of patches: sines and cosines of their row and column, `(side², dim)`."""
    n = dim // 4
    angles = torch.arange(side)[:, None] / 1000 ** (torch.arange(n) / n)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = waves[:, None].expand(side, side, 2 * n), waves[None].expand(side, side, 2 * n)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def render_pool(
    clips_per_class: int,
    seed: Sequence[int],
    processor: CLIPImageProcessor,
    draw_disturbance: Callable[[np.random.Generator], Disturbance] = lambda _: CLEAR,
) -> Pool:
    """Renders clips of every class, writes them as h264 of varied quality, and reads their frames back.

    Args:
        clips_per_class: How many clips of each class, cycling through the motions.
        seed: Determines everything; no two pools may share one.
        processor: Resizes and crops the frames.
        draw_disturbance: The disturbance of each clip; by default none.
    """
    import av

    rng = np.random.default_rng(seed)
    scenes = [
        ShapeScene(c.color, c.shape, MOTIONS[(place + k) % len(MOTIONS)])
        for place, c in enumerate(classes())
        for k in range(clips_per_class)
    ]
    clips = []
    with tempfile.TemporaryDirectory() as folder, progress(len(scenes), "clip", "rendering") as bar:
        path = Path(folder) / "clip.mp4"
        for number, scene in enumerate(scenes):
            frames = render_frames(scene, FRAMES_PER_CLIP, SIZE, (*seed, number), draw_disturbance(rng))
            write_video(path, frames, FPS, crf=str(rng.integers(16, 33)))
            with av.open(path) as container:
                decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            clips.append(processor(decoded, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"])
            bar.update()
    return Pool(scenes, torch.stack(clips).to(torch.uint8))


def normalize(pixels: torch.Tensor, processor: CLIPImageProcessor) -> torch.Tensor:
    """uint8 `(N, 3, H, W)` to what the vision tower takes, as the processor does."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (processor.image_mean, processor.image_std))
    return (pixels / 255 - mean) / std


def batches(pool: Pool, steps: int, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Yields an augmented frame of each class and a prompt for each: uint8 `(64, 3, H, W)` and 64 texts."""
    n_classes = len(classes())
    n_clips, n_frames = pool.pixels.shape[:2]
    clips_per_class = n_clips // n_classes
    for _ in range(steps):
        clips = np.arange(n_classes) * clips_per_class + rng.integers(clips_per_class, size=n_classes)
        frames = rng.integers(n_frames, size=n_classes)
        pixels = torch.stack([_augment(pool.pixels[c, f], rng) for c, f in zip(clips, frames, strict=True)])
        yield pixels, [random_prompt(pool.scenes[c], rng) for c in clips]


def _augment(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Shifts an image by up to 4 pixels, repeating its edges, and mirrors half of them: no shape becomes another."""
    padded = torch.nn.functional.pad(image[None].float(), (4, 4, 4, 4), mode="replicate")[0]
    top, left = rng.integers(9, size=2)
    cut = padded[:, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    return cut.flip(-1) if rng.random() < 0.5 else cut


def train(
    model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor, pool: Pool, steps: int, seed: int
) -> list[float]:
    """Trains in place with CLIP's contrastive loss: AdamW, warm-up and cosine decay.

    Returns:
        The loss of every step; ln 64 = 4.16 is chance.
    """
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.99)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps, pct_start=0.1)
    losses = []
    model.train()
    with progress(steps, "step", "training") as bar:
        for pixels, texts in batches(pool, steps, np.random.default_rng((seed, TRAIN_STREAM))):
            inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
            loss = model(**inputs, pixel_values=normalize(pixels, processor), return_loss=True).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(max=4.6052)  # a factor of 100, as CLIP was trained
            losses.append(loss.item())
            bar.set_postfix(loss=f"{losses[-1]:.3f}")
            bar.update()
    return losses


@torch.inference_mode()
def zero_shot_top1(
    model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor, pool: Pool, template: str
) -> float:
    """Share of clips whose class is the nearest text, by the cosine to the mean of the clip's unit vectors."""
    model.train(False)
    n_clips, n_frames = pool.pixels.shape[:2]
    vectors = model.get_image_features(pixel_values=normalize(pool.pixels.flatten(0, 1), processor)).pooler_output
    clips = torch.nn.functional.normalize(vectors, dim=-1).reshape(n_clips, n_frames, -1).mean(dim=1)
    inputs = tokenizer([prompt(template, scene) for scene in classes()], padding=True, return_tensors="pt")
    texts = torch.nn.functional.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)
    return float(((clips @ texts.T).argmax(dim=1) == pool.truth).float().mean())


app = new_app(__doc__.split("\n\n")[0])


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder for the model, its tokenizer, image processor and card.")],
    seed: Annotated[
        int, typer.Option(min=0, max=MAX_SEED, help="Seed of the videos, the initial weights and the order.")
    ] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 64 images.")] = 2000,
    clips: Annotated[int, typer.Option(min=1, help="Training clips of each of the 64 classes.")] = 64,
) -> None:
    """Train the tiny CLIP, print its accuracy, and write it."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # A model this small gains little from more threads, and one thread gives the same weights on any number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer, processor = build_tokenizer(), build_image_processor()
    model = build_model(tokenizer)
    losses = train(model, tokenizer, processor, render_pool(clips, (seed, TRAIN_STREAM), processor), steps, seed)

    evaluated = render_pool(EVALUATED_PER_CLASS, (seed, EVALUATION_STREAM), processor)
    top1 = {
        template: zero_shot_top1(model, tokenizer, processor, evaluated, template)
        for template in (*SEEN_TEMPLATES, *UNSEEN_TEMPLATES)
    }
    print(f"loss of the last 50 steps: {np.mean(losses[-50:]):.4f} (chance: {math.log(len(classes())):.4f})")
    print(table([("prompt", "top-1"), *((template, f"{share:.4f}") for template, share in top1.items())]))

    weights = sum(parameter.numel() for parameter in model.parameters())
    rows = (
        f"| `{template}` | {'yes' if template in SEEN_TEMPLATES else 'no'} | {top1[template]:.3f} |"
        for template in top1
    )
    card = Template(CARD.read_text(encoding="utf-8")).substitute(
        weights=f"{weights:,}",
        megabytes=f"{weights * 4 / 1e6:.1f}",
        colors=_listed(COLORS),
        shapes=_listed(SHAPES),
        seed=seed,
        train_clips=f"{clips * len(classes()):,}",
        frames=FRAMES_PER_CLIP,
        steps=f"{steps:,}",
        tokens=len(tokenizer),
        evaluated_clips=len(evaluated.scenes),
        rows="\n".join(rows),
    )
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.parent) as folder:
        for part in (model, tokenizer, processor):
            part.save_pretrained(folder)
        Path(folder, "README.md").write_text(card, encoding="utf-8")
        for path in sorted(Path(folder).iterdir()):
            publish(path, out / path.name)


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


if __name__ == "__main__":
    run(app, "python -m tools.tiny_clip.train")
