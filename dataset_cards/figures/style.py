"""What all figures share: the record, colors, fonts, and the PNG writer."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dataset_cards.markup import Markdown, md, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure as Canvas

TEXT = "#78818c"
COLORS = ("#3b82f6", "#d97706", "#0d9e74", "#c2559e", "#8b6cf0", "#c8553d", "#0891b2", "#8a7a2e")
"""All of them have enough contrast on white and on #0b0f19, the Hub's dark page; tested."""

WIDTH_INCHES, DPI = 8.0, 150

Point = tuple[float, float, str]


class Thumbnail(NamedTuple):
    """One embedded frame: its time in seconds, and uint8 `(H, W, 3)`."""

    time_s: float
    pixels: NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Figure:
    """One image with its title and caption.

    Attributes:
        name: File below `assets/`; one of `builders.contents.FIGURES`.
        title: Heading, also the alternative text.
        caption: What it shows, as Markdown.
        png: The bytes.
        points: What the web page shows on hover: positions from the left and the top, as shares of the size, with a
            text.
        shows_frames: Whether frames of the source can be seen in it.
    """

    name: str
    title: str
    caption: Markdown
    png: bytes
    points: tuple[Point, ...] = ()
    shows_frames: bool = False

    @property
    def picture(self) -> Markdown:
        """The Markdown that shows it."""
        return Markdown(f"![{md(self.title)}](assets/{self.name})")


def shorten(text: str, width: int) -> str:
    """The text on one line, truncated to `width` characters."""
    line = one_line(text)
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


@contextmanager
def new_canvas(height: float, width: float = WIDTH_INCHES) -> Iterator[Canvas]:
    """An empty figure of this size in inches, in the style of the card; no text is parsed as a formula."""
    import warnings

    import matplotlib
    from matplotlib.figure import Figure as NewCanvas

    style: Any = {
        "text.color": TEXT,
        "text.parse_math": False,
        "axes.labelcolor": TEXT,
        "axes.edgecolor": TEXT,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.axisbelow": True,
        "axes.facecolor": "none",
        "xtick.color": TEXT,
        "ytick.color": TEXT,
        "font.family": "DejaVu Sans",
        "font.size": 9,
    }
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A label in a script that the font does not have is drawn as boxes; the card has it in full.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield NewCanvas(figsize=(width, height), layout="constrained")


@contextmanager
def one_axes(height: float) -> Iterator[tuple[Canvas, Axes]]:
    """A figure with one pair of axes."""
    with new_canvas(height) as canvas:
        yield canvas, canvas.add_subplot()


def count_axis(axis: Axis) -> None:
    """Ticks at whole numbers, 1, 2 or 5 times a power of ten apart, with thousands separators."""
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter

    axis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def png_bytes(canvas: Canvas) -> bytes:
    """The figure as a PNG file with a transparent background."""
    data = io.BytesIO()
    canvas.savefig(data, format="png", dpi=DPI, transparent=True, metadata={"Software": None})
    return data.getvalue()
