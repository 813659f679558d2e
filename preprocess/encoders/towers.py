"""Towers that several families have in common; a family names the class of `transformers` and the output it uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.processors import CLIP_PROCESSOR, check_frame_size, read_preprocessing
from preprocess.encoders.spec import Measures, TextModel
from preprocess.samples import JSON

if TYPE_CHECKING:  # describing a model needs no torch
    import torch

    Forward = Callable[[torch.Tensor], torch.Tensor]


def measure_projected(files: ModelFiles) -> Measures:
    """The size of a CLIP-like model's projection, and resize and crop of `CLIPImageProcessor`."""
    vision: JSON = files.config().get("vision_config", files.config())
    preprocessing = read_preprocessing(files, CLIP_PROCESSOR)
    return Measures(
        vision.get("projection_dim", 512), check_frame_size(files, preprocessing, vision.get("image_size", 224))
    )


def image_tower(cls: str, output: str) -> Callable[[ModelFiles, torch.device, torch.dtype], Forward]:
    """Loads models whose vectors are one output of one class.

    Args:
        cls: Class of `transformers` that takes `pixel_values`: `CLIPVisionModelWithProjection`.
        output: Field of what it returns, `(N, D)`: `image_embeds`.
    """

    def load(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Forward:
        import transformers

        from preprocess.encoders.loading import load_model

        model = load_model(getattr(transformers, cls), files, device, dtype)
        return lambda pixels: getattr(model(pixel_values=pixels), output)

    return load


def projected_text_tower(cls: str) -> Callable[[ModelFiles, torch.device], TextModel]:
    """Loads the text towers of CLIP-like models: `cls` is `CLIPTextModelWithProjection` or has its outputs."""

    def load(files: ModelFiles, device: torch.device) -> TextModel:
        import torch
        import transformers

        from preprocess.encoders.loading import load_model

        model = load_model(getattr(transformers, cls), files, device, torch.float32)
        return TextModel(
            embed=lambda tokens: model(**tokens).text_embeds,
            dim=model.text_projection.out_features,
            max_length=model.config.max_position_embeddings,
        )

    return load
