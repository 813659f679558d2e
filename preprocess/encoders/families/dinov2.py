"""DINOv2 (Oquab et al., 2023), with registers (Darcet et al., 2023) or without: images only, no text tower."""

from __future__ import annotations

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.processors import BIT_PROCESSOR, read_preprocessing
from preprocess.encoders.spec import Family, Measures
from preprocess.encoders.towers import image_tower


def measure(files: ModelFiles) -> Measures:
    """The model's width, and resize and crop of `BitImageProcessor`."""
    return Measures(files.config().get("hidden_size", 768), read_preprocessing(files, BIT_PROCESSOR))


FAMILY = Family(
    model_types=("dinov2", "dinov2_with_registers"),
    title="DINOv2",
    tower="the model, whose class token after the last layer norm is the vector",
    measure=measure,
    load=image_tower("AutoModel", "pooler_output"),  # Dinov2Model or Dinov2WithRegistersModel
    examples={"facebook/dinov2-base": "DINOv2"},
)
