"""V-JEPA 2 (Assran et al., 2025): clips of frames, no text tower."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.processors import VJEPA2_PROCESSOR, processor_config, read_preprocessing
from preprocess.encoders.spec import Family, Measures

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def measure(files: ModelFiles) -> Measures:
    """The encoder's width, frames of a clip, and resize and crop of `VJEPA2VideoProcessor`."""
    config = files.config()
    crop = processor_config(files, "video").get("crop_size") or 256
    side = crop["height"] if isinstance(crop, dict) else crop
    # The processor's constructor sets the resize from the crop and ignores the size in its config.
    size = {"shortest_edge": int(side * 256 / 224)}
    preprocessing = read_preprocessing(files, VJEPA2_PROCESSOR, "video", size=size)
    return Measures(config.get("hidden_size", 1024), preprocessing, clip_frames=config.get("frames_per_clip", 64))


def load(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """`VJEPA2Model` without its predictor: the mean of the encoder's output tokens."""
    from transformers import VJEPA2Model

    from preprocess.encoders.loading import load_model

    model = load_model(VJEPA2Model, files, device, dtype)
    return lambda pixels: model.get_vision_features(pixels).float().mean(dim=1)


FAMILY = Family(
    model_types=("vjepa2",),
    title="VJEPA2",
    tower="the encoder of the model, whose output tokens are averaged",
    measure=measure,
    load=load,
    precisions=("fp32", "bf16"),  # trained in bf16, whose range fp16 does not have
    examples={"facebook/vjepa2-vitl-fpc64-256": "VJEPA2"},
)
