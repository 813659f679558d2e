"""Images to one frame: what `PIL.Image.convert("RGB")` gives a CLIP processor, turned the right way up.

>>> read_image(Path("101_ObjectCategories/accordion/image_0001.jpg")).frames.pixels.shape
(1, 300, 300, 3)
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from preprocess.errors import MediaError
from preprocess.media.video import Clip, Transform, check_size
from preprocess.samples import Frames

# What image datasets hold, whatever the suffix says. Pillow's other formats include ones that start other programs.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
Image.init()  # makes them known by name


def read_image(path: Path, *, transform: Transform | None = None) -> Clip:
    """Reads an image as one frame: EXIF orientation applied, RGB, the first picture of an animation.

    Transparency is dropped and palettes and CMYK are converted as Pillow does it; 16-bit grey keeps its high bytes
    (Pillow alone would cut everything above 255 to white).

    Args:
        path: A local image file.
        transform: Applied to the frame (`resize_crop`), or None.

    Returns:
        One row at 0 s; duration 0.

    Raises:
        MediaError: `missing`, `unreadable`, `truncated`, `too_large`.
    """
    path = Path(path)
    try:
        # Pillow warns of large images (our own limit is checked before any pixel is decoded) and of broken EXIF.
        with warnings.catch_warnings(action="ignore"), Image.open(path, formats=_FORMATS) as image:
            check_size(*image.size, path)
            pixels = np.array(_eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))
    except FileNotFoundError as error:
        raise MediaError("missing", f"{path.name} is not there") from error
    except Image.DecompressionBombError as error:
        raise MediaError("too_large", f"{path.name} has more pixels than an image is allowed to have") from error
    except MediaError:
        raise
    except Exception as error:  # Pillow's readers raise whatever a broken file leads them to: OSError, SyntaxError, …
        if "truncated" in str(error):
            raise MediaError("truncated", f"{path.name} is cut: {error}") from error
        raise MediaError(
            "unreadable", f"{path.name} is no image that Pillow can read ({type(error).__name__})"
        ) from error
    if transform is not None:
        pixels = transform(pixels)
    return Clip(Frames(np.ascontiguousarray(pixels)[None], np.zeros(1)), duration_s=0.0, truncated=False)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Grey of 16 bits to 8, by its high byte; everything else as it is."""
    if not image.mode.startswith("I"):
        return image
    values = np.clip(np.asarray(image).astype(np.int64), 0, 0xFFFF)
    return Image.fromarray((values >> 8).astype(np.uint8))
