"""CLIP-Shapes: 96 rendered clips of one coloured shape that moves one way. Nothing is downloaded.

One sample:

    {"key": "red_circle_left_000", "split": "train", "media": "train/red_circle_left_000.mp4",
     "captions": ["a red circle moving left"], "label": "red circle", "start_s": null, "end_s": null,
     "meta": {"colour": "red", "shape": "circle", "motion": "left"}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.demo.scenes import FPS, SEED, SIZE, demo_plan
from preprocess.recipes._splits import in_order
from preprocess.samples import DatasetSpec, RecipeOptions, Sample

SPEC = DatasetSpec(
    name="demo",
    hub_name="CLIP-Shapes",
    license="apache-2.0",
    citation="",
    homepage="",
    languages=("en",),
    task_categories=("video-classification", "zero-shot-classification", "feature-extraction"),
    raw_layout="""\
RAW/                                 rendered where it is missing: nothing to download
├── train/red_circle_left_000.mp4    64 clips of 2.5 to 4.5 s, 128x96 pixels, one of each class
├── val/                             16 clips
└── test/                            16 clips
""",
    encoder="tiny-clip",
    media_license="apache-2.0",
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """Yields the 96 samples of the plan in order; neither the folder nor the options change them."""
    yield from in_order(
        Sample(
            key=clip.key,
            split=clip.split,
            media=clip.media,
            captions=(clip.scene.caption,),
            label=clip.scene.label,
            meta={"colour": clip.scene.colour, "shape": clip.scene.shape, "motion": clip.scene.motion},
        )
        for clip in demo_plan()
    )


def prepare(raw: Path) -> None:
    """Renders the clips that are not there yet below `raw`; a file appears whole or not at all."""
    from preprocess.demo.render import render_frames, write_video

    for clip in demo_plan():
        path = raw / clip.media
        if not path.exists():
            write_video(path, render_frames(clip.scene, clip.n_frames, SIZE, (SEED, clip.number)), FPS)
