"""Local media: a file, or a range of one, which FFmpeg and Pillow read where it lies.

FilePart(Path("00000.tar"), 512, 10880, "00000.mp4")     a member of a tar: nothing is unpacked, nothing is copied
"""

from __future__ import annotations

import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class FilePart:
    """Bytes of a local file from `start` up to `end`, exclusive.

    Attributes:
        name: What the part is called; its suffix says whether it is an image.
    """

    path: Path
    start: int
    end: int
    name: str

    @property
    def suffix(self) -> str:
        """As that of a path."""
        return PurePosixPath(self.name).suffix


LocalMedia = Path | FilePart


def ffmpeg_address(media: LocalMedia) -> tuple[str, str]:
    """What FFmpeg is to open, and the protocols that this takes."""
    if isinstance(media, FilePart):
        return f"subfile,,start,{media.start},end,{media.end},,:file:{media.path}", "file,subfile"
    return f"file:{media}", "file"  # "file:" keeps a colon in a file's name from being read as a protocol


def open_local(media: LocalMedia) -> BinaryIO:
    """Opens the bytes for reading."""
    if isinstance(media, FilePart):
        return cast(BinaryIO, io.BufferedReader(_RangeReader(media)))
    return media.open("rb")


def local_size(media: LocalMedia) -> int:
    """The number of bytes."""
    return media.end - media.start if isinstance(media, FilePart) else media.stat().st_size


class _RangeReader(io.RawIOBase):
    """The bytes of a part as a file of their own."""

    def __init__(self, part: FilePart) -> None:
        self._file = part.path.open("rb", buffering=0)
        self._start, self._size, self._at = part.start, part.end - part.start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def readinto(self, buffer: Buffer) -> int:
        view = memoryview(buffer)[: max(self._size - self._at, 0)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()
