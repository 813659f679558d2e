"""Pixels and texts to vectors, by any registered family of models.

    files = resolve("openai/clip-vit-base-patch32")     # preprocess.encoders.models
    spec = encoder_spec(files)                          # from its config files; no torch
    encoder = load_encoder(files, "cpu", "bf16", 32)
    encoder.encode(pixels)                              # uint8 (N, 224, 224, 3) -> float32 (N, 512)
    load_text_tower(files).encode(["a red circle"])     # float32 (1, 512), L2-normalized

Writing `preprocess/encoders/families/<family>.py` and its test adds a family.
"""

from __future__ import annotations

from preprocess.encoders.registry import (
    check_precision,
    encoder_spec,
    families,
    family,
    family_title,
    load_encoder,
    load_text_tower,
)
from preprocess.encoders.spec import PRECISIONS, Encoder, EncoderSpec, NoTextTowerError, Precision, TextTower

__all__ = [
    "PRECISIONS",
    "Encoder",
    "EncoderSpec",
    "NoTextTowerError",
    "Precision",
    "TextTower",
    "check_precision",
    "encoder_spec",
    "families",
    "family",
    "family_title",
    "load_encoder",
    "load_text_tower",
]
