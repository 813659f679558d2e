"""A small training set, made once by the steps themselves, and the tiny models it is made with."""

from __future__ import annotations

import multiprocessing
import multiprocessing.forkserver
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.demo.render import write_video
from preprocess.demo.scenes import ShapeScene
from preprocess.long_video import commands
from preprocess.long_video.demo import make_models, scene_frames
from preprocess.long_video.encode import PRELOAD
from preprocess.long_video.folder import Folder, write_rows

SIZE = (32, 48)
SCENES = (
    (7.0, ShapeScene("red", "circle", "left")),  # two segments, half a second off at each end
    (2.5, ShapeScene("blue", "star", "up")),  # one, padded
    (1.0, ShapeScene("green", "square", "right")),  # too short
    (3.0, ShapeScene("yellow", "ring", "down")),  # one, whole
)

Build = Callable[[Path], Folder]


@pytest.fixture(scope="session", autouse=True)
def workers_start_fast() -> None:
    """The first command to run starts the server that workers are forked from: here one does for all commands."""
    multiprocessing.get_context("forkserver").set_forkserver_preload(list(PRELOAD))
    multiprocessing.forkserver.ensure_running()


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`vae`, `text_encoder` and `tokenizer`: the real classes, small."""
    folder = tmp_path_factory.mktemp("long") / "models"
    make_models(folder)
    return folder


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One rendered video of four scenes, 24 frames per second, and its annotations."""
    folder = tmp_path_factory.mktemp("raw")
    write_video(folder / "clip.mp4", scene_frames(SCENES, SIZE), 24)
    edges = [0.0]
    for seconds, _ in SCENES:
        edges.append(edges[-1] + seconds)
    rows = [
        {"video": "clip", "start": start, "end": end, "text": scene.caption}
        for start, end, (_, scene) in zip(edges, edges[1:], SCENES, strict=False)
    ]
    write_rows(folder / "scenes.jsonl", rows)
    return folder


@pytest.fixture(scope="session")
def build(models: Path, raw: Path) -> Build:
    """Runs all steps up to `jsonl` into a folder, with stages of 3 and 6 s."""

    def run(root: Path) -> Folder:
        commands.scenes(root, raw, raw / "scenes.jsonl", workers=1)
        commands.segments(root, "3,6", size=f"{SIZE[0]}x{SIZE[1]}")
        commands.latents(root, vae=str(models), precision="fp32", device="cpu")
        commands.text(root, model=str(models), precision="fp32", device="cpu", max_tokens=16)
        commands.jsonl(root)
        return Folder(root)

    return run


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, build: Build) -> Folder:
    """A finished training set. Tests that change something work on a copy."""
    return build(tmp_path_factory.mktemp("built"))


@pytest.fixture
def copy(built: Folder, tmp_path: Path) -> Folder:
    shutil.copytree(built.root, tmp_path / "copy")
    return Folder(tmp_path / "copy")
