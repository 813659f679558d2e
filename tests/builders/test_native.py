"""What a user without this project's code does: `load_dataset` on the folder, plain, streaming and formatted.

And the twelve ways in which tars of triples go wrong there: the pinned features fix what can be fixed, `verify` finds
the rest before anything is pushed.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import load_dataset
from PIL import Image

from builders.card_yaml import card_data, front_matter
from builders.verify import verify
from preprocess.formats.tar import end_of_archive, iter_members, member
from preprocess.samples import ShardReport
from tests.builders.conftest import types_of

DIM = 16


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def load(folder: Path, **options: Any) -> Any:
    return load_dataset(str(folder), cache_dir=str(folder.parent / "cache"), **options)


def triples(folder: Path, files: list[str]) -> list[tuple[str, np.ndarray[Any, Any], str, Any]]:
    """Key, vectors, text and metadata of tars, read with `tarfile`, `np.load` and `json` alone."""
    samples: dict[str, dict[str, bytes]] = {}
    for file in files:
        with tarfile.open(folder / file) as tar:
            for info in tar:
                key, _, extension = info.name.partition(".")
                samples.setdefault(key, {})[extension] = tar.extractfile(info).read()
    return [
        (key, np.load(io.BytesIO(parts["npy"])), parts["txt"].decode(), json.loads(parts["json"]))
        for key, parts in samples.items()
    ]


TRAIN = ["ds_00000.tar", "ds_00001.tar"]


def equal(row: Any, reference: tuple[str, np.ndarray[Any, Any], str, Any]) -> bool:
    key, vectors, text, meta = reference
    return (
        list(row) == ["npy", "txt", "json", "__key__", "__url__"]
        and np.array_equal(np.asarray(row["npy"], np.float32).reshape(vectors.shape), vectors.astype(np.float32))
        and (row["txt"], row["json"], row["__key__"]) == (text, meta, key)
    )


def test_plain(make_dataset: Any):
    folder = make_dataset()
    loaded = load(folder)
    assert {split: len(rows) for split, rows in loaded.items()} == {"train": 8, "validation": 3, "test": 2}
    assert all(map(equal, loaded["train"], triples(folder, TRAIN)))
    assert loaded["train"].data.column("npy").type.storage_type.value_type.value_type == "float16"


def test_streaming(make_dataset: Any):
    folder = make_dataset()
    loaded = load(folder, streaming=True)
    assert list(loaded) == ["train", "validation", "test"]
    rows = list(loaded["train"])
    assert len(rows) == 8
    assert all(map(equal, rows, triples(folder, TRAIN)))


@pytest.mark.parametrize("streaming", [False, True])
def test_numpy_and_torch_and_arrow(make_dataset: Any, streaming: bool):
    folder = make_dataset()
    expected = triples(folder, TRAIN)[0][1].astype(np.float32)
    rows = load(folder, streaming=streaming, split="train")
    array = next(iter(rows.with_format("numpy")))["npy"]
    assert (array.dtype, array.shape) == (np.float32, expected.shape)
    assert np.array_equal(array, expected)
    assert np.array_equal(np.asarray(next(iter(rows.with_format("torch")))["npy"]), expected)
    if streaming:
        # The library makes Arrow tables from the rows with `__url__` still in them, unless columns are selected, and
        # cannot join rows whose metadata is null here and text there: one row at a time. `builders.embeddings` can.
        rows = rows.select_columns(["npy", "txt", "json", "__key__", "__url__"])
    table = next(iter(rows.with_format("arrow").iter(batch_size=1 if streaming else 8)))
    assert table.num_rows == (1 if streaming else 8)
    assert np.array_equal(np.array(table["npy"].to_pylist()[0], np.float32), expected)


def test_float32_stays_float32(make_dataset: Any):
    folder = make_dataset(dtype="float32", counts={"train": 3})
    row = load(folder, split="train").with_format("numpy")[0]
    assert np.array_equal(row["npy"], triples(folder, TRAIN[:1])[0][1])
    assert load(folder, split="train").features["npy"].dtype == "float32"


def test_a_wrong_count_in_the_card_is_an_error(make_dataset: Any):
    folder = make_dataset()
    card = folder / "README.md"
    card.write_text(card.read_text("utf-8").replace("num_examples: 8", "num_examples: 9"), encoding="utf-8")
    with pytest.raises(datasets.exceptions.NonMatchingSplitsSizesError):
        load(folder)


# --- the twelve cases -------------------------------------------------------------------------------------------------

Change = Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]


def rewrite(tar: Path, change: Change) -> None:
    body = b"".join(member(name, data) for name, data in change([(m.name, bytes(m.data)) for m in iter_members(tar)]))
    tar.write_bytes(body + end_of_archive(len(body)))


def with_npy(array: np.ndarray[Any, Any]) -> Change:
    def change(parts: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        file = io.BytesIO()
        np.lib.format.write_array(file, array, allow_pickle=array.dtype.hasobject)
        return [(parts[0][0], file.getvalue()), *parts[1:]]

    return change


def test_1_schema_does_not_come_from_the_first_samples_of_the_last_split(make_dataset: Any):
    """Without the card, `note` (null in the test split) and `score` (an integer there) would take its types."""
    rows = load(make_dataset())["train"]
    late = [row["json"] for row in rows if row["json"]["note"] is not None]
    assert {row["note"] for row in late} == {"late"}


def test_2_a_json_key_that_appears_later_is_kept(make_dataset: Any, dataset_spec: Any):
    folder = make_dataset(counts={"train": 8}, per_shard=8)
    tags = [row["json"]["tags"] for row in load(folder, split="train")]
    assert sorted(tag["a"][0] for tag in tags) == list(range(8))

    def late_key(parts: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        name, data = parts[-1]
        return [*parts[:-1], (name, json.dumps({**json.loads(data), "late": {"deep": 1}}).encode())]

    rewrite(folder / "ds_00000.tar", late_key)
    assert "json_keys" in {finding.code for finding in verify(folder).findings}
    shards = [ShardReport(**entry) for entry in json.loads((folder / "manifest.json").read_bytes())["shards"]]
    card = front_matter(card_data(dataset_spec, shards, dim=DIM, dtype="float16", types=types_of(folder)))
    (folder / "README.md").write_text(card, encoding="utf-8")
    for streaming in (False, True):
        rows = list(load(folder, split="train", streaming=streaming, download_mode="force_redownload"))
        assert [row["json"].get("late") for row in rows] == [None] * 7 + [{"deep": 1}]


def test_3_null_first_and_a_string_later(make_dataset: Any):
    for streaming in (False, True):
        rows = load(make_dataset(f"CLIP-{streaming}", counts={"test": 8}), split="test", streaming=streaming)
        assert sorted(row["json"]["note"] or "" for row in rows) == [""] * 5 + ["late"] * 3


def test_4_an_integer_first_and_a_fraction_later(make_dataset: Any):
    rows = load(make_dataset(counts={"test": 8}), split="test")
    assert sorted(row["json"]["score"] for row in rows) == [1, 1, 1, 1, 1, 1, 6.5, 7.5]


@pytest.mark.parametrize("streaming", [False, True])
def test_5_an_array_without_rows_keeps_its_width(make_dataset: Any, streaming: bool):
    folder = make_dataset()
    rewrite(folder / "ds_00000.tar", with_npy(np.zeros((0, DIM), np.float16)))
    row = next(iter(load(folder, split="train", streaming=streaming).with_format("numpy")))
    assert row["npy"].shape == (0, DIM)


def test_6_another_width_than_declared_is_an_error_unless_streamed(make_dataset: Any):
    folder = make_dataset()
    rewrite(folder / "ds_00000.tar", with_npy(np.ones((2, 24), np.float16)))
    assert np.shape(next(iter(load(folder, split="train", streaming=True)))["npy"]) == (2, 24)
    with pytest.raises(ValueError, match="cannot reshape"):
        load(folder, split="train")[0]
    assert "npy_shape" in codes(folder)


def test_7_object_arrays_are_never_unpickled(make_dataset: Any):
    folder = make_dataset()
    rewrite(folder / "ds_00000.tar", with_npy(np.array([[None] * DIM])))
    with pytest.raises(datasets.exceptions.DatasetGenerationError):
        load(folder, split="train")
    assert "npy_layout" in codes(folder)


@pytest.mark.parametrize(
    ("case", "change", "code"),
    [
        ("8 corrupt npy", lambda parts: [(parts[0][0], parts[0][1][:-1]), *parts[1:]], "npy_unreadable"),
        ("9 text not UTF-8", lambda parts: [parts[0], (parts[1][0], b"\xff"), *parts[2:]], "txt_utf8"),
        ("10 a key twice", lambda parts: [*parts[:3], *parts[:3], *parts[3:]], "member_twice"),
    ],
)
def test_8_to_10_hard_failures_are_found_before_they_are_pushed(
    make_dataset: Any, case: str, change: Change, code: str
):
    folder = make_dataset()
    rewrite(folder / "ds_00000.tar", change)
    with pytest.raises((datasets.exceptions.DatasetGenerationError, ValueError)):
        load(folder, split="train")
    assert code in codes(folder)


@pytest.mark.parametrize(("case", "old", "new"), [("11 a dot", "vid_0", "vid.0"), ("12 upper case", ".npy", ".NPY")])
def test_11_and_12_names_that_load_as_nulls_are_found(make_dataset: Any, case: str, old: str, new: str):
    """The library says nothing at all: rows of nulls."""
    folder = make_dataset(counts={"train": 3})
    rewrite(folder / "ds_00000.tar", lambda parts: [(name.replace(old, new), data) for name, data in parts])
    rows = list(load(folder, split="train", streaming=True))
    assert all(row["npy"] is None for row in rows)
    assert "member_name" in codes(folder)


def codes(folder: Path) -> set[str]:
    return {finding.code for finding in verify(folder).findings}


# --- the preview ------------------------------------------------------------------------------------------------------


def with_preview(folder: Path, spec: Any) -> ShardReport:
    """Adds a second config of contact sheets, as a build with previews does."""
    shards = [ShardReport(**entry) for entry in json.loads((folder / "manifest.json").read_bytes())["shards"]]
    (folder / "preview").mkdir()
    body = b""
    for i in range(3):
        file = io.BytesIO()
        Image.new("RGB", (32, 16), (80 * i, 0, 0)).save(file, "JPEG")
        body += member(f"vid_{i:05d}.jpg", file.getvalue()) + member(f"vid_{i:05d}.txt", f"sheet {i}".encode())
    body += end_of_archive(len(body))
    (folder / "preview/train_00000.tar").write_bytes(body)
    report = ShardReport("preview/train_00000.tar", "train", 3, 0, len(body), "")
    card = front_matter(card_data(spec, shards, dim=DIM, dtype="float16", types=types_of(folder), preview=[report]))
    (folder / "README.md").write_text(card, encoding="utf-8")
    return report


def test_a_preview_is_a_second_config_beside_the_default(make_dataset: Any, dataset_spec: Any):
    folder = make_dataset()
    with_preview(folder, dataset_spec)
    assert codes(folder) == set()
    assert {split: len(rows) for split, rows in load(folder).items()} == {"train": 8, "validation": 3, "test": 2}
    sheets = load(folder, name="preview", split="train")
    assert [row["txt"] for row in sheets] == ["sheet 0", "sheet 1", "sheet 2"]
    assert sheets[2]["jpg"].size == (32, 16)


def test_a_preview_that_is_cut_or_gone_is_found(make_dataset: Any, dataset_spec: Any):
    folder = make_dataset()
    report = with_preview(folder, dataset_spec)
    tar = folder / report.file
    data = tar.read_bytes()
    tar.write_bytes(data[:2000])
    assert codes(folder) == {"tar_damaged"}
    tar.unlink()
    assert codes(folder) == {"card_configs", "card_counts"}


@pytest.mark.parametrize("first", ["default", "samples"])
def test_parquet_beside_tars_cannot_be_a_config(make_dataset: Any, first: str):
    """`datasets` takes the format of a repository from its first config, so a table cannot be a second config."""
    folder = make_dataset()
    (folder / "samples").mkdir()
    datasets.Dataset.from_dict({"key": ["a"]}).to_parquet(str(folder / "samples" / "train.parquet"))
    configs = {
        "default": {"data_files": [{"split": "train", "path": "ds_*.tar"}], "default": True},
        "samples": {"data_files": [{"split": "train", "path": "samples/train.parquet"}]},
    }
    order = sorted(configs, key=lambda name: name != first)
    listed = [{"config_name": name, **configs[name]} for name in order]
    (folder / "README.md").write_text(f"---\nconfigs: {json.dumps(listed)}\n---\n")
    other = next(name for name in configs if name != first)
    assert len(load_dataset(str(folder), first, split="train"))
    with pytest.raises(Exception, match=r"tar|[Pp]arquet|magic|invalid header|bad checksum|occurred"):
        load_dataset(str(folder), other, split="train")
