"""What the options of the long-video commands mean; options left out are as in an earlier run on the same folder."""

from __future__ import annotations

import re
from typing import Literal

from preprocess.errors import UserError
from preprocess.formats.layout import read_json
from preprocess.long_video.components import COGVIDEOX
from preprocess.long_video.folder import Folder
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.samples import JSON

MAX_STAGE_S = 3600
"""Longest episode: 20 times what models are trained on today."""


def chosen_model(
    folder: Folder, name: str, given: str | None, revision: str | None, before: JSON
) -> tuple[str, str | None]:
    """The model and revision that are named, else those of the files that are there, else CogVideoX."""
    if given is not None:
        return given, revision
    return folder.noted(name) or COGVIDEOX, revision or before.get("revision")


def chosen_frames(folder: Folder, size: str | None, fps: int | None, fit: Literal["crop", "pad"] | None) -> FrameFormat:
    """The frame format of an earlier plan, with what the user changes."""
    chosen: JSON = {**read_json(folder.frames)}
    if size is not None:
        chosen["height"], chosen["width"] = parse_size(size)
    chosen |= {name: value for name, value in (("fps", fps), ("fit", fit)) if value is not None}
    return FrameFormat(**chosen)


def parse_stages(text: str | None) -> tuple[int, ...] | None:
    """`3,9` as lengths in seconds, sorted; None where the option is left out.

    Raises:
        UserError: They are not multiples of 3, or too long.
    """
    if text is None:
        return None
    try:
        stages = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError as error:
        raise UserError(f"--seconds {text!r} is not a list of whole numbers", "Write --seconds 3,9,18.") from error
    for seconds in stages:
        if not SEGMENT_S <= seconds <= MAX_STAGE_S or seconds % SEGMENT_S:
            raise UserError(
                f"a stage of {seconds} s cannot be made of segments of {SEGMENT_S} s, or is above {MAX_STAGE_S} s",
                f"Use multiples of {SEGMENT_S}: --seconds 3,9,18.",
            )
    return stages


def parse_size(text: str) -> tuple[int, int]:
    """`480x720` as height and width.

    Raises:
        UserError: It is something else.
    """
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise UserError(f"--size {text!r} is not height x width", "Write --size 480x720.")
    return int(match[1]), int(match[2])
