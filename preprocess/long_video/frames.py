"""The frames of an episode: `16·L + 1` frames of one size; each scene is decoded once, one frame at a time.

Frame k of an episode lies in segment k // 48: it is the frame on screen (k mod 48) / 16 seconds after the start of that
segment. Times are computed from the start of the segment, never from the previous frame, so they do not drift. The last
frame is the one at the end of the last segment. After the end of a scene its last frame repeats: that pads a scene of
2.5 s to three seconds, and keeps the next scene out of the last frame of this one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import MediaError
from preprocess.long_video.frame_format import Fit, FrameFormat
from preprocess.long_video.scenes import SEGMENT_S
from preprocess.media.sampling import TIME_NOISE_S, Sampling

if TYPE_CHECKING:
    from preprocess.long_video.segments import Segment
    from preprocess.media.frames import Transform

Pixels = NDArray[np.uint8]

_JUST_BEFORE_S = 1e-6
"""The frame on screen this long before the end of a scene is its last; it is below the precision of scene times."""


def fit_picture(height: int, width: int, fit: Fit) -> Transform:
    """Returns the transform to `(height, width)`: resized (bicubic, antialiased, on uint8), then cropped or padded."""
    import torch

    from preprocess.media.resize import resize
    from preprocess.media.transforms import center_crop

    choose = max if fit == "crop" else min

    def transform(image: Pixels) -> Pixels:
        scale = choose(height / image.shape[0], width / image.shape[1])
        size = [max(1, round(side * scale)) for side in image.shape[:2]]
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        return center_crop(resize(tensor, *size).permute(1, 2, 0).numpy(), height, width)

    return transform


class RestartedError(Exception):
    """A damaged video turned out to hold other frames than its packets promise, after some had been handed on."""


def episode_frames(
    raw: Path, segments: Iterable[Segment], settings: FrameFormat, *, by_segment: bool = False
) -> Iterator[Pixels]:
    """Reads an episode; consecutive segments of a scene are decoded in one pass.

    Args:
        raw: The folder that the paths of the videos are below.
        segments: In order.
        settings: Rate, size and fitting.
        by_segment: Decode each segment by itself, and completely before its first frame is handed on.

    Yields:
        uint8 `(n, H, W, 3)`, in order: 48 frames per segment at 16 frames per second, 49 of the last. One array holds
        at most one segment, or the repetitions of one frame.

    Raises:
        MediaError: As `iter_frames`; `truncated` if the video ends before the scene.
        RestartedError: What was yielded is void: read again with `by_segment`.
    """
    transform = fit_picture(settings.height, settings.width, settings.fit)
    stretches = [[segment] for segment in segments] if by_segment else _stretches(segments)
    for number, stretch in enumerate(stretches, start=1):
        count = SEGMENT_S * settings.fps * len(stretch) + (number == len(stretches))
        if by_segment:
            yield segment_frames(raw / stretch[0].video, stretch[0], settings.fps, count, transform)
        else:
            yield from _stretch_frames(raw / stretch[0].video, stretch[0], settings.fps, count, transform)


def _stretches(segments: Iterable[Segment]) -> list[list[Segment]]:
    """Groups the segments that follow one another in the same scene."""
    found: list[list[Segment]] = []
    for segment in segments:
        before = found[-1][-1] if found else None
        if (
            before
            and (before.video, before.scene_end_s) == (segment.video, segment.scene_end_s)
            and abs(before.start_s + SEGMENT_S - segment.start_s) <= TIME_NOISE_S
        ):
            found[-1].append(segment)
        else:
            found.append([segment])
    return found


def _stretch_frames(path: Path, first: Segment, fps: int, count: int, transform: Transform) -> Iterator[Pixels]:
    """As `segment_frames` for any number of frames, one decoded frame at a time."""
    from preprocess.media import iter_frames
    from preprocess.media.frames import Restart, rows_in_order

    end_s, rows = _window(first, fps, count)
    stream = iter_frames(path, Sampling.fps(fps), start_s=first.start_s, end_s=end_s)
    done = 0
    for record in rows_in_order(stream, path):
        if isinstance(record, Restart):
            if done:
                raise RestartedError(path.name)
            continue
        yield np.repeat(np.asarray(transform(record.image), np.uint8)[None], len(record.rows), axis=0)
        done += len(record.rows)
    _check_rows(done, rows, path, stream.duration_s, end_s)
    if rows < count:
        yield np.repeat(_last_frame(path, first, fps, transform), count - rows, axis=0)


def segment_frames(path: Path, segment: Segment, fps: int, count: int, transform: Transform) -> Pixels:
    """Reads the first `count` frames from the start of a segment: uint8 `(count, H, W, 3)`.

    Raises:
        MediaError: As `episode_frames`.
    """
    from preprocess.media.video import read_video

    end_s, rows = _window(segment, fps, count)
    clip = read_video(path, Sampling.fps(fps), start_s=segment.start_s, end_s=end_s, transform=transform)
    pixels = np.asarray(clip.frames.pixels, np.uint8)
    _check_rows(len(pixels), rows, path, clip.duration_s, end_s)
    if rows == count:
        return pixels
    return np.concatenate([pixels, np.repeat(_last_frame(path, segment, fps, transform), count - rows, axis=0)])


def _window(first: Segment, fps: int, count: int) -> tuple[float, int]:
    """Where the window of `count` frames ends, in seconds, and how many of them the scene has."""
    # Half a step after the last frame: the window contains exactly `count` times, however they are rounded.
    end_s = min(first.start_s + (count - 0.5) / fps, first.scene_end_s)
    return end_s, min(count, math.ceil((end_s - first.start_s - TIME_NOISE_S) * fps))


def _check_rows(found: int, rows: int, path: Path, duration_s: float, end_s: float) -> None:
    if found < rows:
        raise MediaError(
            "truncated", f"{path.name} lasts {duration_s:.3f} s and has no frame for {end_s:.3f} s of its scene"
        )


def _last_frame(path: Path, segment: Segment, fps: int, transform: Transform) -> Pixels:
    """The last frame of the scene: uint8 `(1, H, W, 3)`."""
    from preprocess.media.video import read_video

    just_before = max(0.0, segment.scene_end_s - _JUST_BEFORE_S)
    last = read_video(path, Sampling.fps(fps), start_s=just_before, end_s=segment.scene_end_s, transform=transform)
    return np.asarray(last.frames.pixels[:1], np.uint8)


def regroup(parts: Iterable[Pixels], sizes: Iterable[int]) -> Iterator[Pixels]:
    """Splits a stream of frames into groups of the given sizes; memory holds one part and one group.

    Raises:
        ValueError: There are fewer or more frames than the sizes add up to.
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
