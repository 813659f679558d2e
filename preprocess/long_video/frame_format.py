"""Rate and size of the frames of a training set: `{"fps": 16, "height": 480, "width": 720, "fit": "crop"}`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from preprocess.errors import UnknownNameError, UserError
from preprocess.samples import JSON

Fit = Literal["crop", "pad"]

MAX_FPS = 240
MAX_SIDE = 8192
"""Largest height and width, in pixels: those of 8K video."""


@dataclass(frozen=True, slots=True)
class FrameFormat:
    """Rate, size and fitting of the frames of every episode.

    Attributes:
        fps: Frames per second.
        height: In pixels.
        width: In pixels.
        fit: `crop` fills the frame and crops the rest; `pad` keeps the whole picture and adds black bars.
    """

    fps: int = 16
    height: int = 480
    width: int = 720
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise UnknownNameError("fit", self.fit, get_args(Fit))
        if not 1 <= self.fps <= MAX_FPS or self.fps % 4:
            raise UserError(
                f"{self.fps} frames per second is not divisible by 4, the number of frames per latent, or is above "
                f"{MAX_FPS}",
                "Use a multiple of 4.",
            )
        sides = (self.height, self.width)
        if min(sides) < 8 or max(sides) > MAX_SIDE or self.height % 8 or self.width % 8:
            raise UserError(
                f"a size of {self.height}x{self.width} is not a multiple of 8, or is above {MAX_SIDE}",
                "Use one, such as 480x720.",
            )

    def to_json(self) -> JSON:
        """As a JSON object, in the order of the fields."""
        return dataclasses.asdict(self)
