"""Appending: old tars keep their bytes, new and changed samples follow in further ones; read back by tarfile."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from preprocess.errors import SettingsError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.generations import replaced_rows
from preprocess.formats.processed import Processed
from preprocess.formats.splits import read_sizes, read_splits
from preprocess.pipeline import base, pack
from preprocess.pipeline.outputs import packing_order
from preprocess.samples import Sample
from tests.object_store import remove_folder
from tests.pipeline.appending import NEW, new_samples, recaptioned, reject, rows, second, third, update
from tests.pipeline.conftest import on_disk
from tests.pipeline.packing import ENCODING, OfWork, files, fresh, make_samples, make_triple, make_work, run, triple_of

FIRST_TARS = [f"ds_{i:05d}.tar" for i in range(6)]


def tars(out: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(out).items() if name.endswith(".tar")}


def current(out: Path) -> dict[str, tuple[str, Any, str, dict[str, Any]]]:
    """The current rows by key, and with the mode `each` by caption; a sample must not have two."""
    replaced = json.loads((out / "manifest.json").read_text()).get("generations", [])
    left_out = {old for generation in replaced for old in generation["replaced"]}
    found: dict[str, tuple[str, Any, str, dict[str, Any]]] = {}
    for id_, row in rows(out).items():
        key = f"{row[3]['key']}:{row[3].get('caption_index', 0)}"
        if id_ not in left_out:
            assert key not in found
            found[key] = row
    return found


def assert_same_rows(mine: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert mine.keys() == theirs.keys()
    for key, (split, vectors, text, meta) in mine.items():
        assert (split, text, meta) == (theirs[key][0], *theirs[key][2:])
        np.testing.assert_array_equal(vectors, theirs[key][1])


# --- what an append gives ---------------------------------------------------------------------------------------------


def test_new_and_changed_samples_follow_and_old_tars_keep_their_bytes(work: Path, out: Path, tmp_path: Path) -> None:
    before = run(work, out).manifest
    old, old_rows = tars(out), rows(out)
    samples = second(work)
    report = run(work, out, append=True)
    assert {name: data for name, data in tars(out).items() if name in old} == old
    assert (report.written, report.kept) == (3, 6)
    assert str(report.appended) == (
        "generation 2: rows added: 9 (6 new, 3 changed); samples without readable raw data, whose rows stay: 1"
    )
    manifest = manifests.read(out / "manifest.json")
    assert manifest == report.manifest
    assert manifest["shards"][:6] == before["shards"]
    assert [shard["split"] for shard in manifest["shards"][6:]] == ["train", "val", "test"]
    assert read_splits(out / "splits.csv") == {shard["file"]: shard["split"] for shard in manifest["shards"]}
    assert read_sizes(out / "sizes.json") == {shard["file"]: shard["samples"] for shard in manifest["shards"]}

    added = {id_: row for id_, row in rows(out).items() if id_ not in old_rows}
    assert list(added) == [f"vid_{i:05d}" for i in range(47, 47 + NEW + 3)]
    by_key = {sample.key: sample for sample in samples}
    seeds = {samples[7].key: 1}
    for split, vectors, text, meta in added.values():
        sample = by_key[meta["key"]]
        assert (split, text) == (sample.split, sample.captions[0])
        np.testing.assert_array_equal(vectors, triple_of(sample, seeds.get(sample.key, 0)).vectors)

    first, latest = manifest["generations"]
    assert first == {"number": 1, "shards": FIRST_TARS, "replaced": {}}
    assert (latest["number"], latest["shards"]) == (2, ["ds_00006.tar", "ds_00007.tar", "ds_00008.tar"])
    assert {old_rows[a][3]["key"] for a in latest["replaced"]} == {samples[i].key for i in (3, 7, 10)}
    assert all(old_rows[a][3]["key"] == added[b][3]["key"] for a, b in latest["replaced"].items())
    assert sum(c["inputs"] for c in manifest["splits"].values()) == 47 + NEW + 3 + 3

    gone = make_samples()[12]
    whole = tmp_path / "whole" / "CLIP-Demo"
    fresh(work, whole)
    anew = current(whole)
    assert_same_rows({key: row for key, row in current(out).items() if key != f"{gone.key}:0"}, anew)


def test_the_order_of_a_generation_is_that_of_a_plan(work: Path, out: Path, tmp_path: Path) -> None:
    """Its samples, packed alone, come in the same order: the code is the same."""
    run(work, out)
    second(work)
    run(work, out, append=True)
    added = [row[3]["key"] for row in list(rows(out).values())[47:]]
    alone = [sample for sample in map(Sample.from_json, _lines(work / "samples.jsonl")) if sample.key in added]
    update(work, alone)
    remove_folder(work / "shards")
    run(work, tmp_path / "alone" / "CLIP-Demo")
    assert [row[3]["key"] for row in rows(tmp_path / "alone" / "CLIP-Demo").values()] == added


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_three_generations_in_a_row_or_with_repetitions_and_any_workers(work: Path, out: Path, tmp_path: Path) -> None:
    run(work, out)
    second(work)
    run(work, out, append=True)
    two = tars(out)
    third(work)
    run(work, out)  # goes on as it was
    manifest = manifests.read(out / "manifest.json")
    assert [generation["number"] for generation in manifest["generations"]] == [1, 2, 3]
    assert {name: data for name, data in tars(out).items() if name in two} == two
    replaced, found = replaced_rows(manifest), rows(out)
    caption = [id_ for id_, row in found.items() if row[3]["key"] == make_samples()[3].key]
    assert [replaced.get(id_) for id_ in caption] == [*caption[1:], None]
    back = [id_ for id_, row in found.items() if row[3]["key"] == make_samples()[12].key]
    assert len(back) == 1, "a sample that was gone, and is back as it was, still has its row"
    once = files(out)
    report = run(work, out, workers=2)
    assert (report.written, files(out)) == (0, once)
    assert str(report.appended) == "nothing to append"

    again = tmp_path / "again" / "CLIP-Demo"
    remove_folder(work)
    make_work(work)
    run(work, again, workers=2)
    second(work)
    run(work, again, append=True, workers=2)
    run(work, again, append=True)
    third(work)
    run(work, again, append=True, workers=2)
    assert files(again) == once


def test_a_rejected_sample_is_appended_when_it_can_be_read(work: Path, out: Path) -> None:
    run(work, out)
    update(work, make_samples(), {20: 0})
    manifest = run(work, out, append=True).manifest
    assert manifest["splits"]["train"]["rejected"] == {}
    assert manifest["splits"]["train"]["inputs"] == 37
    assert [row[3]["key"] for row in rows(out).values()][-1] == make_samples()[20].key


def test_a_sample_that_cannot_be_read_any_more_keeps_its_row(work: Path, out: Path) -> None:
    run(work, out)
    before = files(out)
    reject(work, make_samples()[0])
    report = run(work, out, append=True)
    assert str(report.appended) == "nothing to append; samples without readable raw data, whose rows stay: 1"
    assert files(out) == before
    assert "generations" not in report.manifest


def test_with_a_row_per_caption_lost_captions_are_replaced_too(work: Path, out: Path, tmp_path: Path) -> None:
    run(work, out, caption_mode="each")
    samples = make_samples()
    three, one = (next(s for s in samples if len(s.captions) == n) for n in (3, 1))
    samples[samples.index(three)] = recaptioned(three, "only one is left")
    samples[samples.index(one)] = recaptioned(one, "one", "two")
    update(work, [*samples, *new_samples()], {len(samples) + i: 0 for i in range(NEW)})
    report = run(work, out, append=True)  # the mode is that of the dataset
    assert report.manifest["caption_mode"] == "each"
    assert len(report.manifest["generations"][1]["replaced"]) == 4
    appended = current(out)
    remove_folder(work / "shards")
    run(work, tmp_path / "whole" / "CLIP-Demo", caption_mode="each")
    assert_same_rows(appended, current(tmp_path / "whole" / "CLIP-Demo"))
    assert run(work, out).written == 0


def test_a_dataset_without_its_work_folder_is_appended_to(work: Path, out: Path) -> None:
    """As after a download: only the new samples are here, and no note vouches for the tars."""
    run(work, out)
    old = tars(out)
    remove_folder(work / "shards")
    Processed(work / "processed").remove((s.split, s.key) for s in make_samples())
    update(work, new_samples(), dict.fromkeys(range(NEW), 0))
    report = run(work, out, append=True)
    assert str(report.appended) == (
        "generation 2: rows added: 6 (6 new, 0 changed); samples without readable raw data, whose rows stay: 47"
    )
    assert {name: data for name, data in tars(out).items() if name in old} == old
    assert report.manifest["generations"][1]["replaced"] == {}
    assert list(report.manifest["meta_keys"])[-2:] == ["angle", "zoom"]  # those of the dataset


# --- what is not done twice -------------------------------------------------------------------------------------------


def test_what_notes_vouch_for_is_not_read(work: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(work, out)
    second(work)
    run(work, out, append=True)
    compared: list[str] = []
    real = base._unchanged

    def watched(settings: Any, report: Any, items: Any) -> Any:
        compared.append(report.file)
        return real(settings, report, items)

    monkeypatch.setattr(base, "_unchanged", watched)
    monkeypatch.setattr(base, "_check_sha256", None)
    assert run(work, out).written == 0
    assert compared == [], "the tars that were compared in the run before are not compared again"
    samples = second(work)
    test = next(i for i, sample in enumerate(samples) if sample.split == "test" and i > 40)
    update(work, samples, {test: 0})  # encoded again, with the same result
    assert run(work, out).written == 0
    assert compared == ["ds_00005.tar"] if len(set(compared)) == 1 else set(compared) < set(tars(out))


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"caption_mode": "concat"}, "caption_mode 'first', this run has 'concat'"),
        ({"per_shard": 11}, "order.per_shard 10, this run has 11"),
        ({"seed": 7}, "order.seed 42, this run has 7"),
        ({"shuffle": False}, "order.shuffle True, this run has False"),
    ],
)
def test_another_order_or_caption_mode_is_refused(work: Path, out: Path, options: dict[str, Any], field: str) -> None:
    run(work, out)
    before = files(out)
    second(work)
    with pytest.raises(SettingsError, match=rf"CLIP-Demo was packed with {field}.*--no-append"):
        run(work, out, append=True, **options)
    assert files(out) == before


@pytest.mark.parametrize(
    ("part", "field", "value"),
    [("encoder", "model", "other"), ("encoder", "dim", 9), ("encoder", "dtype", "float32"), ("sampling", "value", 2)],
)
def test_another_encoder_is_refused(work: Path, out: Path, part: str, field: str, value: object) -> None:
    run(work, out)
    changed = {**ENCODING, part: {**ENCODING[part], field: value}}
    (work / "processed" / "encoding.json").write_text(json.dumps(changed))
    with pytest.raises(SettingsError, match=rf"was packed with {part}\.{field} .* this run has {value!r}"):
        run(work, out, append=True)


def test_a_further_key_of_the_metadata_is_refused(work: Path, out: Path) -> None:
    run(work, out)
    extra = Sample("more_50", "train", "more.mp4", ("a",), meta={"camera": "left"})
    update(work, [*make_samples(), extra], {50: 0})
    with pytest.raises(SettingsError, match=r"now has 'camera', which no row of CLIP-Demo has"):
        run(work, out, append=True)


def test_a_base_tar_that_is_missing_or_another_one_is_refused(work: Path, out: Path) -> None:
    run(work, out)
    second(work)
    good = (out / "ds_00002.tar").read_bytes()
    (out / "ds_00002.tar").write_bytes(good.replace(b"caption", b"CAPTION"))
    with pytest.raises(UserError, match=r"ds_00002\.tar is not the tar that the manifest names.*--no-append"):
        run(work, out, append=True)
    (out / "ds_00002.tar").unlink()
    with pytest.raises(UserError, match=r"ds_00002\.tar is missing, so nothing can be appended.*--no-append"):
        run(work, out, append=True)
    assert manifests.read(out / "manifest.json")
    (out / "ds_00002.tar").write_bytes(good)
    assert run(work, out, append=True).written == 3


# --- anew, and from the start ---------------------------------------------------------------------------------------


def test_no_append_packs_everything_anew(work: Path, out: Path, tmp_path: Path) -> None:
    run(work, out)
    second(work)
    run(work, out, append=True)
    run(work, out, append=False)
    assert "generations" not in manifests.read(out / "manifest.json")
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo")
    assert not (work / "base_manifest.json").exists()


def test_an_output_that_was_never_packed_is_packed_as_a_whole(work: Path, out: Path, tmp_path: Path) -> None:
    report = run(work, out, append=True)
    assert report.appended is None
    assert files(out) == fresh(work, tmp_path / "fresh" / "CLIP-Demo")


def test_libraries_of_another_version_are_recorded(work: Path, out: Path) -> None:
    run(work, out)
    second(work)
    (work / "processed" / "encoding.json").write_text(json.dumps({**ENCODING, "versions": {"av": "19"}}))
    manifest = run(work, out, append=True).manifest
    assert manifest["versions"] == ENCODING["versions"]
    assert manifest["generations"][1]["versions"] == {"av": "19"}
    assert "versions" not in manifest["generations"][0]


# --- killed -----------------------------------------------------------------------------------------------------------

KILLER = """
import hashlib, sys
from pathlib import Path
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout
from preprocess.pipeline import pack
from preprocess.pipeline.outputs import packing_order
from preprocess.samples import DatasetSpec
from tests.object_store import remove_folder
from tests.pipeline.appending import second
from tests.pipeline.killing import killed_before
from tests.pipeline.packing import make_samples, make_triple, write_samples

layout = Layout(Path(sys.argv[1]), "CLIP-Demo")
out, work = layout.dataset, layout.work
step = int(sys.argv[2])
spec = DatasetSpec("demo", "CLIP-Demo", "mit", "", "", ("en",), (), "")

def run(**options):
    pack.pack_dataset(layout, spec, **packing_order(layout, "demo", None, None, None), **options)

def state(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}

def restore(folder, files):
    for path in folder.iterdir():
        if path.is_file() and path.name not in files:
            path.unlink()
    for name, data in files.items():
        (folder / name).write_bytes(data)

pack.pack_dataset(layout, spec, per_shard=20)
notes = state(work / "shards")
base = state(out)
second(work)
run(append=True)
undisturbed = state(out)
kept = {name: data for name, data in base.items() if name.endswith(".tar")}
points = 0
for again in ({"append": True}, {}):
    n = 1 - step
    while True:
        n += step
        remove_folder(work / "shards")
        (work / "shards").mkdir()
        restore(out, base)
        restore(work / "shards", notes)
        killed = killed_before(n, lambda: run(append=True))
        assert {name: data for name, data in state(out).items() if name in kept} == kept, n
        if not killed:
            break
        if (out / "manifest.json").exists():
            for shard in manifests.read(out / "manifest.json")["shards"]:
                assert hashlib.sha256((out / shard["file"]).read_bytes()).hexdigest() == shard["sha256"], (n, shard)
        begun = not (out / "manifest.json").exists()
        run(**(again if begun else {"append": True}))
        assert state(out) == undisturbed, n
        assert not (work / "base_manifest.json").exists(), n
    points += n // step
# An append that is given up half way: everything is packed anew, whatever was left.
remove_folder(work / "shards")
restore(out, base)
assert killed_before(12, lambda: run(append=True)) and not (out / "manifest.json").exists()
run(append=False)
anew = state(out)
assert "generations" not in manifests.read(out / "manifest.json")
# The same, killed again when some tars are packed anew: what is left of the append must not be continued.
remove_folder(work / "shards")
restore(out, base)
assert killed_before(12, lambda: run(append=True)) and not (out / "manifest.json").exists()
assert killed_before(22, lambda: run(append=False)) and not (out / "manifest.json").exists()
assert {name: data for name, data in state(out).items() if name in kept} != kept
pack.pack_dataset(layout, spec, per_shard=20)
assert state(out) == anew
print(points)
"""


@on_disk
@pytest.mark.parametrize("step", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_killed_before_any_file_operation_and_run_again(work: Path, tmp_path: Path, root: Path, step: int) -> None:
    """An append is killed at every `step`-th point; it goes on with --append, and once it began without it too."""
    command = [sys.executable, "-c", KILLER, str(tmp_path / "out"), str(step)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 40 // step


# --- several outputs --------------------------------------------------------------------------------------------------


def test_two_outputs_append_alike(work: Path, out: Path, tmp_path: Path) -> None:
    """The same samples with other vectors: the same ids, order and generations."""
    other = tmp_path / "other" / "CLIP-Demo"
    layouts = [OfWork(one.parent, one.name, shared=tmp_path / f"work-{i}") for i, one in enumerate((out, other))]
    manifest = []
    for seed, layout in zip((0, 5), layouts, strict=True):
        make_work(layout.work)
        for sample in [s for i, s in enumerate(make_samples()) if seed and i not in (20, 4, 40)]:
            make_triple(layout.work / "processed", sample, seed)
        run(layout.work, layout.dataset)
        second(layout.work)
        run(layout.work, layout.dataset, append=True, **_order(layout))
        manifest.append(manifests.read(layout.dataset / "manifest.json"))
    assert manifest[0]["generations"] == manifest[1]["generations"]
    mine, theirs = ([(id_, row[0], row[2], row[3]["key"]) for id_, row in rows(one).items()] for one in (out, other))
    assert mine == theirs
    assert tars(out) != tars(other)


def _order(layout: OfWork) -> dict[str, Any]:
    order = packing_order(layout, "demo", None, None, None)
    assert order == {"shuffle": True, "seed": 42, "per_shard": 10}
    return dict(order)


def test_the_order_is_known_while_the_manifest_is_away(work: Path, out: Path) -> None:
    run(work, out, seed=5)
    layout = OfWork(out.parent, out.name, shared=work)
    layout.base_manifest.write_bytes((out / "manifest.json").read_bytes())
    (out / "manifest.json").unlink()
    assert packing_order(layout, "demo", None, None, None) == {"shuffle": True, "seed": 5, "per_shard": 10}
    checksum = hashlib.sha256(b"".join(tars(out).values())).hexdigest()
    second(work)
    assert run(work, out, seed=5).written == 3  # neither --append nor two generations: it was interrupted
    assert hashlib.sha256(b"".join(list(tars(out).values())[:6])).hexdigest() == checksum
    assert pack.MANIFEST_FILE in files(out)
