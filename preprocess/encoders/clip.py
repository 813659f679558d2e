"""CLIP's vision tower: `CLIPVisionModelWithProjection` of `transformers`, in batches of one fixed shape.

Why fixed: matrix libraries choose their kernels by the shape of the product, so the same image may differ in its last
bits between a batch of 3 and a batch of 32. With one shape a row depends on its own pixels only, and the output has the
same bytes whatever the batches were made of.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import platform

import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from transformers import CLIPVisionModelWithProjection

from preprocess.encoders.devices import Precision
from preprocess.encoders.models import ModelFiles

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class ClipEncoder:
    """Frames to image embeddings, as `CLIPVisionModelWithProjection(...).image_embeds` gives them.

    Args:
        files: The model, from `preprocess.encoders.models.resolve`.
        device: `cpu`, `cuda`, `cuda:1`, …
        precision: `fp32` is exact; `bf16` and `fp16` are several times faster, with cosines above 0.9995.
        batch_size: Rows per forward pass.
    """

    def __init__(self, files: ModelFiles, device: str = "cpu", precision: Precision = "fp32", batch_size: int = 32):
        self.id = files.id
        self.batch_size = batch_size
        self.preprocessing = files.preprocessing()
        self._device = torch.device(device)
        self._dtype = _DTYPES[precision]
        if self._device.type == "cpu":
            tune_malloc()
        quiet()
        model = CLIPVisionModelWithProjection.from_pretrained(
            files.folder, dtype=self._dtype, attn_implementation="sdpa", local_files_only=True
        )
        self._model = model.to(self._device).eval()  # type: ignore[arg-type]
        self.dim = int(model.config.projection_dim)
        shape = (1, 1, 1, 3)
        self._mean = torch.tensor(self.preprocessing.mean, device=self._device).reshape(shape)
        self._std = torch.tensor(self.preprocessing.std, device=self._device).reshape(shape)

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 `(N, H, W, 3)`, resized and cropped, to float32 `(N, D)`, not normalized."""
        height, width = self.preprocessing.crop
        if pixels.ndim != 4 or pixels.shape[1:] != (height, width, 3) or pixels.dtype != np.uint8:
            raise ValueError(f"pixels must be uint8 (N, {height}, {width}, 3), got {pixels.dtype} {pixels.shape = }")
        rows = np.empty((len(pixels), self.dim), np.float32)
        for first in range(0, len(pixels), self.batch_size):
            batch = pixels[first : first + self.batch_size]
            rows[first : first + len(batch)] = self._forward(batch)
        return rows

    @torch.inference_mode()
    def _forward(self, batch: NDArray[np.uint8]) -> NDArray[np.float32]:
        on_gpu = self._device.type == "cuda"
        staged = torch.zeros((self.batch_size, *batch.shape[1:]), dtype=torch.uint8, pin_memory=on_gpu)
        staged[: len(batch)] = torch.from_numpy(batch)
        # A frame travels as bytes (150 KB at 224 x 224) and becomes floats where the model is.
        values = staged.to(self._device, non_blocking=on_gpu).to(torch.float32)
        values = values.div_(255.0).sub_(self._mean).div_(self._std).permute(0, 3, 1, 2).to(self._dtype)
        embeds = self._model(pixel_values=values.contiguous()).image_embeds
        result: NDArray[np.float32] = embeds[: len(batch)].float().cpu().numpy()
        return result


def quiet() -> None:
    """No bar for the loading of 200 tensors, no report that the text tower was left out."""
    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.utils.logging.set_verbosity_error()  # type: ignore[no-untyped-call]


def tune_malloc() -> None:
    """Keeps glibc from giving activations back to the kernel after every layer (1.9 times at batch 256)."""
    if platform.libc_ver()[0] != "glibc":
        return
    m_trim_threshold, m_top_pad, m_mmap_threshold = -1, -2, -3  # malloc.h
    libc = ctypes.CDLL(ctypes.util.find_library("c") or "libc.so.6")
    libc.mallopt(m_mmap_threshold, 1 << 30)
    libc.mallopt(m_trim_threshold, 2**31 - 1)
    libc.mallopt(m_top_pad, 256 << 20)
