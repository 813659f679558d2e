"""DINOv3 vision transformers (Siméoni et al., 2025): images only, no text tower."""

from __future__ import annotations

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.processors import DINOV3_PROCESSOR, read_preprocessing
from preprocess.encoders.spec import Family, Measures
from preprocess.encoders.towers import image_tower


def measure(files: ModelFiles) -> Measures:
    """The model's width, and the resize of `DINOv3ViTImageProcessor`, which scales first."""
    return Measures(files.config().get("hidden_size", 384), read_preprocessing(files, DINOV3_PROCESSOR))


FAMILY = Family(
    model_types=("dinov3_vit",),
    title="DINOv3",
    tower="the model, whose class token after the last layer norm is the vector",
    measure=measure,
    load=image_tower("DINOv3ViTModel", "pooler_output"),
    precisions=("fp32", "bf16"),  # fp16 is not supported: facebookresearch/dinov3, issue 181
    examples={"facebook/dinov3-vitb16-pretrain-lvd1689m": "DINOv3"},
)
