"""Rows on the grid of a project: one for each clip of a fixed length.

>>> clip_rows(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), 2.0).tolist()      # clips [0, 2), [2, 4), [4, 6)
[1, 3, 4]
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_NOISE_S = 1e-6


def clip_rows(times_s: NDArray[np.float64], clip_s: float) -> NDArray[np.int64]:
    """The row of each clip: that whose time is nearest to the middle of the clip, the earlier of two equally near.

    FFmpeg's filter `fps`, by which Moment-DETR and Lighthouse extract features, takes the frame in the middle, too.

    Args:
        times_s: `(T,)`, increasing, from the start of the video.
        clip_s: Seconds of a clip.

    Returns:
        int64 `(N,)`: clips up to that of the last row.
    """
    if not len(times_s):
        return np.empty(0, np.int64)
    middles = (np.arange(int((times_s[-1] + _NOISE_S) / clip_s) + 1) + 0.5) * clip_s
    after = np.clip(np.searchsorted(times_s, middles), 1, max(1, len(times_s) - 1))
    before = after - 1
    after = np.minimum(after, len(times_s) - 1)
    nearer = times_s[after] - middles < middles - times_s[before] - _NOISE_S
    return np.where(nearer, after, before).astype(np.int64)
