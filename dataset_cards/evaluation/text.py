"""Finds the model that computed the embeddings, for its text tower.

files = encoder_files(manifest["encoder"])
load_text_tower(files).encode(["a red circle", "a blue ring"])     # float32 (2, 512), L2-normalized
"""

from __future__ import annotations

from preprocess.encoders.models import ModelFiles, resolve
from preprocess.errors import UserError
from preprocess.samples import JSON


def encoder_files(encoder: JSON, model: str | None = None) -> ModelFiles:
    """The model that computed the embeddings.

    Args:
        encoder: `encoder` of the manifest.
        model: Its location, if it was a folder, of which the manifest has only the name.

    Raises:
        UserError: The model is unavailable, or its weights differ from those recorded in the manifest.
    """
    name = model or encoder["model"]
    remedy = f"Give the model that computed the embeddings ({encoder['model']}): --model FOLDER."
    try:
        files = resolve(name, encoder.get("revision") if name == encoder["model"] else None)
    except UserError as error:
        raise UserError(error.cause, remedy) from error
    if files.sha256() != encoder["weights_sha256"]:
        raise UserError(f"the weights of {name!r} are not those that computed the embeddings (SHA-256)", remedy)
    return files
