"""Packing of many samples, which are rows of mapped files: the bytes are those of a few, which are objects."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from preprocess import sample_table
from preprocess.formats import part_table
from preprocess.formats.places import ListedEntries
from preprocess.formats.processed import KINDS, Processed, ProcessedKind
from preprocess.pipeline import pack, plan
from preprocess.pipeline.encode_output import listed_samples
from preprocess.pipeline.pack_plan import PackItems, plan_jobs
from preprocess.sample_table import SampleTable
from preprocess.samples import CAPTION_MODES, CaptionMode, Sample
from tests.object_store import remove_folder
from tests.pipeline.conftest import on_disk
from tests.pipeline.packing import files, make_samples, make_triple, make_triples, make_work, run, write_samples

pytestmark = on_disk


@pytest.fixture
def as_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "AS_OBJECTS", 0)
    monkeypatch.setattr(sample_table, "_READ", 7)
    monkeypatch.setattr(sample_table, "_WRITTEN", 10)
    monkeypatch.setattr(part_table, "_WRITTEN", 3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("mode", "shuffle", "workers"),
    [*itertools.product(CAPTION_MODES, [True, False], [1]), ("each", True, 2)],
)
def test_the_same_bytes(
    tmp_path: Path,
    request: pytest.FixtureRequest,
    kind: ProcessedKind,
    mode: CaptionMode,
    shuffle: bool,
    workers: int,
) -> None:
    work = tmp_path / "work"
    make_work(work, kind)
    first = run(work, tmp_path / "listed" / "CLIP-Demo", caption_mode=mode, shuffle=shuffle)
    remove_folder(work / "shards")
    request.getfixturevalue("as_tables")
    assert isinstance(listed_samples(work / "samples.jsonl"), SampleTable)
    again = run(work, tmp_path / "tables" / "CLIP-Demo", workers, caption_mode=mode, shuffle=shuffle)
    assert again.written == first.written
    assert files(tmp_path / "tables" / "CLIP-Demo") == files(tmp_path / "listed" / "CLIP-Demo")
    assert run(work, tmp_path / "tables" / "CLIP-Demo", caption_mode=mode, shuffle=shuffle).written == 0, (
        "the digests are the same"
    )


def test_a_generation_is_the_same(tmp_path: Path, as_tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit in (("tables", 0), ("listed", 100)):
        monkeypatch.setattr(plan, "AS_OBJECTS", limit)
        work = tmp_path / name / "work"
        make_work(work, "parts")
        run(work, tmp_path / name / "CLIP-Demo")
        new = Sample("new_77", "val", "new.mp4", ("a new one",))
        write_samples(work, [*make_samples(), new])
        make_triples_beside(work / "processed", [new])
        changed = next(sample for sample in make_samples() if sample.key.endswith("_7"))
        make_triple(work / "processed", changed, seed=1)  # as files, which count before the part that has it
        report = run(work, tmp_path / name / "CLIP-Demo", append=True)
        assert report.appended is not None
        assert (report.appended.new, report.appended.changed) == (1, 1)
    assert files(tmp_path / "tables" / "CLIP-Demo") == files(tmp_path / "listed" / "CLIP-Demo")


def make_triples_beside(processed: Path, samples: list[Sample]) -> None:
    """Further parts."""
    before = {split: set((processed / split).iterdir()) for split in ("train", "val", "test")}
    make_triples(processed, samples, "parts")
    assert all(there <= set((processed / split).iterdir()) for split, there in before.items())


def test_places_of_triples_in_files_in_parts_in_both_and_of_none(tmp_path: Path, as_tables: None) -> None:
    samples = plan.sorted_by_split(make_samples())
    in_parts, in_files = samples[::3], samples[1::6]
    elsewhere = Sample(samples[2].key, "val" if samples[2].split != "val" else "test", "moved.mp4", ("moved",))
    make_triples(tmp_path, [*in_parts, elsewhere, Sample("stale_5", "train", "stale.mp4", ("gone",))], "parts")
    make_triples_beside(tmp_path, [*in_parts[:4], samples[1]])  # some are in two parts, one in a part and in files
    for sample in in_files:
        make_triple(tmp_path, sample)
    store = Processed(tmp_path)
    listed, table = store.find(samples), store.find(SampleTable.of(samples))
    assert isinstance(listed._entries, ListedEntries)
    assert isinstance(table._entries, part_table.PartTable)
    expected = {sample.key for sample in (*in_parts, *in_files)}
    assert [sample.key in expected for sample in samples] == listed.there.tolist() == table.there.tolist()
    there = listed.there.nonzero()[0][::-1]
    found = [samples[i] for i in there]
    assert listed.take(there, found) == table.take(there, found)
    assert listed.only(listed.there).take(there[:0], []) == []
    rest = table.only(table.there)
    assert rest.there.all()
    kept = [sample for sample in samples if sample.key in expected]
    numbers = sample_table.np.arange(len(kept))
    assert rest.take(numbers, kept) == listed.only(listed.there).take(numbers, kept)


def test_a_shard_is_made_when_its_turn_comes(tmp_path: Path, as_tables: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plan holds no sample; one tar is at work with one worker."""
    work = tmp_path / "work"
    make_work(work, "parts")
    table = listed_samples(work / "samples.jsonl")
    there = Processed(work / "processed").find(table)
    made: list[str] = []
    post_init = Sample.__post_init__

    def noted(sample: Sample) -> None:
        made.append(sample.key)
        post_init(sample)

    monkeypatch.setattr(Sample, "__post_init__", noted)
    items = PackItems(sample_table.chosen(table, there.there), there.only(there.there), "first")
    jobs = plan_jobs(items, per_shard=10, seed=42, shuffle=True)
    assert len(jobs) == 6
    assert made == []
    assert len(jobs[0].items) == len(made) == 10
    packed: list[int] = []
    pack_shard = pack.pack_shard

    def one(*arguments: object) -> object:
        packed.append(len(made))
        return pack_shard(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(pack, "pack_shard", one)
    run(work, tmp_path / "out")
    assert [after - before for before, after in itertools.pairwise(packed)] == [10, 10, 5, 4, 8]
