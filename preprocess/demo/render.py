"""Renders scenes as frames and encodes frames as videos, with numpy and PyAV alone.

    >>> frames = render_frames(ShapeScene("red", "circle", "left"), n_frames=24, seed=7)
    >>> frames.shape, frames.dtype
    ((24, 96, 128, 3), dtype('uint8'))
    >>> write_video(Path("red_circle.mp4"), frames, fps=12)

The same seed gives the same frames, and on one machine the same bytes of video.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from preprocess.demo.plan import DemoVideo
from preprocess.demo.scenes import CLEAR, SIZE, Color, Disturbance, Motion, Shape, ShapeScene
from preprocess.storage import atomic_path, remove_temporary

Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

PALETTE: dict[Color, tuple[int, int, int]] = {
    "red": (216, 32, 36),
    "orange": (242, 134, 24),
    "yellow": (238, 222, 40),
    "green": (40, 168, 60),
    "cyan": (48, 206, 214),
    "blue": (40, 72, 214),
    "purple": (134, 48, 186),
    "pink": (246, 128, 190),
}
"""RGB of each color before variation: brightness by up to 12 %, each channel by up to 8."""

DIRECTIONS: dict[Motion, tuple[int, int]] = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Rows and columns; rows grow downwards."""

EXTENT = 1.13
"""Radii from a shape's center to its farthest point, over all shapes: a corner of the triangle."""

SUBPIXELS = 4
"""Samples per pixel along each axis: an edge has 17 levels."""

HAZE_GRAY = 110.0
"""Brightness of haze and bars, of 255."""


def _star(x: Floats, y: Floats) -> Bools:
    # A pentagram is bounded by five lines: its core is within all of them, each tip within all but one.
    angles = math.pi / 2 + 2 * math.pi / 5 * np.arange(5)
    within = [x * math.cos(a) + y * math.sin(a) <= math.cos(2 * math.pi / 5) for a in angles]
    count: NDArray[np.int64] = np.sum(within, axis=0)
    return count >= 4


def _heart(x: Floats, y: Floats) -> Bools:
    x, y = 1.2 * x, 1.2 * y + 0.1
    bulge = x * x + y * y - 1  # (x² + y² - 1)³ <= x²y³, by products: powers take ten times as long
    return bulge * bulge * bulge <= x * x * y * y * y


INSIDE: dict[Shape, Callable[[Floats, Floats], Bools]] = {
    "circle": lambda x, y: np.hypot(x, y) <= 0.92,
    "square": lambda x, y: np.maximum(abs(x), abs(y)) <= 0.78,
    "triangle": lambda x, y: (y >= -0.62) & (math.sqrt(3) * abs(x) + y <= 1),
    "diamond": lambda x, y: 1.5 * abs(x) + abs(y) <= 1,
    "star": _star,
    "cross": lambda x, y: (np.minimum(abs(x), abs(y)) <= 0.3) & (np.maximum(abs(x), abs(y)) <= 0.9),
    "ring": lambda x, y: abs(np.hypot(x, y) - 0.72) <= 0.22,
    "heart": _heart,
}
"""Whether a point is part of the shape, in radii from its center: x to the right, y upwards."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the seed determines about a scene.

    Attributes:
        radius: Radius of the shape, in pixels.
        start: Row and column of its center in the first frame, in pixels.
        end: The same in the last frame.
        tilt: Rotation of the shape, in radians.
        color: RGB, 0…255.
        brightness: Of the gray background at the center of the image, 0…255.
        slope: Change of the brightness from edge to edge, downwards and to the right.
    """

    radius: float
    start: tuple[float, float]
    end: tuple[float, float]
    tilt: float
    color: tuple[float, float, float]
    brightness: float
    slope: tuple[float, float]


def draw_look(scene: ShapeScene, size: tuple[int, int], rng: np.random.Generator, scale: float = 1.0) -> Look:
    """Chooses size, path, tint and background; the shape stays within the central square, which cropping keeps."""
    side = min(size)
    radius = scale * rng.uniform(0.18, 0.28) * side
    # Largest distance of the shape's center from the image's; the path uses at least half of it, each way.
    reach = side / 2 - EXTENT * radius
    along = np.array(DIRECTIONS[scene.motion])
    across = 1 - abs(along)
    aside = across * rng.uniform(-reach, reach)
    center = np.array(size) / 2
    start = center + aside - along * rng.uniform(0.5, 1) * reach
    end = center + aside + along * rng.uniform(0.5, 1) * reach
    color = np.array(PALETTE[scene.color]) * rng.uniform(0.88, 1.12) + rng.uniform(-8, 8, 3)
    red, green, blue = np.clip(color, 0, 255).tolist()
    # Dark backgrounds: each color stands out by brightness as well as hue, so a small model learns shapes in minutes.
    return Look(
        radius=radius,
        start=(float(start[0]), float(start[1])),
        end=(float(end[0]), float(end[1])),
        tilt=rng.uniform(-math.pi / 18, math.pi / 18),
        color=(red, green, blue),
        brightness=rng.uniform(20, 90),
        slope=(rng.uniform(-24, 24), rng.uniform(-24, 24)),
    )


def render_frames(
    scene: ShapeScene,
    n_frames: int,
    size: tuple[int, int] = SIZE,
    seed: int | Sequence[int] = 0,
    disturbance: Disturbance = CLEAR,
) -> NDArray[np.uint8]:
    """Renders a scene; the shape crosses the image once, at constant speed.

    Args:
        scene: What to draw.
        n_frames: How many frames, at least 1; one frame shows the path's beginning.
        size: Height and width in pixels.
        seed: Determines size, path, tint and background (`Look`), and where a disturbance is.
        disturbance: What makes the scene hard to recognize.

    Returns:
        uint8 `(n_frames, H, W, 3)`, RGB.
    """
    if n_frames < 1:
        raise ValueError(f"n_frames must be at least 1, got {n_frames}")
    rng = np.random.default_rng(seed)
    look = draw_look(scene, size, rng, disturbance.scale)
    background = _background(look, size)
    path = np.linspace(look.start, look.end, n_frames)
    frames = np.stack([_paint(background, scene.shape, look, center) for center in path])
    return frames if disturbance == CLEAR else disturb(frames, disturbance, rng)


def disturb(frames: NDArray[np.uint8], how: Disturbance, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Puts a bar, haze and noise over the frames of a scene, in this order; `how.scale` is not used.

    Args:
        frames: uint8 `(T, H, W, 3)`.
        how: How much of each.
        rng: Determines where the bar is, and the noise.
    """
    height, width = frames.shape[1:3]
    side = min(height, width)
    shown = frames.astype(np.float32)
    thickness = round(how.cover * side)
    first = int(rng.integers(side - thickness + 1))
    if rng.integers(2):
        shown[:, (height - side) // 2 + first :][:, :thickness] = HAZE_GRAY
    else:
        shown[:, :, (width - side) // 2 + first :][:, :, :thickness] = HAZE_GRAY
    shown += how.haze * (HAZE_GRAY - shown)
    # Grain that stays in place: new grain in each frame would take most of the time of drawing and encoding.
    shown += rng.normal(0, how.noise, (height, width, 1)).astype(np.float32)
    return np.rint(shown, out=shown).clip(0, 255, out=shown).astype(np.uint8)


def render_video(video: DemoVideo, size: tuple[int, int] = SIZE) -> Iterator[Image]:
    """Draws the frames of a video of the plan, uint8 `(H, W, 3)` each, one scene in memory at a time."""
    for place, part in enumerate(video.scenes):
        yield from render_frames(part.scene, part.n_frames, size, video.seed(place), part.disturbance)


def _background(look: Look, size: tuple[int, int]) -> Floats:
    """Gray that changes smoothly from edge to edge: float64 `(H, W, 1)`, 0…255."""
    rows, columns = (np.linspace(-0.5, 0.5, n) for n in size)
    gray = look.brightness + look.slope[0] * rows[:, None] + look.slope[1] * columns[None, :]
    return np.clip(gray, 0, 255)[:, :, None]


def _paint(background: Floats, shape: Shape, look: Look, center: Floats) -> Image:
    """One frame: the shape, antialiased, over the background. Only the box around the shape is sampled."""
    height, width = background.shape[:2]
    half = EXTENT * look.radius + 1
    top, left = (max(0, math.floor(c - half)) for c in center)
    bottom, right = (min(n, math.ceil(c + half)) for n, c in zip((height, width), center, strict=True))

    rows, columns = (
        (np.arange(SUBPIXELS * (stop - start)) + 0.5) / SUBPIXELS + start
        for start, stop in ((top, bottom), (left, right))
    )
    up = (center[0] - rows[:, None]) / look.radius
    across = (columns[None, :] - center[1]) / look.radius
    cos, sin = math.cos(look.tilt), math.sin(look.tilt)
    inside = INSIDE[shape](across * cos + up * sin, up * cos - across * sin)
    coverage = inside.reshape(bottom - top, SUBPIXELS, right - left, SUBPIXELS).mean(axis=(1, 3))[:, :, None]

    frame = np.repeat(background, 3, axis=2)
    box = frame[top:bottom, left:right]
    box += coverage * (np.array(look.color) - box)
    return np.rint(frame).astype(np.uint8)


def write_video(path: Path, frames: Iterable[Image], fps: int | Fraction, **options: str) -> None:
    """Writes frames as h264 in the container given by the suffix; the file is written atomically.

    Args:
        path: The file; its folder is made where it is missing.
        frames: uint8 `(H, W, 3)` each, RGB, all of one even height and width; a generator does, so that a long video
            is never in memory at once.
        fps: Frames per second.
        options: Of x264, as they are: `g="12"` for a keyframe every 12 frames, `bf="0"` for no B-frames. Without any,
            `crf="20"`, `preset="fast"` and one thread.

    Raises:
        ValueError: There are no frames, or they are not as described.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    # One thread: x264's bytes depend on the number of threads.
    settings = {"crf": "20", "preset": "fast", "threads": "1", **options}
    remove_temporary(path.parent, path.name)
    with atomic_path(path) as partial, av.open(partial, "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=settings)
        stream.pix_fmt = "yuv420p"
        shape: tuple[int, ...] | None = None
        for frame in frames:
            if shape is None:
                shape = _video_shape(frame)
                stream.height, stream.width = shape[:2]
            if frame.shape != shape or frame.dtype != np.uint8:
                raise ValueError(f"all frames must be uint8 {shape}, got {frame.dtype} {frame.shape}")
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        if shape is None:
            raise ValueError(f"no frames to write to {path.name}")
        container.mux(stream.encode())


def _video_shape(frame: Image) -> tuple[int, ...]:
    """The shape of a frame that h264 can hold: color is stored for blocks of two by two pixels."""
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.shape[0] % 2 or frame.shape[1] % 2:
        raise ValueError(f"frames must be (H, W, 3) of even height and width, got {frame.shape}")
    return frame.shape
