"""Frames to the model's input size, pixel for pixel as the model's own image processor does it.

For CLIP a frame of 256 x 340 becomes 224 x 297 (bicubic, antialiased, on uint8), then 224 x 224 from its center.
Scaling and normalizing are left to the encoder: a frame stays uint8, 150 KB.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from preprocess.errors import MediaError
from preprocess.media.frames import MAX_PIXELS, Transform
from preprocess.media.resize import resize
from preprocess.samples import Pixels, Preprocessing


def resize_crop(preprocessing: Preprocessing) -> Transform:
    """Makes the transform of a model: resize to the shorter side or to both sides, then crop the center.

    Bit-exact with the image processors of `transformers` (torchvision backend) before they normalize. Frames stay
    uint8, except where the processor scales before it resizes: then they are float32, already scaled.

    Raises (the transform):
        MediaError: `too_large`, for a picture so narrow that resizing its short side makes its long side enormous.
    """
    import torch

    crop = preprocessing.crop

    def transform(image: NDArray[np.uint8]) -> Pixels:
        edge, size = preprocessing.shortest_edge, preprocessing.size
        height, width = size or resized_size(image.shape[0], image.shape[1], edge or 0)
        if height * width > MAX_PIXELS:
            raise MediaError("too_large", f"{image.shape[1]} x {image.shape[0]} becomes {width} x {height} pixels")
        # FFmpeg pads rows, and turned frames are views: one cheap copy. A (3, H, W) view of (H, W, 3) memory ("channels
        # last") is then what torch resizes fastest, as it lies.
        tensor = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)
        if preprocessing.rescale_first:  # floats round differently in another memory layout than the processor's
            tensor = tensor.contiguous() * preprocessing.rescale_factor
        tensor = resize(tensor, height, width, preprocessing.interpolation)
        pixels: Pixels = tensor.permute(1, 2, 0).numpy()
        return pixels if crop is None else center_crop(pixels, *crop)

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


def center_crop(image: Pixels, height: int, width: int) -> Pixels:
    """The center of `(H, W, 3)`, rounded towards the top left; a side that is too short gets black on both ends."""
    rows, columns = _overlap(image.shape[0], height), _overlap(image.shape[1], width)
    inside = image[rows[0], columns[0]]
    if inside.shape[:2] == (height, width):
        return inside
    padded = np.zeros((height, width, 3), image.dtype)
    padded[rows[1], columns[1]] = inside
    return padded


def _overlap(size: int, crop: int) -> tuple[slice, slice]:
    """Along one side: which part of the image is kept, and its position in the crop."""
    if crop <= size:
        start = (size - crop) // 2
        return slice(start, start + crop), slice(0, crop)
    start = (crop - size) // 2
    return slice(0, size), slice(start, start + size)
