"""The times that rows and captions stand for, in seconds, from the `.json` of a sample.

row_spans({"timestamps": [0.0, 1.0, 2.0], "duration": 3.0})                   [[0, 0.5], [0.5, 1.5], [1.5, 3]]
caption_windows({"captions": ["a dog"], "caption_timestamps": [[0, 2.5]]})    [[(0.0, 2.5)]]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import UserError
from preprocess.samples import JSON

Spans = NDArray[np.float64]

DIDEMO_SEGMENT_S = 5.0
"""Length of the segments among which the annotators of DiDeMo chose."""


def row_spans(meta: JSON) -> Spans:
    """The time that each row stands for.

    Args:
        meta: The `.json` of a sample: `spans`, or `timestamps` and `duration`.

    Returns:
        float64 `(T, 2)`, start and end in seconds. Without `spans`, the boundary of two rows is the midpoint of their
        timestamps; the first starts at its timestamp, and the last ends with the embedded part of the video.
    """
    if meta.get("spans") is not None:
        return np.asarray(meta["spans"], np.float64).reshape(-1, 2)
    times = np.asarray(meta["timestamps"], np.float64)
    if not len(times):
        return np.empty((0, 2))
    end = max(times[-1], times[0] + float(meta.get("duration") or 0))
    bounds = np.concatenate((times[:1], (times[1:] + times[:-1]) / 2, [end]))
    return np.stack((bounds[:-1], bounds[1:]), axis=1)


def caption_windows(meta: JSON) -> list[list[tuple[float, float]]] | None:
    """The times that each caption of a sample describes; None if the captions have no times.

    Args:
        meta: The `.json` of a sample. `caption_timestamps` holds `[start, end]` in seconds for each caption
            (ActivityNet Captions, `demo`); `times`, together with `num_segments`, holds the choice of each
            annotator of DiDeMo, as first and last segment of 5 s: the most frequent choices are used.

    Returns:
        The windows of each caption, without those that do not end after they start.

    Raises:
        UserError: The number of entries differs from the number of captions.
    """
    captions = meta.get("captions") or []
    if meta.get("caption_timestamps"):
        windows = [[(float(start), float(end))] for start, end in meta["caption_timestamps"]]
    elif meta.get("times") and "num_segments" in meta:
        end_s = float(row_spans(meta)[-1, 1]) if meta["timestamps"] else 0.0
        windows = [_agreed(choices, end_s) for choices in meta["times"]]
    else:
        return None
    if len(windows) != len(captions):
        raise UserError(
            f"sample {meta.get('key')!r} has {len(captions)} captions and {len(windows)} times",
            "Run `python -m builders verify`; a recipe gives one time per caption.",
        )
    return [[w for w in of_caption if w[1] > w[0]] for of_caption in windows]


def _agreed(choices: Iterable[Sequence[int]], end_s: float) -> list[tuple[float, float]]:
    counts = Counter((int(first), int(last)) for first, last in choices)
    most = max(counts.values(), default=0)
    return [
        (DIDEMO_SEGMENT_S * first, min(DIDEMO_SEGMENT_S * (last + 1), end_s))
        for (first, last), count in counts.items()
        if count == most
    ]
