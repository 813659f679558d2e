"""Files for the page: media below the raw folder, thumbnails of single frames, contact sheets. Nothing else is served.

A request names a sample by its number, never a path.
"""

from __future__ import annotations

import io
import threading
from functools import lru_cache
from pathlib import Path

from PIL import Image

from explorer.index import Index
from preprocess.errors import MediaError
from preprocess.formats.preview import preview_tars
from preprocess.formats.tar import iter_members
from preprocess.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES, is_url

THUMBNAIL_SIDE = 320
_DECODERS = threading.Semaphore(2)
_TYPES = {
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".avi": "video/x-msvideo",
    ".mpg": "video/mpeg",
    ".3gp": "video/3gpp",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".png": "image/png",
    ".webp": "image/webp",
    ".bmp": "image/bmp",
}


class Media:
    """Finds and reads what the page shows of a sample.

    Args:
        index: The dataset.
        raw: Folder of the raw files, or None where they are not at hand.
    """

    def __init__(self, index: Index, raw: Path | None) -> None:
        self._index = index
        self._raw = raw.resolve() if raw is not None and raw.is_dir() else None
        self._sheets = _sheets(index.dataset)
        self.thumbnail = lru_cache(maxsize=1024)(self._thumbnail)

    def file(self, number: int) -> Path | None:
        """The video or image of a sample; None where it is not below the raw folder, links resolved."""
        source = self._index.sample(number).meta.get("source")
        if self._raw is None or not isinstance(source, str) or not source or is_url(source) or "\0" in source:
            return None
        path = (self._raw / source).resolve()
        known = path.suffix.lower() in VIDEO_SUFFIXES | IMAGE_SUFFIXES
        return path if known and path.is_relative_to(self._raw) and path.is_file() else None

    def kind(self, number: int) -> str:
        """How a sample can be shown: `video`, `image`, `sheet`, or `text`."""
        path = self.file(number)
        if path is not None:
            return "image" if path.suffix.lower() in IMAGE_SUFFIXES else "video"
        return "sheet" if self._index.sample(number).id in self._sheets else "text"

    def sheet(self, number: int) -> bytes | None:
        """The contact sheet of a sample as JPEG, or None."""
        tar = self._sheets.get(self._index.sample(number).id)
        if tar is None:
            return None
        name = f"{self._index.sample(number).id}.jpg"
        return next((bytes(part.data) for part in iter_members(tar) if part.name == name), None)

    def _thumbnail(self, number: int, seconds: float) -> bytes | None:
        """The frame at a time of the file as JPEG; the contact sheet, or None, where it cannot be decoded."""
        from preprocess.media import read_media
        from preprocess.media.sampling import Sampling

        path = self.file(number)
        if path is None:
            return self.sheet(number)
        try:
            with _DECODERS:
                clip = read_media(path, Sampling.fps(1), start_s=max(seconds, 0), end_s=max(seconds, 0) + 0.5)
        except MediaError:
            return self.sheet(number)
        image = Image.fromarray(clip.frames.pixels[0])
        image.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        file = io.BytesIO()
        image.save(file, "JPEG", quality=85)
        return file.getvalue()


def media_type(path: Path) -> str:
    """The type by which a browser plays a file of `VIDEO_SUFFIXES` or `IMAGE_SUFFIXES`."""
    return _TYPES[path.suffix.lower()]


def _sheets(dataset: Path) -> dict[str, Path]:
    """Tar of the contact sheet of each id that has one."""
    return {
        part.name.removesuffix(".jpg"): tar
        for tar, _ in preview_tars(dataset)
        for part in iter_members(tar)
        if part.name.endswith(".jpg")
    }
