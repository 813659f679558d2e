"""An output that is packed after another one was appended to: the same tars, ids, order and generations."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.verify import verify
from preprocess.errors import UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import Layout
from preprocess.formats.processed import Processed
from preprocess.pipeline.outputs import appended_output
from preprocess.samples import Sample
from tests.pipeline.appending import CARD_ENCODING, describe, new_samples, recaptioned, rows, update
from tests.pipeline.conftest import on_disk
from tests.pipeline.packing import files, make_samples, make_triple, make_work, run, triple_of, write_rejects

OTHER_SEED = 5
"""Of the vectors of the second encoder."""

pytestmark = on_disk


def layout_of(folder: Path, name: str) -> Layout:
    """An output of the dataset `demo`, encoded, not packed."""
    layout = Layout(folder / "data", name)
    make_work(layout.work)
    layout.encoding.write_text(json.dumps(CARD_ENCODING))
    layout.source.write_text(json.dumps({"dataset": "demo"}))
    return layout


def pack(layout: Layout, **options: Any) -> manifests.Manifest:
    return run(layout.work, layout.dataset, like=appended_output(layout, "demo"), **options).manifest


def appended_samples() -> list[Sample]:
    """Six new ones, one with another caption, one with other vectors."""
    samples = make_samples()
    samples[3] = recaptioned(samples[3], "another caption")
    return [*samples, *new_samples()]


@pytest.fixture
def first(tmp_path: Path) -> Layout:
    """The output of the first encoder, in two generations."""
    layout = layout_of(tmp_path, "CLIP-Demo")
    pack(layout)
    update(layout.work, appended_samples(), {7: 1, **dict.fromkeys(range(50, 56), 0)})
    assert len(pack(layout, append=True)["generations"]) == 2
    return layout


@pytest.fixture
def later(tmp_path: Path) -> Layout:
    """The output of a second encoder, made from the raw files of today."""
    layout = layout_of(tmp_path, "SigLIP2-Demo")
    samples = appended_samples()
    update(layout.work, samples, {i: OTHER_SEED for i in range(len(samples)) if i not in (4, 20, 40)})
    return layout


def ids(layout: Layout) -> list[tuple[str, str, str]]:
    return [(id_, row[0], row[3]["key"]) for id_, row in rows(layout.dataset).items()]


def test_tars_ids_order_and_generations_are_the_same(first: Layout, later: Layout) -> None:
    manifest, theirs = pack(later), manifests.read(first.dataset / "manifest.json")
    assert ids(later) == ids(first)
    assert manifest["generations"] == theirs["generations"]
    assert len(manifest["generations"][1]["replaced"]) == 2
    assert [shard["file"] for shard in manifest["shards"]] == [shard["file"] for shard in theirs["shards"]]
    assert manifest["splits"].keys() == theirs["splits"].keys()
    for split, counts in manifest["splits"].items():
        assert counts == theirs["splits"][split]
    by_key = {sample.key: sample for sample in appended_samples()}
    for _, vectors, text, meta in rows(later.dataset).values():
        np.testing.assert_array_equal(vectors, triple_of(by_key[meta["key"]], OTHER_SEED).vectors)
        assert text == by_key[meta["key"]].captions[0]
    describe(later)
    assert [str(finding) for finding in verify(later.dataset).findings] == []
    assert not later.order.exists()


def test_both_go_on_alike(first: Layout, later: Layout) -> None:
    pack(later)
    before = files(later.dataset)
    assert files(later.dataset) == before
    assert str(run(later.work, later.dataset).appended) == "nothing to append"
    samples = [*appended_samples(), *new_samples(70, 3)]
    for layout, seed in ((first, 0), (later, OTHER_SEED)):
        update(layout.work, samples, dict.fromkeys(range(56, 59), seed))
        assert len(pack(layout)["generations"]) == 3
    assert ids(later) == ids(first)
    assert {name: data for name, data in files(later.dataset).items() if name in before and name.endswith(".tar")} == {
        name: data for name, data in before.items() if name.endswith(".tar")
    }


KILLER = """
import sys
from pathlib import Path
from preprocess.formats.layout import Layout
from preprocess.pipeline.outputs import appended_output, packing_order
from preprocess.pipeline.pack import pack_dataset
from tests.pipeline.killing import killed_before
from tests.pipeline.packing import SPEC, files
from tests.object_store import remove_folder

layout = Layout(Path(sys.argv[1]), "SigLIP2-Demo")
def run():
    pack_dataset(layout, SPEC, **packing_order(layout, "demo", None, None, None), like=appended_output(layout, "demo"))
run()
undisturbed, n = files(layout.dataset), 0
while True:
    n += 3
    for folder in (layout.dataset, layout.work / "shards"):
        remove_folder(folder)
    if not killed_before(n, run):
        break
    run()
    assert files(layout.dataset) == undisturbed, n
print(n)
"""


def test_killed_and_run_again(first: Layout, later: Layout, root: Path) -> None:
    command = [sys.executable, "-c", KILLER, str(later.out)]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 18  # nine tars, each written and noted


# --- where nothing can be replayed ------------------------------------------------------------------------------------


def test_other_samples_or_settings_are_packed_at_once(first: Layout, later: Layout) -> None:
    for options in ({"append": False}, {"per_shard": 20}, {"seed": 1}, {"caption_mode": "concat"}):
        assert "generations" not in pack(later, **options)
        assert {id_ for id_, *_ in ids(later)} == {f"vid_{i:05d}" for i in range(53)}
        for path in later.dataset.iterdir():
            path.unlink()
    samples = appended_samples()
    Processed(later.processed).remove([(samples[8].split, samples[8].key)])
    update(later.work, [*samples[:8], *samples[9:]])
    assert "generations" not in pack(later)


def test_a_sample_that_only_the_new_output_has(first: Layout, later: Layout) -> None:
    samples = make_samples()
    make_triple(later.processed, samples[4])
    write_rejects(later.work, [])
    update(later.work, [sample for i, sample in enumerate(appended_samples()) if i not in (20, 40)])
    assert "generations" not in pack(later)


def test_a_row_that_was_replaced_in_another_split(first: Layout, later: Layout) -> None:
    """Its old row is in a tar of the split before, where the sample of today does not belong."""
    samples = appended_samples()
    samples[10] = Sample.from_json(samples[10].to_json() | {"split": "test"})
    for layout in (first, later):
        Processed(layout.processed).remove([("train", samples[10].key)])
        update(layout.work, samples, {10: 0})
    pack(first)
    assert "generations" not in pack(later)


def test_an_output_that_was_packed_before_keeps_its_ids(first: Layout, later: Layout) -> None:
    """Also if that packing was interrupted: it left its order."""
    later.order.write_text(json.dumps({"shuffle": True, "seed": 42, "per_shard": 10}))
    assert "generations" not in pack(later)
    assert "generations" not in pack(later)


def test_a_tar_that_is_missing_is_an_error(first: Layout, later: Layout) -> None:
    (first.dataset / "ds_00002.tar").unlink()
    with pytest.raises(UserError, match=r"ds_00002\.tar is missing, so its ids cannot be used for .*--no-append"):
        pack(later)
    assert not list(later.dataset.glob("ds_*"))
    assert "generations" not in pack(later, append=False)
