"""What the explorer passes around: a sample as the index knows it, and a query.

>>> index.sample(3)
IndexedSample(number=3, id="vid_00003", key="scenes_112", split="test", label=None, text="a red …",
              shard="ds_00002.tar", meta={"key": "scenes_112", "captions": […], "source": "test/scenes_112.mp4", …})
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from dataset_cards.evaluation.features import Matrix
from dataset_cards.evaluation.moments import Moment
from preprocess.errors import UserError
from preprocess.formats.times import caption_windows
from preprocess.samples import JSON


class Query(NamedTuple):
    """A direction to search for, and what to call it.

    Attributes:
        vector: float32 `(D,)`, L2-normalized.
        name: The sentence, or what was taken in its place; text of the user, never markup.
    """

    vector: Matrix
    name: str


@dataclass(frozen=True, slots=True)
class IndexedSample:
    """One sample of the dataset.

    Attributes:
        number: Its place in the index, from 0.
        id: Name in its shard.
        meta: The `.json`.
    """

    number: int
    id: str
    key: str
    split: str
    label: str | None
    text: str
    shard: str
    meta: JSON

    @property
    def captions(self) -> tuple[str, ...]:
        """All captions, or the one text of the `.txt`."""
        found = self.meta.get("captions")
        return tuple(map(str, found)) if isinstance(found, list) and found else (self.text,)

    @property
    def duration_s(self) -> float:
        """Seconds of the part that was embedded; 0 for an image, or where it is not known."""
        value = self.meta.get("duration")
        return float(value) if isinstance(value, int | float) and math.isfinite(value) else 0.0

    @property
    def windows(self) -> list[list[tuple[float, float]]] | None:
        """When each caption happens; None where the captions are not timed, or not in a way that is known."""
        try:
            windows = caption_windows(self.meta)
        except (UserError, TypeError, ValueError):  # a dataset of others: its times need not be what ours are
            return None
        return windows if windows is not None and len(windows) == len(self.captions) else None

    def caption_of(self, moment: Moment) -> str:
        """The caption to show beside a moment: the timed one that it overlaps most, else the first."""
        windows = self.windows
        if not windows or not any(windows):
            return self.captions[0]
        shared = [
            max((min(end, moment.end_s) - max(start, moment.start_s) for start, end in of), default=-math.inf)
            for of in windows
        ]
        return self.captions[shared.index(max(shared))]
