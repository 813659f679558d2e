"""The plan of CLIP-Shapes: labeled clips of one scene, and videos of several scenes with timed captions.

A clip and a video of the plan:

    DemoVideo(split="train", number=0, scenes=(TimedScene(ShapeScene("red", "circle", "left"), n_frames=43),))
    DemoVideo(split="test", number=112, scenes=(
        TimedScene(ShapeScene("red", "triangle", "left"), n_frames=41),
        TimedScene(ShapeScene("cyan", "ring", "up"), n_frames=35, disturbance=Disturbance(haze=0.31, …)), …))

Scenes of val and test are disturbed, those of train are clear: a test set on which every score is 100 % shows nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from preprocess.demo.scenes import CLEAR, COLORS, FPS, MOTIONS, SHAPES, Disturbance, ShapeScene
from preprocess.samples import SPLITS, Split

SEED = 2025
PLAN_STREAM, LOOK_STREAM = 1, 2
"""Second part of the seeds: `(SEED, PLAN_STREAM, number)` plans a video, `(SEED, LOOK_STREAM, number, i)` draws its
scene `i`. Training uses other seeds."""

CLIP_SECONDS = (2.5, 4.5)
"""Shortest and longest clip: three to five rows at one frame per second."""

VIDEOS: dict[Split, int] = {"train": 4, "val": 6, "test": 12}
"""Videos of several scenes."""

SCENES = (3, 5)
SCENE_SECONDS = (2.0, 5.0)
"""Fewest and most scenes of a video, shortest and longest scene."""

MAX_HAZE = 0.75
MAX_NOISE = 40.0
MAX_COVER = 0.05
MIN_SCALE = 0.8
"""The strongest disturbances of val and test: the tiny CLIP, trained on clear scenes, recognizes most of them, but not
all."""

_N = len(COLORS)


def _diagonal(offset: int) -> list[tuple[int, int]]:
    """Places in the grid of colors and shapes: every color and every shape once."""
    return [(color, (color + offset) % _N) for color in range(_N)]


def _scene(cell: tuple[int, int], motion: int) -> ShapeScene:
    return ShapeScene(COLORS[cell[0]], SHAPES[cell[1]], MOTIONS[motion % len(MOTIONS)])


PLANTED: tuple[ShapeScene, ...] = (
    ShapeScene("red", "diamond", "left"),
    ShapeScene("red", "cross", "right"),
    ShapeScene("yellow", "cross", "up"),
    ShapeScene("yellow", "heart", "down"),
    ShapeScene("green", "circle", "left"),
    ShapeScene("cyan", "square", "right"),
    ShapeScene("blue", "circle", "up"),
    ShapeScene("blue", "triangle", "down"),
    ShapeScene("purple", "diamond", "left"),
    ShapeScene("pink", "triangle", "right"),
)
"""Ten scenes for search to find: their color and shape occur together in one scene of the whole dataset.

Each is a clear scene of a test video. Of the sixteen classes that neither val nor test has as clips, these are the ten
that the tiny CLIP separates best from disturbed scenes of other classes, on renderings that are not part of the demo.
"""

_PLANTED_LABELS = frozenset(scene.label for scene in PLANTED)

CLIPS: dict[Split, tuple[int, ...]] = {"train": (0, 1, 2, 3, 4, 5, 6, 7), "val": (1, 4), "test": (2, 7, 0, 6)}
"""The diagonals whose scenes each split has as clips; without those of `PLANTED`."""


@dataclass(frozen=True, slots=True)
class TimedScene:
    """One scene of a video.

    Attributes:
        scene: What it shows.
        n_frames: Its length in frames, at `FPS`.
        disturbance: What makes it hard to recognize.
    """

    scene: ShapeScene
    n_frames: int
    disturbance: Disturbance = CLEAR


@dataclass(frozen=True, slots=True)
class DemoVideo:
    """One video of the demo, before it is rendered: a clip of one scene, or several scenes without transitions.

    Attributes:
        split: `train`, `val` or `test`.
        number: Its index in the plan, from 0.
        scenes: At least one.
    """

    split: Split
    number: int
    scenes: tuple[TimedScene, ...]

    @property
    def clip(self) -> ShapeScene | None:
        """The scene of a clip; None for a video of several scenes."""
        return self.scenes[0].scene if len(self.scenes) == 1 else None

    @property
    def key(self) -> str:
        """The sample's key: `red_circle_left_000` or `scenes_112`."""
        name = f"{self.clip.color}_{self.clip.shape}_{self.clip.motion}" if self.clip else "scenes"
        return f"{name}_{self.number:03d}"

    @property
    def media(self) -> str:
        """The file's path below the raw folder: `train/red_circle_left_000.mp4`."""
        return f"{self.split}/{self.key}.mp4"

    @property
    def n_frames(self) -> int:
        """Its length in frames, at `FPS`."""
        return sum(part.n_frames for part in self.scenes)

    @property
    def windows(self) -> list[list[float]]:
        """Start and end of each scene in seconds."""
        bounds = np.cumsum([0, *(part.n_frames for part in self.scenes)]) / FPS
        return [[round(float(start), 6), round(float(end), 6)] for start, end in pairwise(bounds)]

    def seed(self, place: int) -> tuple[int, ...]:
        """What the scene at a place is drawn with."""
        return (SEED, LOOK_STREAM, self.number, place)


def demo_plan() -> Iterator[DemoVideo]:
    """The videos of CLIP-Shapes in order, the same on every machine: per split the clips, then those of several scenes.

    Of the clips, train has every class but those of `PLANTED` once. Val and test share no class; in each of them every
    color, every shape and every motion is equally frequent, and no class occurs twice, so that the caption of a clip
    describes no other clip of its split. The first test videos of several scenes hold one scene of `PLANTED` each. The
    other scenes are drawn from the other classes, no class twice within a video.
    """
    number = 0
    for split in SPLITS:
        for scene in _clips(split):
            yield DemoVideo(split, number, (_timed(scene, CLIP_SECONDS, split, _rng(number)),))
            number += 1
        for place in range(VIDEOS[split]):
            plant = PLANTED[place] if split == "test" and place < len(PLANTED) else None
            yield DemoVideo(split, number, _several_scenes(plant, split, _rng(number)))
            number += 1


def _clips(split: Split) -> Iterator[ShapeScene]:
    for place, cell in enumerate(cell for offset in CLIPS[split] for cell in _diagonal(offset)):
        # `place // _N` rotates the motions from diagonal to diagonal, so that no color or shape implies a motion.
        scene = _scene(cell, place + place // _N)
        if scene.label not in _PLANTED_LABELS:
            yield scene


def _rng(number: int) -> np.random.Generator:
    return np.random.default_rng((SEED, PLAN_STREAM, number))


def _several_scenes(plant: ShapeScene | None, split: Split, rng: np.random.Generator) -> tuple[TimedScene, ...]:
    """Scenes of different classes, in one place of them the planted one."""
    cells = [cell for offset in range(_N) for cell in _diagonal(offset)]
    others = [cell for cell in cells if _scene(cell, 0).label not in _PLANTED_LABELS]
    count = int(rng.integers(*SCENES, endpoint=True))
    scenes = [
        _timed(_scene(others[i], int(rng.integers(len(MOTIONS)))), SCENE_SECONDS, split, rng)
        for i in rng.choice(len(others), count, replace=False).tolist()
    ]
    if plant is not None:
        place = int(rng.integers(count))
        scenes[place] = TimedScene(plant, scenes[place].n_frames)
    return tuple(scenes)


def _timed(scene: ShapeScene, seconds: tuple[float, float], split: Split, rng: np.random.Generator) -> TimedScene:
    """A scene of random length, disturbed unless it is for training."""
    n_frames = round(rng.uniform(*seconds) * FPS)
    if split == "train":
        return TimedScene(scene, n_frames)
    return TimedScene(scene, n_frames, draw_disturbance(rng))


def draw_disturbance(rng: np.random.Generator) -> Disturbance:
    """A disturbance as scenes of val and test have it: each kind of it up to the strongest."""
    haze, noise, cover, scale = rng.uniform((0, 0, 0, MIN_SCALE), (MAX_HAZE, MAX_NOISE, MAX_COVER, 1)).round(3).tolist()
    return Disturbance(haze, noise, cover, scale)
