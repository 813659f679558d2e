"""Datasets that were appended to, as every reader sees them; and every lie about generations is found."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders.card_yaml import card_data, front_matter
from builders.loading import snippets
from builders.torch_reader import EmbeddingReader
from builders.verify import verify
from dataset_cards.card import render
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.evaluation.run import Options as EvaluationOptions
from dataset_cards.evaluation.run import _data
from explorer.filter import Filter, write_filtered
from explorer.index import open_index
from preprocess.errors import UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import Layout
from preprocess.pipeline.packed_samples import choose
from preprocess.runtime.options import RunOptions
from preprocess.samples import ShardReport
from tests.builders.conftest import types_of
from tests.pipeline.appending import CARD_ENCODING, describe, recaptioned, rows, second, third, update
from tests.pipeline.packing import SPEC, make_work, run

NAME = "CLIP-Demo"
Change = Callable[[Any], None]


def build(folder: Path, **options: Any) -> Path:
    """Three generations, and a card; returns the dataset's folder."""
    layout = Layout(folder / "data", NAME)
    make_work(layout.work)
    layout.encoding.write_text(json.dumps(CARD_ENCODING))
    for number, step in enumerate((lambda work: None, second, third)):
        step(layout.work)
        run(layout.work, layout.dataset, append=number > 0, **options)
    describe(layout)
    return layout.dataset


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("appended"))


@pytest.fixture
def appended(built: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(built, tmp_path / "copy" / "data" / NAME))


def manifest_of(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def current_ids(folder: Path) -> list[str]:
    """By the manifest as it is written, not by the function under test."""
    left_out = {old for generation in manifest_of(folder)["generations"] for old in generation["replaced"]}
    return [id_ for id_ in rows(folder) if id_ not in left_out]


# --- nothing is wrong with it -----------------------------------------------------------------------------------------


def test_three_generations_verify(built: Path) -> None:
    assert [str(finding) for finding in verify(built, run=RunOptions(workers=2)).findings] == []
    assert [generation["number"] for generation in manifest_of(built)["generations"]] == [1, 2, 3]
    found = rows(built)
    assert len(found) == 47 + 9 + 2
    assert len({found[id_][3]["key"] for id_ in current_ids(built)}) == len(current_ids(built)) == 54


def test_a_row_per_caption_verifies(tmp_path: Path) -> None:
    folder = build(tmp_path, caption_mode="each")
    layout = Layout(folder.parent, NAME)
    assert verify(folder).findings == ()
    samples = third(layout.work)
    three = next(i for i, s in enumerate(samples) if len(s.captions) == 3 and i > 20)
    update(layout.work, [recaptioned(s, "only one") if i == three else s for i, s in enumerate(samples)])
    assert len(run(layout.work, folder).manifest["generations"][-1]["replaced"]) == 3
    describe(layout)
    assert verify(folder).findings == ()

    def keep_a_lost_caption(manifest: Any) -> None:
        mapping = manifest["generations"][-1]["replaced"]
        lost = [old for old in mapping if rows(folder)[old][3]["caption_index"] == 2]
        del mapping[lost[0]]

    assert codes_after(folder, keep_a_lost_caption) == {"generations"}


# --- lies -------------------------------------------------------------------------------------------------------------


def codes_after(folder: Path, change: Change) -> set[str]:
    manifest = manifest_of(folder)
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return {finding.code for finding in verify(folder).findings}


def replaced(number: int) -> Callable[[Any], dict[str, str]]:
    return lambda manifest: manifest["generations"][number - 1]["replaced"]


def pop_generations(manifest: Any) -> None:
    del manifest["generations"]


def merge_last_two(manifest: Any) -> None:
    last = manifest["generations"].pop()
    manifest["generations"][-1]["shards"] += last["shards"]
    manifest["generations"][-1]["replaced"].update(last["replaced"])


def forget_one(manifest: Any) -> None:
    replaced(2)(manifest).popitem()


def forget_all_of_the_last(manifest: Any) -> None:
    replaced(3)(manifest).clear()


def swap_two(manifest: Any) -> None:
    mapping = replaced(2)(manifest)
    (a, x), (b, y), *_ = mapping.items()
    mapping[a], mapping[b] = y, x


def replace_another_row(manifest: Any) -> None:
    mapping = replaced(3)(manifest)
    mapping["vid_00000" if "vid_00000" not in replaced(2)(manifest) else "vid_00001"] = mapping.pop(next(iter(mapping)))


def set_first(old: str | None, new: str | None) -> Change:
    """Changes the first replacement of generation 2."""

    def change(manifest: Any) -> None:
        mapping = replaced(2)(manifest)
        first = next(iter(mapping))
        value = mapping.pop(first)
        mapping[old or first] = new or value

    return change


def on_generation(which: int, **values: Any) -> Change:
    return lambda manifest: manifest["generations"][which - 1].update(values)


def move_a_tar(manifest: Any) -> None:
    one, two, _ = manifest["generations"]
    two["shards"].insert(0, one["shards"].pop())


def drop_a_tar(manifest: Any) -> None:
    manifest["generations"][1]["shards"].pop()


def one_generation(manifest: Any) -> None:
    shards = [shard["file"] for shard in manifest["shards"]]
    manifest["generations"] = [{"number": 1, "shards": shards, "replaced": {}}]


def twice(manifest: Any) -> None:
    """A row that generation 2 replaced is replaced once more."""
    replaced(3)(manifest)[next(iter(replaced(2)(manifest)))] = next(iter(replaced(3)(manifest).values()))


LIES: dict[str, tuple[Change, set[str]]] = {
    "no generations": (pop_generations, {"key_twice", "shard_size", "splits_csv"}),
    "one generation": (one_generation, {"manifest_invalid"}),
    "two of three": (merge_last_two, {"manifest_invalid"}),
    "a replacement less": (forget_one, {"key_twice"}),
    "no replacement in the last": (forget_all_of_the_last, {"key_twice"}),
    "two exchanged": (swap_two, {"generations"}),
    "another row": (replace_another_row, {"generations", "key_twice"}),
    "an id of the future": (set_first("vid_00056", None), {"manifest_invalid"}),
    "an id of its own generation": (set_first("vid_00050", None), {"manifest_invalid"}),
    "an id that nobody has": (set_first("vid_90000", None), {"manifest_invalid"}),
    "an id of another width": (set_first("vid_000001", None), {"manifest_invalid"}),
    "no id": (set_first("../etc", None), {"manifest_invalid"}),
    "replaced by an older row": (set_first(None, "vid_00001"), {"manifest_invalid"}),
    "replaced by a later row": (set_first(None, "vid_00056"), {"manifest_invalid"}),
    "replaced twice": (twice, {"manifest_invalid"}),
    "another number": (on_generation(2, number=3), {"manifest_invalid"}),
    "no tar": (on_generation(3, shards=[]), {"manifest_invalid"}),
    "a tar less": (drop_a_tar, {"manifest_invalid"}),
    "a path": (on_generation(3, shards=["../x.tar"]), {"manifest_invalid"}),
    "a tar of another one": (move_a_tar, {"manifest_invalid"}),
    "no list": (lambda manifest: manifest.update(generations={}), {"manifest_invalid"}),
    "no mapping": (on_generation(2, replaced=["vid_00000"]), {"manifest_invalid"}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found(appended: Path, lie: str) -> None:
    change, codes = LIES[lie]
    found = codes_after(appended, change)
    assert found >= codes, found
    # Without a manifest that can be read, nothing says that a sample may have two rows.
    assert found - codes <= ({"key_twice", "shard_size"} if "manifest_invalid" in codes else set())


def test_ids_become_wider_from_generation_to_generation() -> None:
    """The check of the manifest alone, on numbers that no test packs: 99,990 rows, then 20 more."""
    shards = [{"file": f"ds_{i:05d}.tar", "split": "train", "samples": n} for i, n in enumerate((99_990, 20))]
    generations: Any = [
        {"number": 1, "shards": ["ds_00000.tar"], "replaced": {}},
        {"number": 2, "shards": ["ds_00001.tar"], "replaced": {"vid_00007": "vid_099990", "vid_99989": "vid_100009"}},
    ]

    def problems(**replaced: str) -> list[str]:
        changed = copy.deepcopy(generations)
        changed[1]["replaced"] |= replaced
        return [problem for _, problem in manifests.wrong_generations(changed, shards, one_to_one=True)]

    assert problems() == []
    assert problems(vid_000008="vid_099991") == ["'vid_000008' is not the id of a row of an earlier generation"]
    assert problems(vid_00008="vid_99991") == ["'vid_99991' is not the id of a row of generation 2"]
    assert problems(vid_00008="vid_099990") == ["'vid_099990' replaces 2 rows, should replace one"]


# --- readers ----------------------------------------------------------------------------------------------------------


def test_the_reader_gives_each_sample_once(built: Path) -> None:
    ids = current_ids(built)
    found = rows(built)
    for split in ("train", "val", "test"):
        batches = list(EmbeddingReader(built, split, batch_size=7))
        assert [key for batch in batches for key in batch["key"]] == [id_ for id_ in ids if found[id_][0] == split]
        for batch in batches:
            for i, id_ in enumerate(batch["key"]):
                vectors = batch["embeddings"][i][batch["mask"][i]].numpy()
                np.testing.assert_array_equal(vectors, found[id_][1])
                assert batch["meta"][i] == found[id_][3]


def test_the_reader_refuses_tables_that_disagree(appended: Path) -> None:
    lines = (appended / "splits.csv").read_text().splitlines()
    (appended / "splits.csv").write_text("\n".join(lines[:-1]) + "\n")
    with pytest.raises(UserError, match=r"splits\.csv and manifest\.json do not list the same tars"):
        EmbeddingReader(appended, "train")


def test_the_reader_reads_an_address(built: Path, tmp_path: Path) -> None:
    reader = EmbeddingReader(f"file://{built}", "test", cache_dir=tmp_path)
    assert reader.total == sum(rows(built)[id_][0] == "test" for id_ in current_ids(built))


def test_evaluation_and_index_have_each_sample_once(built: Path, tmp_path: Path) -> None:
    layout, manifest = Layout(built.parent, NAME), manifests.read(built / "manifest.json")
    shards = [ShardReport(**entry) for entry in manifest["shards"]]
    found = rows(built)
    expected = [found[id_][3]["key"] for id_ in current_ids(built)]
    videos = _data(layout, manifest, shards, EvaluationOptions()).videos
    assert sorted(key for of in videos.values() for key in of.keys) == sorted(expected)
    for split, of in videos.items():
        assert set(of.keys) == {found[id_][3]["key"] for id_ in current_ids(built) if found[id_][0] == split}
    index = open_index(str(built), tmp_path)
    assert index.samples["id"].to_pylist() == current_ids(built)
    name = "CLIP-Filtered"
    filtered = write_filtered(index, Filter(split="test"), tmp_path / "filtered", name)
    assert "generations" not in filtered
    assert verify(tmp_path / "filtered" / name).findings == ()


def test_samples_are_chosen_among_current_rows(built: Path) -> None:
    manifest = manifests.read(built / "manifest.json")
    tars = [shard["file"] for shard in manifest["shards"]]
    chosen = choose(built, tars, 1000, 0, without=replaced_rows(manifest))
    assert [one.id for one in chosen] == current_ids(built)


# --- the card, and load_dataset ---------------------------------------------------------------------------------------


def test_the_card_counts_what_is_replaced(built: Path, tmp_path: Path) -> None:
    card = (built / "README.md").read_text()
    count = len(rows(built)) - len(current_ids(built))
    assert f"{count} rows are replaced by a later one of the same sample, which leaves 54 of 58 rows current" in card
    assert "3 of 57 samples (5.3%) could not be used." in card
    whole = Layout(tmp_path / "data", NAME)
    make_work(whole.work)
    whole.encoding.write_text(json.dumps(CARD_ENCODING))
    run(whole.work, whole.dataset)
    assert "replaced" not in render(read_card_inputs(SPEC, whole))


LOADER = """
import json, sys
from datasets import load_dataset

def keys(dataset):
    return {{split: [[row["__key__"], row["json"]["key"]] for row in rows] for split, rows in dataset.items()}}

dataset = load_dataset("data/{name}")
found = [keys(dataset)]
{code}
print(json.dumps([*found, keys(dataset)]))
"""


def test_the_code_of_the_card_leaves_replaced_rows_out(built: Path, tmp_path: Path) -> None:
    """`load_dataset` gives all rows; the block of the card, run as it is, leaves the current ones."""
    shards = [ShardReport(**entry) for entry in manifest_of(built)["shards"]]
    block = snippets(f"data/{NAME}", shards).current
    assert block in (built / "README.md").read_text()
    environment = os.environ | {"HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    command = [sys.executable, "-c", LOADER.format(name=NAME, code=block)]
    done = subprocess.run(
        command, cwd=built.parent.parent, env=environment, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stderr
    found = rows(built)
    for loaded, ids in zip(json.loads(done.stdout.splitlines()[-1]), (list(found), current_ids(built)), strict=True):
        for split in ("train", "val", "test"):
            expected = [[id_, found[id_][3]["key"]] for id_ in ids if found[id_][0] == split]
            assert loaded["validation" if split == "val" else split] == expected


def test_the_front_matter_lists_every_tar_of_a_split(built: Path) -> None:
    shards = [ShardReport(**entry) for entry in manifest_of(built)["shards"]]
    spec = dataclasses.replace(SPEC, task_categories=())
    data = card_data(spec, shards, dim=8, dtype="float16", types=types_of(built))
    files = {entry["split"]: entry["path"] for entry in data.to_dict()["configs"][0]["data_files"]}
    expected = {shard.file for shard in shards if shard.split == "train"}
    assert set(files["train"]) == expected
    assert front_matter(data)
