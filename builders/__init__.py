"""Shards to Arrow, PyTorch and the Hub; verification of a folder of shards.

from builders import EmbeddingReader, EmbeddingsBuilder
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from builders.embeddings import EmbeddingsBuilder as EmbeddingsBuilder
    from builders.torch_reader import EmbeddingReader as EmbeddingReader

__all__ = ["EmbeddingReader", "EmbeddingsBuilder"]

_MODULES = {"EmbeddingReader": "torch_reader", "EmbeddingsBuilder": "embeddings"}


def __getattr__(name: str) -> Any:
    """Imports what `__all__` names when it is first used: one needs torch, the other `datasets`."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
