"""Frames to vectors: the protocol every encoder follows.

encoder = ClipEncoder(resolve("tiny-clip"))
encoder.encode(pixels)          # uint8 (N, 64, 64, 3) -> float32 (N, 512)
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from preprocess.samples import Preprocessing


class Encoder(Protocol):
    """Turns preprocessed frames into vectors; a row depends on its own pixels only.

    Attributes:
        id: Name of the model as it stands in the manifest.
        dim: Length D of a vector.
        batch_size: Rows per forward pass; other numbers of rows are padded to it.
        preprocessing: Resize and crop that the frames must have been through.
    """

    id: str
    dim: int
    batch_size: int
    preprocessing: Preprocessing

    def encode(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """uint8 `(N, H, W, 3)`, already resized and cropped, to float32 `(N, D)`, not normalized."""
        ...
