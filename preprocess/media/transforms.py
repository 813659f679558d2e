"""Frames to the model's input size, pixel for pixel as the model's own image processor does it.

A frame of 256 x 340 becomes 224 x 298 (bicubic, antialiased, on uint8), then 224 x 224 from its centre. Scaling and
normalising are left to the encoder: a frame stays uint8, 150 KB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import MediaError
from preprocess.media.video import MAX_PIXELS, Transform
from preprocess.samples import Preprocessing


def resize_crop(preprocessing: Preprocessing) -> Transform:
    """Makes the transform of a model: the shorter side to `shortest_edge`, then the centre `crop`, black where short.

    Bit-exact with `transformers`' `CLIPImageProcessor` (torchvision backend) before it rescales and normalises.

    Raises (the transform):
        MediaError: `too_large`, for a picture so narrow that resizing its short side makes its long side enormous.
    """
    import torch
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2.functional import resize

    crop_height, crop_width = preprocessing.crop

    def transform(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        height, width = resized_size(image.shape[0], image.shape[1], preprocessing.shortest_edge)
        if height * width > MAX_PIXELS:
            raise MediaError("too_large", f"{image.shape[1]} x {image.shape[0]} becomes {width} x {height} pixels")
        # FFmpeg pads rows, and turned frames are views: one cheap copy. A (3, H, W) view of (H, W, 3) memory ("channels
        # last") is then what torch resizes fastest, as it lies.
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        tensor = resize(tensor, [height, width], interpolation=InterpolationMode.BICUBIC, antialias=True)
        return center_crop(tensor.permute(1, 2, 0).numpy(), crop_height, crop_width)

    return transform


def resized_size(height: int, width: int, shortest_edge: int) -> tuple[int, int]:
    """Height and width once the shorter side is `shortest_edge`; the longer one is rounded down.

    Examples:
        >>> resized_size(256, 340, 224)
        (224, 297)
    """
    if width <= height:
        return int(shortest_edge * height / width), shortest_edge
    return shortest_edge, int(shortest_edge * width / height)


def center_crop(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The centre of `(H, W, 3)`, rounded towards the top left; a side that is too short gets black on both ends."""
    rows, columns = _overlap(image.shape[0], height), _overlap(image.shape[1], width)
    inside = image[rows[0], columns[0]]
    if inside.shape[:2] == (height, width):
        return inside
    padded = np.zeros((height, width, 3), np.uint8)
    padded[rows[1], columns[1]] = inside
    return padded


def _overlap(size: int, crop: int) -> tuple[slice, slice]:
    """Along one side: which part of the image is kept, and where in the crop it lies."""
    if crop <= size:
        start = (size - crop) // 2
        return slice(start, start + crop), slice(0, crop)
    start = (crop - size) // 2
    return slice(0, size), slice(start, start + size)
