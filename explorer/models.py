"""From words and pictures to queries, by the model that made the embeddings.

The only place of the explorer that knows how models are loaded.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np

from dataset_cards.evaluation.features import unit
from dataset_cards.evaluation.text import encoder_files
from explorer.samples import Query
from preprocess.encoders import Encoder, TextTower, load_encoder, load_text_tower
from preprocess.encoders.models import ModelFiles
from preprocess.errors import MediaError, UserError
from preprocess.samples import JSON

MAX_QUERY = 1000
"""Characters of a query; models read fewer."""

MAX_IMAGE_BYTES = 20_000_000


class QueryModel:
    """Makes queries; each tower is loaded when it is first needed.

    Args:
        encoder: `encoder` of the manifest.
        model: Folder or id of the model, where the manifest's name does not lead to it.
        device: A torch device.
    """

    def __init__(self, encoder: JSON, model: str | None = None, device: str = "cpu") -> None:
        self._encoder = encoder
        self._model = model
        self._device = device

    @cached_property
    def _files(self) -> ModelFiles:
        return encoder_files(self._encoder, self._model)

    @cached_property
    def _text(self) -> TextTower:
        return load_text_tower(self._files, self._device)

    @cached_property
    def _image(self) -> Encoder:
        return load_encoder(self._files, self._device, "fp32", batch_size=1)

    def text(self, sentence: str) -> Query:
        """A sentence as a query.

        Raises:
            UserError: It is empty or longer than `MAX_QUERY`, or the model has no text tower.
        """
        query = " ".join(sentence[: 2 * MAX_QUERY].split())
        if len(sentence) > MAX_QUERY:
            raise UserError(f"the query has {len(sentence):,} characters", f"Use at most {MAX_QUERY:,}.")
        if not query:
            raise UserError("the query is empty", "Describe the moment in a few words.")
        return Query(self._text.encode([query])[0], query)

    def image(self, path: Path) -> Query:
        """An image file as a query.

        Raises:
            UserError: It is not an image, has too many bytes or pixels, or the model reads clips of frames.
        """
        from preprocess.media.images import read_image
        from preprocess.media.transforms import resize_crop

        if len(self._image.frame_shape) != 3:
            raise UserError(f"model {self._image.id!r} encodes clips of frames, not images", "Search by text instead.")
        remedy = f"Give a JPEG, PNG, WebP, BMP, GIF or TIFF file below {MAX_IMAGE_BYTES // 1_000_000} MB."
        if path.is_file() and path.stat().st_size > MAX_IMAGE_BYTES:
            raise UserError(f"{path.name} has {path.stat().st_size:,} bytes", remedy)
        try:
            frames = read_image(path, transform=resize_crop(self._image.preprocessing)).frames
        except MediaError as error:
            raise UserError(str(error), remedy) from error
        vector = unit(np.asarray(self._image.encode(frames.pixels), np.float32)[0])
        return Query(vector, f"image {path.name}")
