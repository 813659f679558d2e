"""X-CLIP (Ni et al., 2022): CLIP for clips of frames.

The model adapts each text to the video it is compared with (its video-specific prompt). Vectors that are stored cannot
know the text, nor texts the video, so that step is left out: a text has one direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.processors import CLIP_PROCESSOR, VIDEOMAE_PROCESSOR, check_frame_size, read_preprocessing
from preprocess.encoders.processors import processor_config as read_config
from preprocess.encoders.spec import Family, Measures, TextFamily, TextModel
from preprocess.samples import JSON

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch


def measure(files: ModelFiles) -> Measures:
    """The projection's size, frames of a clip, and resize and crop of the model's processor."""
    vision: JSON = files.config()["vision_config"]
    image_size = vision.get("image_size", 224)
    # Configs older than `crop_size` crop to what the model takes: 336 pixels in the large models.
    crop = {} if "crop_size" in read_config(files) else {"crop_size": image_size}
    preprocessing = read_preprocessing(files, {**VIDEOMAE_PROCESSOR, **CLIP_PROCESSOR}, **crop)
    return Measures(
        files.config().get("projection_dim", 512),
        check_frame_size(files, preprocessing, image_size),
        clip_frames=vision.get("num_frames", 8),
    )


def load(files: ModelFiles, device: torch.device, dtype: torch.dtype) -> Callable[[torch.Tensor], torch.Tensor]:
    """`XCLIPModel.get_video_features`: frames are encoded, then integrated over the clip."""
    from transformers import XCLIPModel

    from preprocess.encoders.loading import load_model

    model = load_model(XCLIPModel, files, device, dtype)
    return lambda pixels: model.get_video_features(pixel_values=pixels).pooler_output


def load_text(files: ModelFiles, device: torch.device) -> TextModel:
    """`XCLIPModel.get_text_features`, without the video-specific prompt."""
    import torch
    from transformers import XCLIPModel

    from preprocess.encoders.loading import load_model

    model = load_model(XCLIPModel, files, device, torch.float32)
    return TextModel(
        embed=lambda tokens: model.get_text_features(**tokens).pooler_output,
        dim=model.config.projection_dim,
        max_length=model.config.text_config.max_position_embeddings,
    )


FAMILY = Family(
    model_types=("xclip",),
    title="XCLIP",
    tower="the video tower of the model (frame encoder, projection and multi-frame integration; its video-specific "
    "text prompt is not applied)",
    measure=measure,
    load=load,
    text=TextFamily(load_text, "softmax"),
    examples={"microsoft/xclip-base-patch32": "XCLIP"},
)
