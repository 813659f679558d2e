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
from preprocess.storage import make_folder, write_if_changed

FILE = "tooltips.json"
STYLE = """\
.points { position: relative; display: block; } .points img { display: block; }
.points i { position: absolute; width: calc(2 * var(--radius)); height: calc(2 * var(--radius));
  margin: calc(-1 * var(--radius)); border-radius: 50%; outline: none; font-style: normal; }
.points i:hover, .points i:focus { box-shadow: 0 0 0 2px var(--text); z-index: 1; }
.points b { display: none; position: absolute; width: max-content; max-width: 20rem; padding: .3em .6em;
  background: var(--soft); border: 1px solid var(--line); border-radius: 6px; font: .85rem/1.4 system-ui, sans-serif;
  pointer-events: none; }
.points i:hover b, .points i:focus b { display: block; }
.points:has(i:hover) i:not(:hover) b { display: none; }
.right b { left: 100%; } .left b { right: 100%; } .down b { top: 100%; } .up b { bottom: 100%; }
@media (max-width: 40rem) {
  .points b { position: fixed; inset: auto 1rem 1rem; width: auto; max-width: none; }
}
"""
"""Rules of the page for what `overlay` returns. On a narrow screen the text is at its bottom edge."""


def write_tooltips(layout: Layout, figures: Iterable[Figure]) -> None:
    """Stores the points of the figures."""
    make_folder(layout.work)
    points = {figure.name: figure.points for figure in figures if figure.points}
    write_if_changed(layout.work / FILE, (canonical_json(points) + "\n").encode())


def read_tooltips(layout: Layout) -> dict[str, list[list[Any]]]:
    """The points by name of the figure; empty if there are none."""
    return read_json(layout.work / FILE)


def overlay(image: str, points: Sequence[Sequence[Any]]) -> str:
    """An image as HTML with a transparent circle over each point, whose text `STYLE` shows on hover and on a tap.

    The more points, the smaller the circles, so that few of them cover each other. The text opens towards the middle of
    the image, so that it stays inside.
    """
    radius = min(8.0, max(3.0, 60 / math.sqrt(max(1, len(points)))))
    circles = "".join(
        f'<i class="{"left" if x > 0.5 else "right"} {"up" if y > 0.5 else "down"}" tabindex="-1" '
        f'style="left: {100 * x:.2f}%; top: {100 * y:.2f}%"><b>{html.escape(str(text))}</b></i>'
        for x, y, text in ((float(x), float(y), text) for x, y, text in points)
    )
    return f'<span class="points" style="--radius: {radius:.1f}px">{image}{circles}</span>'
