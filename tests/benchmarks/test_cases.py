"""What single benchmarks compute and make: exponents, utilization, long videos, a Hub cache, the frames to decode."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.decode import wanted_numbers
from benchmarks.gpu import busy_percent
from benchmarks.growth import exponent
from benchmarks.harness.datasets import as_hub_cache, make_packed
from benchmarks.harness.media import repeat_video
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
