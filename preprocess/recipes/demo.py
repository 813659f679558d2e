"""CLIP-Shapes: rendered videos of colored shapes that move: labeled clips, and videos of several scenes.

Two samples:

    {"key": "red_circle_left_000", "split": "train", "media": "train/red_circle_left_000.mp4",
     "captions": ["a red circle moving left"], "label": "red circle", "start_s": null, "end_s": null,
     "meta": {"caption_timestamps": null, "color": "red", "shape": "circle", "motion": "left"}}
    {"key": "scenes_112", "split": "test", "media": "test/scenes_112.mp4",
     "captions": ["a cyan ring moving left", "a red triangle moving left", …], "label": null, "start_s": null,
     "end_s": null, "meta": {"caption_timestamps": [[0.0, 3.416667], …], "color": null, "shape": null, "motion": null}}
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from preprocess.demo.plan import DemoVideo, demo_plan
from preprocess.demo.scenes import FPS
from preprocess.readers.splits import in_order
from preprocess.samples import JSON, DatasetSpec, RecipeOptions, Sample

SPEC = DatasetSpec(
    name="demo",
    title="Shapes",
    license="apache-2.0",
    citation="",
    homepage="",
    languages=("en",),
    annotations_creators=("machine-generated",),
    language_creators=("machine-generated",),
    task_categories=(
        "video-classification",
        "zero-shot-classification",
        "text-to-video",
        "video-text-to-text",
        "feature-extraction",
    ),
    raw_layout="""\
RAW/                                 rendered where it is missing: nothing to download
├── train/red_circle_left_000.mp4    clips of one scene of 2.5 to 4.5 s, 128x96 pixels
├── train/scenes_054.mp4             videos of 3 to 5 scenes
├── val/
└── test/
""",
    encoder="tiny-clip",
    caption_mode="concat",
    media_license="apache-2.0",
)


def samples(raw: Path, options: RecipeOptions) -> Iterator[Sample]:
    """Yields the samples of the plan in order; neither the folder nor the options change them."""
    yield from in_order(
        Sample(
            key=video.key,
            split=video.split,
            media=video.media,
            captions=tuple(part.scene.caption for part in video.scenes),
            label=video.clip.label if video.clip else None,
            meta=_meta(video),
        )
        for video in demo_plan()
    )


def _meta(video: DemoVideo) -> JSON:
    """The same keys for every video: color, shape and motion of a clip, or the times of several captions."""
    clip = video.clip
    return {
        "caption_timestamps": None if clip else video.windows,
        "color": clip.color if clip else None,
        "shape": clip.shape if clip else None,
        "motion": clip.motion if clip else None,
    }


def prepare(raw: Path) -> None:
    """Renders the videos that do not exist below `raw` yet; each file is written atomically."""
    from preprocess.demo.render import render_video, write_video

    for video in demo_plan():
        path = raw / video.media
        if not path.exists():
            write_video(path, render_video(video), FPS)
