"""What single benchmarks compute and make: exponents, long videos, a Hub cache, frames to decode, a verdict on int8."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.decode import wanted_numbers
from benchmarks.gpu import busy_percent
from benchmarks.growth import exponent
from benchmarks.harness import fidelity
from benchmarks.harness.datasets import as_hub_cache, make_packed
from benchmarks.harness.media import repeat_video
from benchmarks.int8 import FASTEST, JUDGED, failures, verdict
from builders.torch_reader import EmbeddingReader
from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video
from tests.media_files import write_video


def test_the_exponent_is_the_slope_of_the_logarithms() -> None:
    assert exponent([(1_000, 3), (10_000, 30), (100_000, 300)]) == pytest.approx(1)
    assert exponent([(10, 5), (1_000, 50_000)]) == pytest.approx(2)
    with pytest.raises(ValueError, match="two sizes"):
        exponent([(10, 5)])


def test_utilization_is_that_of_the_time_at_work() -> None:
    assert busy_percent([0, 0, 50, 0, 100, 0]) == 50
    assert busy_percent([0, 0]) == 0


def test_a_repeated_video_has_the_times_of_a_long_one(tmp_path: Path) -> None:
    short = tmp_path / "short.mp4"
    write_video(short, 50, fps=25)
    clip = read_video(repeat_video(short, tmp_path / "long.mp4", 5), Sampling.fps(1))
    assert clip.frames.timestamps_s.tolist() == list(range(10))
    once = read_video(short, Sampling.fps(1)).frames.pixels
    assert (clip.frames.pixels == [*once] * 5).all()


@pytest.mark.parametrize("sampling", ["fps=1", "num_frames=32"])
def test_peers_decode_the_frames_that_the_project_chooses(tmp_path: Path, sampling: str) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, 250, fps=25)
    chosen = read_video(path, Sampling.parse(sampling)).frames.timestamps_s
    assert [round(time * 25) for time in chosen] == wanted_numbers(sampling, 10)


def test_a_hub_cache_is_read_as_the_folder(tmp_path: Path) -> None:
    folder = make_packed(tmp_path / "CLIP-Bench", 30, per_shard=10)
    snapshot = as_hub_cache(folder, tmp_path / "hub")
    assert all(path.is_symlink() for path in snapshot.iterdir())
    one, other = (
        [batch["meta"] for batch in EmbeddingReader(source, batch_size=8, length=10)] for source in (folder, snapshot)
    )
    assert one == other
    assert sum(map(len, one)) == 30


def test_the_mean_is_subtracted_from_both_before_centered_cosines() -> None:
    reference = np.array([[10, 1], [10, -1]], np.float32)
    found = np.array([[10, -1], [10, -1]], np.float32)
    assert fidelity.cosines(found, reference).tolist() == pytest.approx([99 / 101, 1])
    assert fidelity.cosines(found, reference, centered=True).tolist() == pytest.approx([-1, 1])


def test_neighbors_are_the_nearest_others() -> None:
    angles = np.radians([0, 1, 3, 90, 92, 95])
    directions = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert fidelity.neighbors(directions, 1)[:, 0].tolist() == [1, 0, 1, 4, 3, 4]
    assert fidelity.neighbor_overlap(directions[:, ::-1], directions, 2).tolist() == [1] * 6
    moved = directions[[0, 3, 2, 1, 4, 5]]
    assert fidelity.neighbor_overlap(moved, directions, 2).tolist() == [0.5, 0, 0.5, 0, 0.5, 0.5]


def test_the_interval_is_that_of_pairs() -> None:
    reference = np.arange(400) % 2 == 0
    assert fidelity.interval(reference, reference) == (0, 0)
    fewer = reference & (np.arange(400) >= 40)  # 20 of 400 are lost: the standard error of 0.05 is 0.0109
    assert fidelity.interval(fewer, reference) == pytest.approx((-0.0725, -0.03), abs=0.004)


def test_a_gallery_has_one_clip_of_each_class() -> None:
    truth = np.repeat([2, 0, 1], 4)
    assert [sorted(truth[gallery]) for gallery in fidelity.galleries(truth)] == [[0, 1, 2]] * 4


def measured(
    difference: float = 0.0, high: float = 0.001, overlap: float = 0.97, least: float = 0.995
) -> dict[str, Any]:
    accuracy = {"top-1": {"value": 0.5, "difference": difference, "interval": [difference - 0.01, high]}}
    return {"accuracy": accuracy, "neighbor_overlap": overlap, "centered_cosine": {"mean": 1.0, "least": least}}


def test_int8_is_kept_if_it_is_as_good_as_what_is_accepted() -> None:
    accepted = measured()
    assert failures(measured(), accepted) == []
    assert failures(measured(difference=-0.0049), accepted) == []
    assert failures(measured(difference=-0.005), accepted) == ["top-1"]
    assert failures(measured(difference=-0.001, high=-0.0001), accepted) == ["top-1"]
    assert failures(measured(overlap=0.9499), accepted) == ["neighbor overlap"]
    assert failures(measured(least=0.9899), accepted) == ["least centered cosine"]
    assert failures(measured(overlap=0.93, least=0.98), measured(overlap=0.93, least=0.98)) == []


def test_the_verdict_names_the_model_and_the_speed() -> None:
    fails: dict[str, list[str]] = {**{name: [] for name in JUDGED}, "int8": ["top-1"]}
    rates = {**dict.fromkeys(JUDGED, 12), FASTEST: 10, "int8 weights, 32": 11.9}
    found = {
        "quality": {"models": [{"model": "tiny-clip", "fails": fails}]},
        "speed": {"images_per_s": {name: {"median": rate} for name, rate in rates.items()}},
    }
    assert verdict({"speed": found["speed"]}) == {}
    said = verdict(found)
    assert said["int8"] == {"kept": False, "fails": ["tiny-clip: top-1"]}
    assert said["int8 strict"] == {"kept": True, "fails": []}
    assert said["int8 weights, 32"] == {"kept": False, "fails": ["speed"]}
