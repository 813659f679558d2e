"""What evaluation reads of whole tars, one tar a task: pooled videos, and the ranks of the labels of their frames.

of_each_tar(tars, PoolVideos(dim=512, caption_mode="first"), run, "read")    # the videos of each tar, in their order
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from dataset_cards.card_inputs import rows
from dataset_cards.evaluation.features import Matrix, Videos, frame_blocks, one_per_video, read_videos
from dataset_cards.evaluation.metrics import Ranks
from dataset_cards.evaluation.zero_shot import Logits, frame_ranks
from dataset_cards.statistics import Row
from preprocess.runtime.tars import TarItem


@dataclass(frozen=True, slots=True)
class EvaluatedTar(TarItem):
    """A tar of which some rows are read.

    Attributes:
        without: Ids of rows that later ones replace.
        once: Whether a video has a row per caption, of which the first is read.
        seen: With `once`, keys of videos that earlier tars have, too.
    """

    without: Collection[str] = ()
    once: bool = False
    seen: frozenset[str] = frozenset()

    def rows(self) -> Iterator[Row]:
        """Its samples, one per video."""
        found = rows(self.path, self.without)
        if not self.once:
            return found
        return one_per_video(row for row in found if str(row[3].get("key", row[0])) not in self.seen)


@dataclass(frozen=True, slots=True)
class PoolVideos:
    """Reads the pooled videos of a tar; see `read_videos`."""

    dim: int
    caption_mode: str

    def __call__(self, tar: EvaluatedTar) -> Videos:
        """The videos of one tar."""
        return read_videos(tar.rows(), tar.samples, self.dim, self.caption_mode)


@dataclass(frozen=True, slots=True)
class RankFrames:
    """Ranks the label of each video by its frames; see `frame_ranks`."""

    weights: Matrix
    labels: tuple[str, ...]
    logits: Logits

    def __call__(self, tar: EvaluatedTar) -> Ranks:
        """The ranks of the labeled videos of one tar."""
        blocks = list(frame_blocks(tar.rows()))
        return frame_ranks(blocks, self.weights, self.labels, self.logits) if blocks else np.empty(0)


def join_videos(tars: Sequence[EvaluatedTar], parts: Sequence[Videos]) -> tuple[Videos, list[EvaluatedTar]]:
    """The videos of all tars of a split as one; a video that an earlier tar has is left out.

    Args:
        tars: Of the split.
        parts: Their videos.

    Returns:
        The videos, and the tars with their `seen`.
    """
    if not tars[0].once:
        return _concatenated(parts), list(tars)
    seen: set[str] = set()
    kept: list[Videos] = []
    told: list[EvaluatedTar] = []
    for tar, videos in zip(tars, parts, strict=True):
        again = frozenset(seen.intersection(videos.keys))
        seen.update(videos.keys)
        told.append(replace(tar, seen=again))
        kept.append(videos.without(again) if again else videos)
    return _concatenated(kept), told


def _concatenated(parts: Sequence[Videos]) -> Videos:
    """All as one; copies, since arrays that come from a cluster cannot be written to."""
    return Videos(
        keys=tuple(key for part in parts for key in part.keys),
        labels=tuple(label for part in parts for label in part.labels),
        captions=tuple(own for part in parts for own in part.captions),
        mean=np.concatenate([part.mean for part in parts]),
        direction=np.concatenate([part.direction for part in parts]),
        images=tuple(image for part in parts for image in part.images),
    )
