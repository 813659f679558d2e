"""CLIP's image tower against the one of `transformers`, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from preprocess.encoders import load_encoder
from preprocess.encoders.clip_tower import load_clip_tower
from preprocess.encoders.models import resolve
from preprocess.encoders.registry import known_family
from preprocess.errors import UserError
from preprocess.pipeline.preload import model_modules
from tests.encoders.small_models import MODELS

CPU = torch.device("cpu")
SMALL: dict[str, Any] = {
    "hidden_size": 96,
    "intermediate_size": 200,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "image_size": 42,
    "patch_size": 14,
    "projection_dim": 24,
}


def saved(folder: Path, **config: Any) -> Path:
    torch.manual_seed(0)
    model = CLIPVisionModelWithProjection(CLIPVisionConfig(**{**SMALL, **config}))
    with torch.no_grad():
        for weight in model.parameters():  # those that begin as zeros or ones would hide that they are not used
            weight += 0.1 * torch.randn_like(weight)
    model.save_pretrained(folder)
    return folder


def assert_equal_bits(folder: Path, dtype: torch.dtype, counts: tuple[int, ...] = (1, 7)) -> None:
    theirs = CLIPVisionModelWithProjection.from_pretrained(folder, dtype=dtype).eval()
    ours = load_clip_tower(resolve(str(folder)), CPU, dtype)
    assert ours is not None
    size = theirs.config.image_size
    for count in counts:
        pixels = torch.randn(count, 3, size, size).to(dtype)
        with torch.inference_mode():
            assert torch.equal(ours(pixels), theirs(pixel_values=pixels).image_embeds)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_rows_have_the_bits_of_transformers(activation: str, dtype: torch.dtype, tmp_path: Path) -> None:
    assert_equal_bits(saved(tmp_path, hidden_act=activation, layer_norm_eps=1e-3), dtype)


def test_the_tower_of_a_published_size(tmp_path: Path) -> None:
    """All defaults, which a config does not repeat."""
    torch.manual_seed(0)
    CLIPVisionModelWithProjection(CLIPVisionConfig()).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for name in ("num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps"):
        config.pop(name, None)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert_equal_bits(tmp_path, torch.bfloat16, (1, 16))


@pytest.mark.parametrize("equal", [True, False])
def test_the_last_row_is_computed_alone_where_it_has_the_same_bits(equal: bool, tmp_path: Path) -> None:
    """An activation that sees the difference stands for a library that chooses another kernel."""
    tower = load_clip_tower(resolve(str(saved(tmp_path))), CPU, torch.float32)
    assert tower is not None
    rows: list[int] = []

    def activation(x: torch.Tensor) -> torch.Tensor:
        rows.append(x[..., 0].numel())
        return torch.nn.functional.gelu(x) if equal or x.dim() == 3 else x

    tower = replace(tower, activation=activation, alone={})
    pixels = torch.randn(100, 3, 42, 42)
    with torch.inference_mode():
        first = tower(pixels)
        alone = set(tower.alone.values())
        assert alone == {equal} or (equal and alone == {False}), "another library may differ at any shape"
        assert rows == [1000, 1000, 1000, 100, 100 if alone == {True} else 1000], "tried once, then computed"
        rows.clear()
        assert torch.equal(tower(pixels), first)
    assert rows == [1000, 1000, 100 if alone == {True} else 1000]


def test_a_few_equal_numbers_decide_nothing(tmp_path: Path) -> None:
    tower = load_clip_tower(resolve(str(saved(tmp_path))), CPU, torch.float32)
    assert tower is not None
    with torch.inference_mode():
        tower(torch.randn(85, 3, 42, 42))
    assert set(tower.alone.values()) == {False}, "85 rows of 96 numbers are fewer than 8192"


def test_weights_in_several_files(tmp_path: Path) -> None:
    model = CLIPVisionModelWithProjection.from_pretrained(saved(tmp_path / "one"))
    model.save_pretrained(tmp_path / "several", max_shard_size="200KB")
    assert len(resolve(str(tmp_path / "several")).weights) > 2
    assert_equal_bits(tmp_path / "several", torch.float32)


def test_a_whole_model_and_a_config_that_says_it_twice(tmp_path: Path) -> None:
    """As that of openai/clip-vit-large-patch14: for a vision tower alone, `vision_config` counts."""
    MODELS["clip"](tmp_path)
    assert_equal_bits(tmp_path, torch.float32)
    config = json.loads((tmp_path / "config.json").read_text())
    other = {**config["vision_config"], "num_attention_heads": 2, "hidden_act": "gelu", "layer_norm_eps": 1e-2}
    (tmp_path / "config.json").write_text(json.dumps({**config, "vision_config_dict": other}))
    assert_equal_bits(tmp_path, torch.float32)


def test_what_only_transformers_knows_is_left_to_it(tmp_path: Path) -> None:
    folder = saved(tmp_path / "other", hidden_act="relu")
    MODELS["clip"](tmp_path / "processor")
    processor = (tmp_path / "processor" / "preprocessor_config.json").read_text().replace("32", "42")
    (folder / "preprocessor_config.json").write_text(processor)
    files = resolve(str(folder))
    assert load_clip_tower(files, CPU, torch.float32) is None
    encoder = load_encoder(files, batch_size=2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *encoder.frame_shape), np.uint8)
    model = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    mean, std = encoder.preprocessing.mean, encoder.preprocessing.std
    normal = ((torch.from_numpy(pixels) / 255 - torch.tensor(mean)) / torch.tensor(std)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = model(pixel_values=normal.contiguous()).image_embeds
    np.testing.assert_allclose(encoder.encode(pixels), expected.numpy(), atol=1e-5)


def test_weights_that_are_not_there_are_named(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(saved(tmp_path) / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks 1 weights of its image tower, such as visual_projection\.weight"):
        load_clip_tower(resolve(str(tmp_path)), CPU, torch.float32)


ENCODE = """
import sys
import numpy as np
from preprocess.encoders import load_encoder
from preprocess.encoders.models import resolve
from preprocess.media.transforms import resize_crop
import preprocess.pipeline.engine

encoder = load_encoder(resolve("tiny-clip"))
frame = resize_crop(encoder.preprocessing)(np.zeros((80, 100, 3), np.uint8))
assert encoder.encode(frame[None]).shape == (1, 512)
print(sorted({"transformers", "torchvision", "datasets", "scipy", "sklearn"} & sys.modules.keys()))
"""


def test_a_process_that_encodes_with_clip_imports_torch_alone() -> None:
    """Each of the others takes seconds before the first batch."""
    ended = subprocess.run([sys.executable, "-c", ENCODE], capture_output=True, text=True, timeout=300, check=True)
    assert ended.stdout.strip() == "[]"


def test_a_model_in_the_cache_of_the_hub_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever its name, so that workers need not import for all families before they encode with one."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--me--tuned"
    (snapshot := repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    assert known_family("me/tuned") is None
    MODELS["clip"](snapshot)
    assert known_family("me/tuned") is known_family("tiny-clip")


def test_workers_import_for_the_model_at_hand(tmp_path: Path) -> None:
    names = ["clip", "siglip"]
    for name in names:
        (tmp_path / name).mkdir()
        MODELS[name](tmp_path / name)
    clip, siglip = (known_family(str(tmp_path / name)) for name in names)
    assert model_modules([clip]) == ("preprocess.encoders.clip_tower",)
    assert "transformers.modeling_layers" in model_modules([clip, siglip])
    assert known_family("openai/clip-vit-large-patch14") is known_family("tiny-clip") is clip
    for unknown in ("org/unknown", "no/model/id", "../elsewhere", ""):
        assert known_family(unknown) is None
    assert "transformers.modeling_layers" in model_modules([None])
