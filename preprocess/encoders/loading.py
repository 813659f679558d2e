"""One way to load a part of a model with `transformers`: from its folder alone, ready for inference."""

from __future__ import annotations

from typing import Any

import torch

from preprocess.encoders.models import ModelFiles
from preprocess.encoders.process import quiet


def load_model(cls: Any, files: ModelFiles, device: torch.device, dtype: torch.dtype, **options: Any) -> Any:
    """`cls.from_pretrained` of the model's folder, moved to the device, in evaluation mode.

    Args:
        cls: A model class of `transformers`, or one of its `Auto` classes.
        files: The model; nothing is looked for on the Hub.
        device: Where its weights go.
        dtype: Number format of its weights.
        options: Of `from_pretrained`.
    """
    quiet()
    model = cls.from_pretrained(files.folder, dtype=dtype, local_files_only=True, **options)
    return model.to(device).eval().requires_grad_(False)
