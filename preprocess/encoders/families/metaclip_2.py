"""MetaCLIP 2 (Chuang et al., 2025): CLIP trained on image-text pairs of 300 languages."""

from __future__ import annotations

from preprocess.encoders.spec import Family, TextFamily
from preprocess.encoders.towers import image_tower, measure_projected, projected_text_tower

FAMILY = Family(
    model_types=("metaclip_2", "metaclip_2_vision_model"),
    title="MetaCLIP2",
    tower="the image tower and projection of the model",
    measure=measure_projected,
    load=image_tower("MetaClip2VisionModelWithProjection", "image_embeds"),
    text=TextFamily(projected_text_tower("MetaClip2TextModelWithProjection"), "softmax"),
    precisions=("fp32", "bf16"),  # published in bf16, whose range fp16 does not have
    examples={"facebook/metaclip-2-worldwide-huge-quickgelu": "MetaCLIP2"},
)
