"""What the demo's videos show: colored shapes that move, clearly or disturbed.

    ShapeScene(color="red", shape="circle", motion="left").caption    "a red circle moving left"

Which scenes the demo has is in `preprocess.demo.plan`, rendering in `preprocess.demo.render`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

Color = Literal["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"]
Shape = Literal["circle", "square", "triangle", "diamond", "star", "cross", "ring", "heart"]
Motion = Literal["left", "right", "up", "down"]

COLORS: tuple[Color, ...] = get_args(Color)
SHAPES: tuple[Shape, ...] = get_args(Shape)
MOTIONS: tuple[Motion, ...] = get_args(Motion)

FPS = 8
"""Frames per second of the demo's videos."""

SIZE = (96, 128)
"""Height and width in pixels of the demo's videos: wider than high, so that the center crop has an effect."""


@dataclass(frozen=True, slots=True)
class ShapeScene:
    """One colored shape that moves in one direction.

    Attributes:
        color: One of `COLORS`.
        shape: One of `SHAPES`.
        motion: One of `MOTIONS`: its direction, as seen by the viewer.
    """

    color: Color
    shape: Shape
    motion: Motion

    def __post_init__(self) -> None:
        if self.color not in COLORS:
            raise ValueError(f"color must be one of {COLORS}, got {self.color!r}")
        if self.shape not in SHAPES:
            raise ValueError(f"shape must be one of {SHAPES}, got {self.shape!r}")
        if self.motion not in MOTIONS:
            raise ValueError(f"motion must be one of {MOTIONS}, got {self.motion!r}")

    @property
    def label(self) -> str:
        """The class: `red circle`."""
        return f"{self.color} {self.shape}"

    @property
    def caption(self) -> str:
        """The caption: `a red circle moving left`."""
        return f"{with_article(self.label)} moving {self.motion}"


@dataclass(frozen=True, slots=True)
class Disturbance:
    """What makes a scene harder to recognize; by default nothing does.

    Attributes:
        haze: Share of gray that is blended over the picture, 0 to 1: less color and less contrast.
        noise: Standard deviation of the grain that is added to the brightness of each pixel, of 255.
        cover: Width of a gray bar in front of the shape's path, as a share of the picture's shorter side, 0 to 1.
        scale: Size of the shape, as a share of its usual size, above 0 and at most 1.
    """

    haze: float = 0.0
    noise: float = 0.0
    cover: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.haze <= 1:
            raise ValueError(f"haze must be between 0 and 1, got {self.haze}")
        if not self.noise >= 0:
            raise ValueError(f"noise must be 0 or more, got {self.noise}")
        if not 0 <= self.cover <= 1:
            raise ValueError(f"cover must be between 0 and 1, got {self.cover}")
        if not 0 < self.scale <= 1:
            raise ValueError(f"scale must be above 0 and at most 1, got {self.scale}")


CLEAR = Disturbance()
"""No disturbance."""


def with_article(label: str) -> str:
    """`red circle` becomes `a red circle`, `orange ring` becomes `an orange ring`."""
    return f"{'an' if label[0] in 'aeiou' else 'a'} {label}"


def labels() -> tuple[str, ...]:
    """All 64 classes, color by color: `red circle`, `red square`, …"""
    return tuple(f"{color} {shape}" for color in COLORS for shape in SHAPES)
