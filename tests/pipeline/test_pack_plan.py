"""The digest of a shard changes with everything that its bytes are made from, and with nothing else."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from preprocess.formats import members
from preprocess.formats.processed import Processed
from preprocess.pipeline.pack_plan import Job, PackItems, PackSettings, job_digest, plan_jobs
from preprocess.samples import Sample, Triple
from tests.pipeline.conftest import on_disk
from tests.pipeline.packing import DIM, make_triples, triple_of

pytestmark = on_disk

SAMPLES = [Sample(f"k{i}_{i}", "train", f"{i}.mp4", ("one", "two")) for i in range(3)]


@pytest.fixture
def settings(tmp_path: Path) -> PackSettings:
    make_triples(tmp_path / "processed", SAMPLES, "files")
    processed = Processed(tmp_path / "processed")
    return PackSettings(processed, tmp_path / "shards", tmp_path / "out", "first", ("zoom",), DIM, "float16")


def planned(samples: list[Sample], settings: PackSettings, per_shard: int, seed: int) -> list[Job]:
    items = PackItems(samples, settings.processed.find(samples), settings.caption_mode)
    return list(plan_jobs(items, per_shard=per_shard, seed=seed, shuffle=True))


def digests(settings: PackSettings, samples: list[Sample] = SAMPLES, per_shard: int = 10, seed: int = 42) -> list[str]:
    return [job_digest(settings, job) for job in planned(samples, settings, per_shard, seed)]


@pytest.mark.parametrize(
    "change", [{"caption_mode": "join"}, {"meta_keys": ("angle",)}, {"dim": DIM + 1}, {"dtype": "float32"}], ids=str
)
def test_it_changes_with_the_settings_of_the_bytes(settings: PackSettings, change: dict[str, Any]) -> None:
    assert digests(dataclasses.replace(settings, **change)) != digests(settings)


def test_it_does_not_change_with_the_place(settings: PackSettings) -> None:
    elsewhere = dataclasses.replace(settings, out=settings.out / "x", states=settings.states / "x")
    assert digests(elsewhere) == digests(settings)
    assert digests(settings, list(reversed(SAMPLES))) == digests(settings)


@pytest.mark.parametrize(
    "change",
    [{"captions": ("another",)}, {"label": "a label"}, {"media": "9.mp4"}, {"start_s": 1.0}, {"meta": {"zoom": 1}}],
    ids=str,
)
def test_it_changes_with_a_sample(settings: PackSettings, change: dict[str, Any]) -> None:
    changed = [dataclasses.replace(SAMPLES[0], **change), *SAMPLES[1:]]
    assert digests(settings, changed) != digests(settings)


def test_it_changes_with_the_order(settings: PackSettings) -> None:
    """Other ids for the same samples."""
    orders = {tuple(job.shard.names): job_digest(settings, job) for seed in range(20) for job in jobs(settings, seed)}
    assert len(orders) == len(set(orders.values())) == 6


def jobs(settings: PackSettings, seed: int) -> list[Any]:
    return planned(SAMPLES, settings, 10, seed)


def test_it_changes_with_the_ids_alone(settings: PackSettings) -> None:
    """A sample that comes first in another split moves the ids of a shard whose samples stay."""
    late = dataclasses.replace(settings)
    before = digests(late)
    first = Sample("first_9", "train", "9.mp4", ("one",))
    make_triples(settings.processed.folder, [first], "files")
    test_only = [dataclasses.replace(sample, split="test") for sample in SAMPLES]
    make_triples(settings.processed.folder, test_only, "files")
    alone, behind = digests(settings, test_only), digests(settings, [first, *test_only])
    assert alone[-1] != behind[-1]
    assert digests(settings) == before


def test_each_caption_of_a_sample_has_its_own(settings: PackSettings) -> None:
    """With a sample of two captions and one triple a shard, only the caption tells the shards apart."""
    each = dataclasses.replace(settings, caption_mode="each")
    (one,) = SAMPLES[:1]
    found = {job.items[0].caption: job for job in planned([one], each, 1, 42)}
    assert sorted(found) == [0, 1]
    # The same id with either caption, as another seed may give it.
    orders = {
        tuple(item.caption for item in job.items): job_digest(settings, job)
        for seed in range(20)
        for job in planned([one], each, 10, seed)
    }
    assert len(orders) == len(set(orders.values())) == 2


def test_it_changes_with_a_triple(settings: PackSettings) -> None:
    before = digests(settings)
    file = settings.processed.folder / "train" / f"{SAMPLES[0].key}.npy"
    stat = file.stat()
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert digests(settings) != before


def test_it_changes_with_the_split(settings: PackSettings) -> None:
    """The triples of two splits may have the same size and time, as those of a copied folder do."""
    moved = [dataclasses.replace(sample, split="val") for sample in SAMPLES]
    make_triples(settings.processed.folder, moved, "files")
    for sample in SAMPLES:
        for extension in members.extensions():
            stat = (settings.processed.folder / "train" / f"{sample.key}.{extension}").stat()
            os.utime(settings.processed.folder / "val" / f"{sample.key}.{extension}", ns=(0, stat.st_mtime_ns))
    assert digests(settings, moved) != digests(settings)


def test_it_changes_with_the_members(settings: PackSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests(settings)
    text: Callable[[Triple], bytes] = lambda triple: triple.text.encode()  # noqa: E731
    tag = members.SampleMember("tag", text, members.read_text, "string", from_sample=True)
    monkeypatch.setattr(members, "MEMBERS", (*members.MEMBERS, tag))
    assert digests(settings) != before
    assert triple_of(SAMPLES[0]).key == SAMPLES[0].key
