"""Trains the tiny CLIP on rendered videos, judges it on others, and writes the folder that `from_pretrained` opens.

    python -m preprocess.demo.train --out preprocess/demo/tiny_clip --seed 0

A batch is one image of each of the 64 classes and one prompt for each image, so every text has one right image and
CLIP's loss needs no change:

    pixels (64, 3, 64, 64)    texts ["a photo of a red circle", "the red square moving up.", …]
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Annotated

import numpy as np
import torch
import typer

from preprocess.console import new_app, progress, run, table
from preprocess.demo.prompts import (
    END,
    JUDGED_TEMPLATES,
    MAX_TOKENS,
    START,
    UNSEEN_TEMPLATES,
    build_tokenizer,
    prompt,
    random_prompt,
)
from preprocess.demo.render import render_frames, write_video
from preprocess.demo.scenes import COLOURS, FPS, MOTIONS, SHAPES, SIZE, Scene

if TYPE_CHECKING:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

IMAGE_SIZE = 64
PATCH_SIZE = 16
PROJECTION_DIM = 512
FRAMES_PER_CLIP = 4
JUDGED_PER_CLASS = 4

TRAIN_STREAM, JUDGE_STREAM = 1, 2
"""Second part of the seeds `(seed, stream, number)`: what is judged is never what was trained on, nor the demo."""

CARD = Path(__file__).with_name("tiny_clip_card.md")

Scenes = list[Scene]


@dataclass(frozen=True, slots=True)
class Pool:
    """Frames of rendered videos, as the model's image processor leaves them but for the normalisation.

    Attributes:
        scenes: One per clip; clips of one class follow each other.
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
    """One scene of each of the 64 classes, in the order of `labels()`; the motions take turns."""
    cells = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    return [Scene(colour, shape, MOTIONS[i % len(MOTIONS)]) for i, (colour, shape) in enumerate(cells)]


def build_image_processor() -> CLIPImageProcessor:
    """Shorter side to 64 pixels, centre crop of 64 by 64, and a mean and deviation that suit grey backgrounds."""
    from transformers import CLIPImageProcessor

    return CLIPImageProcessor(
        size={"shortest_edge": IMAGE_SIZE},
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5, 0.5, 0.5],
        image_std=[0.25, 0.25, 0.25],
    )


def build_model(tokenizer: CLIPTokenizer) -> CLIPModel:
    """A CLIP of 1.3 million weights, not trained; torch's seed settles it."""
    from transformers import CLIPConfig, CLIPModel

    config = CLIPConfig(
        projection_dim=PROJECTION_DIM,
        initializer_factor=2.0,
        vision_config={
            "image_size": IMAGE_SIZE,
            "patch_size": PATCH_SIZE,
            "hidden_size": 128,
            "intermediate_size": 512,
            "num_hidden_layers": 3,
            "initializer_factor": 2.0,
            "hidden_act": "gelu",  # `quick_gelu` is three kernels on a CPU: a third of the time
            "num_attention_heads": 4,
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
            # The text's vector is read where the first end token stands.
            "bos_token_id": tokenizer.convert_tokens_to_ids(START),
            "eos_token_id": tokenizer.convert_tokens_to_ids(END),
            "pad_token_id": tokenizer.convert_tokens_to_ids(END),
        },
    )
    model = CLIPModel(config)
    # Where a patch lies is what makes a shape of its parts; from CLIP's own start, near zero, it is learned slowly.
    positions = model.vision_model.embeddings.position_embedding.weight
    with torch.no_grad():
        positions[1:] = 0.5 * _sines(IMAGE_SIZE // PATCH_SIZE, positions.shape[1])
    return model


def _sines(side: int, dim: int) -> torch.Tensor:
    """Positions of a square of patches, as the sines and cosines of their row and column: `(side², dim)`."""
    n = dim // 4
    angles = torch.arange(side)[:, None] / 1000 ** (torch.arange(n) / n)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = waves[:, None].expand(side, side, 2 * n), waves[None].expand(side, side, 2 * n)
    return torch.cat([rows, columns], dim=2).flatten(0, 1)


def render_pool(clips_per_class: int, seed: Sequence[int], processor: CLIPImageProcessor) -> Pool:
    """Renders clips of every class, writes them as h264 of varied quality, and reads their frames back.

    Args:
        clips_per_class: How many clips of each class, every motion in turn.
        seed: Settles everything; no two pools may share one.
        processor: Resizes and crops the frames.
    """
    import av

    rng = np.random.default_rng(seed)
    scenes = [
        Scene(c.colour, c.shape, MOTIONS[(place + k) % len(MOTIONS)])
        for place, c in enumerate(classes())
        for k in range(clips_per_class)
    ]
    clips = []
    with tempfile.TemporaryDirectory() as folder, progress(len(scenes), "clip", "rendering") as bar:
        path = Path(folder) / "clip.mp4"
        for number, scene in enumerate(scenes):
            frames = render_frames(scene, FRAMES_PER_CLIP, SIZE, (*seed, number))
            write_video(path, frames, FPS, crf=str(rng.integers(16, 33)))
            with av.open(path) as container:
                decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
            clips.append(processor(decoded, do_rescale=False, do_normalize=False, return_tensors="pt")["pixel_values"])
            bar.update()
    return Pool(scenes, torch.stack(clips).to(torch.uint8))


def normalise(pixels: torch.Tensor, processor: CLIPImageProcessor) -> torch.Tensor:
    """uint8 `(N, 3, H, W)` to what the vision tower takes, as the processor does it."""
    mean, std = (torch.tensor(v)[:, None, None] for v in (processor.image_mean, processor.image_std))
    return (pixels / 255 - mean) / std


def batches(pool: Pool, steps: int, rng: np.random.Generator) -> Iterator[tuple[torch.Tensor, list[str]]]:
    """Yields a frame of each class, varied, and a prompt for each: uint8 `(64, 3, H, W)` and 64 texts."""
    n_classes = len(classes())
    n_clips, n_frames = pool.pixels.shape[:2]
    clips_per_class = n_clips // n_classes
    for _ in range(steps):
        clips = np.arange(n_classes) * clips_per_class + rng.integers(clips_per_class, size=n_classes)
        frames = rng.integers(n_frames, size=n_classes)
        pixels = torch.stack([_vary(pool.pixels[c, f], rng) for c, f in zip(clips, frames, strict=True)])
        yield pixels, [random_prompt(pool.scenes[c], rng) for c in clips]


def _vary(image: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Moves an image by up to 4 pixels, its edges repeated, and mirrors every second one: each shape stays itself."""
    padded = torch.nn.functional.pad(image[None].float(), (4, 4, 4, 4), mode="replicate")[0]
    top, left = rng.integers(9, size=2)
    cut = padded[:, top : top + IMAGE_SIZE, left : left + IMAGE_SIZE]
    return cut.flip(-1) if rng.random() < 0.5 else cut


def train(
    model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor, pool: Pool, steps: int, seed: int
) -> list[float]:
    """Trains in place with CLIP's contrastive loss: AdamW, warm-up and cosine.

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
            loss = model(**inputs, pixel_values=normalise(pixels, processor), return_loss=True).loss
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
    vectors = model.get_image_features(pixel_values=normalise(pool.pixels.flatten(0, 1), processor)).pooler_output
    clips = torch.nn.functional.normalize(vectors, dim=-1).reshape(n_clips, n_frames, -1).mean(dim=1)
    inputs = tokenizer([prompt(template, scene) for scene in classes()], padding=True, return_tensors="pt")
    texts = torch.nn.functional.normalize(model.get_text_features(**inputs).pooler_output, dim=-1)
    return float(((clips @ texts.T).argmax(dim=1) == pool.truth).float().mean())


app = new_app(__doc__.split("\n\n")[0])


@app.command()
def main(
    out: Annotated[Path, typer.Option(help="Folder for the model, its tokenizer, image processor and card.")],
    seed: Annotated[int, typer.Option(help="Of the videos, the first weights and the order.")] = 0,
    steps: Annotated[int, typer.Option(min=1, help="Batches of 64 images.")] = 2000,
    clips: Annotated[int, typer.Option(min=1, help="Training clips of each of the 64 classes.")] = 64,
) -> None:
    """Trains the tiny CLIP, prints how well it does, and writes it."""
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    # So small a model gains little from a second thread, and one gives the same weights on any number of cores.
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    tokenizer, processor = build_tokenizer(), build_image_processor()
    model = build_model(tokenizer)
    losses = train(model, tokenizer, processor, render_pool(clips, (seed, TRAIN_STREAM), processor), steps, seed)

    judged = render_pool(JUDGED_PER_CLASS, (seed, JUDGE_STREAM), processor)
    top1 = {
        template: zero_shot_top1(model, tokenizer, processor, judged, template)
        for template in (*JUDGED_TEMPLATES, *UNSEEN_TEMPLATES)
    }
    print(f"loss of the last 50 steps: {np.mean(losses[-50:]):.4f} (chance: {math.log(len(classes())):.4f})")
    print(table([("prompt", "top-1"), *((template, f"{share:.4f}") for template, share in top1.items())]))

    for part in (model, tokenizer, processor):
        part.save_pretrained(out)
    weights = sum(parameter.numel() for parameter in model.parameters())
    rows = (
        f"| `{template}` | {'yes' if template in JUDGED_TEMPLATES else 'no'} | {top1[template]:.3f} |"
        for template in top1
    )
    card = Template(CARD.read_text(encoding="utf-8")).substitute(
        weights=f"{weights:,}",
        megabytes=f"{weights * 4 / 1e6:.1f}",
        colours=_listed(COLOURS),
        shapes=_listed(SHAPES),
        seed=seed,
        train_clips=f"{clips * len(classes()):,}",
        frames=FRAMES_PER_CLIP,
        steps=f"{steps:,}",
        tokens=len(tokenizer),
        judged_clips=len(judged.scenes),
        rows="\n".join(rows),
    )
    (out / "README.md").write_text(card, encoding="utf-8")


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


if __name__ == "__main__":
    run(app, "python -m preprocess.demo.train")
