"""The map: all samples on the two principal components of their mean vectors, colored by label or cluster."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dataset_cards import words
from dataset_cards.evaluation.features import Matrix
from dataset_cards.figures.style import COLORS, TEXT, Figure, one_axes, png_bytes, shorten
from dataset_cards.markup import Markdown

MARKERS = "os^DvP*X"
LEAST_WEIGHT = 0.15
_STRETCH = {"*": 1.6, "P": 1.2, "X": 1.2}
"""Enlargement of the markers that look smaller than the others."""

_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")
_SHORT = re.compile(r"[a-z0-9]{1,2}")
"""Articles and prepositions."""


def map_figure(
    directions: Matrix, labels: Sequence[str | None], texts: Sequence[str], titles: Sequence[str], thing: str = "video"
) -> Figure:
    """Samples on their two principal components, colored by label, or by cluster if there are too many labels.

    Args:
        directions: `(N, D)`, L2-normalized, N ≥ 3.
        labels: `(N,)`, the label of each sample or None.
        texts: `(N,)`, the caption of each sample: clusters are named after the words of labels or else captions.
        titles: `(N,)`, what is shown on hover.
        thing: What a sample is.
    """
    plane, share = principal_plane(directions)
    known = sorted({label for label in labels if label is not None})
    by_label = 0 < len(known) <= len(COLORS) and None not in labels
    if by_label:
        group, legend = np.array([known.index(str(label)) for label in labels]), known
    else:
        group = clusters(directions, len(COLORS))
        legend = cluster_names(
            [text if label is None else label for label, text in zip(labels, texts, strict=True)], group
        )
    size = 26 if len(plane) <= 400 else 14 if len(plane) <= 1500 else 7
    with one_axes(4.2) as (canvas, axes):
        for i, text in enumerate(legend):
            mine, area = plane[group == i], size * _STRETCH.get(MARKERS[i], 1)
            style: dict[str, Any] = {"s": area, "marker": MARKERS[i], "color": COLORS[i], "alpha": 0.9, "linewidths": 0}
            axes.scatter(mine[:, 0], mine[:, 1], label=shorten(text, 42), **style)
        if len(legend) > 1:
            drawn = canvas.legend(loc="outside right upper", frameon=False, labelcolor=TEXT, fontsize=8)
            for handle in drawn.legend_handles:
                handle.set_sizes([30])  # type: ignore[union-attr]
        axes.margins(0.03)
        axes.set_xlabel(f"first principal component ({share[0]:.0%} of the variance)")
        axes.set_ylabel(f"second principal component ({share[1]:.0%})")
        axes.set_xticks([])
        axes.set_yticks([])
        png = png_bytes(canvas)
        width, height = canvas.get_size_inches() * canvas.dpi
        positions = axes.transData.transform(plane) / (width, height)
    points = [(round(x, 4), round(1 - y, 4), title) for (x, y), title in zip(positions.tolist(), titles, strict=True)]
    how = "by label" if by_label else f"by cluster (k-means, k = {len(legend)})"
    source = "captions" if not known else "labels" if None not in labels else "labels or captions"
    named = (
        f"; a cluster is named after the most characteristic words of its {source}"
        if not by_label and any("(" in name for name in legend)
        else ""
    )
    vectors = "vectors" if thing == "image" else "mean vectors"
    text = f"The {vectors} of {words.count(len(plane), thing)} on their two principal components, colored {how}{named}."
    return Figure("map.png", "Map of the Embeddings", Markdown(text), png, tuple(points))


def clusters(directions: Matrix, k: int) -> NDArray[np.int64]:
    """Number of the cluster of each sample, `(N,)`: spherical data by k-means with a fixed seed, the largest first."""
    from sklearn.cluster import KMeans

    k = min(k, len(np.unique(directions, axis=0)))
    found = KMeans(k, n_init=4, random_state=0).fit_predict(directions)
    order = np.argsort(-np.bincount(found, minlength=k), kind="stable")
    return np.asarray(np.argsort(order)[found], np.int64)


def cluster_names(texts: Sequence[str], group: NDArray[np.int64], n_words: int = 2) -> list[str]:
    """The words that are most frequent in a cluster compared with all samples, and its size.

    A word is weighted by the share of samples with it inside the cluster minus that outside, which must be at least
    `LEAST_WEIGHT` and half the weight of the first word. The word must occur in at least two samples and in a quarter
    of the cluster.

    Args:
        texts: `(N,)`, the label or caption of each sample.
        group: `(N,)`, its cluster, 0 … k - 1.
        n_words: How many words, at most.

    Examples:
        >>> cluster_names(["red ring", "blue ring", "red star", "blue star"], np.array([0, 0, 1, 1]))
        ['ring (2)', 'star (2)']
    """
    sets = [{word for word in _WORD.findall(text.lower()) if not _SHORT.fullmatch(word)} for text in texts]
    everywhere = Counter(word for found in sets for word in found)
    names = []
    for i in range(int(group.max()) + 1):
        inside = Counter(word for found, own in zip(sets, group, strict=True) if own == i for word in found)
        size = int((group == i).sum())
        others = max(1, len(sets) - size)
        weight = {word: n / size - (everywhere[word] - n) / others for word, n in inside.items()}
        frequent = [word for word, n in inside.items() if n >= max(2, size / 4) and weight[word] >= LEAST_WEIGHT]
        best = sorted(frequent, key=lambda word: (-weight[word], word))[:n_words]
        named = ", ".join(shorten(word, 16) for word in best if weight[word] >= weight[best[0]] / 2)
        names.append(f"{named} ({size:,})" if named else words.count(size, "sample"))
    return names


def principal_plane(vectors: Matrix) -> tuple[NDArray[np.float64], tuple[float, float]]:
    """The two principal components (Pearson, 1901), from the eigenvectors of the covariance.

    Eigenvectors have no sign of their own; that of each is chosen so that its largest entry is positive.

    Returns:
        float64 `(N, 2)`, and the share of the variance of each.
    """
    centered = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    values, axes = np.linalg.eigh(centered.T @ centered)
    plane = axes[:, [-1, -2]]
    plane = plane * np.sign(plane[np.abs(plane).argmax(axis=0), [0, 1]])
    total = max(float(values.sum()), np.finfo(float).tiny)
    return centered @ plane, (float(values[-1]) / total, float(values[-2]) / total)
