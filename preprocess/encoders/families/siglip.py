"""SigLIP (Zhai et al., 2023) and SigLIP 2 at fixed resolution (Tschannen et al., 2025).

`google/siglip2-base-patch16-224` is of the type `siglip` too: the same towers with Gemma's tokenizer of 256,000 tokens,
trained on lower-cased texts. Only NaFlex checkpoints, of any aspect ratio, are of the type `siglip2`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.processors import SIGLIP_PROCESSOR, check_frame_size, read_preprocessing
from preprocess.encoders.spec import Family, Measures, TextFamily, TextModel
from preprocess.encoders.towers import image_tower
from preprocess.errors import UserError
from preprocess.samples import JSON

if TYPE_CHECKING:
    import torch

_EXAMPLES = {"google/siglip-base-patch16-224": "SigLIP", "google/siglip2-base-patch16-224": "SigLIP2"}
_GEMMA_TOKENS = 256_000


def measure(files: ModelFiles) -> Measures:
    """The image tower's width, and the resize of `SiglipImageProcessor`.

    Raises:
        UserError: A NaFlex checkpoint, whose frames have as many patches as their aspect ratio asks for.
    """
    config = files.config()
    if config["model_type"].startswith("siglip2"):
        raise UserError(
            f"model {files.id!r} is a NaFlex checkpoint, whose frames have no fixed size",
            "Use a SigLIP 2 checkpoint of fixed resolution, such as MODEL=google/siglip2-base-patch16-224.",
        )
    vision: JSON = config.get("vision_config", config)
    preprocessing = read_preprocessing(files, SIGLIP_PROCESSOR)
    return Measures(
        vision.get("hidden_size", 768),
        check_frame_size(files, preprocessing, vision.get("image_size", 224)),
        title="SigLIP2" if is_siglip2(files) else None,
    )


def is_siglip2(files: ModelFiles) -> bool:
    """Whether the model has the tokenizer that SigLIP 2 was trained with."""
    tokens = files.config().get("text_config", {}).get("vocab_size")
    return tokens == _GEMMA_TOKENS or "Gemma" in files.tokenizer_config().get("tokenizer_class", "")


def load_text(files: ModelFiles, device: torch.device) -> TextModel:
    """`SiglipTextModel`; texts are padded to the full length and the padding is not masked, as in training."""
    import torch
    from transformers import SiglipTextModel

    from preprocess.encoders.loading import load_model

    model = load_model(SiglipTextModel, files, device, torch.float32)
    return TextModel(
        embed=lambda tokens: model(input_ids=tokens["input_ids"]).pooler_output,
        dim=model.config.projection_size,
        max_length=model.config.max_position_embeddings,
        pad_to_max=True,
        prepare=str.lower if is_siglip2(files) else str,  # the tokenizer of SigLIP 1 does it itself
    )


FAMILY = Family(
    model_types=("siglip", "siglip_vision_model", "siglip2", "siglip2_vision_model"),
    title="SigLIP",
    tower="the image tower of the model, pooled by its attention head",
    measure=measure,
    load=image_tower("SiglipVisionModel", "pooler_output"),
    text=TextFamily(load_text, "sigmoid"),
    examples=_EXAMPLES,
)
