"""Texts to directions: the text tower of the model whose image tower made the embeddings.

tower = TextTower(resolve("tiny-clip"))
tower.encode(["a red circle", "a blue ring"])     # float32 (2, 512), of length 1
tower.scale                                       # exp(logit_scale): 100 for OpenAI's models
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from dataset_cards.evaluation.features import Matrix, unit
from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import UserError
from preprocess.formats.layout import read_json
from preprocess.samples import JSON

BATCH = 256


class NoTextTowerError(UserError):
    """The model that made the embeddings knows images only, so there is nothing to compare them with."""


class TextTower:
    """`CLIPTextModelWithProjection` in fp32, loaded from the same folder as the image tower.

    Args:
        files: The model, from `preprocess.encoders.models.resolve`.
        device: A torch device.

    Raises:
        NoTextTowerError: The folder holds an image tower alone, or no tokenizer.
    """

    def __init__(self, files: ModelFiles, device: str = "cpu") -> None:
        import torch
        from transformers import AutoTokenizer, CLIPTextModelWithProjection

        from preprocess.encoders.clip import quiet

        tokenizer = any((files.folder / name).is_file() for name in ("tokenizer.json", "vocab.json"))
        if not tokenizer or "text_config" not in read_json(files.folder / "config.json"):
            raise NoTextTowerError(f"model {files.id!r} has no text tower", "Save it whole, with its tokenizer.")
        quiet()
        self._device = device
        self._tokenizer = AutoTokenizer.from_pretrained(files.folder, local_files_only=True)
        model = CLIPTextModelWithProjection.from_pretrained(files.folder, dtype=torch.float32, local_files_only=True)
        self._model = model.to(device).eval()  # type: ignore[arg-type]
        self.dim = int(model.text_projection.out_features)
        self.scale = logit_scale(files)

    def encode(self, texts: Sequence[str]) -> Matrix:
        """float32 `(N, D)`, rows of length 1. A text that occurs twice is encoded once; long ones are cut."""
        import torch

        places: dict[str, int] = {}
        index = [places.setdefault(text, len(places)) for text in texts]
        unique = list(places)
        rows = np.empty((len(unique), self.dim), np.float32)
        for i in range(0, len(unique), BATCH):
            tokens = self._tokenizer(
                unique[i : i + BATCH],
                padding=True,
                truncation=True,
                max_length=self._model.config.max_position_embeddings,
                return_tensors="pt",
            ).to(self._device)
            with torch.inference_mode():
                rows[i : i + BATCH] = self._model(**tokens).text_embeds.float().cpu().numpy()
        return unit(rows)[index]


def logit_scale(files: ModelFiles) -> float:
    """exp of the `logit_scale` among the weights; 100, OpenAI's, where a model comes without one."""
    import torch
    from safetensors import safe_open

    for path in files.weights:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as tensors:
                found = tensors.get_tensor("logit_scale") if "logit_scale" in tensors.keys() else None  # noqa: SIM118
        else:
            found = torch.load(path, weights_only=True, mmap=True).get("logit_scale")
        if found is not None:
            return math.exp(float(found))
    return 100.0


def encoder_files(encoder: JSON, model: str | None = None) -> ModelFiles:
    """The model that made the embeddings.

    Args:
        encoder: `encoder` of the manifest.
        model: Where it is, when it was a folder of which the manifest knows the name alone.

    Raises:
        UserError: It is not there, or has other weights than those that the manifest names.
    """
    name = model or encoder["model"]
    remedy = f"Name the model that made the embeddings ({encoder['model']}): --model FOLDER."
    try:
        files = resolve(name, encoder.get("revision") if name == encoder["model"] else None)
    except UserError as error:
        raise UserError(error.cause, remedy) from error
    if files.sha256() != encoder["weights_sha256"]:
        raise UserError(f"{name!r} has other weights than the model that made the embeddings (SHA-256)", remedy)
    return files
