"""What the steps start from, made by the steps before them; each is run undisturbed once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.kills import steps
from tests.kills.runs import ROOT, Calm, Step, undisturbed
from tests.long_video.conftest import SIZE, models
from tests.long_video.conftest import raw as raw_of_scenes
from tests.media_files import write_video

__all__ = ["models", "raw_of_scenes"]


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven videos of 1 to 4 s with captions, one of them damaged."""
    folder = tmp_path_factory.mktemp("raw of kills")
    for i in range(6):
        video = folder / ("train", "val", "test")[i % 3] / ("run", "jump")[i // 3] / f"v{i}.mp4"
        write_video(video, 10 + 6 * i, seed=i)
        video.with_suffix(".txt").write_text(f"video {i} of noise that drifts\nsomething else {i}\n")
    (folder / "train" / "run" / "bad.mp4").write_text("not a video")
    return folder


def run(step: Step, folder: Path) -> Path:
    """The step's output."""
    step.prepare(folder)
    command = [sys.executable, *map(str, step.command(folder))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def encoded(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(steps.encode(raw, "tiny-clip", 1), tmp_path_factory.mktemp("encoded") / "data")


@pytest.fixture(scope="session")
def packed(encoded: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(steps.pack(encoded, 1), tmp_path_factory.mktemp("packed") / "data")


@pytest.fixture(scope="session")
def evaluated(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(steps.of_cards("evaluate", packed), tmp_path_factory.mktemp("evaluated") / "data")


@pytest.fixture(scope="session")
def with_card(evaluated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(steps.of_cards("card", evaluated), tmp_path_factory.mktemp("card") / "data")


@pytest.fixture(scope="session")
def hubs() -> Iterator[steps.Hubs]:
    hubs = steps.Hubs()
    yield hubs
    hubs.stop()


LongSteps = Callable[[str], Step]


@pytest.fixture(scope="session")
def long_step(models: Path, raw_of_scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> LongSteps:
    """The steps of `long-video` by name, each on what those before it made."""
    raw = tmp_path_factory.mktemp("videos of scenes")
    for name in ("clip", "again"):
        shutil.copy(raw_of_scenes / "clip.mp4", raw / f"{name}.mp4")
        (raw / f"{name}.txt").write_text("shapes that move\n")
    plain = ("--precision", "fp32", "--device", "cpu")
    options: dict[str, tuple[object, ...]] = {
        "scenes": ("--raw", raw),
        "segments": ("--seconds", "3,6", "--size", f"{SIZE[0]}x{SIZE[1]}"),
        "latents": ("--vae", models, *plain),
        "text": ("--model", models, "--max-tokens", 16, *plain),
        "jsonl": (),
    }
    order = list(options)

    @cache
    def after(name: str) -> Path:
        """The output of a step."""
        return run(step(name), tmp_path_factory.mktemp(name) / "data")

    def step(name: str, workers: int = 1) -> Step:
        before = None if name == "scenes" else after(order[order.index(name) - 1])
        return steps.long_video(name, before, *options[name], workers=workers if name in ("scenes", "latents") else 0)

    return step


@pytest.fixture(scope="session")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Step], Calm]:
    """The undisturbed run of a step, made once."""
    known: dict[str, Calm] = {}

    def once(step: Step) -> Calm:
        if step.name not in known:
            known[step.name] = undisturbed(step, tmp_path_factory.mktemp("calm"))
        return known[step.name]

    return once


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """What encoding leaves of 50 samples, without having encoded."""
    from preprocess.formats.layout import Layout
    from tests.pipeline import packing

    folder = tmp_path / "work of encoding"
    processed = Layout(folder, steps.NAME).processed
    processed.mkdir(parents=True)
    (processed / "encoding.json").write_text(json.dumps(packing.ENCODING))
    packing.write_samples(processed.parent, packing.make_samples())
    packing.make_triples(processed, packing.make_samples(), "files")
    return folder
