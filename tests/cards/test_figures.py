"""Figures show their data, read on light and dark pages, and are the same each time."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest
from PIL import Image
from sklearn.decomposition import PCA

from builders.contents import FIGURES
from dataset_cards import figures
from dataset_cards.figures import embedding_map
from dataset_cards.statistics import SplitStatistics

LABELS = ["a $x_1 label$", "<b>", "c" * 80, "d\ne"]


def statistics(frames: list[int], labels: dict[str, int] | None = None) -> SplitStatistics:
    n = np.array(frames)
    ones = np.ones(len(n), np.int64)
    return SplitStatistics(len(n), int(n.sum()), n, n * 1.0, n + 2, ones, labels or {}, 0)


def strip(frames: int = 6) -> dict[str, object]:
    shares = np.full((frames, len(LABELS)), 0.1)
    shares[:, 0] = np.linspace(0, 0.7, frames)
    return {
        "key": "clip",
        "split": "test",
        "label": LABELS[0],
        "labels": LABELS,
        "timestamps": [i * 1.0 for i in range(frames)],
        "bounds": [0.0, *(i + 0.5 for i in range(frames))],
        "shares": shares.tolist(),
    }


def caption_strip() -> dict[str, object]:
    """Four captions, each with the window of one row."""
    windows = [[[i * 1.0, i + 1.0]] for i in range(len(LABELS))]
    return {name: value for name, value in strip().items() if name != "label"} | {"windows": windows}


def thumbnails(n: int = 6, size: tuple[int, int] = (48, 64)) -> list[figures.Thumbnail]:
    """Plain frames, a second apart, redder and redder."""
    color = [np.array([min(40 + 30 * i, 250), 0, 0], np.uint8) for i in range(n)]
    return [figures.Thumbnail(i * 1.0, np.broadcast_to(color[i], (*size, 3)).copy()) for i in range(n)]


def pixels(figure: figures.Figure) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(figure.png)))


def directions(n: int = 60) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 12)).astype(np.float32) * np.arange(1, 13, dtype=np.float32)


ALL = {
    "frames": lambda: figures.frames_figure(statistics([1, 2, 2, 3, 900])),
    "classes": lambda: figures.classes_figure(statistics([1, 2], dict.fromkeys(LABELS, 3))),
    "many classes": lambda: figures.classes_figure(statistics([1, 2], {f"c{i}": i + 1 for i in range(100)})),
    "captions": lambda: figures.captions_figure(statistics([1, 2, 9])),
    "map": lambda: figures.map_figure(directions(), LABELS * 15, [""] * 60, [""] * 60),
    "map of many labels": lambda: figures.map_figure(directions(), [f"c{i}" for i in range(60)], [""] * 60, [""] * 60),
    "map without labels": lambda: figures.map_figure(directions(), [None] * 60, ["a b"] * 60, [""] * 60),
    "strip": lambda: figures.strip_figure(strip()),
    "strip with frames": lambda: figures.strip_figure(strip(), thumbnails()),
    "strip of captions": lambda: figures.strip_figure(caption_strip()),
    "strip of an image": lambda: figures.strip_figure(strip(1)),
}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL.keys())
def test_same_data_same_bytes_and_a_transparent_ground(make) -> None:
    first = make()
    assert first.png == make().png
    shown = pixels(first)
    assert shown.shape[2] == 4
    assert (shown[..., 3] == 0).mean() > 0.2
    assert (shown[..., 3] == 255).sum() > 500
    assert first.name in FIGURES


def luminance(color: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    values = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("color", "ground"), list(itertools.product((figures.TEXT, *figures.COLORS), ("#ffffff", "#0b0f19")))
)
def test_every_tone_stands_out_from_light_and_dark(color: str, ground: str) -> None:
    high, low = sorted((luminance(color), luminance(ground)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 3.0  # WCAG's minimum for graphics and large text


def test_bars_follow_the_counts() -> None:
    """Two bars, one of them twice as high: so are their columns of blue pixels."""
    shown = pixels(figures.frames_figure(statistics([1] * 10 + [3] * 20)))
    blue = (np.abs(shown[..., :3].astype(int) - (0x3B, 0x82, 0xF6)).sum(-1) < 12) & (shown[..., 3] > 200)
    heights = blue.sum(0)
    runs = [
        heights[list(group)].max()
        for high, group in itertools.groupby(range(len(heights)), lambda i: heights[i] > 5)
        if high
    ]
    assert len(runs) == 2
    assert runs[1] / runs[0] == pytest.approx(2, rel=0.05)


def test_the_plane_is_the_one_of_pca() -> None:
    data = directions(200)
    points, share = figures.principal_plane(data)
    reference = PCA(2).fit(data)
    np.testing.assert_allclose(np.abs(points), np.abs(reference.transform(data)), atol=1e-3)
    np.testing.assert_allclose(share, reference.explained_variance_ratio_, rtol=1e-5)
    again, _ = figures.principal_plane(data[::-1].copy())
    np.testing.assert_allclose(again[::-1], points, atol=1e-4)


def test_more_of_a_label_is_more_colour() -> None:
    rising = pixels(figures.strip_figure(strip(2)))
    flipped = strip(2)
    flipped["shares"] = flipped["shares"][::-1]
    falling = pixels(figures.strip_figure(flipped))
    assert rising.shape == falling.shape
    assert not np.array_equal(rising, falling)


def test_an_edge_that_is_cut_is_named() -> None:
    assert "1 to 900 frames" in figures.frames_figure(statistics([1, 2, 900])).caption


def test_a_distribution_of_one_value_has_no_figure() -> None:
    assert figures.frames_figure(statistics([4, 4, 4])) is None
    assert figures.captions_figure(statistics([5, 5])) is None
    assert figures.classes_figure(statistics([1, 2], {"only": 2})) is None


def columns_of(shown: np.ndarray, color: tuple[int, int, int]) -> np.ndarray:
    """The columns of pixels in which there is this color."""
    same = (np.abs(shown[..., :3].astype(int) - color).sum(-1) < 6) & (shown[..., 3] > 250)
    return np.flatnonzero(same.sum(0) > 20)


def test_frames_stand_above_their_times_in_order() -> None:
    shown = pixels(figures.strip_figure(strip(), thumbnails()))
    lefts = [columns_of(shown, (40 + 30 * i, 0, 0)) for i in range(6)]
    assert all(len(found) for found in lefts[:5])
    starts = [found.min() for found in lefts[:5]]
    assert np.diff(starts) == pytest.approx(np.diff(starts).mean(), abs=2), "a second apart, as their times"
    widths = [np.ptp(found) for found in lefts[:5]]
    assert max(widths) < np.diff(starts).min(), "they do not overlap"


@pytest.mark.parametrize(("n", "size"), [(24, (144, 256)), (24, (256, 144)), (2, (48, 640)), (1, (48, 64))])
def test_frames_of_any_shape_fit(n: int, size: tuple[int, int]) -> None:
    long = strip(max(n, 2))
    shown = pixels(figures.strip_figure(long, thumbnails(n, size)))
    red = (shown[..., 0] > shown[..., 2].astype(int) + 30) & (shown[..., 1] < 20) & (shown[..., 3] > 250)
    rows = np.flatnonzero(red.any(1))
    assert len(rows) > 20
    assert np.ptp(rows) <= 0.9 * 150
    columns = np.flatnonzero(red[rows[len(rows) // 2]])
    ends = columns[np.flatnonzero(np.diff(columns, append=10_000) > 1)]
    assert (ends[0] - columns[0] + 1) / (np.ptp(rows) + 1) == pytest.approx(size[1] / size[0], rel=0.04), (
        "not stretched"
    )


def test_clusters_are_named_after_their_words() -> None:
    texts = ["a red ring", "a blue ring", "a red star.", "a blue star", "a thing", "an animal"]
    assert embedding_map.cluster_names(texts, np.array([0, 0, 1, 1, 2, 2])) == ["ring (2)", "star (2)", "2 samples"]
    assert embedding_map.cluster_names([""] * 3, np.array([0, 0, 1])) == ["2 samples", "1 sample"]


def test_labels_of_a_figure_are_escaped_in_its_caption() -> None:
    assert r"a \$x\_1 label\$" in figures.strip_figure(strip()).caption
