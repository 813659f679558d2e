"""The frames of an episode: `16·L + 1` pictures of one size, read a segment at a time.

Frame k of an episode lies in segment k // 48 and is what is on screen (k mod 48) / 16 seconds after that segment's
start. Times are counted from the start of the segment, never from the frame before, so nothing drifts. The last frame
belongs to the last segment, at its very end. After the end of a scene its last frame stays: that pads a scene of 2.5 s
to three, and keeps the next scene out of the last frame of this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import MediaError
from preprocess.long_video.frame_settings import Fit, FrameSettings
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.media.sampling import TIME_NOISE_S, Sampling

if TYPE_CHECKING:
    from preprocess.long_video.segments import Segment
    from preprocess.media.video import Transform

Pixels = NDArray[np.uint8]

_JUST_BEFORE_S = 1e-6
"""The last frame of a scene is on screen this long before its end; no frame is that short, and no time that exact."""


def fit_picture(height: int, width: int, fit: Fit) -> Transform:
    """Makes the transform to `(height, width)`: resized (bicubic, antialiased, on uint8), then cropped or padded."""
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    from preprocess.media.transforms import center_crop

    choose = max if fit == "crop" else min

    def transform(image: Pixels) -> Pixels:
        scale = choose(height / image.shape[0], width / image.shape[1])
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        tensor = resize(tensor, size, interpolation=InterpolationMode.BICUBIC, antialias=True)
        return center_crop(tensor.permute(1, 2, 0).numpy(), height, width)

    return transform


def episode_frames(path: Path, segments: Iterable[Segment], settings: FrameSettings) -> Iterator[Pixels]:
    """Reads an episode a segment at a time.

    Yields:
        uint8 `(48, H, W, 3)` per segment at 16 frames per second, `(49, H, W, 3)` for the last.

    Raises:
        MediaError: As `read_video`; `truncated` where the video is shorter than the scene.
    """
    transform = fit_picture(settings.height, settings.width, settings.fit)
    *before, last = segments
    for segment in before:
        yield segment_frames(path, segment, settings.fps, SEGMENT_S * settings.fps, transform)
    yield segment_frames(path, last, settings.fps, SEGMENT_S * settings.fps + 1, transform)


def segment_frames(path: Path, segment: Segment, fps: int, count: int, transform: Transform) -> Pixels:
    """The first `count` frames from the start of a segment: uint8 `(count, H, W, 3)`.

    Raises:
        MediaError: As `episode_frames`.
    """
    from preprocess.media.video import read_video

    # Half a step behind the last frame: the window holds exactly `count` times, however they are rounded.
    end_s = min(segment.start_s + (count - 0.5) / fps, segment.scene_end_s)
    rows = min(count, math.ceil((end_s - segment.start_s - TIME_NOISE_S) * fps))
    clip = read_video(path, Sampling.fps(fps), start_s=segment.start_s, end_s=end_s, transform=transform)
    pixels = clip.frames.pixels
    if len(pixels) < rows:
        raise MediaError(
            "truncated", f"{path.name} lasts {clip.duration_s:.3f} s and has no frame for {end_s:.3f} s of its scene"
        )
    if rows == count:
        return pixels
    just_before = max(0.0, segment.scene_end_s - _JUST_BEFORE_S)
    last = read_video(path, Sampling.fps(fps), start_s=just_before, end_s=segment.scene_end_s, transform=transform)
    return np.concatenate([pixels, np.repeat(last.frames.pixels[:1], count - rows, axis=0)])


def regroup(parts: Iterable[Pixels], sizes: Iterable[int]) -> Iterator[Pixels]:
    """Cuts a stream of frames into groups of the given sizes, holding no more than a part and a group.

    Raises:
        ValueError: The stream ends before the sizes do, or goes on.
    """
    source, held = iter(parts), np.empty((0, 0, 0, 3), np.uint8)
    for size in sizes:
        group = [held[:size]]
        held = held[size:]
        while (missing := size - sum(map(len, group))) > 0:
            part = next(source, None)
            if part is None:
                raise ValueError(f"the frames end {missing} before the group of {size} is full")
            group.append(part[:missing])
            held = part[missing:]
        yield np.concatenate([piece for piece in group if len(piece)])
    if len(held) or next(source, None) is not None:
        raise ValueError("there are more frames than the groups take")
