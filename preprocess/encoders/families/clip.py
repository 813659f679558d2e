"""CLIP (Radford et al., 2021), and open_clip, DataComp and MetaCLIP checkpoints that are published in its form."""

from __future__ import annotations

from preprocess.encoders.spec import Family, TextFamily
from preprocess.encoders.towers import image_tower, measure_projected, projected_text_tower

FAMILY = Family(
    model_types=("clip", "clip_vision_model"),
    title="CLIP",
    tower="the image tower and projection of the model",
    measure=measure_projected,
    load=image_tower("CLIPVisionModelWithProjection", "image_embeds"),
    text=TextFamily(projected_text_tower("CLIPTextModelWithProjection"), "softmax"),
    examples={"openai/clip-vit-base-patch32": "CLIP", "tiny-clip": "CLIP"},
)
