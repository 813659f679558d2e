"""Resizing of one picture, with the bits of torchvision's `resize`, and without the seconds that its import takes."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from preprocess.samples import Interpolation

if TYPE_CHECKING:  # planning and reports need no torch
    import torch


def resize(image: torch.Tensor, height: int, width: int, interpolation: Interpolation = "bicubic") -> torch.Tensor:
    """Resizes on the CPU, antialiased.

    Args:
        image: `(3, H, W)`, uint8 or float32, in any memory layout, which the result has, too.
        height, width: Of the result.
        interpolation: `bicubic` or `bilinear`.

    Returns:
        `(3, height, width)` of the same type.
    """
    import torch

    if image.shape[1:] == (height, width):
        return image
    batch = image[None]
    if batch.is_contiguous(memory_format=torch.channels_last):
        # Of one picture torch takes any layout for "channels first", unless the stride of the batch says otherwise.
        batch = batch.as_strided(batch.shape, (image.numel(), *image.stride()))
    through_floats = image.dtype == torch.uint8 and not _in_bytes(interpolation)
    if through_floats:
        batch = batch.to(torch.float32)
    batch = torch.nn.functional.interpolate(
        batch, (height, width), mode=interpolation, align_corners=False, antialias=True
    )
    if through_floats:
        batch = batch.round_().to(torch.uint8)
    return batch[0]


def _in_bytes(interpolation: Interpolation) -> bool:
    """Whether torch resizes bytes as bytes: bilinear ones only where it has instructions for it."""
    import torch

    fast = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512") or platform.machine() in ("aarch64", "arm64")
    return fast or interpolation == "bicubic"
