"""Figures of a card: PNG with a transparent background and mid-tone colors, readable on light and dark pages.

    assets/map.png       the samples on the two principal components of their mean vectors
    assets/frames.png    frames per sample; not if all samples have the same number
    assets/classes.png   samples per class; without classes assets/captions.png, words per caption
    assets/strip.png     one video over time: its frames above the scores of labels or captions

The same data give the same bytes: no clock, no random numbers, and the fonts that are part of matplotlib.
"""

from dataset_cards.figures.embedding_map import clusters, map_figure, principal_plane
from dataset_cards.figures.histograms import captions_figure, classes_figure, frames_figure
from dataset_cards.figures.strip import strip_figure
from dataset_cards.figures.style import COLORS, TEXT, Figure, Thumbnail, shorten

__all__ = [
    "COLORS",
    "TEXT",
    "Figure",
    "Thumbnail",
    "captions_figure",
    "classes_figure",
    "clusters",
    "frames_figure",
    "map_figure",
    "principal_plane",
    "shorten",
    "strip_figure",
]
