"""CLIP (Radford et al., 2021), and open_clip, DataComp and MetaCLIP checkpoints that are published in its form."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.spec import PRECISIONS, Family, TextFamily
from preprocess.encoders.towers import image_tower, measure_projected, projected_text_tower

if TYPE_CHECKING:  # describing a model needs no torch
    import torch


def load(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """The tower of `preprocess.encoders.clip_tower`; that of `transformers` for models which it does not know."""
    from preprocess.encoders.clip_tower import load_clip_tower

    of_transformers = image_tower("CLIPVisionModelWithProjection", "image_embeds")
    return load_clip_tower(files, device, dtype) or of_transformers(files, device, dtype)


FAMILY = Family(
    model_types=("clip", "clip_vision_model"),
    title="CLIP",
    tower="the image tower and projection of the model",
    measure=measure_projected,
    load=load,
    text=TextFamily(projected_text_tower("CLIPTextModelWithProjection"), "softmax"),
    precisions=PRECISIONS,  # int8 was judged on trained models of this family: benchmarks/int8.py
    imports=("preprocess.encoders.clip_tower",),
    examples={
        "openai/clip-vit-base-patch32": "CLIP",
        "tiny-clip": "CLIP",
        "openai/clip-vit-base-patch16": "CLIP",
        "openai/clip-vit-large-patch14": "CLIP",
        "openai/clip-vit-large-patch14-336": "CLIP",
        "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "CLIP",
    },
)
