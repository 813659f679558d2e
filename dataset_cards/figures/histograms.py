"""Distributions: frames per sample, words per caption, samples per class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dataset_cards import words
from dataset_cards.figures.style import COLORS, Figure, count_axis, one_axes, png_bytes, shorten
from dataset_cards.markup import Markdown
from dataset_cards.statistics import SplitStatistics

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BARS_SHOWN = 40
CLASSES_SHOWN = 24
ENDS_SHOWN = 10


def frames_figure(total: SplitStatistics, unit: str = "frame") -> Figure | None:
    """Histogram of rows per sample; None if all samples have the same number.

    Args:
        total: All splits together.
        unit: What a row encodes, a frame or a clip.
    """
    values = total.frames_per_sample
    if not _varies(values):
        return None
    with one_axes(2.4) as (canvas, axes):
        _histogram(axes, values, f"{unit}s per sample")
        axes.set_ylabel("samples")
        png = png_bytes(canvas)
    low, high = words.number(int(values.min())), words.number(int(values.max()))
    median = words.number(float(np.median(values)))
    text = f"{words.count(total.samples, 'sample')} with {low} to {high} {unit}s, median {median}."
    return Figure("frames.png", f"{unit.capitalize()}s per Sample", Markdown(text), png)


def captions_figure(total: SplitStatistics) -> Figure | None:
    """Histogram of words per caption; None if all captions have the same number."""
    if not _varies(total.words):
        return None
    with one_axes(2.4) as (canvas, axes):
        _histogram(axes, total.words, "words per caption")
        axes.set_ylabel("captions")
        png = png_bytes(canvas)
    median = words.number(float(np.median(total.words)))
    text = f"{words.count(len(total.words), 'caption')}, median {median} words."
    return Figure("captions.png", "Words per Caption", Markdown(text), png)


def classes_figure(total: SplitStatistics) -> Figure | None:
    """Samples per class, the largest first; of many classes the ten largest and the ten smallest. None below two."""
    ranked = sorted(total.labels.items(), key=lambda item: (-item[1], item[0]))
    if len(ranked) < 2:
        return None
    bars: list[tuple[str, int]] = ranked
    if len(ranked) > CLASSES_SHOWN:
        hidden = len(ranked) - 2 * ENDS_SHOWN
        bars = [*ranked[:ENDS_SHOWN], (f"… {hidden:,} more classes …", 0), *ranked[-ENDS_SHOWN:]]
    names, counts = [shorten(name, 32) for name, _ in bars], [count for _, count in bars]
    positions = np.arange(len(bars))
    with one_axes(0.6 + 0.19 * len(bars)) as (canvas, axes):
        axes.barh(positions, counts, color=COLORS[0], height=0.75)
        for position, count in zip(positions, counts, strict=True):
            if count:
                text, at = f"{count:,}", (count, position)
                axes.annotate(text, at, (3, 0), textcoords="offset points", va="center", fontsize=7)
        axes.set_yticks(positions, names, fontsize=8)
        axes.tick_params(axis="y", length=0)
        axes.set_ylim(len(bars) - 0.4, -0.6)
        axes.set_xlim(0, 1.06 * max(counts))
        count_axis(axes.xaxis)
        axes.set_xlabel("samples")
        png = png_bytes(canvas)
    low, high = ranked[-1][1], ranked[0][1]
    each = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    text = f"{words.count(len(ranked), 'class', 'classes')} with {each} {'sample' if high == 1 else 'samples'} each"
    shown = f"; the {ENDS_SHOWN} largest and the {ENDS_SHOWN} smallest are shown" if len(bars) < len(ranked) else ""
    return Figure("classes.png", "Samples per Class", Markdown(f"{text}{shown}."), png)


def _varies(values: NDArray[np.int64]) -> bool:
    return len(values) > 0 and int(values.min()) < int(values.max())


def _histogram(axes: Axes, values: NDArray[np.int64], what: str) -> None:
    """Bars of integers, of equal width; the last one holds the rest if a few values are far above all others."""
    low, high = int(values.min()), int(values.max())
    edge = max(low + 1, int(np.quantile(values, 0.99))) if high - low >= BARS_SHOWN else high
    width = 1 + (edge - low) // BARS_SHOWN
    bars = np.bincount((np.minimum(values, edge) - low) // width)
    starts = low + width * np.arange(len(bars))
    axes.bar(starts + (width - 1) / 2, bars, color=COLORS[0], width=0.85 * width)
    axes.set_xlim(low - 0.7 * width, starts[-1] + 1.7 * width - 1)
    count_axis(axes.xaxis)
    count_axis(axes.yaxis)
    axes.set_xlabel(f"{what} (last bar: {starts[-1]:,} and more)" if edge < high else what)
