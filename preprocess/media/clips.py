"""Which sampled frames make up each clip, for encoders of clips: pure arithmetic, nothing is decoded here.

Ten frames at 0 … 9 s of a video of 10 s, in clips of 4 frames that start every 3:

    >>> windows = clip_windows(10, clip_frames=4, stride=3)
    >>> windows.tolist()
    [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]
    >>> clip_spans(np.arange(10.0), windows, end_s=10.0)
    ([[0.0, 4.0], [3.0, 7.0], [6.0, 10.0]], 0)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def clip_windows(n_frames: int, clip_frames: int, stride: int) -> NDArray[np.int64]:
    """Indices of the frames of each clip, int64 `(W, clip_frames)`.

    A clip starts every `stride` frames, up to the first clip that reaches the last frame. That one is padded by
    repeating the last frame.

    Args:
        n_frames: Sampled frames of the video.
        clip_frames: Frames T of a clip.
        stride: Frames between the starts of two clips; above `clip_frames` it skips frames.

    Raises:
        ValueError: `clip_frames` or `stride` is not positive, or `n_frames` is negative.

    Examples:
        >>> clip_windows(5, clip_frames=4, stride=4).tolist()
        [[0, 1, 2, 3], [4, 4, 4, 4]]
    """
    if n_frames < 0 or clip_frames < 1 or stride < 1:
        raise ValueError(
            f"need frames, clip_frames and stride from 1, got {n_frames = }, {clip_frames = }, {stride = }"
        )
    before_the_end = max(0, n_frames - clip_frames)
    starts = np.arange(0, before_the_end + stride, stride, dtype=np.int64)
    starts = starts[starts < n_frames]
    windows: NDArray[np.int64] = np.minimum(starts[:, None] + np.arange(clip_frames), n_frames - 1)
    return windows


def clip_spans(
    timestamps_s: NDArray[np.float64], windows: NDArray[np.int64], end_s: float
) -> tuple[list[list[float]], int]:
    """What each clip covers, and how many of all its frames are repeated.

    Args:
        timestamps_s: `(T,)`, increasing: times of the sampled frames.
        windows: From `clip_windows`.
        end_s: Where the embedded part of the video ends, on the same time axis.

    Returns:
        Per clip `[start_s, end_s]`, where it ends at the sampled frame after it, or at the end of the part; and the
        number of frames that pad the last clip. An image covers no time: its span is `[0.0, 0.0]`.
    """
    times = np.append(timestamps_s, max(end_s, timestamps_s[-1]) if len(timestamps_s) else end_s)
    spans = np.stack([times[windows[:, 0]], times[windows[:, -1] + 1]], axis=1)
    return spans.tolist(), int(np.count_nonzero(windows[:, 1:] == windows[:, :-1]))
