"""The encoder against a plain `transformers` forward, image by image, with the model's own image processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from preprocess.encoders.clip import ClipEncoder
from preprocess.encoders.devices import choose_device, choose_precision
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import UserError


@pytest.fixture
def files(small_clip: Path) -> ModelFiles:
    return resolve(str(small_clip))


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (21, 32, 32, 3), dtype=np.uint8)


def plain_forward(folder: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """One image after another through processor and model, as their documentation shows it."""
    processor = CLIPImageProcessor.from_pretrained(folder)
    model = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
    rows = []
    for image in pixels:
        with torch.no_grad():
            rows.append(model(**processor(images=image, return_tensors="pt", input_data_format="channels_last")))
    return np.concatenate([row.image_embeds.numpy() for row in rows])


def cosines(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    a, b = a.astype(np.float64), b.astype(np.float64)
    result: NDArray[Any] = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return result


def test_fp32_equals_a_plain_forward(files: ModelFiles, small_clip: Path, pixels: NDArray[np.uint8]) -> None:
    encoder = ClipEncoder(files, "cpu", "fp32", batch_size=8)
    vectors = encoder.encode(pixels)
    assert vectors.shape == (21, 16) == (len(pixels), encoder.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, plain_forward(small_clip, pixels), atol=1e-5)
    assert np.std(vectors, axis=0).min() > 1e-3, "rows that are all alike would pass any comparison"


def test_bf16_stays_close(files: ModelFiles, small_clip: Path, pixels: NDArray[np.uint8]) -> None:
    vectors = ClipEncoder(files, "cpu", "bf16", batch_size=8).encode(pixels)
    assert cosines(vectors, plain_forward(small_clip, pixels)).min() >= 0.9995


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_row_depends_on_its_own_pixels_only(files: ModelFiles, pixels: NDArray[np.uint8], precision: Any) -> None:
    encoder = ClipEncoder(files, "cpu", precision, batch_size=8)
    whole = encoder.encode(pixels)
    order = np.random.default_rng(1).permutation(len(pixels))
    np.testing.assert_array_equal(encoder.encode(pixels[order]), whole[order])
    for i in (0, 7, 20):
        np.testing.assert_array_equal(encoder.encode(pixels[i : i + 1])[0], whole[i])


def test_pixels_of_the_wrong_shape_are_named(files: ModelFiles) -> None:
    with pytest.raises(ValueError, match=r"uint8 \(N, 32, 32, 3\), got uint8 pixels.shape = \(1, 30, 32, 3\)"):
        ClipEncoder(files).encode(np.zeros((1, 30, 32, 3), np.uint8))


def test_devices_and_precisions_are_checked_at_the_door() -> None:
    assert choose_device("cpu") == ("cpu",)
    with pytest.raises(UserError, match="'gpu9'"):
        choose_device("gpu9")
    assert choose_precision("fp32", "cpu") == "fp32"
    assert choose_precision("auto", "cpu") in ("fp32", "bf16")
    with pytest.raises(UserError, match="'fp8'"):
        choose_precision("fp8", "cpu")
    if not torch.cuda.is_available():
        assert choose_device("auto") == ("cpu",)
        with pytest.raises(UserError, match="'cuda:0' cannot be used"):
            choose_device("cuda:0")
