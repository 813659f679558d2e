"""What a sample's media names: a whole file, a range of one (a member of a tar), or a cell of a Parquet file.

    videos/a.mp4                                          a file below the raw folder; or its URL
    shards/00000.tar#bytes=512-10879&name=00000.mp4       bytes 512 to 10879, both included, of such a file
    data/train.parquet#row=17&column=video&name=a.mp4     a cell of a column, in row 17, counted from 0

The name says by its suffix whether it is a video or an image, and stands in messages; it is never opened.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

_PART = re.compile(
    r"(?P<file>.+)#(?:bytes=(?P<first>\d{1,18})-(?P<last>\d{1,18})|row=(?P<row>\d{1,18})&column=(?P<column>[^&#]+))"
    r"&name=(?P<name>[^&#/]+)",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes of a file from `start` up to `end`, exclusive."""

    start: int
    end: int
    name: str

    def __post_init__(self) -> None:
        if not 0 <= self.start < self.end:
            raise ValueError(f"a range must be 0 <= start < end, got {self.start!r}, {self.end!r}")
        _check_name(self.name)

    def of(self, file: str) -> str:
        """The media of a sample: this part of a file."""
        return f"{file}#bytes={self.start}-{self.end - 1}&name={quote(self.name, safe='')}"


@dataclass(frozen=True, slots=True)
class Cell:
    """The value of a column of a Parquet file in one row, counted from 0 over the whole file."""

    row: int
    column: str
    name: str

    def __post_init__(self) -> None:
        if self.row < 0 or not self.column:
            raise ValueError(f"a cell has a row from 0 and a column, got {self.row!r}, {self.column!r}")
        _check_name(self.name)

    def of(self, file: str) -> str:
        """The media of a sample: this cell of a file."""
        return f"{file}#row={self.row}&column={quote(self.column, safe='')}&name={quote(self.name, safe='')}"


Part = ByteRange | Cell


def split_reference(media: str) -> tuple[str, Part | None]:
    """The path or URL of the file that a sample's media is in, and which part of it; None for all of it.

    Examples:
        >>> split_reference("shards/00000.tar#bytes=512-10879&name=00000.mp4")
        ('shards/00000.tar', ByteRange(start=512, end=10880, name='00000.mp4'))
        >>> split_reference("videos/take #1.mp4")
        ('videos/take #1.mp4', None)
    """
    found = _PART.fullmatch(media)
    if found is None:
        return media, None
    name = unquote(found["name"])
    try:
        if found["row"] is not None:
            return found["file"], Cell(int(found["row"]), unquote(found["column"]), name)
        return found["file"], ByteRange(int(found["first"]), int(found["last"]) + 1, name)
    except ValueError:  # it only looks like one: a file of that name
        return media, None


def file_of(media: str) -> str:
    """The path or URL of the file that a sample's media is in."""
    return split_reference(media)[0]


def _check_name(name: str) -> None:
    if not name or "/" in name or "\0" in name:
        raise ValueError(f"the name of a part must be that of a file, got {name!r}")
