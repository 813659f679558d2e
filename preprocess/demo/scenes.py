"""What the demo shows, in words: scenes, and the plan of the 96 clips of CLIP-Shapes. Nothing is drawn here.

A clip of the plan, as `red_circle_left_000` stands in it:

    DemoClip(split="train", number=0, scene=Scene(colour="red", shape="circle", motion="left"), n_frames=43)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from preprocess.samples import Split

Colour = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Shape = Literal["circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart"]
Motion = Literal["left", "right", "up", "down"]

COLOURS: tuple[Colour, ...] = get_args(Colour)
SHAPES: tuple[Shape, ...] = get_args(Shape)
MOTIONS: tuple[Motion, ...] = get_args(Motion)

FPS = 12
"""Frames per second of the demo's clips."""

SIZE = (96, 128)
"""Height and width in pixels of the demo's clips: wider than high, so that the centre crop has something to cut."""

SEED = 2025
"""The demo's clip `number` is drawn with the seed `(SEED, number)`. Training draws from other seeds."""


@dataclass(frozen=True, slots=True)
class Scene:
    """One coloured shape that moves one way.

    Attributes:
        colour: One of `COLOURS`.
        shape: One of `SHAPES`.
        motion: One of `MOTIONS`: where the shape goes, as the viewer sees it.
    """

    colour: Colour
    shape: Shape
    motion: Motion

    def __post_init__(self) -> None:
        if self.colour not in COLOURS:
            raise ValueError(f"colour must be one of {COLOURS}, got {self.colour!r}")
        if self.shape not in SHAPES:
            raise ValueError(f"shape must be one of {SHAPES}, got {self.shape!r}")
        if self.motion not in MOTIONS:
            raise ValueError(f"motion must be one of {MOTIONS}, got {self.motion!r}")

    @property
    def label(self) -> str:
        """The class: `red circle`."""
        return f"{self.colour} {self.shape}"

    @property
    def caption(self) -> str:
        """The sentence: `a red circle moving left`."""
        return f"{with_article(self.label)} moving {self.motion}"


@dataclass(frozen=True, slots=True)
class DemoClip:
    """One video of the demo, before it is drawn.

    Attributes:
        split: `train`, `val` or `test`.
        number: Its place in the plan, from 0; with `SEED` it settles size, path and background.
        scene: What it shows.
        n_frames: Its length in frames, at `FPS`.
    """

    split: Split
    number: int
    scene: Scene
    n_frames: int

    @property
    def key(self) -> str:
        """The sample's key: `red_circle_left_000`."""
        return f"{self.scene.colour}_{self.scene.shape}_{self.scene.motion}_{self.number:03d}"

    @property
    def media(self) -> str:
        """The file's path below the raw folder: `train/red_circle_left_000.mp4`."""
        return f"{self.split}/{self.key}.mp4"


def with_article(label: str) -> str:
    """`red circle` becomes `a red circle`, `orange ring` becomes `an orange ring`."""
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def labels() -> tuple[str, ...]:
    """All 64 classes, colour by colour: `red circle`, `red square`, …"""
    return tuple(f"{colour} {shape}" for colour in COLOURS for shape in SHAPES)


def demo_plan() -> Iterator[DemoClip]:
    """The clips of CLIP-Shapes: 64 to train on, 16 to validate and 16 to test, the same on every machine.

    Train holds each class once. Val and test hold 16 classes each, none in both; in each of them every colour and
    every shape comes twice. No split holds a class twice, so that a caption has one right video in retrieval. The
    four motions come equally often in every split.
    """
    n = len(COLOURS)
    grid = [(c, s) for c in range(n) for s in range(n)]
    # The diagonals of the grid of colours and shapes: each holds every colour and every shape once.
    diagonals = {k: [(c, (c + k) % n) for c in range(n)] for k in range(n)}
    members: dict[Split, list[tuple[int, int]]] = {
        "train": grid,
        "val": diagonals[1] + diagonals[4],
        "test": diagonals[2] + diagonals[7],
    }
    number = 0
    for split, cells in members.items():
        for place, (colour, shape) in enumerate(cells):
            # `place // n` turns the motions from row to row: no colour and no shape is tied to one motion.
            motion = MOTIONS[(place + place // n) % len(MOTIONS)]
            # Between 2.5 s and 4.5 s: three to five rows at one frame per second.
            n_frames = int(np.random.default_rng((SEED, number)).integers(5 * FPS // 2, 9 * FPS // 2, endpoint=True))
            yield DemoClip(split, number, Scene(COLOURS[colour], SHAPES[shape], motion), n_frames)
            number += 1
