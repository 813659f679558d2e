"""The encoder of every family: device, number format and batches of one fixed shape around its forward pass.

Why fixed: matrix libraries choose their kernels by the shape of the product, so the same image may differ in its last
bits between a batch of 3 and a batch of 32. With one shape a row depends on its own pixels only, and the output has the
same bytes whatever the batches were made of.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from preprocess.encoders.process import tune_malloc
from preprocess.encoders.spec import EncoderSpec, Precision
from preprocess.samples import Pixels

_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

Forward = Callable[[torch.Tensor], torch.Tensor]
Load = Callable[[torch.device, torch.dtype], Forward]


class TorchEncoder:
    """Frames or clips to vectors, as a family's forward pass gives them.

    Args:
        id: Name of the model.
        spec: Its description.
        load: Loads the tower; see `preprocess.encoders.spec.Family.load`.
        device: `cpu`, `cuda`, `cuda:1`, …
        precision: Number format of weights and activations.
        batch_size: Rows per forward pass.
    """

    def __init__(self, id: str, spec: EncoderSpec, load: Load, device: str, precision: Precision, batch_size: int):
        self.id = id
        self.dim = spec.dim
        self.batch_size = batch_size
        self.preprocessing = spec.preprocessing
        self.frame_shape = spec.frame_shape
        self.frame_dtype = spec.preprocessing.frame_dtype
        self._device = torch.device(device)
        self._dtype = _DTYPES[precision]
        if self._device.type == "cpu":
            tune_malloc()
        self._forward = load(self._device, self._dtype)
        self._divisor = None if self.preprocessing.rescale_first else 1.0 / self.preprocessing.rescale_factor
        self._mean, self._std = (
            torch.tensor(values, device=self._device)[:, None, None]
            for values in (self.preprocessing.mean, self.preprocessing.std)
        )

    def encode(self, pixels: Pixels) -> NDArray[np.float32]:
        """`(N, *frame_shape)` of `frame_dtype`, resized and cropped, to float32 `(N, D)`, not normalized."""
        if pixels.shape[1:] != self.frame_shape or pixels.dtype != self.frame_dtype:
            wanted = f"{np.dtype(self.frame_dtype)} (N, {', '.join(map(str, self.frame_shape))})"
            raise ValueError(f"pixels must be {wanted}, got {pixels.dtype} {pixels.shape = }")
        rows = np.empty((len(pixels), self.dim), np.float32)
        for first in range(0, len(pixels), self.batch_size):
            batch = pixels[first : first + self.batch_size]
            rows[first : first + len(batch)] = self._encode_batch(batch)
        return rows

    @torch.inference_mode()
    def _encode_batch(self, batch: Pixels) -> NDArray[np.float32]:
        on_gpu = self._device.type == "cuda"
        pixels = torch.from_numpy(batch)
        staged = torch.zeros((self.batch_size, *self.frame_shape), dtype=pixels.dtype, pin_memory=on_gpu)
        staged[: len(batch)] = pixels
        # A frame travels as bytes (150 KB at 224 x 224) and becomes floats where the model is; in planes first, as
        # arithmetic along a last dimension of 3 takes several times as long.
        planes = staged.to(self._device, non_blocking=on_gpu).movedim(-1, -3)
        values = planes.to(torch.float32, memory_format=torch.contiguous_format)
        if self._divisor is not None:
            values = values.div_(self._divisor)
        values = values.sub_(self._mean).div_(self._std).to(self._dtype)
        vectors = self._forward(values)
        result: NDArray[np.float32] = vectors[: len(batch)].float().cpu().numpy()
        return result
