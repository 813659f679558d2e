"""What the engine is given: the encoders of a build, and the samples that each of them lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from preprocess.encoders import EncoderSpec, Precision
from preprocess.encoders.engines import Engine
from preprocess.encoders.models import ModelFiles
from preprocess.formats.processed import Processed
from preprocess.media.sampling import Sampling
from preprocess.media.stamps import MediaStamps
from preprocess.sample_table import taken
from preprocess.samples import CaptionMode, Sample, Split
from preprocess.storage import Stamp


@dataclass(frozen=True, slots=True)
class EncoderTarget:
    """One encoder of a build, and where its triples go.

    Attributes:
        clip_stride: Sampled frames between the starts of two clips; 1 for encoders of frames.
        batch_size: Rows per forward pass.
        dtype: Of the `.npy`: `float16` or `float32`.
        engine: What runs the forward pass.
        weights_sha256: Checksum of the weights; None to compute it where it is needed.
    """

    model: ModelFiles
    spec: EncoderSpec
    clip_stride: int
    precision: Precision
    batch_size: int
    dtype: str
    processed: Processed
    engine: Engine = "torch"
    weights_sha256: str | None = None


@dataclass(frozen=True, slots=True)
class EncodeSettings:
    """Everything a worker needs to know.

    Attributes:
        raw: The raw folder, as a path or URL.
        targets: The encoders; items name them by their index.
    """

    raw: str
    sampling: Sampling
    caption_mode: CaptionMode
    targets: tuple[EncoderTarget, ...]


@dataclass(frozen=True, slots=True)
class EncodeItem:
    """A sample, and the targets that lack it.

    Attributes:
        targets: Indices into `EncodeSettings.targets`.
        stamp: Of its media before it is read; None where it is not known yet, and has to be asked for.
    """

    sample: Sample
    targets: tuple[int, ...]
    stamp: Stamp | None = None

    @property
    def key(self) -> str:
        """Key of the sample."""
        return self.sample.key

    @property
    def split(self) -> Split:
        """Split of the sample."""
        return self.sample.split


class AtWork(NamedTuple):
    """What the process that holds a run has to know of an item that is worked on.

    Attributes:
        number: Of the sample.
        targets, stamp: As those of the item.
    """

    number: int
    targets: tuple[int, ...]
    stamp: Stamp | None


class EncodeItems(Sequence[EncodeItem]):
    """The items of a run, made when they are read, and what is known of those that are at work.

    Args:
        samples: Of the build.
        todo: For each target which of them it lacks.
        stamps: Of their media.
    """

    def __init__(self, samples: Sequence[Sample], todo: Sequence[NDArray[np.bool_]], stamps: MediaStamps) -> None:
        lacked = np.flatnonzero(np.logical_or.reduce(todo))
        self._numbers = lacked.astype(np.uint32 if len(samples) < 1 << 32 else np.uint64)
        self._samples = samples
        self._todo = todo
        self._stamps = stamps
        self._at_work: dict[str, AtWork] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> EncodeItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[EncodeItem]: ...

    def __getitem__(self, index: int | slice) -> EncodeItem | list[EncodeItem]:
        if isinstance(index, int):
            return self[index : index + 1 or None][0]
        numbers = self._numbers[index].astype(np.int64)
        stamps = self._stamps.of(numbers)  # from before they are read: a file that is replaced meanwhile has changed
        items = []
        for number, sample, stamp in zip(numbers.tolist(), taken(self._samples, numbers), stamps, strict=True):
            targets = tuple(target for target, todo in enumerate(self._todo) if todo[number])
            items.append(EncodeItem(sample, targets, stamp))
            self._at_work[sample.key] = AtWork(number, targets, stamp)
        return items

    def finished(self, key: str) -> AtWork:
        """What was known of an item that has been reported now."""
        return self._at_work.pop(key)
