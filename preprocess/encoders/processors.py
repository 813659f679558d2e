"""What a model's own processor does to a frame, read from the processor's config as `transformers` reads it.

    preprocessor_config.json of openai/clip-vit-base-patch32
    {"crop_size": 224, "do_center_crop": true, "do_normalize": true, "do_resize": true,
     "feature_extractor_type": "CLIPFeatureExtractor", "image_mean": […], "image_std": […], "resample": 3, "size": 224}

A config names a processor class and leaves out what is that class's default. A family lists the classes it knows with
their defaults; any other class, and any step that `preprocess.media.transforms` does not do, is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from preprocess.encoders.models import ModelFiles, read_json
from preprocess.errors import UserError
from preprocess.samples import JSON, Interpolation, Preprocessing

_INTERPOLATIONS: dict[int, Interpolation] = {2: "bilinear", 3: "bicubic"}  # PIL.Image.Resampling
_IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
_CLIP_COLORS = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}

CLIP_PROCESSOR: Mapping[str, JSON] = {
    "CLIPImageProcessor": {"size": 224, "crop_size": 224, "do_center_crop": True, "resample": 3, **_CLIP_COLORS}
}
SIGLIP_PROCESSOR: Mapping[str, JSON] = {
    "SiglipImageProcessor": {
        "size": {"height": 224, "width": 224},
        "resample": 3,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
    }
}
BIT_PROCESSOR: Mapping[str, JSON] = {
    "BitImageProcessor": {"size": 224, "crop_size": 224, "do_center_crop": True, "resample": 3, **_CLIP_COLORS}
}
VIDEOMAE_PROCESSOR: Mapping[str, JSON] = {
    "VideoMAEImageProcessor": {"size": 224, "crop_size": 224, "do_center_crop": True, "resample": 2, **_IMAGENET}
}
DINOV3_PROCESSOR: Mapping[str, JSON] = {
    "DINOv3ViTImageProcessor": {
        "size": {"height": 224, "width": 224},
        "resample": 2,
        "rescale_first": True,  # its class scales before it resizes; no config says so
        **_IMAGENET,
    }
}
VJEPA2_PROCESSOR: Mapping[str, JSON] = {
    "VJEPA2VideoProcessor": {"crop_size": 256, "do_center_crop": True, "resample": 2, **_IMAGENET}
}


def processor_config(files: ModelFiles, kind: str = "image") -> JSON:
    """The config of a model's processor, from the file that `transformers` would take.

    Args:
        files: The model.
        kind: `image` or `video`.

    Raises:
        UserError: The model has none.
    """
    places: list[JSON | None] = [read_json(files.folder / "processor_config.json").get(f"{kind}_processor")]
    if kind == "video":
        places.append(read_json(files.folder / "video_preprocessor_config.json"))
    places.append(read_json(files.folder / "preprocessor_config.json"))
    config = next(filter(None, places), None)
    if not config:
        raise UserError(
            f"model {files.id!r} has no preprocessor_config.json", "Use a complete model, with its processor."
        )
    return config


def read_preprocessing(
    files: ModelFiles, known: Mapping[str, JSON], kind: str = "image", **changes: Any
) -> Preprocessing:
    """What the model's processor does, before it normalizes and after.

    Args:
        files: The model.
        known: The processor classes that can be used, by name, with their defaults; the first is assumed where the
            config names none.
        kind: `image` or `video`.
        changes: Fields that replace those of the config.

    Raises:
        UserError: The model has no processor, one of another class, or one that does something else than resize, crop
            the center, scale and normalize.
    """
    written = processor_config(files, kind)
    name = _class_name(written) or next(iter(known))
    if name not in known:
        raise UserError(
            f"model {files.id!r} has a processor of class {name}, which is not supported",
            f"Use a model whose processor is of class {', '.join(known)}.",
        )
    config = {**known[name], **{key: value for key, value in written.items() if value is not None}, **changes}
    refused = {step: config[step] for step in ("do_resize", "do_rescale") if config.get(step) is False}
    refused |= {step: config[step] for step in ("do_pad",) if config.get(step)}
    size, crop = config["size"], config.get("crop_size")
    edge, exact = (size.get("shortest_edge"), _pair(size)) if isinstance(size, dict) else (size, None)
    cropped = _pair(crop) if config.get("do_center_crop") else None
    if (edge is None) == (exact is None) or (exact is None and cropped is None):
        refused |= {"size": size, "do_center_crop": config.get("do_center_crop")}
    if config["resample"] not in _INTERPOLATIONS:
        refused["resample"] = config["resample"]
    if refused:
        raise UserError(
            f"the processor of model {files.id!r} does what is not supported: {refused}",
            "Use a model whose processor resizes (bicubic or bilinear) to one size, crops and normalizes.",
        )
    normalizes = config.get("do_normalize", True)
    return Preprocessing(
        edge,
        cropped,
        _triple(config["image_mean"]) if normalizes else (0.0, 0.0, 0.0),
        _triple(config["image_std"]) if normalizes else (1.0, 1.0, 1.0),
        size=exact,
        interpolation=_INTERPOLATIONS[config["resample"]],
        rescale_first=config.get("rescale_first", False),
        rescale_factor=config.get("rescale_factor", 1 / 255),
    )


def check_frame_size(files: ModelFiles, preprocessing: Preprocessing, image_size: int) -> Preprocessing:
    """Refuses a processor that makes frames of another size than the model has position embeddings for.

    Raises:
        UserError: The sizes differ.
    """
    if preprocessing.frame_size != (image_size, image_size):
        raise UserError(
            f"the processor of model {files.id!r} makes frames of {preprocessing.frame_size}, the model takes "
            f"{(image_size, image_size)}",
            "Correct the sizes in its preprocessor_config.json.",
        )
    return preprocessing


def _class_name(config: JSON) -> str | None:
    """The class by its present name: older configs say `CLIPFeatureExtractor`, others `CLIPImageProcessorFast`."""
    for field in ("video_processor_type", "image_processor_type", "feature_extractor_type"):
        if name := config.get(field):
            return str(name).removesuffix("Fast").removesuffix("Pil").replace("FeatureExtractor", "ImageProcessor")
    return None


def _pair(size: Any) -> tuple[int, int] | None:
    """Height and width, of a dict that has them or of one number."""
    if isinstance(size, dict):
        return (size["height"], size["width"]) if "height" in size and "width" in size else None
    return None if size is None else (size, size)


def _triple(values: list[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
