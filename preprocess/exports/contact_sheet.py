"""A contact sheet: frames of one video as tiles of one image, each labeled with its time.

┌──────┐ ┌──────┐ ┌──────┐ ┌──────┐
│      │ │      │ │      │ │      │     up to 12 tiles, four per row (six if portrait),
└──────┘ └──────┘ └──────┘ └──────┘     256 pixels on the longer side
  0.4 s    1.3 s    2.1 s    3.0 s
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

MAX_TILES = 12
TILE_SIDE = 256
_LABEL_HEIGHT = 24
_FONT_SIZE = 16
_GAP = 8
_MIN_CELL = 80  # fits the longest time label
_PAPER, _INK = (255, 255, 255), (32, 32, 32)
_QUALITY = 85


@dataclass(frozen=True, slots=True)
class Grid:
    """Positions of the tiles, in pixels.

    Attributes:
        cell: Width and height of a tile with its label.
        columns, rows: Number of cells.
    """

    cell: tuple[int, int]
    columns: int
    rows: int

    @classmethod
    def of(cls, n: int, height: int, width: int) -> Grid:
        """The grid for `n >= 1` tiles of the given size, with rows as equal as possible: 3 and 2 for five tiles."""
        rows = -(-n // (4 if width >= height else 6))
        return cls((max(width, _MIN_CELL), height + _LABEL_HEIGHT), -(-n // rows), rows)

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the whole sheet."""
        return _GAP + self.columns * (self.cell[0] + _GAP), _GAP + self.rows * (self.cell[1] + _GAP)

    def corner(self, index: int) -> tuple[int, int]:
        """Left and top coordinates of a cell."""
        row, column = divmod(index, self.columns)
        return _GAP + column * (self.cell[0] + _GAP), _GAP + row * (self.cell[1] + _GAP)


def tile(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Resizes a frame, uint8 `(H, W, 3)`, to a longer side of `TILE_SIDE` pixels."""
    height, width = pixels.shape[:2]
    scale = TILE_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).resize(size, Image.Resampling.BICUBIC))


def contact_sheet(tiles: NDArray[np.uint8], labels: list[str]) -> bytes:
    """Renders the sheet as the bytes of a JPEG file; deterministic.

    Args:
        tiles: uint8 `(T, h, w, 3)`, T >= 1.
        labels: One per tile.
    """
    _, height, width, _ = tiles.shape
    grid = Grid.of(len(tiles), height, width)
    sheet = Image.new("RGB", grid.size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(_FONT_SIZE)
    for index, (pixels, label) in enumerate(zip(tiles, labels, strict=True)):
        left, top = grid.corner(index)
        sheet.paste(Image.fromarray(pixels), (left + (grid.cell[0] - width) // 2, top))
        middle = left + grid.cell[0] / 2, top + height + _LABEL_HEIGHT / 2
        draw.text(middle, label, _INK, font, anchor="mm")
    file = io.BytesIO()
    sheet.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def tile_label(seconds: float) -> str:
    """Formats a time as a tile label.

    Examples:
        >>> tile_label(0.42), tile_label(59.94), tile_label(59.96), tile_label(3723.5)
        ('0.4 s', '59.9 s', '1:00.0', '1:02:03.5')
    """
    tenths = round(seconds * 10)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}:{minutes:02d}:{tenths / 10:04.1f}"
    return f"{minutes}:{tenths / 10:04.1f}" if minutes else f"{tenths / 10:.1f} s"
