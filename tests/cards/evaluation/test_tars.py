"""Tars read one by one, here or in worker processes, give what one pass over all of them gives."""

from __future__ import annotations

import dataclasses
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from dataset_cards.card_inputs import rows
from dataset_cards.evaluation.features import one_per_video, read_videos
from dataset_cards.evaluation.tars import EvaluatedTar, PoolVideos, RankFrames, join_videos
from dataset_cards.evaluation.zero_shot import Logits
from preprocess.runtime.options import RunOptions
from preprocess.runtime.tars import of_each_tar
from tests.cards.small import pack, samples


def pooled(tars: list[EvaluatedTar], mode: str, workers: int = 1) -> tuple[object, list[EvaluatedTar]]:
    return join_videos(tars, of_each_tar(tars, PoolVideos(8, mode), RunOptions(workers=workers), "read"))


@pytest.mark.parametrize("once", [False, True])
def test_as_in_one_pass(tmp_path: Path, once: bool) -> None:
    """With a row per caption, the rows of a video lie in several tars."""
    made = [dataclasses.replace(one, split="train") for one in samples(12)]
    paths = sorted(pack(tmp_path, made, per_shard=4).dataset.glob("ds_*.tar"))
    if once:
        paths.append(paths[0].rename(paths[0].with_name("ds_00009.tar")))
        paths[0].write_bytes(paths[-1].read_bytes())
    tars = [EvaluatedTar(path, "train", 4, once=once) for path in paths]
    whole = chain.from_iterable(map(rows, paths))
    expected = read_videos(one_per_video(whole) if once else whole, 16, 8, "first")
    videos, told = pooled(tars, "first")
    assert len(paths) == 3 + once
    for name in ("keys", "labels", "captions", "images"):
        assert getattr(videos, name) == getattr(expected, name)
    for name in ("mean", "direction"):
        np.testing.assert_array_equal(getattr(videos, name), getattr(expected, name))
    assert [row[3]["key"] for tar in told for row in tar.rows()] == list(expected.keys)
    labels = tuple(sorted({str(label) for label in expected.labels}))
    rank = RankFrames(np.eye(len(labels), 8, dtype=np.float32), labels, Logits("softmax", 10.0))
    assert [len(found) for found in of_each_tar(told, rank, RunOptions(workers=1), "rank")] == [4] * 3 + [0] * once


def test_worker_processes_find_the_same(tmp_path: Path) -> None:
    made = [dataclasses.replace(one, split="train") for one in samples(8)]
    tars = [EvaluatedTar(path, "train", 4) for path in sorted(pack(tmp_path, made).dataset.glob("ds_*.tar"))]
    one, two = (pooled(tars, "first", workers)[0] for workers in (1, 2))
    assert one.keys == two.keys  # type: ignore[attr-defined]
    np.testing.assert_array_equal(one.mean, two.mean)  # type: ignore[attr-defined]
