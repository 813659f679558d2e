"""Raw videos and images to embeddings: samples, frames, vectors, triples, shards.

from preprocess import embed
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from preprocess.embedding import Embedding as Embedding
    from preprocess.embedding import embed as embed

__all__ = ["Embedding", "embed"]


def __getattr__(name: str) -> Any:
    """Imports what `__all__` names when it is first used: the commands do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from preprocess import embedding

    return getattr(embedding, name)
