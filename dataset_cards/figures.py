"""Figures of a card: PNG with a transparent ground and middle tones, which read on a white and on a dark page.

    assets/frames.png    how many frames samples have
    assets/classes.png   samples per class; without classes assets/captions.png, words per caption
    assets/map.png       the videos on the two principal components of their mean directions
    assets/strip.png     one video over time: how its frames divide between labels

The same data give the same bytes: no clock, no random number, and the fonts that come with matplotlib.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards import words
from dataset_cards.evaluation.features import Matrix
from dataset_cards.markup import Markdown, md, one_line
from dataset_cards.statistics import SplitStatistics
from preprocess.samples import JSON

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

TEXT = "#78818c"
COLOURS = ("#3b82f6", "#d97706", "#0d9e74", "#c2559e", "#8b6cf0", "#c8553d")
"""All of them stand out from white as from #0b0f19, the Hub's dark page; tested."""

NAMES = ("frames.png", "classes.png", "captions.png", "map.png", "strip.png")
BARS_SHOWN = 40
CLASSES_NAMED = 72
MAP_SAMPLES = 3000
WIDTH_INCHES, DPI = 8.0, 150


@dataclass(frozen=True, slots=True)
class Figure:
    """One picture and what stands around it.

    Attributes:
        name: File below `assets/`.
        title: Heading.
        caption: What it shows, as Markdown.
        png: The bytes.
    """

    name: str
    title: str
    caption: Markdown
    png: bytes

    @property
    def picture(self) -> Markdown:
        """The line of Markdown that shows it."""
        return Markdown(f"![{md(self.title)}](assets/{self.name})")


def frames_figure(total: SplitStatistics) -> Figure:
    """Histogram of frames per sample; one bar per number where there are few different ones."""
    values = total.frames_per_sample
    with _axes(2.4) as (canvas, axes):
        _histogram(axes, values, "frames per sample")
        axes.set_ylabel("samples")
        png = _png(canvas)
    low, high = words.number(int(values.min())), words.number(int(values.max()))
    text = (
        f"{words.count(total.samples, 'sample')} with {low} to {high} frames, {words.number(float(np.median(values)))} "
    )
    return Figure("frames.png", "Frames per Sample", Markdown(f"{text}in the middle."), png)


def classes_figure(total: SplitStatistics) -> Figure:
    """Samples per class, the largest first: a bar each, or a curve where there are too many to name."""
    from matplotlib.ticker import MaxNLocator

    ranked = sorted(total.labels.items(), key=lambda item: (-item[1], item[0]))
    names = [shorten(name, 28) for name, _ in ranked]
    counts = [count for _, count in ranked]
    places = np.arange(len(ranked))
    with _axes(2.4) as (canvas, axes):
        if len(ranked) <= CLASSES_NAMED:
            slant = 40 if len(ranked) <= 12 else 90
            side = "right" if slant < 90 else "center"
            axes.bar(places, counts, color=COLOURS[0], width=0.8)
            axes.set_xticks(places, names, rotation=slant, ha=side, fontsize=_small(len(ranked)))
            axes.set_xlim(-0.7, len(ranked) - 0.3)
        else:
            axes.fill_between(places + 1, counts, color=COLOURS[0], linewidth=0, step="mid")
            axes.set_xlim(1, len(ranked))
            axes.set_xlabel("classes, the largest first")
        axes.set_ylim(0)
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel("samples")
        png = _png(canvas)
    text = f"The largest of {words.count(len(ranked), 'class', 'classes')} has {words.count(counts[0], 'sample')}"
    return Figure("classes.png", "Samples per Class", Markdown(f"{text}, the smallest {counts[-1]:,}."), png)


def captions_figure(total: SplitStatistics) -> Figure:
    """Histogram of words per caption."""
    with _axes(2.4) as (canvas, axes):
        _histogram(axes, total.words, "words per caption")
        axes.set_ylabel("captions")
        png = _png(canvas)
    median = words.number(float(np.median(total.words)))
    text = f"{words.count(len(total.words), 'caption')}, {median} words in the middle."
    return Figure("captions.png", "Words per Caption", Markdown(text), png)


def map_figure(directions: Matrix, splits: Sequence[str], labels: Sequence[str | None]) -> Figure:
    """Videos on their two principal components; classes named where they are few, else coloured by split.

    Args:
        directions: `(N, D)`, of length 1, N ≥ 3.
        splits: `(N,)`.
        labels: `(N,)`.
    """
    points, share = principal_plane(directions)
    classes = sorted({label for label in labels if label is not None})
    named = 0 < len(classes) <= CLASSES_NAMED
    groups = classes if named else list(dict.fromkeys(splits))
    of = np.array([str(label) for label in labels] if named else list(splits))
    with _axes(4.2) as (canvas, axes):
        for i, group in enumerate(groups):
            mine = points[of == group]
            axes.scatter(
                mine[:, 0], mine[:, 1], s=14, color=COLOURS[i % len(COLOURS)], alpha=0.75, linewidths=0, label=group
            )
            if named:
                axes.annotate(
                    shorten(group, 24),
                    _middle(mine).tolist(),
                    (0, 4),
                    textcoords="offset points",
                    fontsize=_small(len(classes)),
                    ha="center",
                )
        if not named and len(groups) > 1:
            axes.legend(frameon=False, labelcolor=TEXT, fontsize=8)
        axes.set_xlabel(f"first component ({share[0]:.0%} of the variance)")
        axes.set_ylabel(f"second component ({share[1]:.0%})")
        axes.set_xticks([])
        axes.set_yticks([])
        png = _png(canvas)
    what = "named are the classes" if named else "colours are splits"
    text = f"The mean directions of {words.count(len(points), 'sample')} on their two principal components; {what}."
    return Figure("map.png", "Map of the Embeddings", Markdown(text), png)


def strip_figure(strip: JSON) -> Figure:
    """Frame × label over time, as `evaluation.json` has it under `zero_shot.strip`."""
    from matplotlib.colors import LinearSegmentedColormap

    shares = np.array(strip["shares"]).T
    times, labels = strip["timestamps"], strip["labels"]
    rise = LinearSegmentedColormap.from_list("rise", [COLOURS[0] + "10", COLOURS[0] + "ff"])
    with _axes(0.8 + 0.28 * len(labels)) as (canvas, axes):
        image = axes.imshow(shares, aspect="auto", cmap=rise, vmin=0, vmax=1, interpolation="nearest")
        axes.set_yticks(range(len(labels)), [shorten(label, 32) for label in labels], fontsize=8)
        for tick, label in zip(axes.get_yticklabels(), labels, strict=True):
            tick.set_fontweight("bold" if label == strip["label"] else "normal")
        shown = np.unique(np.linspace(0, len(times) - 1, min(len(times), 12)).round().astype(int))
        axes.set_xticks(shown, [words.number(round(times[i], 2)) for i in shown])
        axes.set_xlabel("seconds")
        bar = canvas.colorbar(image, ax=axes, pad=0.015, aspect=12)
        bar.outline.set_visible(False)
        bar.ax.tick_params(colors=TEXT, labelsize=7)
        png = _png(canvas)
    text = (
        f"{md(strip['key'])} ({md(strip['split'])}, labelled {md(strip['label'])}) frame by frame: the softmax over "
        f"all labels, of which the {len(labels)} strongest are shown; its own label is set in bold."
    )
    return Figure("strip.png", "One Video over Time", Markdown(text), png)


def principal_plane(vectors: Matrix) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The two principal components (Pearson, 1901) by the eigenvectors of the covariance.

    The sign of each is chosen so that its largest entry is positive: eigenvectors have none of their own.

    Returns:
        float64 `(N, 2)`, and the share of the variance of each.
    """
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centred.T @ centred)
    plane = axes[:, [-1, -2]]
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    total = max(float(values.sum()), np.finfo(float).tiny)
    return centred @ plane, (float(values[-1]) / total, float(values[-2]) / total)


def shorten(text: str, width: int) -> str:
    """On one line, cut at `width` characters."""
    line = one_line(text)
    return line if len(line) <= width else line[: width - 1] + "…"


def _middle(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The point that is nearest to the median of all, so that the name of a class stands at one of its own."""
    near: NDArray[np.float64] = points[np.abs(points - np.median(points, axis=0)).sum(axis=1).argmin()]
    return near


def _small(names: int) -> float:
    """Size in points of many names side by side."""
    return 7 if names <= BARS_SHOWN else 5.5


def _histogram(axes: Axes, values: NDArray[np.int64], what: str) -> None:
    """Bars of whole numbers of equal width; the last one holds the rest where a few values are far above all others."""
    from matplotlib.ticker import MaxNLocator

    low, high = int(values.min()), int(values.max())
    edge = int(np.quantile(values, 0.99)) if high - low >= BARS_SHOWN else high
    width = 1 + (edge - low) // BARS_SHOWN
    bars = np.bincount((np.minimum(values, edge) - low) // width)
    starts = low + width * np.arange(len(bars))
    axes.bar(starts + (width - 1) / 2, bars, color=COLOURS[0], width=0.85 * width)
    axes.set_xlim(low - width, max(starts[-1] + 2 * width - 1, low + 7))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(f"{what} (the last bar: {starts[-1]:,} and more)" if edge < high else what)


@contextmanager
def _axes(height: float) -> Iterator[tuple[Canvas, Axes]]:
    """A figure of one pair of axes in the tones of the card; no text is read as formula."""
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
        "xtick.color": TEXT,
        "ytick.color": TEXT,
        "font.family": "DejaVu Sans",
        "font.size": 9,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        canvas = NewCanvas(figsize=(WIDTH_INCHES, height), layout="constrained")
        axes = canvas.add_subplot()
        axes.set_facecolor("none")
        yield canvas, axes


def _png(canvas: Canvas) -> bytes:
    data = io.BytesIO()
    canvas.savefig(data, format="png", dpi=DPI, transparent=True, metadata={"Software": None})
    return data.getvalue()
