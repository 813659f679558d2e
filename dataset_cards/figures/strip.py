"""One video over time: its frames, and below them the score of each label or caption at each time.

┌────┐┌────┐┌────┐┌────┐
│    ││    ││    ││    │     embedded frames, each above the time at which it is shown
└────┘└────┘└────┘└────┘
a red circle   ████░░░░      one row per label (probability) or caption (cosine similarity)
a blue ring    ░░░░████
0    1    2    3    4  s
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from dataset_cards.figures.style import COLORS, TEXT, Figure, Thumbnail, new_canvas, png_bytes, shorten
from dataset_cards.markup import Markdown, md
from preprocess.samples import JSON

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

FRAME_HEIGHT_INCHES = 0.65
LEAST_HEIGHT_INCHES = 0.5
_GAP_INCHES = 0.03
_LABEL_WIDTH = 34


def strip_figure(strip: JSON, thumbnails: Sequence[Thumbnail] = ()) -> Figure:
    """Label × time.

    Args:
        strip: `zero_shot.strip` or `moments.strip` of `evaluation.json`.
        thumbnails: Frames of the video, ordered by time; none if they are unavailable or must not be published.
    """
    with new_canvas(strip_height(strip, thumbnails)) as canvas:
        draw_strip(canvas, strip, thumbnails)
        png = png_bytes(canvas)
    name, split = md(strip["key"]), md(strip["split"])
    if "label" in strip:
        text = (
            f"{name} ({split}, labeled {md(strip['label'])}) over time: zero-shot probabilities of "
            f"{len(strip['labels'])} labels, those with the highest mean. The label of the video is in bold."
        )
    else:
        text = (
            f"{name} ({split}) over time: cosine similarity of each of its captions and each row. Outlined: when the "
            "caption applies, as annotated."
        )
    frames = " Above: some of the embedded frames, at their times." if thumbnails else ""
    return Figure("strip.png", "One Video over Time", Markdown(text + frames), png, shows_frames=bool(thumbnails))


def strip_height(strip: JSON, thumbnails: Sequence[Thumbnail] = ()) -> float:
    """Height of the figure in inches."""
    return 0.6 + 0.26 * max(2, len(strip["labels"])) + (FRAME_HEIGHT_INCHES + 0.1 if thumbnails else 0)


def draw_strip(canvas: Canvas, strip: JSON, thumbnails: Sequence[Thumbnail] = ()) -> None:
    """Draws the strip on an empty canvas; arguments as in `strip_figure`."""
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.patches import Rectangle

    shares, labels, bounds = np.array(strip["shares"]).T, strip["labels"], np.array(strip["bounds"])
    heights = [FRAME_HEIGHT_INCHES, 0.26 * max(2, len(labels))]
    grid = canvas.add_gridspec(2, 2, height_ratios=heights, width_ratios=[1, 0.018], hspace=0.02, wspace=0.015)
    rows = 1 if thumbnails else slice(0, 2)
    axes = canvas.add_subplot(grid[rows, 0])
    rise = LinearSegmentedColormap.from_list("rise", [COLORS[0] + "10", COLORS[0] + "ff"])
    low, high = 0.0 if "label" in strip else float(shares.min()), float(shares.max()) + 1e-6
    mesh = axes.pcolormesh(bounds, np.arange(len(labels) + 1) - 0.5, shares, cmap=rise, vmin=low, vmax=high)
    axes.invert_yaxis()
    axes.set_yticks(range(len(labels)), [shorten(label, _LABEL_WIDTH) for label in labels], fontsize=8)
    axes.tick_params(axis="y", length=0)
    for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
        tick.set_fontweight("bold" if label == strip.get("label") else "normal")
    for row, windows in enumerate(strip.get("windows", ())):
        for start_s, end_s in windows:
            corner = (start_s, row - 0.42)
            axes.add_patch(Rectangle(corner, end_s - start_s, 0.84, fill=False, edgecolor=COLORS[1], linewidth=1.4))
    axes.set_xlim(bounds[0], bounds[-1])
    axes.set_xlabel("seconds")
    bar = canvas.colorbar(mesh, cax=canvas.add_subplot(grid[rows, 1]))
    bar.outline.set_visible(False)
    bar.set_label("probability" if "label" in strip else "cosine similarity", fontsize=8)
    bar.ax.tick_params(colors=TEXT, labelsize=7)
    if thumbnails:
        above = canvas.add_subplot(grid[0, 0])
        above.set_axis_off()
        above.set_xlim(bounds[0], bounds[-1])
        canvas.draw_without_rendering()  # the layout is known after this
        _draw_thumbnails(above, thumbnails)


def _draw_thumbnails(axes: Axes, thumbnails: Sequence[Thumbnail]) -> None:
    """As many frames as fit side by side, each beginning at its time; x is in seconds, y in inches."""
    figure = axes.get_figure()
    assert figure is not None
    low, high = axes.get_xlim()
    position, size = axes.get_position(), figure.get_size_inches()  # type: ignore[union-attr]
    width, height = position.width * size[0], position.height * size[1]
    rows, columns = thumbnails[0].pixels.shape[:2]
    aspect = columns / rows
    n = max(1, min(len(thumbnails), int((width + _GAP_INCHES) / (LEAST_HEIGHT_INCHES * aspect + _GAP_INCHES))))
    shown_height = min(height, (width / n - _GAP_INCHES) / aspect)
    shown_width = shown_height * aspect * (high - low) / width
    times = np.array([one.time_s for one in thumbnails])
    for left in low + np.arange(n) * (high - low) / n:
        pixels = thumbnails[int(np.abs(times - left).argmin())].pixels
        extent = (left, left + shown_width, 0, shown_height)
        axes.imshow(pixels, extent=extent, aspect="auto", interpolation="antialiased")
    axes.set_xlim(low, high)
    axes.set_ylim(0, height)
