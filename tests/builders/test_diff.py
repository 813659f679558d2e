"""`diff`, compared with what tarfile and numpy find in the same two datasets."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import diff_index
from builders.diff import Change, Difference, compare, row_cosines
from builders.diff_table import MostChanged, describe
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.layout import Layout
from preprocess.formats.triple_files import write_triple
from preprocess.formats.triples import triple_meta
from preprocess.samples import Triple
from tests.pipeline.appending import rows, second, third
from tests.pipeline.packing import ENCODING, make_samples, make_work, run, triple_of

NAME = "CLIP-Demo"
Rows = Mapping[str, tuple[str, Any, str, dict[str, Any]]]


def at(folder: Path) -> Layout:
    return Layout(folder, NAME)


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """After each of three generations; the samples of the third packed at once, with other ids, and of the second."""
    layout = at(tmp_path_factory.mktemp("data"))
    make_work(layout.work)
    found = []
    for number, step in enumerate((lambda work: None, second, third)):
        step(layout.work)
        run(layout.work, layout.dataset, append=number > 0)
        found.append(Path(shutil.copytree(layout.dataset, tmp_path_factory.mktemp("step") / NAME)))
    for seed, step in ((42, third), (7, third), (42, second)):
        out = tmp_path_factory.mktemp("whole") / NAME
        step(layout.work)
        run(layout.work, out, append=False, seed=seed)
        found.append(out)
    return found


def current(folder: Path) -> dict[str, tuple[str, Any, str, dict[str, Any], str]]:
    """The current rows by key and caption: split, vectors, text, json, id."""
    generations = json.loads((folder / "manifest.json").read_text()).get("generations", [])
    left_out = {old for generation in generations for old in generation["replaced"]}
    return {
        row[3]["key"] if "caption_index" not in row[3] else f"{row[3]['key']} {row[3]['caption_index']}": (*row, id_)
        for id_, row in rows(folder).items()
        if id_ not in left_out
    }


def same(a: Any, b: Any) -> bool:
    return a[0] == b[0] and a[2:4] == b[2:4] and a[1].dtype == b[1].dtype and np.array_equal(a[1], b[1])


def by_hand(old: Any, new: Any) -> tuple[int, float, float] | None:
    """Rows of the same time, their lowest and mean cosine; one at a time, in plain Python."""
    cosines = []
    for time, mine in zip(old[3]["timestamps"], old[1].astype(float).tolist(), strict=True):
        for other, theirs in zip(new[3]["timestamps"], new[1].astype(float).tolist(), strict=True):
            if time == other:
                product = sum(a * b for a, b in zip(mine, theirs, strict=True))
                cosines.append(product / (sum(a * a for a in mine) ** 0.5 * sum(b * b for b in theirs) ** 0.5))
    return (len(cosines), min(cosines), sum(cosines) / len(cosines)) if cosines else None


def check(difference: Difference, old: Path, new: Path) -> None:
    """Compares everything in a difference with the rows of both datasets."""
    before, after = current(old), current(new)
    both = before.keys() & after.keys()
    changed = {key for key in both if not same(before[key], after[key])}
    assert difference.counts == {
        "added": len(after.keys() - before.keys()),
        "removed": len(before.keys() - after.keys()),
        "changed": len(changed),
        "same": len(both) - len(changed),
    }
    for found, mine, theirs in ((difference.added(), after, before), (difference.removed(), before, after)):
        expected = [
            (key, row[4], row[0], len(row[1]))
            for key, row in sorted(mine.items(), key=lambda item: item[1][4])
            if key not in theirs
        ]
        assert [(_key(one), one.id, one.split, one.rows) for one in found] == expected
    found = {_key(one): one for one in difference.changed()}
    assert found.keys() == changed
    for key, change in found.items():
        a, b = before[key], after[key]
        assert (change.ids, change.splits, change.rows) == ((a[4], b[4]), (a[0], b[0]), (len(a[1]), len(b[1])))
        expected_fields = {name for name in {*a[3], *b[3]} if a[3].get(name, ...) != b[3].get(name, ...)}
        if a[0] != b[0]:
            expected_fields.add("split")
        if a[2] != b[2]:
            expected_fields.add("txt")
        if a[1].shape != b[1].shape or not np.array_equal(a[1], b[1]):
            expected_fields.add("npy")
        assert set(change.differs) == expected_fields
        numbers = by_hand(a, b)
        if numbers is None:
            assert (change.compared, change.lowest, change.mean) == (0, None, None)
        else:
            assert change.compared == numbers[0]
            assert (change.lowest, change.mean) == pytest.approx(numbers[1:], abs=2e-6)


def _key(one: Any) -> str:
    return one.key if one.caption is None else f"{one.key} {one.caption}"


# --- samples ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("old", "new"), [(0, 1), (1, 0), (1, 2), (0, 2), (2, 0), (0, 4), (3, 4), (0, 5), (5, 2)])
def test_every_sample_that_came_went_or_changed_is_found(steps: list[Path], old: int, new: int) -> None:
    check(compare(str(steps[old]), str(steps[new])), steps[old], steps[new])


def test_ids_tars_and_generations_do_not_matter(steps: list[Path]) -> None:
    difference = compare(str(steps[2]), str(steps[3]))  # the samples are the same; one is gone from the raw data
    assert difference.counts["changed"] == difference.counts["added"] == 0
    assert compare(str(steps[3]), str(steps[4])).counts == {"added": 0, "removed": 0, "changed": 0, "same": 54}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    place = at(tmp_path / "data")
    make_work(place.work)
    return place


def encoded(layout: Layout, number: int, vectors: Any, times: list[float]) -> None:
    """Encodes a sample with these vectors."""
    sample = make_samples()[number]
    meta = triple_meta(sample, len(vectors), times, triple_of(sample).meta["duration"], False)
    write_triple(layout.processed, sample.split, Triple(sample.key, vectors, sample.captions[0], meta))


def test_rows_correspond_by_time(layout: Layout, tmp_path: Path) -> None:
    """Row counts, times and zeros of every kind, next to a computation by hand."""
    rng = np.random.default_rng(0)
    before = {n: triple_of(make_samples()[n]).vectors for n in (5, 6, 9, 14)}  # 1, 2, 5, 5 rows
    old = tmp_path / "old" / NAME
    run(layout.work, old)
    encoded(layout, 9, rng.standard_normal((3, 8)).astype(np.float16), [1.0, 2.5, 4.0])
    encoded(layout, 14, rng.standard_normal((5, 8)).astype(np.float16), [100.0, 101.0, 102.0, 103.0, 104.0])
    encoded(layout, 6, np.concatenate([before[6], -before[6]]), [0.0, 1.0, 2.0, 3.0])
    encoded(layout, 5, before[5] * 2, [0.0])
    new = tmp_path / "new" / NAME
    run(layout.work, new)
    difference = compare(str(old), str(new))
    check(difference, old, new)
    found = {change.key: change for change in difference.changed()}
    keys = {n: make_samples()[n].key for n in before}
    assert (found[keys[14]].compared, found[keys[14]].lowest) == (0, None)
    assert (found[keys[9]].rows, found[keys[9]].compared) == ((5, 3), 2)
    assert (found[keys[6]].compared, found[keys[6]].lowest) == (2, 1.0)
    assert (found[keys[5]].differs, found[keys[5]].lowest) == (("npy",), 1.0)  # longer, in the same direction
    lines = describe(difference, 2).splitlines()
    assert lines[0].split() == ["rows", "0", "added,", "0", "removed,", "4", "changed,", "43", "the", "same"]
    assert [line.split()[1] for line in lines if line.startswith("changed")] == [
        change.key for change in sorted(found.values(), key=lambda change: change.rank)[:2]
    ]
    assert lines[-1] == "and 2 more: --limit, --json FILE"


def test_a_row_per_caption(layout: Layout, tmp_path: Path) -> None:
    old, new = (tmp_path / name / NAME for name in ("old", "new"))
    run(layout.work, old, caption_mode="each")
    second(layout.work)
    run(layout.work, new, caption_mode="each")
    check(compare(str(old), str(new)), old, new)


def test_encoders_of_other_dimensions_have_no_cosines(layout: Layout, tmp_path: Path) -> None:
    old, new = (tmp_path / name / NAME for name in ("old", "new"))
    run(layout.work, old)
    layout.encoding.write_text(json.dumps({**ENCODING, "encoder": {**ENCODING["encoder"], "model": "x", "dim": 4}}))
    for number, sample in enumerate(make_samples()):
        if number not in (20, 4, 40):
            triple = triple_of(sample)
            encoded(layout, number, triple.vectors[:, :4].copy(), triple.meta["timestamps"])
    run(layout.work, new)
    difference = compare(str(old), str(new))
    assert difference.counts["changed"] == 47
    assert all((change.compared, change.lowest, change.mean) == (0, None, None) for change in difference.changed())
    assert [(field.field, field.old, field.new) for field in difference.manifest] == [
        ("encoder.model", "none", "x"),
        ("encoder.dim", 8, 4),
    ]


def test_rows_of_zeros() -> None:
    times = np.arange(3.0)
    a, b = np.zeros((3, 2), np.float16), np.array([[0, 0], [1, 2], [0, 0]], np.float16)
    assert row_cosines(a, times, b, times).tolist() == [1.0, 0.0, 1.0]
    assert row_cosines(b[1:2], times[:1], -b[1:2], times[:1]).tolist() == pytest.approx([-1.0])


def test_the_most_changed_come_first() -> None:
    def change(i: int, lowest: float | None) -> Change:
        return Change(f"k{i:05d}", None, ("", ""), ("", ""), (1, 1), (), 1, lowest, lowest)

    numbers = np.random.default_rng(0).permutation(5000) / 5000
    most = MostChanged(3)
    for i, lowest in enumerate(numbers):
        most.add(change(i, float(lowest)))
    most.add(change(9999, None))
    first = [f"k{int(np.flatnonzero(numbers == n / 5000)[0]):05d}" for n in (0, 1)]
    assert [one.key for one in most.sorted()] == ["k09999", *first]


# --- what is read -----------------------------------------------------------------------------------------------------


def test_tars_with_the_same_checksum_are_not_read(steps: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    real = diff_index.ShardIndex

    def watched(path: Path, **options: Any) -> Any:
        opened.append(f"{path.parent.parent.name[:5]}/{path.name}")
        return real(path, **options)

    monkeypatch.setattr(diff_index, "ShardIndex", watched)
    assert compare(str(steps[0]), str(steps[0])).counts["same"] == 47
    assert opened == []
    difference = compare(str(steps[0]), str(steps[1]))
    assert difference.counts["same"] == 47 - 3
    # Of the old tars, those with a replaced row; of the new ones, those that were added.
    replaced = json.loads((steps[1] / "manifest.json").read_text())["generations"][1]["replaced"]
    assert len(opened) <= len(replaced) + 3
    assert {name.partition("/")[2] for name in opened} >= {"ds_00006.tar", "ds_00007.tar", "ds_00008.tar"}


def test_what_is_damaged_is_one_error(steps: list[Path], tmp_path: Path) -> None:
    copy = Path(shutil.copytree(steps[4], tmp_path / NAME))
    (copy / "ds_00000.tar").unlink()
    with pytest.raises(UserError, match=r"ds_00000\.tar does not exist"):
        compare(str(steps[0]), str(copy))
    (copy / "ds_00000.tar").write_bytes((copy / "ds_00001.tar").read_bytes())
    with pytest.raises(DamagedFileError, match=r"another row has the key"):
        compare(str(steps[0]), str(copy))
    with pytest.raises(UserError, match=r"manifest\.json does not exist"):
        compare(str(tmp_path / "nowhere"), str(copy))


@pytest.mark.parametrize("halves", [2**62, 3], ids=["different halves", "halves that repeat"])
@pytest.mark.parametrize("sizes", [(400, 300), (0, 5), (5, 0), (0, 0)])
def test_keys_are_matched_whatever_half_of_them_is_the_same(halves: int, sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(0)
    words = np.stack([random.integers(halves, size=500), np.arange(500) << 40], axis=1).astype("<u8")
    keys = words.copy().view("S16")[:, 0]
    old, new = (np.zeros(size, diff_index.ROW) for size in sizes)
    for table in (old, new):
        table["key"] = random.permutation(keys)[: len(table)]
    where = {key: place for place, key in enumerate(old["key"].tolist())}
    expected = [(where[key], place) for place, key in enumerate(new["key"].tolist()) if key in where]
    mine, theirs = diff_index.common(old, new)
    assert list(zip(mine.tolist(), theirs.tolist(), strict=True)) == expected


def test_different_keys_of_the_same_half_are_not_matched() -> None:
    tables = [np.zeros(1, diff_index.ROW) for _ in range(2)]
    for table, key in zip(tables, (b"a" * 16, b"a" * 8 + b"b" * 8), strict=True):
        table["key"] = key
    assert [places.tolist() for places in diff_index.common(*tables)] == [[], []]


# --- the command ------------------------------------------------------------------------------------------------------


def command(root: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "builders", "diff", *map(str, arguments)]
    return subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=120)


def test_the_command_tells_and_writes_everything(steps: list[Path], tmp_path: Path, root: Path) -> None:
    done = command(root, steps[0], steps[0])
    assert (done.returncode, done.stdout.split()) == (
        0,
        ["rows", "0", "added,", "0", "removed,", "0", "changed,", "47", "the", "same"],
    )
    file = tmp_path / "diff.json"
    done = command(root, steps[0], steps[5], "--json", file, "--limit", 1)
    assert done.returncode == 1, done.stderr
    value = json.loads(file.read_text())
    difference = compare(str(steps[0]), str(steps[5]))
    assert value["counts"] == difference.counts
    for kind in ("added", "removed", "changed"):
        assert len(value[kind]) == value["counts"][kind]
    changed = list(difference.changed())
    assert [(one["key"], one["lowest"], one["rows"]) for one in value["changed"]] == [
        (one.key, one.lowest, list(one.rows)) for one in changed
    ]
    assert [one["key"] for one in value["removed"]] == [one.key for one in difference.removed()]
    assert value["manifest"] == [{"field": f.field, "old": f.old, "new": f.new} for f in difference.manifest]
    assert {field["field"] for field in value["manifest"]} >= {"splits.test.inputs", "splits.test.samples"}
    kinds = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(("changed", "added", "removed"))]
    assert kinds == ["changed", "added", "removed"]
    assert min(changed, key=lambda change: change.rank).key in done.stdout


def test_a_manifest_alone_makes_a_difference(steps: list[Path], tmp_path: Path, root: Path) -> None:
    copy = Path(shutil.copytree(steps[0], tmp_path / NAME))
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["versions"]["av"] = "\x1b[31m19"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    done = command(root, steps[0], copy)
    assert done.returncode == 1
    assert "versions.av: '18.1.0' → '\\x1b[31m19'" in done.stdout
    assert "\x1b" not in done.stdout
