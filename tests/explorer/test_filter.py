"""Filtered datasets: what is kept has its bytes, verify finds nothing, `datasets` opens it, the origin is recorded."""

from __future__ import annotations

import dataclasses
import errno
import json
import shutil
import tarfile
from pathlib import Path

import datasets
import numpy as np
import pytest
from typer.testing import CliRunner

import explorer.__main__
from builders.verify import verify
from explorer.choose import diverse, drop_duplicates, duplicate_pairs, random_subset
from explorer.filter import Filter, read_keys, select, source_spec, write_filtered
from explorer.index import Index, open_index
from explorer.models import QueryModel
from explorer.search import Searcher
from preprocess.demo.plan import demo_plan
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from tests.cards.small import random_vectors, samples
from tests.explorer.conftest import Make, directions


def triples(folder: Path) -> dict[str, tuple[bytes, bytes, bytes]]:
    """Key → bytes of the three members, read with `tarfile`."""
    found = {}
    for path in sorted(folder.glob("ds_*.tar")):
        with tarfile.open(path) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar}
        for name in files:
            if name.endswith(".json"):
                stem = name.removesuffix(".json")
                key = json.loads(files[name])["key"]
                found[key] = (files[f"{stem}.npy"], files[f"{stem}.txt"], files[name])
    return found


def unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def test_a_filtered_dataset_is_whole_and_keeps_its_bytes(
    scenes: Layout, scenes_index: Index, scenes_model: QueryModel, tmp_path: Path
) -> None:
    query = scenes_model.text("a red diamond")
    manifest = write_filtered(scenes_index, Filter(query=query, min_score=0.6), tmp_path, "CLIP-Diamonds")
    folder = tmp_path / "CLIP-Diamonds"
    assert verify(folder).findings == ()
    before, after = triples(scenes.dataset), triples(folder)
    searcher = Searcher(scenes_index)
    expected = {scenes_index.sample(n).key for n in range(len(scenes_index)) if searcher.scores(n, query).max() >= 0.6}
    assert 1 < len(expected) < len(scenes_index)
    assert after == {key: before[key] for key in expected}
    origin = manifest["filtered_from"]
    assert (origin["dataset"], origin["samples"], origin["kept"]) == ("CLIP-Shapes", len(scenes_index), len(expected))
    assert origin["by"] == {"query": "a red diamond", "min_score": 0.6}
    card = (folder / "README.md").read_text()
    assert "| filtered from dataset | `CLIP-Shapes` |" in card
    assert "\nlanguage:\n- en\nlicense: apache-2.0\n" in card
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    assert sum(len(split) for split in loaded.values()) == len(expected)
    again = open_index(str(folder), tmp_path / "indexes")
    twice = write_filtered(again, Filter(sample=1), tmp_path, "CLIP-One")
    assert twice["filtered_from"]["before"]["dataset"] == "CLIP-Shapes"


def test_a_filtered_dataset_that_fails_halfway_is_not_there(
    scenes_index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else its name would be taken, by a folder without a manifest."""

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    out = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr("explorer.filter.write_atomic", full)
        with pytest.raises(OSError, match="No space"):
            write_filtered(scenes_index, Filter(sample=2), out, "CLIP-Some")
    assert list(out.iterdir()) == []
    (out / ".CLIP-Some.0123456789abcdef.tmp").mkdir()  # a killed run
    assert write_filtered(scenes_index, Filter(sample=2), out, "CLIP-Some")["filtered_from"]["kept"] == 2
    assert sorted(path.name for path in out.iterdir()) == ["CLIP-Some", "work"]


def test_the_same_filter_gives_the_same_bytes(scenes_index: Index, tmp_path: Path) -> None:
    wanted = Filter(split="test", sample=7, seed=3)
    for name in ("a", "b"):
        write_filtered(scenes_index, wanted, tmp_path / name, "CLIP-Seven")
    files = {path.name: path.read_bytes() for path in (tmp_path / "a/CLIP-Seven").iterdir() if path.is_file()}
    assert files == {p.name: p.read_bytes() for p in (tmp_path / "b/CLIP-Seven").iterdir() if p.is_file()}


def test_a_dataset_that_was_packed_anew_is_read_anew(make_index: Make, scenes: Layout, tmp_path: Path) -> None:
    for number, step in enumerate((2, 3)):
        index = make_index(samples(12)[::step], random_vectors)
        shutil.copy(scenes.dataset / "README.md", index.dataset)
        write_filtered(index, Filter(), tmp_path, f"CLIP-{number}")
        assert triples(tmp_path / f"CLIP-{number}") == triples(index.dataset)


def test_a_triple_per_caption_stays_one(make_index: Make, scenes: Layout, tmp_path: Path) -> None:
    import builders.verify
    import dataset_cards.__main__
    import preprocess.__main__

    out = tmp_path / "each"
    to = ["demo", "--out", str(out)]
    (out / "work").mkdir(parents=True)
    shutil.copytree(scenes.work, out / "work" / "CLIP-Shapes", ignore=shutil.ignore_patterns("explorer", "shards"))
    for app, command in (
        (preprocess.__main__.app, ["shards", *to, "--caption-mode", "each"]),
        (dataset_cards.__main__.app, ["card", *to]),
    ):
        assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    index = open_index(str(out / "CLIP-Shapes"))
    assert len(index) == len(list(demo_plan()))
    manifest = write_filtered(index, Filter(split="val"), out, "CLIP-Val")
    assert manifest["splits"]["val"]["inputs"] == sum(video.split == "val" for video in demo_plan())
    assert manifest["splits"]["val"]["samples"] == sum(
        len(index.sample(n).captions) for n in select(index, Filter(split="val"))
    )
    assert builders.verify.verify(out / "CLIP-Val").findings == ()


def test_filters_apply_one_after_the_other(make_index: Make) -> None:
    index = make_index(samples(40), random_vectors)
    assert len(select(index, Filter(split="train"))) == 20
    of_label = select(index, Filter(label="class 2", split="train"))
    assert all(index.sample(n).label == "class 2" for n in of_label)
    assert len(select(index, Filter(label="class 2", split="train", sample=2))) == 2
    keys = tuple(index.sample(n).key for n in (3, 5, 30))
    assert select(index, Filter(keys=keys)).tolist() == [3, 5, 30]
    with pytest.raises(UserError, match="no sample 'nobody'"):
        select(index, Filter(keys=("nobody",)))
    with pytest.raises(UserError, match="no sample passes"):
        select(
            index, Filter(keys=keys, label="class 2" if index.sample(3).label != "class 2" else "class 1", split="test")
        )


def test_what_cannot_be_is_refused(make_index: Make, tmp_path: Path) -> None:
    index = make_index(samples(4), random_vectors)
    with pytest.raises(UserError, match="belong together"):
        Filter(min_score=0.3)
    with pytest.raises(UserError, match="--sample 1000 --diverse"):
        Filter(diverse=True)
    for name in ("../elsewhere", "", "a/b", "-x", "work"):
        with pytest.raises(UserError, match=r"name of a dataset|folder of intermediate files"):
            write_filtered(index, Filter(), tmp_path, name)
    with pytest.raises(UserError, match="already exists"):
        write_filtered(index, Filter(), index.dataset.parent, index.dataset.name)


def test_duplicates_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    base = unit(rng.standard_normal((30, 8)))
    pooled = unit(np.concatenate((base, base[:12] + 0.05 * rng.standard_normal((12, 8)), base[:5])))
    kept: list[int] = []
    for i in range(len(pooled)):
        if all(pooled[i] @ pooled[j] < 0.98 for j in kept):
            kept.append(i)
    assert 30 <= len(kept) < 47
    assert drop_duplicates(pooled, 0.98).tolist() == kept
    expected = sorted(
        (
            (i, j, float(pooled[i] @ pooled[j]))
            for i in range(47)
            for j in range(i + 1, 47)
            if pooled[i] @ pooled[j] >= 0.98
        ),
        key=lambda pair: -pair[2],
    )
    found = duplicate_pairs(pooled, 0.98, 1000)
    assert {(p.first, p.second) for p in found} == {(i, j) for i, j, _ in expected}
    assert [p.similarity for p in found] == pytest.approx([s for _, _, s in expected], abs=1e-6)
    assert duplicate_pairs(pooled, 0.98, 3) == found[:3]


def test_blocks_do_not_change_what_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    pooled = unit(directions(200, 3, 1).astype(np.float32))
    whole, pairs = drop_duplicates(pooled, 0.95), duplicate_pairs(pooled, 0.95, 50)
    monkeypatch.setattr("explorer.choose.BLOCK", 16)
    np.testing.assert_array_equal(drop_duplicates(pooled, 0.95), whole)
    assert [p[:2] for p in duplicate_pairs(pooled, 0.95, 50)] == [p[:2] for p in pairs]


def test_diverse_samples_cover_the_groups() -> None:
    centers = unit(directions(5, 16, 2).astype(np.float32))
    pooled = unit(np.repeat(centers, 40, axis=0) + 0.01 * directions(200, 16, 3).astype(np.float32))
    assert sorted(diverse(pooled, 5) // 40) == [0, 1, 2, 3, 4]
    assert diverse(pooled, 1000).tolist() == list(range(200))
    assert len(set(diverse(np.ones((6, 4), np.float32) / 2, 4).tolist())) == 4
    keys = [f"k{i}" for i in range(100)]
    assert random_subset(keys, 10, 1).tolist() == random_subset(keys, 10, 1).tolist()
    assert random_subset(keys, 10, 1).tolist() != random_subset(keys, 10, 2).tolist()


def test_the_commands(scenes: Layout, tmp_path: Path) -> None:
    def call(*arguments: object) -> str:
        done = CliRunner().invoke(explorer.__main__.app, [str(a) for a in arguments], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done.stdout

    found = call("search", scenes.dataset, "a cyan square moving right", "-k", 4, "--split", "test", "--json")
    hits = json.loads(found)["hits"]
    assert len(hits) == 4
    assert (hits[0]["key"], hits[0]["caption"]) == ("scenes_117", "a cyan square moving right")
    shown = call("search", scenes.dataset, "--like", "scenes_117@1", "-k", 1).splitlines()
    assert shown[0].split() == ["score", "from", "to", "key", "split", "label", "caption"]
    assert shown[1].startswith("1.000")
    (tmp_path / "hits.json").write_text(found)
    (tmp_path / "keys.txt").write_text("\n".join(hit["key"] for hit in hits) + "\n")
    assert read_keys(tmp_path / "hits.json") == read_keys(tmp_path / "keys.txt") == tuple(h["key"] for h in hits)
    line = call("filter", scenes.dataset, "--keys", tmp_path / "hits.json", "--name", "CLIP-Four", "--out", tmp_path)
    assert line == f"4 of {len(list(demo_plan()))} samples in 1 shard in {tmp_path / 'CLIP-Four'}\n"
    with pytest.raises(UserError, match="2 queries were given"):
        call("search", scenes.dataset, "a dog", "--like", "scenes_117")


def test_captions_cannot_control_a_terminal(make_index: Make) -> None:
    hostile = "\x1b]0;title\x07\x1b[2Jred\nnext\x9b2J\u202e"
    ours = [dataclasses.replace(s, captions=(hostile,), label=hostile) for s in samples(3)]
    index = make_index(ours, random_vectors)
    for option, lines in ((), 4), (("--json",), None):
        search = ["search", str(index.dataset), "--like", "clip_000", *option]
        done = CliRunner().invoke(explorer.__main__.app, search, catch_exceptions=False)
        assert done.exit_code == 0
        assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(done.stdout)
        assert lines is None or len(done.stdout.splitlines()) == lines
    assert json.loads(done.stdout)["hits"][0]["caption"] == hostile, "the JSON says what the caption is"


def test_a_dataset_built_elsewhere_is_described_by_its_card(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(
        "---\nlicense: cc-by-4.0\nlanguage:\n- de\ntask_categories:\n- video-classification\n---\n# X\n", "utf-8"
    )
    manifest = {"dataset": "CLIP-Elsewhere", "caption_mode": "first"}
    spec = source_spec(tmp_path, {"dataset": "no_recipe_here"}, manifest)  # type: ignore[arg-type]
    assert (spec.title, spec.license, spec.languages) == ("CLIP-Elsewhere", "cc-by-4.0", ("de",))
