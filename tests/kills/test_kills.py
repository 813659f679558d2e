"""Every step is killed at moments spread over its work: nothing is lost, nothing is left, the bytes are the same."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kills import steps
from tests.kills.runs import TARGETS, Calm, Kill, Step, kill_and_finish, kills_of

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").is_dir(), reason="finds the processes of a run in /proc, as Linux has it"
)

Calmly = Callable[[Step], Calm]
GPU_ENGINE = "tests.kills.two_devices"

CHAINS = {
    "encode-1": (1, 9),
    "encode-2": (1, 9),
    "devices-1": (1, 9),
    "devices-2": (1, 9),
    "pack-1": (3, 9),
    "pack-2": (3, 9),
    "evaluate": (1, 9),
    "card": (2, 9),
    "push": (3, 9),
    "frames-1": (2, 9),
    "frames-2": (3, 9),
    "scenes-1": (1, 9),
    "scenes-2": (1, 9),
    "segments": (2, 6),
    "latents-1": (1, 9),
    "latents-2": (1, 9),
    "text": (1, 9),
    "jsonl": (2, 6),
    "demo": (1, 9),
}
"""Step and workers: how many runs to the end, and how many kills before each."""


@pytest.fixture
def step(request: pytest.FixtureRequest) -> Step:
    """The step of a name in `CHAINS`."""
    name, _, count = request.param.partition("-")
    workers = int(count or 1)
    get = request.getfixturevalue
    if name in ("encode", "devices"):
        return steps.encode(get("raw"), "tiny-clip", workers, "preprocess" if name == "encode" else GPU_ENGINE)
    if name == "pack":
        return steps.pack(get("encoded"), workers)
    if name in ("evaluate", "card"):
        return steps.of_cards(name, get("packed" if name == "evaluate" else "evaluated"))
    if name == "push":
        return steps.push(get("with_card"), get("hubs"))
    if name == "frames":
        return steps.frames(get("raw"), workers)
    pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")
    if name == "demo":
        return steps.long_demo()
    return get("long_step")(name, workers)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize(
    ("step", "chain"), [(n, i) for n, (c, _) in CHAINS.items() for i in range(c)], indirect=["step"]
)
def test_killed_again_and_again(
    step: Step,
    chain: int,
    calm: Calmly,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[..., None],
) -> None:
    count = CHAINS[request.node.callspec.params["step"]][1]
    kills = kills_of(count, f"{step.name} {chain}", TARGETS if step.workers else TARGETS[:2])
    hit = kill_and_finish(step, calm(step), kills, tmp_path / "kills", seed=chain)
    record_property("kills", hit)
    print(f"{step.name}: {len(hit)} of {count} kills hit:", *hit, sep="\n  ")


SOME = (
    Kill("tree", signal.SIGKILL, 0.8),
    Kill("worker", signal.SIGKILL, 0.5),
    Kill("parent", signal.SIGKILL, 0.6),
    Kill("tree", signal.SIGINT, 0.7),
    Kill("parent", signal.SIGTERM, 0.5),
    Kill("helper", signal.SIGKILL, 0.4),
)


def test_packing_is_killed_in_every_way(work: Path, calm: Calmly, tmp_path: Path) -> None:
    step = steps.pack(work, 2)
    assert len(kill_and_finish(step, calm(step), SOME, tmp_path / "kills")) >= 4


@pytest.mark.parametrize("module", ["preprocess", "builders", "dataset_cards", "explorer", "ved"])
def test_ctrl_c_while_a_command_starts(module: str, tmp_path: Path) -> None:
    step = Step(module, lambda folder: ("-m", module, "--help"), steps.new_folder, workers=False)
    kills = [Kill("tree", number, 0.0) for number in (signal.SIGINT, signal.SIGTERM)]
    assert kill_and_finish(step, Calm(1.0, ({}, None)), kills, tmp_path / "kills")
