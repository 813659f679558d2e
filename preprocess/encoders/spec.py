"""What an encoder is: its description, the protocols of its two towers, and how a family of models registers.

A description, made from the config files of `openai/clip-vit-base-patch32` alone:

    EncoderSpec(family="clip", title="CLIP", unit="frame", clip_frames=1, clip_stride=1, dim=512,
                preprocessing=Preprocessing(224, (224, 224), …), precisions=("fp32", "bf16", "fp16", "int8"),
                has_text=True, probabilities="softmax",
                tower="the vision tower and projection of the model (`image_embeds`)")
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import UserError
from preprocess.samples import Pixels, Preprocessing

if TYPE_CHECKING:  # describing a model needs no torch
    import torch

    from preprocess.encoders.models import ModelFiles

Precision = Literal["fp32", "bf16", "fp16", "int8"]
"""Of products with weights; int8 has weights and inputs of products in int8, and the rest in bf16 or fp32."""

PRECISIONS: tuple[Precision, ...] = get_args(Precision)

FLOATS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")

Unit = Literal["frame", "clip"]

Probabilities = Literal["softmax", "sigmoid"]
"""How similarities become probabilities: softmax over labels of scale · cosine, or per label the sigmoid of
scale · cosine + bias."""


class NoTextTowerError(UserError):
    """The model encodes images or videos only, so there is nothing to compare their vectors with."""


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """What is known of an encoder before its weights are loaded.

    Attributes:
        family: Name of the family's module, as written in the manifest: `clip`, `siglip`, …
        title: Name of the family in dataset names: `CLIP`, `SigLIP2`, …
        unit: What one row of the output is made of: one frame, or a clip of `clip_frames` frames.
        clip_frames: Frames T of a clip; 1 for the unit `frame`.
        clip_stride: Sampled frames between the starts of two clips; 1 for the unit `frame`.
        dim: Length D of a vector.
        preprocessing: Resize and crop that frames go through before they are encoded.
        precisions: Number formats that are safe for the model.
        has_text: Whether texts can be encoded into the same space.
        probabilities: How similarities of the two towers become probabilities; None without a text tower.
        tower: Which part of the model the vectors come from, for the dataset card.
    """

    family: str
    title: str
    unit: Unit
    clip_frames: int
    clip_stride: int
    dim: int
    preprocessing: Preprocessing
    precisions: tuple[Precision, ...]
    has_text: bool
    probabilities: Probabilities | None
    tower: str

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of one batch item: `(H, W, 3)`, or `(T, H, W, 3)` for clips."""
        frame = (*self.preprocessing.frame_size, 3)
        return frame if self.unit == "frame" else (self.clip_frames, *frame)

    def batch_size(self, frames: int) -> int:
        """Rows per forward pass that hold about so many frames, at least one."""
        return max(1, frames // self.clip_frames)


class Encoder(Protocol):
    """Turns preprocessed frames into vectors; a row depends on its own pixels only.

    Attributes:
        id: Name of the model as written in the manifest.
        dim: Length D of a vector.
        batch_size: Rows per forward pass; other numbers of rows are padded to it.
        preprocessing: Resize and crop that the frames must have been through.
        frame_shape: Shape of one batch item: `(H, W, 3)`, or `(T, H, W, 3)` for clips.
        frame_dtype: uint8, or float32 where the model's processor scales before it resizes.
    """

    id: str
    dim: int
    batch_size: int
    preprocessing: Preprocessing
    frame_shape: tuple[int, ...]
    frame_dtype: type[np.uint8] | type[np.float32]

    def encode(self, pixels: Pixels) -> NDArray[np.float32]:
        """`(N, *frame_shape)` of `frame_dtype`, resized and cropped, to float32 `(N, D)`, not normalized."""
        ...


class TextTower(Protocol):
    """Turns texts into directions of the same space as an encoder's vectors.

    Attributes:
        dim: Length D of a vector.
        probabilities: How similarities to its texts become probabilities.
        scale: Factor of the cosine in a logit: exp of the model's `logit_scale`.
        bias: Added to a logit; 0 for models that have none.
    """

    dim: int
    probabilities: Probabilities
    scale: float
    bias: float

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 `(N, D)`, rows L2-normalized."""
        ...


@dataclass(frozen=True, slots=True)
class Measures:
    """What a family reads from the config files of one model.

    Attributes:
        dim: Length D of a vector.
        preprocessing: As the model's own processor does it.
        clip_frames: Frames T of a clip; None for encoders of single frames.
        title: Instead of the family's, where one family serves models of several names.
    """

    dim: int
    preprocessing: Preprocessing
    clip_frames: int | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True)
class TextModel:
    """A loaded text tower.

    Attributes:
        embed: Tokens (`input_ids` and what else the tokenizer gives, `(N, L)` each) to `(N, D)`, any length.
        dim: Length D of a vector.
        max_length: Tokens after which a text is cut.
        pad_to_max: Whether texts are padded to `max_length` rather than to the longest of a batch.
        prepare: Applied to a text before its tokenizer.
    """

    embed: Callable[[Mapping[str, torch.Tensor]], torch.Tensor]
    dim: int
    max_length: int
    pad_to_max: bool = False
    prepare: Callable[[str], str] = str


@dataclass(frozen=True, slots=True)
class TextFamily:
    """How to use the text towers of a family.

    Attributes:
        load: Loads the text tower in fp32 onto a device.
        probabilities: As in `EncoderSpec`.
    """

    load: Callable[[ModelFiles, torch.device], TextModel]
    probabilities: Probabilities


@dataclass(frozen=True, slots=True)
class Family:
    """How to use the models of one kind. `preprocess/encoders/families/<name>.py` defines one as `FAMILY`.

    Attributes:
        model_types: The `model_type`s of `config.json` that it serves.
        title: As in `EncoderSpec`.
        tower: As in `EncoderSpec`.
        measure: Reads the config files of a model; imports no torch.
        load: Loads the vision tower onto a device, in a number format. What it returns takes normalized pixels
            `(N, 3, H, W)`, or `(N, T, 3, H, W)` for clips, of that format and returns vectors `(N, D)`.
        text: Its text towers; None for a family without.
        precisions: As in `EncoderSpec`.
        imports: Modules that take long and that `load` imports; workers find them imported.
        examples: Ids of published models and their titles: named in messages, and known without any file.
    """

    model_types: tuple[str, ...]
    title: str
    tower: str
    measure: Callable[[ModelFiles], Measures]
    load: Callable[[ModelFiles, torch.device, torch.dtype], Callable[[torch.Tensor], torch.Tensor]]
    text: TextFamily | None = None
    precisions: tuple[Precision, ...] = FLOATS
    imports: tuple[str, ...] = ("transformers.modeling_layers",)
    examples: Mapping[str, str] = field(default_factory=dict)
