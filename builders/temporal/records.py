"""What a layout gets of a dataset and of each video, and the table of files that it writes.

VideoRows(name="v_uqiMw7tQ1Cc", split="val", vectors=float16 (56, 512), fps=1.0, duration_s=55.15, label=None,
          moments=(TimedCaption("A weight lifting tutorial is given.", ((0.28, 55.15),)), …))
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from preprocess.errors import DamagedFileError
from preprocess.formats.times import caption_windows
from preprocess.formats.triples import Vectors
from preprocess.samples import JSON, Split
from preprocess.storage import write_atomic

SPLIT_NAMES: Mapping[Split, str] = {"train": "training", "val": "validation", "test": "test"}
"""As ActivityNet's annotations name the splits."""


@dataclass(frozen=True, slots=True)
class Rows:
    """How the rows of a dataset lie in time.

    Attributes:
        sampled_fps: Sampled frames per second; None where it differs between videos (`every_nth`).
        every_nth: Frames of the video between two sampled frames; None with `fps`.
        stride: Sampled frames between the starts of two rows; 1 for encoders of frames.
        frames: Sampled frames that a row encodes; 1 for encoders of frames.
    """

    sampled_fps: float | None
    every_nth: int | None
    stride: int
    frames: int

    @property
    def seconds(self) -> float | None:
        """Seconds between the starts of two rows; None where it differs between videos."""
        return None if self.sampled_fps is None else self.stride / self.sampled_fps


@dataclass(frozen=True, slots=True)
class TimedCaption:
    """A timed caption: its windows `[start, end]`, in seconds from the start of the embedded part."""

    caption: str
    windows: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class VideoRows:
    """One sample.

    Attributes:
        name: Of its files: the id of its source if possible, else the key.
        split: Its split.
        vectors: `(T, D)`, as the model computed them.
        times_s: float64 `(T,)`, the start of each row, from the start of the embedded part.
        middles_s: float64 `(T,)`, the time that each row shows: that of its frame, or the middle of its clip.
        sampled_fps: Sampled frames per second of this video.
        duration_s: Of the embedded part.
        label: Its class, or None.
        moments: Its timed captions that have a window inside the embedded part.
    """

    name: str
    split: Split
    vectors: Vectors
    times_s: np.ndarray[tuple[int], np.dtype[np.float64]]
    middles_s: np.ndarray[tuple[int], np.dtype[np.float64]]
    sampled_fps: float
    duration_s: float
    label: str | None
    moments: tuple[TimedCaption, ...]


class FeatureLayout(Protocol):
    """The files of one project."""

    def add(self, video: VideoRows) -> None:
        """Writes what belongs to one video."""

    def finish(self) -> JSON:
        """Writes what belongs to all of them; returns what the side file says of this layout."""


def timed_captions(meta: JSON, origin_s: float, duration_s: float, where: str) -> tuple[TimedCaption, ...]:
    """The timed captions of a sample, their windows cut to the embedded part.

    Args:
        meta: The `.json`.
        origin_s: Time of the first row; windows are given from the first frame of the file.
        duration_s: Of the embedded part.
        where: Tar and id, for errors.

    Raises:
        DamagedFileError: The times cannot be read.
    """
    try:
        windows = caption_windows(meta) or []
    except (KeyError, TypeError, ValueError) as error:
        remedy = "Run `python -m builders verify`."
        raise DamagedFileError(f"{where}.json", "", f"times of captions cannot be read ({error})", remedy) from None
    found = []
    for caption, of_caption in zip(meta.get("captions") or [], windows, strict=False):
        cut = ((max(0.0, start - origin_s), min(duration_s, end - origin_s)) for start, end in of_caption)
        inside = tuple((round(start, 6), round(end, 6)) for start, end in cut if end > start)
        if inside:
            found.append(TimedCaption(str(caption), inside))
    return tuple(found)


def write_npy(path: Path, array: Vectors) -> None:
    """`np.save`, into a folder that is published whole."""
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    write_whole(path, file.getvalue())


def write_npz(path: Path, **arrays: Vectors) -> None:
    """`np.savez`, into a folder that is published whole. The entries of the archive have no clock times."""
    file = io.BytesIO()
    np.savez(file, allow_pickle=False, **{name: np.ascontiguousarray(array) for name, array in arrays.items()})
    write_whole(path, file.getvalue())


def write_whole(path: Path, content: bytes) -> None:
    """Any file, into a folder that is published whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, content, durable=False)
