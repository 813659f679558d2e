"""The registry: what is told of a model from its config files, and which models are refused."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preprocess.encoders import NoTextTowerError, encoder_spec, families, family, family_title, load_text_tower
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import UnknownNameError, UserError
from preprocess.samples import Preprocessing

HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def described(tmp_path: Path) -> Callable[..., ModelFiles]:
    """A model of which there are config files alone, as its publisher has them."""

    def write(config: dict[str, Any], **others: dict[str, Any]) -> ModelFiles:
        for name, value in {"config": config, **others}.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(value))
        (tmp_path / "model.safetensors").touch()
        return resolve(str(tmp_path))

    return write


def test_describing_a_model_imports_no_torch(root: Path) -> None:
    code = (
        "import sys; from preprocess.encoders import encoder_spec; from preprocess.encoders.models import resolve;"
        "spec = encoder_spec(resolve('tiny-clip')); print(spec.title, spec.dim, spec.frame_shape);"
        "print(sorted({'torch', 'transformers', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, timeout=280)
    assert done.stdout.splitlines() == ["CLIP 512 (64, 64, 3)", "[]"], done.stderr


def test_a_model_type_belongs_to_one_family() -> None:
    served = [model_type for one in families().values() for model_type in one.model_types]
    assert len(served) == len(set(served))
    with pytest.raises(UnknownNameError, match="'clap'"):
        family("clap")


# google/siglip2-base-patch16-224 and google/siglip-base-patch16-224, the fields that matter.
SIGLIP_PROCESSOR = {
    "do_convert_rgb": None,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": HALF,
    "image_processor_type": "SiglipImageProcessor",
    "image_std": HALF,
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
SIGLIP2_TOWERS = {
    "text_config": {"model_type": "siglip_text_model", "vocab_size": 256000},
    "vision_config": {"model_type": "siglip_vision_model"},
}


def test_siglip2_is_told_from_siglip_by_its_tokenizer(described: Callable[..., ModelFiles]) -> None:
    spec = encoder_spec(described({"model_type": "siglip", **SIGLIP2_TOWERS}, preprocessor_config=SIGLIP_PROCESSOR))
    assert (spec.family, spec.title, spec.dim) == ("siglip", "SigLIP2", 768)
    assert spec.preprocessing == Preprocessing(None, None, HALF, HALF, size=(224, 224), interpolation="bilinear")
    towers = {**SIGLIP2_TOWERS, "text_config": {"model_type": "siglip_text_model", "vocab_size": 32000}}
    one = encoder_spec(described({"model_type": "siglip", **towers}, preprocessor_config=SIGLIP_PROCESSOR))
    assert one.title == "SigLIP"
    gemma = {"tokenizer_class": "GemmaTokenizer"}
    assert encoder_spec(described({"model_type": "siglip", **towers}, tokenizer_config=gemma)).title == "SigLIP2"


def test_naflex_checkpoints_are_refused_with_a_way_out(described: Callable[..., ModelFiles]) -> None:
    with pytest.raises(UserError, match="NaFlex") as caught:
        encoder_spec(described({"model_type": "siglip2"}, preprocessor_config=SIGLIP_PROCESSOR))
    assert "MODEL=google/siglip2-base-patch16-224" in str(caught.value)


def test_old_configs_of_xclip_crop_to_what_the_model_takes(described: Callable[..., ModelFiles]) -> None:
    """microsoft/xclip-large-patch14-16-frames names a size alone."""
    processor = {
        "do_center_crop": True,
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "VideoMAEFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 2,
        "size": 336,
    }
    config = {"model_type": "xclip", "projection_dim": 768, "vision_config": {"image_size": 336, "num_frames": 16}}
    spec = encoder_spec(described(config, preprocessor_config=processor))
    assert (spec.unit, spec.clip_frames, spec.clip_stride, spec.dim) == ("clip", 16, 16, 768)
    assert spec.frame_shape == (16, 336, 336, 3)
    assert (spec.preprocessing.shortest_edge, spec.preprocessing.crop) == (336, (336, 336))
    assert spec.preprocessing.interpolation == "bilinear"
    assert (spec.batch_size(256), spec.batch_size(8)) == (16, 1)


def test_a_nested_processor_config_comes_first(described: Callable[..., ModelFiles]) -> None:
    nested = {"image_processor": {**SIGLIP_PROCESSOR, "resample": 3}, "processor_class": "SiglipProcessor"}
    files = described(
        {"model_type": "siglip", **SIGLIP2_TOWERS}, preprocessor_config=SIGLIP_PROCESSOR, processor_config=nested
    )
    assert encoder_spec(files).preprocessing.interpolation == "bicubic"


def test_a_title_of_an_example_needs_no_files() -> None:
    assert family_title("google/siglip2-base-patch16-224") == "SigLIP2"
    assert family_title("openai/clip-vit-base-patch32") == "CLIP"


def test_models_without_texts_say_so(described: Callable[..., ModelFiles], small_clip: Path) -> None:
    with pytest.raises(NoTextTowerError, match="dinov2"):
        load_text_tower(described({"model_type": "dinov2"}))
    with pytest.raises(NoTextTowerError, match="small-clip"):
        load_text_tower(resolve(str(small_clip)))  # it has no tokenizer
    spec = encoder_spec(resolve(str(small_clip)))
    assert (spec.has_text, spec.probabilities) == (False, None)
