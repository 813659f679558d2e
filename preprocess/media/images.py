"""Images to one frame: the pixels that `PIL.Image.convert("RGB")` gives a CLIP processor, upright.

>>> read_image(Path("101_ObjectCategories/accordion/image_0001.jpg")).frames.pixels.shape
(1, 300, 300, 3)
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from preprocess.errors import MediaError
from preprocess.media.frames import (
    DecodedMedia,
    FrameRows,
    FrameStream,
    Transform,
    as_decoded,
    check_size,
    collect_media,
)
from preprocess.media.local import LocalMedia, open_local
from preprocess.os_errors import is_of_machine

# The formats found in image datasets, whatever the suffix. Pillow's other formats include some that run programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
Image.init()  # registers them by name


class ImageFrames(FrameStream):
    """An image as a stream of one row at 0 s, with duration 0; errors are those of `read_image`."""

    def __init__(self, path: LocalMedia) -> None:
        self.path = path

    def __iter__(self) -> Iterator[FrameRows]:
        """Decodes the image."""
        image = _decode(self.path)
        self.times_s, self.duration_s = np.zeros(1), 0.0
        yield FrameRows(range(1), self.times_s, image)
        self.truncated = False


def read_image(path: Path, *, transform: Transform | None = None) -> DecodedMedia:
    """Reads an image as one frame: EXIF orientation applied, RGB, the first picture of an animation.

    Transparency is dropped, and palettes and CMYK are converted, as Pillow does it; 16-bit gray keeps its high bytes
    (Pillow alone would clip everything above 255 to white).

    Args:
        path: A local image file.
        transform: Applied to the frame (`resize_crop`), or None.

    Returns:
        One row at 0 s; duration 0.

    Raises:
        MediaError: `missing`, `unreadable`, `truncated`, `too_large`.
    """
    (media,) = collect_media(ImageFrames(Path(path)), (transform or as_decoded,))
    return media


def _decode(path: LocalMedia) -> NDArray[np.uint8]:
    """uint8 `(H, W, 3)`."""
    try:
        # Pillow warns of large images (our own limit is checked before any pixel is decoded) and of broken EXIF.
        with (
            warnings.catch_warnings(action="ignore"),
            open_local(path) as file,
            Image.open(file, formats=_FORMATS) as image,
        ):
            check_size(*image.size, path)
            return np.array(_eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path.name} does not exist") from error
    except Image.DecompressionBombError as error:
        raise MediaError("too_large", f"{path.name} has more pixels than an image is allowed to have") from error
    except MediaError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to: OSError, SyntaxError, …
        if is_of_machine(error):
            raise
        if "truncated" in str(error):
            raise MediaError("truncated", f"{path.name} is truncated: {error}") from error
        raise MediaError(
            "unreadable", f"{path.name} is not an image that Pillow can read ({type(error).__name__})"
        ) from error


def _eight_bit(image: Image.Image) -> Image.Image:
    """Reduces 16-bit gray to its high byte; returns other images unchanged."""
    if not image.mode.startswith("I"):
        return image
    values = np.clip(np.asarray(image).astype(np.int64), 0, 0xFFFF)
    return Image.fromarray((values >> 8).astype(np.uint8))
