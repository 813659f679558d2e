"""The index against the shards, read with `tarfile` and `numpy` alone."""

from __future__ import annotations

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from explorer.index import Index, open_index
from preprocess.demo.plan import demo_plan
from preprocess.errors import DamagedFileError, UserError
from tests.cards.small import random_vectors, samples
from tests.explorer.conftest import Make


def test_rows_times_and_samples_are_those_of_the_shards(scenes, scenes_index: Index) -> None:
    number = 0
    for shard in scenes_index.manifest["shards"]:
        with tarfile.open(scenes.dataset / shard["file"]) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar}
        for id_ in sorted({name.partition(".")[0] for name in files}):
            vectors = np.load(io.BytesIO(files[f"{id_}.npy"])).astype(np.float64)
            meta = json.loads(files[f"{id_}.json"])
            rows = scenes_index.rows(number)
            expected = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
            np.testing.assert_allclose(scenes_index.vectors[rows], expected, atol=5e-4)
            pooled = expected.mean(axis=0)
            np.testing.assert_allclose(scenes_index.pooled[number], pooled / np.linalg.norm(pooled), atol=1e-5)
            np.testing.assert_allclose(scenes_index.times[rows, 0], meta["timestamps"], atol=1e-5)
            sample = scenes_index.sample(number)
            assert (sample.id, sample.key, sample.split) == (id_, meta["key"], shard["split"])
            assert sample.meta == meta
            assert scenes_index.number(meta["key"]) == scenes_index.number(id_) == number
            number += 1
    assert number == len(scenes_index) == len(list(demo_plan()))


def test_an_index_is_made_once_per_manifest(make_index: Make, tmp_path: Path) -> None:
    first = make_index(samples(), random_vectors)
    stamp = (first.folder / "index.json").stat().st_mtime_ns
    again = open_index(str(first.dataset))
    assert again.folder == first.folder
    assert (again.folder / "index.json").stat().st_mtime_ns == stamp
    other = make_index(samples(10), random_vectors)
    assert other.folder != first.folder
    assert len(other) == 10
    assert not [path for path in other.folder.parent.iterdir() if path.name.startswith(".")]


def test_a_dataset_that_was_not_built_here_is_indexed_elsewhere(make_index: Make, tmp_path: Path) -> None:
    made = make_index(samples(), random_vectors)
    index = open_index(str(made.dataset), tmp_path / "cache")
    assert index.folder.is_relative_to(tmp_path / "cache")
    np.testing.assert_array_equal(index.vectors, made.vectors)


def test_spans_of_clip_encoders_are_taken(make_index: Make) -> None:
    index = make_index(samples(8), random_vectors, spans=lambda rows: [[2.0 * i, 2.0 * i + 4] for i in range(rows)])
    for number in range(len(index)):
        times = index.times[index.rows(number)]
        assert times[:, 1:].tolist() == [[2.0 * i, 2.0 * i + 4] for i in range(len(times))]


def test_a_sample_without_rows_is_kept_and_never_found(make_index: Make) -> None:
    index = make_index(samples(6), lambda i, s: np.zeros((0, 8), np.float16) if i % 2 else random_vectors(i, s))
    lengths = np.diff(index.first_rows)
    assert sorted(lengths > 0) == [False] * 3 + [True] * 3
    assert not index.pooled[lengths == 0].any()


def test_a_damaged_shard_leaves_no_index(make_index: Make) -> None:
    index = make_index(samples(), random_vectors)
    tar = index.dataset / "ds_00001.tar"
    data = bytearray(tar.read_bytes())
    with tarfile.open(tar) as file:
        first = next(iter(file))
    data[first.offset_data + 128 : first.offset_data + 130] = b"\x00\x7e"  # NaN
    tar.write_bytes(data)
    for path in index.folder.iterdir():
        path.unlink()
    index.folder.rmdir()
    with pytest.raises(DamagedFileError, match=r"ds_00001\.tar.*finite"):
        open_index(str(index.dataset))
    assert not index.folder.exists()
    os.truncate(tar, 700)
    with pytest.raises(DamagedFileError, match="cut off"):
        open_index(str(index.dataset))
    tar.unlink()
    with pytest.raises(UserError, match="is missing"):
        open_index(str(index.dataset))


def test_places_are_rows(scenes_index: Index) -> None:
    query = scenes_index.query_at("scenes_112@3.4")
    number = scenes_index.number("scenes_112")
    row = scenes_index.vectors[scenes_index.rows(number)][3].astype(np.float32)
    np.testing.assert_allclose(query.vector, row / np.linalg.norm(row), atol=1e-6)
    assert query.name == "like scenes_112 at 3 s"
    np.testing.assert_array_equal(scenes_index.query_at("scenes_112").vector, scenes_index.pooled[number])
    with pytest.raises(UserError, match="no sample 'nobody'"):
        scenes_index.query_at("nobody@3")
    with pytest.raises(UserError, match="is not a time"):
        scenes_index.query_at("scenes_112@soon")
