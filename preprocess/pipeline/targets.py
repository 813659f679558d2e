"""What the engine is given: the encoders of a build, and the samples that each of them lacks."""

from __future__ import annotations

from dataclasses import dataclass

from preprocess.encoders import EncoderSpec, Precision
from preprocess.encoders.engines import Engine
from preprocess.encoders.models import ModelFiles
from preprocess.formats.processed import Processed
from preprocess.media.sampling import Sampling
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
