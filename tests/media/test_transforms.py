"""`resize_crop` against `transformers`' own processor, pixel for pixel."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize as torchvision_resize
from transformers import CLIPImageProcessor

from preprocess.errors import MediaError
from preprocess.media.resize import resize
from preprocess.media.transforms import resize_crop, resized_size
from preprocess.samples import Preprocessing

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
SIZES = [
    (256, 340),
    (240, 320),
    (360, 640),
    (720, 1280),
    (340, 256),
    (641, 361),
    (224, 224),
    (225, 224),
    (224, 500),
    (223, 223),
    (100, 37),
    (3, 5),
    (1, 1),
    (50, 3000),
    (2, 1000),
]
# shortest edge and crop: as published, at another size, and with crops that reach beyond the image.
SETTINGS = [
    (224, (224, 224)),
    (336, (336, 336)),
    (256, (224, 224)),
    (100, (224, 224)),
    (150, (100, 301)),
    (61, (33, 64)),
]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(height * 10_007 + width)
    return random.integers(0, 256, (height, width, 3), dtype=np.uint8)


def processor(edge: int, crop: tuple[int, int]) -> CLIPImageProcessor:
    return CLIPImageProcessor(
        size={"shortest_edge": edge},
        crop_size={"height": crop[0], "width": crop[1]},
        image_mean=list(MEAN),
        image_std=list(STD),
    )


@pytest.mark.parametrize(("edge", "crop"), SETTINGS)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_pixels_are_those_of_the_processor(size: tuple[int, int], edge: int, crop: tuple[int, int]) -> None:
    image = picture(*size)
    theirs = processor(edge, crop)(Image.fromarray(image), do_rescale=False, do_normalize=False, return_tensors="np")
    ours = resize_crop(Preprocessing(edge, crop, MEAN, STD))(image)
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, theirs["pixel_values"][0].transpose(1, 2, 0))


@pytest.mark.parametrize("size", [(256, 340), (641, 361)], ids=str)
def test_normalised_values_are_those_of_the_processor(size: tuple[int, int]) -> None:
    image = picture(*size)
    theirs = processor(224, (224, 224))(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    pixels = resize_crop(Preprocessing(224, (224, 224), MEAN, STD))(image)
    ours = (pixels.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    np.testing.assert_allclose(ours.transpose(2, 0, 1), theirs, atol=1e-6)


def test_memory_layout_does_not_matter() -> None:
    """Rows that FFmpeg pads, turned and mirrored views, and read-only memory give the same pixels."""
    transform = resize_crop(Preprocessing(224, (224, 224), MEAN, STD))
    image = picture(256, 340)
    padded = np.zeros((256, 352, 3), np.uint8)[:, :340]
    padded[:] = image
    views = [padded, image[::-1].copy()[::-1], image.transpose(1, 0, 2).copy().transpose(1, 0, 2)]
    for view in views:
        assert view.strides != image.strides
        np.testing.assert_array_equal(transform(view), transform(image))


def test_needle_shaped_pictures_are_refused_before_memory_is_taken() -> None:
    with pytest.raises(MediaError, match="16000000 x 224") as caught:
        resize_crop(Preprocessing(224, (224, 224), MEAN, STD))(np.zeros((14, 1_000_000, 3), np.uint8))
    assert caught.value.reason == "too_large"


def test_sizes_round_down() -> None:
    assert resized_size(256, 340, 224) == (224, 297)
    assert resized_size(340, 256, 224) == (297, 224)
    assert resized_size(1, 1, 224) == (224, 224)


WITHOUT_INSTRUCTIONS = """
import numpy as np
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional
from preprocess.media.resize import resize

assert torch.backends.cpu.get_cpu_capability() == "DEFAULT"
for kind in ("bilinear", "bicubic"):
    for size in ((64, 90), (31, 17), (200, 300)):
        image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)).permute(2, 0, 1)
        theirs = functional.resize(image, list(size), interpolation=InterpolationMode(kind), antialias=True)
        ours = resize(image, *size, kind)
        assert torch.equal(ours, theirs) and ours.stride() == theirs.stride(), (kind, size)
"""


def test_a_cpu_without_vector_instructions_resizes_as_torchvision_does_there() -> None:
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}
    subprocess.run([sys.executable, "-c", WITHOUT_INSTRUCTIONS], env=environment, timeout=300, check=True)


@pytest.mark.parametrize("kind", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_resized_pixels_and_their_layout_are_those_of_torchvision(size: tuple[int, int], kind: Any) -> None:
    image = torch.from_numpy(picture(*size))
    for one in (image.permute(2, 0, 1), image.permute(2, 0, 1).contiguous(), image.permute(2, 0, 1) / 255):
        for wanted in ((40, 61), (224, 224), size):
            interpolation = InterpolationMode(kind)
            theirs = torchvision_resize(one, list(wanted), interpolation=interpolation, antialias=True)
            ours = resize(one, *wanted, kind)
            assert torch.equal(ours, theirs)
            assert ours.stride() == theirs.stride()
