"""Text shown on hover over the points of a figure of the web page: `data/work/<name>/tooltips.json`.

    {"map.png": [[0.31, 0.62, "vid_00012 (train): a red circle moving left"], …]}

Positions are shares of the image's width and height. The file is not part of the dataset.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Sequence
from typing import Any

from dataset_cards.figures import Figure
from preprocess.formats.layout import Layout, read_json
from preprocess.samples import canonical_json
from preprocess.storage import write_if_changed

FILE = "tooltips.json"


def write_tooltips(layout: Layout, figures: Iterable[Figure]) -> None:
    """Stores the points of the figures."""
    layout.work.mkdir(parents=True, exist_ok=True)
    points = {figure.name: figure.points for figure in figures if figure.points}
    write_if_changed(layout.work / FILE, (canonical_json(points) + "\n").encode())


def read_tooltips(layout: Layout) -> dict[str, list[list[Any]]]:
    """The points by name of the figure; empty if there are none."""
    return read_json(layout.work / FILE)


def overlay(image: str, points: Sequence[Sequence[Any]]) -> str:
    """An image as HTML with a transparent circle over each point, whose title browsers show on hover.

    The more points, the smaller the circles, so that few of them cover each other.
    """
    radius = min(8.0, max(3.0, 60 / math.sqrt(max(1, len(points)))))
    circles = "".join(
        f'<circle cx="{1000 * float(x):.0f}" cy="{1000 * float(y):.0f}" r="{radius:.1f}">'
        f"<title>{html.escape(str(text))}</title></circle>"
        for x, y, text in points
    )
    svg = f'<svg viewBox="0 0 1000 1000" preserveAspectRatio="none">{circles}</svg>'
    return f'<span class="points">{image}{svg}</span>'
