"""What the engine is given: the encoders of a build, and the samples that each of them lacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import overload

import numpy as np
from numpy.typing import NDArray

from preprocess.encoders import EncoderSpec, Precision
from preprocess.encoders.engines import Engine
from preprocess.encoders.models import ModelFiles
from preprocess.formats.processed import Processed
from preprocess.media.sampling import Sampling
from preprocess.sample_table import chosen
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
        stamp: Of its media before it is read, where a listing has told it; None to ask when it is read.
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


class EncodeItems(Sequence[EncodeItem]):
    """The items of a run, made when they are read, and the targets of those that are at work.

    Args:
        samples: Those that a target lacks.
        todo: For each target which of them it lacks.
        stamps: Of media, by key, that a listing has told.
    """

    def __init__(
        self, samples: Sequence[Sample], todo: Sequence[NDArray[np.bool_]], stamps: Mapping[str, Stamp | None]
    ) -> None:
        self._samples = samples
        self._todo = todo
        self._stamps = stamps
        self._at_work: dict[str, tuple[int, ...]] = {}

    @classmethod
    def of(
        cls,
        samples: Sequence[Sample],
        todo: Sequence[NDArray[np.bool_]],
        stamps: Mapping[str, Stamp | None] = MappingProxyType({}),
    ) -> EncodeItems:
        """The items of all samples of a build, of which each target lacks some."""
        lacked = np.logical_or.reduce(todo)
        return cls(chosen(samples, lacked), [of_target[lacked] for of_target in todo], stamps)

    def __len__(self) -> int:
        return len(self._samples)

    @overload
    def __getitem__(self, index: int) -> EncodeItem: ...

    @overload
    def __getitem__(self, index: slice) -> list[EncodeItem]: ...

    def __getitem__(self, index: int | slice) -> EncodeItem | list[EncodeItem]:
        if isinstance(index, int):
            return self[index : index + 1 or None][0]
        places = range(len(self))[index]
        items = [
            EncodeItem(
                sample,
                tuple(target for target, todo in enumerate(self._todo) if todo[place]),
                self._stamps.get(sample.key),
            )
            for place, sample in zip(places, self._samples[index], strict=True)
        ]
        self._at_work.update((item.key, item.targets) for item in items)
        return items

    def targets_of(self, key: str) -> tuple[int, ...]:
        """The targets of an item that was read and has been reported now."""
        return self._at_work.pop(key)
