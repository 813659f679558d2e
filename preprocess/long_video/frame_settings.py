"""Rate and size of the frames of a training set: `{"fps": 16, "height": 480, "width": 720, "fit": "crop"}`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args

from preprocess.errors import UnknownNameError, UserError
from preprocess.samples import JSON

Fit = Literal["crop", "pad"]


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """What the frames of every episode are.

    Attributes:
        fps: Frames per second.
        height: In pixels.
        width: In pixels.
        fit: `crop` fills the picture and cuts what stands out; `pad` shows it all, between black bars.
    """

    fps: int = 16
    height: int = 480
    width: int = 720
    fit: Fit = "crop"

    def __post_init__(self) -> None:
        if self.fit not in get_args(Fit):
            raise UnknownNameError("fit", self.fit, get_args(Fit))
        if self.fps < 1 or self.fps % 4:
            raise UserError(f"{self.fps} frames per second do not fill latents of four frames", "Use a multiple of 4.")
        if min(self.height, self.width) < 8 or self.height % 8 or self.width % 8:
            raise UserError(f"a size of {self.height}x{self.width} is no multiple of 8", "Use one, such as 480x720.")

    def to_json(self) -> JSON:
        """As a JSON object, in the order of the fields."""
        return dataclasses.asdict(self)
