"""Counts of rows against counts made in another way."""

from __future__ import annotations

import doctest
import importlib
import statistics as stdlib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from dataset_cards.card_inputs import dataset_sha256, read_shards, rows, spread_rows
from dataset_cards.statistics import collect, merge, summary
from preprocess.formats.manifest import read
from tests.cards.small import pack, samples


def row(frames: int, **meta: object) -> tuple[str, np.ndarray, str, dict[str, object]]:
    return "vid", np.zeros((frames, 4), np.float16), "a text of five words", meta


@pytest.mark.parametrize(
    ("rows_", "thing"),
    [
        ([(1, 0.0), (1, 0.0)], "image"),
        ([(1, 0.0), (1, 2.0)], "file"),
        ([(1, 2.0), (3, 2.0)], "video"),
        ([(1, None), (3, 2.0)], "video"),
        ([(2, 0.0)], "file"),
    ],
)
def test_what_a_dataset_is_made_of(rows_: list[tuple[int, float | None]], thing: str) -> None:
    """An image is one row that lasts no time; a video of one frame lasts as long as that is shown."""
    found = collect([("train", [row(frames, duration=duration) for frames, duration in rows_])]).total
    assert found.thing == thing
    assert found.is_images == (thing == "image")


def test_counts_of_packed_samples(out: Path) -> None:
    ours = samples(30)
    place = pack(out, ours)
    shards = read_shards(place.dataset, read(place.dataset / "manifest.json"))
    found = collect((shard.split, rows(place.dataset / shard.file)) for shard in shards)
    assert list(found.splits) == ["train", "val", "test"]
    for split, mine in found.splits.items():
        of = [(i, s) for i, s in enumerate(ours) if s.split == split]
        frames = [1 + i % 4 for i, _ in of]
        assert (mine.samples, mine.frames) == (len(of), sum(frames))
        assert Counter(mine.frames_per_sample.tolist()) == Counter(frames)
        assert sorted(mine.durations_s.tolist()) == sorted(n - 0.5 for n in frames)
        assert mine.labels == Counter(s.label for _, s in of)
        assert Counter(mine.words.tolist()) == Counter(len(c.split()) for _, s in of for c in s.captions)
        assert set(mine.captions_per_sample.tolist()) == {2}
    total = found.total
    assert (total.samples, total.frames) == (30, sum(1 + i % 4 for i in range(30)))
    assert found.labels == ("class 0", "class 1", "class 2")
    assert str(found.types["views"]) == "int"
    assert str(found.types["timestamps"]) == "list of float"


def test_gaps_in_the_metadata() -> None:
    shards = [
        (
            "train",
            [row(2, duration=None, label=None, truncated=True), row(0, duration=3, captions=["one", "two words"])],
        ),
        ("test", [row(1, duration=1.5, label="a", late=1), row(1, duration=1.5, label="a", late=0.5)]),
    ]
    found = collect(shards)
    train = found.splits["train"]
    assert (train.samples, train.frames, train.truncated) == (2, 2, 1)
    assert train.known_durations_s.tolist() == [3.0]
    assert train.words.tolist() == [5, 1, 2]
    assert train.labels == {}
    assert str(found.types["label"]) == "string or null"
    assert str(found.types["duration"]) == "float or null"
    assert str(found.types["late"]) == "float"
    assert merge([]).samples == 0


def test_summary_is_the_standard_librarys() -> None:
    values = np.random.default_rng(0).integers(0, 100, 101)
    found = summary(values)
    assert found is not None
    listed = values.tolist()
    cuts = stdlib.quantiles(listed, n=100, method="inclusive")
    assert (found.minimum, found.maximum) == (min(listed), max(listed))
    assert (found.median, found.mean, found.p95) == pytest.approx(
        (stdlib.median(listed), stdlib.mean(listed), cuts[94])
    )
    assert summary(np.empty(0)) is None


def test_spread_rows_are_spread(out: Path) -> None:
    place = pack(out, samples(40), per_shard=3)
    shards = read_shards(place.dataset, read(place.dataset / "manifest.json"))
    everything = [r[0] for shard in shards for r in rows(place.dataset / shard.file)]
    assert [r[0] for _, r in spread_rows(place.dataset, shards, 100)] == everything
    some = list(spread_rows(place.dataset, shards, 10))
    assert [r[0] for _, r in some] == everything[::4]
    assert {split for split, _ in some} == {"train", "val", "test"}


def test_the_checksum_does_not_depend_on_the_order(out: Path) -> None:
    place = pack(out, samples())
    shards = read_shards(place.dataset, read(place.dataset / "manifest.json"))
    assert dataset_sha256(shards) == dataset_sha256(shards[::-1]) != dataset_sha256(shards[1:])


@pytest.mark.parametrize(
    "name", ["dataset_cards.markup", "dataset_cards.words", "builders.json_types", "builders.loading"]
)
def test_examples_in_docstrings(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted
    assert not found.failed
