"""The renderer against its own words: what a caption says is measured in the pixels that come back from the file."""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from preprocess.demo import scenes
from preprocess.demo.plan import PLANTED, VIDEOS, DemoVideo, demo_plan
from preprocess.demo.render import EXTENT, INSIDE, render_frames, write_video
from preprocess.demo.scenes import COLORS, FPS, MOTIONS, SHAPES, SIZE, Disturbance, ShapeScene
from preprocess.recipes import demo
from preprocess.samples import RecipeOptions

# Written out here, so that the renderer is not measured by its own tables: steps in rows, which grow downwards, and
# columns; and the hues that CSS gives these names, in degrees (pink: `hotpink`).
STEPS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
HUES = {"red": 0, "orange": 39, "yellow": 60, "green": 120, "cyan": 180, "blue": 240, "purple": 300, "pink": 330}


def decode(path: Path) -> NDArray[np.uint8]:
    with av.open(path) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def colored(frame: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """The shape's pixels: the background is gray, its channels are equal."""
    return np.ptp(frame.astype(int), axis=2) > 48


def centroid(frame: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.argwhere(colored(frame)).mean(axis=0)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    demo.prepare(folder)
    return folder


def test_the_plan_is_balanced_and_its_samples_are_what_it_says() -> None:
    plan = list(demo_plan())
    samples = list(demo.samples(Path("nowhere"), RecipeOptions(seed=3)))
    assert sorted(s.media for s in samples) == sorted(c.media for c in plan)
    assert len({s.key for s in samples}) == len(samples)
    assert next(s for s in samples if s.key == "red_circle_left_000").to_json() == {
        "key": "red_circle_left_000",
        "split": "train",
        "media": "train/red_circle_left_000.mp4",
        "captions": ["a red circle moving left"],
        "label": "red circle",
        "start_s": None,
        "end_s": None,
        "meta": {"caption_timestamps": None, "color": "red", "shape": "circle", "motion": "left"},
    }
    by_split = {split: [s for s in samples if s.split == split and s.label] for split in ("train", "val", "test")}
    for split, members in by_split.items():
        assert len({s.label for s in members}) == len(members)
        if split != "train":
            for aspect in ("color", "shape", "motion"):
                assert len(set(Counter(s.meta[aspect] for s in members).values())) == 1
    assert not {s.label for s in by_split["val"]} & {s.label for s in by_split["test"]}
    assert {s.label for s in by_split["train"]} == set(scenes.labels()) - {scene.label for scene in PLANTED}
    assert any(s.captions[0].startswith("an orange ") for s in samples)
    several = [s for s in samples if s.label is None]
    assert Counter(s.split for s in several) == VIDEOS
    for sample in several:
        assert len(sample.meta["caption_timestamps"]) == len(sample.captions) > 2


def test_prepare_writes_every_clip_and_each_decodes_to_its_length(raw: Path) -> None:
    plan = list(demo_plan())
    assert sorted(p.relative_to(raw).as_posix() for p in raw.rglob("*.*")) == sorted(c.media for c in plan)
    for clip in plan:
        with av.open(raw / clip.media) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate) == ("h264", FPS)
            assert (stream.height, stream.width) == SIZE
            assert sum(1 for _ in container.decode(stream)) == clip.n_frames
    assert {round(c.n_frames / FPS) for c in plan if c.clip} >= {3, 4}, "clips of one length would not show padding"


@pytest.fixture(scope="module")
def moments(raw: Path) -> dict[DemoVideo, NDArray[np.uint8]]:
    """First, middle and last frame of every clear clip, as they come back from the file."""
    clear = [video for video in demo_plan() if video.clip and video.split == "train"]
    return {clip: decode(raw / clip.media)[[0, clip.n_frames // 2, -1]] for clip in clear}


def test_the_centroid_moves_as_the_caption_says(moments: dict[DemoVideo, NDArray[np.uint8]]) -> None:
    for clip, (first, _, last) in moments.items():
        step = centroid(last) - centroid(first)
        along = np.array(STEPS[clip.clip.motion])
        assert clip.clip.caption.endswith(f" moving {clip.clip.motion}")
        assert step @ along > 0.2 * min(SIZE), clip.key
        assert abs(step @ along[::-1]) < 2, f"{clip.key} also moves sideways"


def test_the_color_measured_is_the_color_named(moments: dict[DemoVideo, NDArray[np.uint8]]) -> None:
    for clip, (_, frame, _) in moments.items():
        red, green, blue = np.median(frame[colored(frame)], axis=0) / 255
        hue = 360 * colorsys.rgb_to_hsv(red, green, blue)[0]
        apart = {name: abs((hue - other + 180) % 360 - 180) for name, other in HUES.items()}
        assert min(apart, key=lambda name: apart[name]) == clip.clip.color, f"{clip.key}: hue {hue:.0f}"


def test_shapes_stay_in_the_square_that_a_center_crop_keeps(moments: dict[DemoVideo, NDArray[np.uint8]]) -> None:
    margin = (SIZE[1] - SIZE[0]) // 2
    for clip, frames in moments.items():
        assert not any(colored(f)[:, :margin].any() or colored(f)[:, -margin:].any() for f in frames), clip.key


def test_prepare_leaves_a_file_that_is_there_alone_and_draws_a_missing_one_again(raw: Path) -> None:
    kept, lost = (raw / clip.media for clip in list(demo_plan())[:2])
    before = {p: (p.stat().st_mtime_ns, hashlib.sha256(p.read_bytes()).hexdigest()) for p in (kept, lost)}
    lost.unlink()
    demo.prepare(raw)
    assert kept.stat().st_mtime_ns == before[kept][0]
    assert hashlib.sha256(lost.read_bytes()).hexdigest() == before[lost][1], "the same seed gave other bytes"


def test_the_seed_determines_the_frames() -> None:
    scene = ShapeScene("blue", "star", "up")
    first = render_frames(scene, 6, seed=(1, 2))
    assert first.shape == (6, *SIZE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, render_frames(scene, 6, seed=(1, 2)))
    assert not np.array_equal(first, render_frames(scene, 6, seed=(1, 3)))
    assert render_frames(scene, 1, size=(48, 40), seed=5).shape == (1, 48, 40, 3)


def test_each_disturbance_does_what_it_says() -> None:
    def frames(**how: float) -> NDArray[np.float64]:
        return render_frames(ShapeScene("red", "square", "up"), 5, seed=3, disturbance=Disturbance(**how)).astype(float)

    clear = frames()
    np.testing.assert_allclose(frames(haze=0.6).std(), 0.4 * clear.std(), rtol=0.02)
    noisy = frames(noise=12) - clear
    background = noisy[np.ptp(clear, axis=3) == 0]
    assert 11 < background.std() < 13
    assert not np.ptp(background, axis=1).any(), "noise has no color"
    covered = (frames(cover=0.25) != clear).any(axis=(0, 3))
    assert 24 in (covered.all(axis=1).sum(), covered.all(axis=0).sum())
    small = [np.mean([colored(frame.astype(np.uint8)).mean() for frame in f]) for f in (clear, frames(scale=0.5))]
    assert 0.2 < small[1] / small[0] < 0.3, "half as wide and half as high"
    np.testing.assert_array_equal(frames(haze=0.5, noise=9, cover=0.1), frames(haze=0.5, noise=9, cover=0.1))


@pytest.mark.parametrize("field", ["haze", "noise", "cover", "scale"])
def test_a_disturbance_names_the_value_it_does_not_know(field: str) -> None:
    for bad in (-0.1, float("nan")):
        with pytest.raises(ValueError, match=rf"{field} must be .*{bad}"):
            Disturbance(**{field: bad})


@pytest.mark.parametrize("shape", SHAPES)
def test_edges_are_antialiased_and_shapes_keep_within_their_extent(shape: scenes.Shape) -> None:
    grid = np.linspace(-math.sqrt(2), math.sqrt(2), 601)
    x, y = np.meshgrid(grid, grid)
    inside = INSIDE[shape](x, y)
    assert np.hypot(x, y)[inside].max() <= EXTENT
    # Training mirrors images. Points on the very edge may round either way.
    assert np.mean(inside != inside[:, ::-1]) < 1e-4, "a shape must be its own mirror image"

    frame = render_frames(ShapeScene("red", shape, "left"), 1, seed=11)[0].astype(int)
    # Grey has no color, red much: what lies between is the edge.
    saturation = np.ptp(frame, axis=2) / np.ptp(frame, axis=2).max()
    assert np.sum((saturation > 0.1) & (saturation < 0.9)) > 20


def test_shapes_differ() -> None:
    grid = np.linspace(-1.2, 1.2, 201)
    masks = [INSIDE[shape](*np.meshgrid(grid, grid)) for shape in SHAPES]
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert np.sum(a & b) / np.sum(a | b) < 0.9


@pytest.mark.parametrize("field", ["color", "shape", "motion"])
def test_a_scene_names_the_value_it_does_not_know(field: str) -> None:
    good = {"color": COLORS[0], "shape": SHAPES[0], "motion": MOTIONS[0]}
    with pytest.raises(ValueError, match=f"{field}.*'beige'"):
        ShapeScene(**{**good, field: "beige"})


def test_write_video_passes_options_on_and_takes_a_generator(tmp_path: Path) -> None:
    frames = render_frames(ShapeScene("green", "heart", "down"), 12, seed=1)
    path = tmp_path / "new" / "clip.mkv"
    write_video(path, (frame for frame in frames), 25, g="3", bf="0", crf="30")
    with av.open(path) as container:
        assert container.format.name.startswith("matroska")
        keys = [frame.key_frame for frame in container.decode(video=0)]
    assert [i for i, key in enumerate(keys) if key] == [0, 3, 6, 9]


def test_write_video_leaves_the_quality_to_its_caller(tmp_path: Path) -> None:
    frames = render_frames(ShapeScene("green", "heart", "down"), 12, seed=1, disturbance=Disturbance(noise=20))
    sizes = []
    for crf in ("10", "20", "40"):
        write_video(tmp_path / f"{crf}.mp4", frames, 25, crf=crf)
        sizes.append((tmp_path / f"{crf}.mp4").stat().st_size)
    write_video(tmp_path / "default.mp4", frames, 25)
    assert sizes[0] > sizes[1] > sizes[2], "crf decides"
    assert (tmp_path / "default.mp4").read_bytes() == (tmp_path / "20.mp4").read_bytes(), "crf 20 is the default"


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([np.zeros((33, 32, 3), np.uint8)], "even"),
        # So many that x264 has begun to write when the odd one comes.
        ([np.zeros((32, 32, 3), np.uint8)] * 99 + [np.zeros((64, 32, 3), np.uint8)], "all frames"),
        ([np.zeros((32, 32, 3), np.float32)], "uint8"),
    ],
)
def test_write_video_refuses_what_it_cannot_write_and_leaves_nothing(
    tmp_path: Path, frames: list[NDArray[np.uint8]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / "clip.mp4", frames, FPS)
    assert list(tmp_path.iterdir()) == []
