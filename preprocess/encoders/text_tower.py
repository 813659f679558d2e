"""The text tower of every family: tokenizer, batches and normalization around its forward pass.

tower = load_text_tower(resolve("tiny-clip"))
tower.encode(["a red circle", "a blue ring"])     # float32 (2, 512), L2-normalized
tower.scale                                       # exp(logit_scale): 100 for OpenAI's models
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from transformers import AutoTokenizer

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.process import quiet
from preprocess.encoders.spec import TextFamily

BATCH = 256
DEFAULT_SCALE = 100.0  # OpenAI's, for models saved without one


class TorchTextTower:
    """Texts to directions, in fp32, loaded from the same folder as the vision tower.

    Args:
        files: The model.
        text: How to use the text towers of its family.
        device: A torch device.
    """

    def __init__(self, files: ModelFiles, text: TextFamily, device: str = "cpu") -> None:
        quiet()
        self._device = torch.device(device)
        self._tokenizer = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
        self._model = text.load(files, self._device)
        self.dim = self._model.dim
        self.probabilities = text.probabilities
        scale, bias = read_scalar(files, "logit_scale"), read_scalar(files, "logit_bias")
        self.scale = DEFAULT_SCALE if scale is None else math.exp(scale)
        self.bias = bias or 0.0

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """float32 `(N, D)`, rows L2-normalized. A text that occurs twice is encoded once; long ones are cut."""
        places: dict[str, int] = {}
        index = [places.setdefault(self._model.prepare(text), len(places)) for text in texts]
        unique = list(places)
        rows = np.empty((len(unique), self.dim), np.float32)
        for i in range(0, len(unique), BATCH):
            tokens = self._tokenizer(
                unique[i : i + BATCH],
                padding="max_length" if self._model.pad_to_max else True,
                truncation=True,
                max_length=self._model.max_length,
                return_tensors="pt",
            ).to(self._device)
            found = torch.nn.functional.normalize(self._model.embed(tokens).float(), dim=-1)
            rows[i : i + BATCH] = found.cpu().numpy()
        return rows[index]


def read_scalar(files: ModelFiles, name: str) -> float | None:
    """One number among the weights of a model, without loading the others; None where there is none of that name."""
    for path in files.weights:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                found = tensors.get_tensor(name) if name in tensors.keys() else None  # noqa: SIM118
        else:
            found = torch.load(path, weights_only=True, mmap=True).get(name)
        if found is not None:
            return float(found)
    return None
