"""What single benchmarks compute and make: exponents, videos, datasets, frames, what peers find, a verdict."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import diff, index_kinetics, latent_chunks, probe, search, vector_columns
from benchmarks.decode import wanted_numbers
from benchmarks.gpu import busy_percent
from benchmarks.growth import aside, exponent
from benchmarks.harness import fidelity
from benchmarks.harness.datasets import as_hub_cache, keys, make_packed, triples
from benchmarks.harness.media import repeat_video
from benchmarks.harness.result import read_result
from benchmarks.int8 import FASTEST, JUDGED, failures, verdict
from builders.diff_index import common
from builders.torch_reader import EmbeddingReader
from explorer.index import open_index
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


def test_vectors_around_centers_are_as_near_to_each_other_as_is_said() -> None:
    pairs = np.stack([triple.vectors for _, triple in triples(keys(100), rows=2, dim=256, dtype="float32", centers=50)])
    directions = pairs / np.linalg.norm(pairs, axis=2, keepdims=True)
    assert np.mean((directions[:, 0] * directions[:, 1]).sum(axis=1)) == pytest.approx(0.5, abs=0.03)


def test_the_peer_finds_the_changes_that_diff_finds(tmp_path: Path) -> None:
    made = {"per_shard": 7, "shuffle": True, "rows": 2, "dim": 8}
    folders = [make_packed(tmp_path / name / "CLIP-Bench", 30, seed=i, **made) for i, name in enumerate(("old", "new"))]
    ours, by_hand = diff.diff_ours(*folders), diff.diff_by_hand(*folders)
    assert ours["changed"] == by_hand["changed"] == 30
    assert ours["lowest"] == pytest.approx(by_hand["lowest"], abs=1e-5)


def test_the_join_of_pyarrow_finds_the_places_that_diff_finds() -> None:
    old, new = diff.random_table(50, 1)[:40], diff.random_table(50, 2)[5:]
    for mine, theirs in zip(common(old, new), diff.match_arrow(old, new), strict=True):
        assert len(mine) >= 30
        assert mine.tolist() == theirs.tolist()


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
def test_both_solvers_reach_the_same_loss(capsys: pytest.CaptureFixture[str]) -> None:
    for solver in ("cpu", "scikit-learn"):
        probe.fit(solver, 1_400, 3)
    ours, peer = (json.loads(line)["facts"]["loss"] for line in capsys.readouterr().out.splitlines())
    assert ours == pytest.approx(peer, rel=1e-3)
    assert ours < np.log(probe.CLASSES) / 2


def test_all_ways_of_searching_find_the_row_that_is_searched_for(tmp_path: Path) -> None:
    pytest.importorskip("faiss", reason="faiss is not installed: make dev")
    index = open_index(str(make_packed(tmp_path / "CLIP-Bench", 60, centers=20)), tmp_path / "index")
    row = 123
    vector = index.vectors[row].astype(np.float32)
    hits: Any = search.exact(index)(vector)
    assert hits[0].number == row // 10
    for way in (search.one_pass(index, "float16"), search.one_pass(index, "bfloat16")):
        scores: Any = way(vector)
        assert torch.cat(scores).argmax() == row
    numbers: Any = search.approximate(index)(vector)
    assert numbers[0] == row // 10
    for way in (search.all_rows_of_faiss(index), search.lists_of_faiss(index)):
        found: Any = way(vector)
        assert found[1][0, 0] == row


def test_distances_are_relative_to_the_spread_of_the_single_pass() -> None:
    single = 3 * torch.randn(4, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    assert latent_chunks.distances(single, single) == pytest.approx(
        {"mean_distance": 0, "max_distance": 0, "cosine": 1}, abs=1e-6
    )
    apart = latent_chunks.distances(single + single.std(), single)
    assert apart["mean_distance"] == pytest.approx(1, abs=1e-3)
    assert apart["cosine"] < 0.8


def test_only_the_card_tells_nested_lists_from_array2d(tmp_path: Path) -> None:
    packed = make_packed(tmp_path / "CLIP-Bench", 3)
    nested = vector_columns.make_nested(tmp_path / "CLIP-Nested", packed)
    other = [path.name for path in packed.iterdir() if path.read_bytes() != (nested / path.name).read_bytes()]
    assert other == ["README.md"]
    with pytest.raises(ValueError, match="array2_d"):
        vector_columns.make_nested(tmp_path / "again", nested)


SMALL = {
    diff: ["--samples", "20", "--table-rows", "100"],
    index_kinetics: ["--rows", "30", "--files", "20"],
}


@pytest.mark.parametrize("module", SMALL, ids=lambda module: module.__name__.rpartition(".")[2])
def test_a_benchmark_keeps_what_it_measured(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ["--rounds", "1", "--repeats", "0", "--results", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["bench", *SMALL[module], *options])
    module.main()
    (path,) = tmp_path.iterdir()
    for case in read_result(path).cases:
        assert case.contenders[0].role == "ours"
        assert len(case.contenders) == 2
        assert all(one.runs and one.counted[0].units in (20, 30, 100) for one in case.contenders)


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
    del fails["int8"], rates["int8 strict"], found["speed"]["images_per_s"]["int8 strict"]
    assert verdict(found).keys() == set(JUDGED) - {"int8", "int8 strict"}, "measured without NNCF"


def test_what_earlier_runs_encoded_is_kept_under_other_names(tmp_path: Path) -> None:
    out = tmp_path / "out10"
    (tmp_path / "out100").mkdir()
    for number in range(2):
        out.mkdir()
        (out / "run").write_text(str(number))
        aside(out)
        aside(out)  # there is none
    assert {path.name for path in tmp_path.iterdir()} == {"out100", "out10-0", "out10-1"}
    assert (tmp_path / "out10-1" / "run").read_text() == "1"
