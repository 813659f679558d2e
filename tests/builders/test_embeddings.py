"""Our builder's rows are those of `load_dataset`, whatever the way they are asked for; older tars are read as well."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow.parquet
import pytest
from datasets import load_dataset

from builders import embeddings
from builders.embeddings import EmbeddingsBuilder, infer_features, read_tables
from builders.features import embedding_features
from preprocess.errors import DamagedFileError, UserError

DIM = 16


@pytest.fixture(autouse=True)
def _quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def ours(folder: Path, **options: Any) -> EmbeddingsBuilder:
    return EmbeddingsBuilder.from_folder(folder, cache_dir=str(folder.parent / "ours"), **options)


def prepared(folder: Path, num_proc: int | None = None, **options: Any) -> Any:
    builder = ours(folder, **options)
    builder.download_and_prepare(num_proc=num_proc)
    return builder.as_dataset()


@pytest.mark.parametrize("num_proc", [None, 2])
@pytest.mark.parametrize("batch_rows", [1, 3, 256])
def test_rows_equal_the_native_route(make_dataset: Any, batch_rows: int, num_proc: int | None):
    folder = make_dataset()
    native = load_dataset(str(folder), cache_dir=str(folder.parent / "native"))
    built = prepared(folder, batch_rows=batch_rows, num_proc=num_proc)
    assert list(built) == list(native) == ["train", "validation", "test"]
    for split in native:
        assert built[split].features == native[split].features
        assert built[split].to_list() == native[split].to_list()
    rows = zip(built["train"].with_format("numpy"), native["train"].with_format("numpy"), strict=True)
    assert all(np.array_equal(a["npy"], b["npy"]) and a["npy"].shape == b["npy"].shape for a, b in rows)


def test_streaming_equals_the_native_route(make_dataset: Any):
    folder = make_dataset()
    native = load_dataset(str(folder), streaming=True, cache_dir=str(folder.parent / "native"))
    stream = ours(folder).as_streaming_dataset()
    assert list(stream) == list(native)
    for split in native:
        for a, b in zip(stream[split], native[split], strict=True):
            assert np.array_equal(np.array(a.pop("npy"), np.float16), b.pop("npy"))
            assert a == b


def test_streaming_tables_are_float16_without_a_list_in_between(make_dataset: Any):
    tables = list(ours(make_dataset()).as_streaming_dataset("train").with_format("arrow").iter(4))
    assert [len(table) for table in tables] == [4, 4]
    assert tables[0]["npy"].type.storage_type.value_type.value_type == "float16"


def test_a_stream_resumes_in_the_middle(make_dataset: Any):
    folder = make_dataset()
    stream = ours(folder).as_streaming_dataset("train")
    keys = [row["__key__"] for row in stream]
    rows = iter(stream)
    first = [next(rows)["__key__"] for _ in range(6)]
    state = stream.state_dict()
    again = ours(folder).as_streaming_dataset("train")
    again.load_state_dict(state)
    assert first + [row["__key__"] for row in again] == keys


def test_parquet(make_dataset: Any, tmp_path: Path):
    folder = make_dataset()
    builder = ours(folder)
    builder.download_and_prepare(str(tmp_path / "parquet"), file_format="parquet")
    files = sorted((tmp_path / "parquet").glob("*.parquet"))
    assert [file.name.split("-")[-1] for file in files] == ["test.parquet", "train.parquet", "validation.parquet"]
    assert pyarrow.parquet.read_metadata(files[1]).num_rows == 8
    loaded = load_dataset("parquet", data_files={"train": str(files[1])}, cache_dir=str(tmp_path / "c"))["train"]
    assert loaded.to_list() == prepared(folder)["train"].to_list()


def test_a_batch_ends_when_its_vectors_are_many(make_dataset: Any, monkeypatch: pytest.MonkeyPatch):
    folder = make_dataset(counts={"train": 5})
    whole = prepared(folder)["train"].to_list()
    monkeypatch.setattr(embeddings, "BATCH_BYTES", 2 * DIM * 3)
    tables = list(read_tables(str(folder / "ds_00000.tar"), embedding_features(DIM, "float16")))
    assert len(tables) > 2
    key = [key for table in tables for key in table["__key__"].to_pylist()]
    assert key == [row["__key__"] for row in whole]


def old_tar(path: Path, tar_format: int) -> list[np.ndarray[Any, Any]]:
    """As clip-video-encode writes them: six digits, `.cap`, float32, parts in another order, clock times."""
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((n, 8)).astype(np.float32) for n in (3, 0, 1)]
    with tarfile.open(path, "w", format=tar_format) as tar:
        for i, array in enumerate(arrays):
            file = io.BytesIO()
            np.save(file, array)
            meta = json.dumps({"caption": f"video {i}", "i": i}).encode()
            for extension, data in (("cap", f"video {i} ö".encode()), ("json", meta), ("npy", file.getvalue())):
                info = tarfile.TarInfo(f"{i:06d}.{extension}")
                info.size, info.mtime, info.uname = len(data), 1_600_000_000, "someone"
                tar.addfile(info, io.BytesIO(data))
    return arrays


@pytest.mark.parametrize("tar_format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_older_tars_without_manifest(tmp_path: Path, tar_format: int):
    folder = tmp_path / "old"
    folder.mkdir()
    arrays = old_tar(folder / "0.tar", tar_format)
    rows = prepared(folder)["train"].with_format("numpy")
    assert rows.features["npy"].dtype == "float32"
    assert [row["__key__"] for row in rows] == ["000000", "000001", "000002"]
    assert [row["txt"] for row in rows] == ["video 0 ö", "video 1 ö", "video 2 ö"]
    assert [row["json"] for row in rows] == [{"caption": f"video {i}", "i": i} for i in range(3)]
    for row, array in zip(rows, arrays, strict=True):
        assert row["npy"].shape == array.shape
        assert np.array_equal(row["npy"], array)


def test_a_sample_of_another_width_or_dtype_is_named(make_dataset: Any):
    tar = str(make_dataset(counts={"train": 3}) / "ds_00000.tar")
    with pytest.raises(
        DamagedFileError, match=r"vid_00000\.npy: is float16 \(\d, 16\), should be float16 \(n_frames, 8"
    ):
        list(read_tables(tar, embedding_features(8, "float16")))
    with pytest.raises(DamagedFileError, match="should be float32"):
        list(read_tables(tar, embedding_features(DIM, "float32")))


def test_text_that_is_not_utf8_is_named(tmp_path: Path):
    folder = tmp_path / "old"
    folder.mkdir()
    old_tar(folder / "0.tar", tarfile.USTAR_FORMAT)
    data = (folder / "0.tar").read_bytes()
    (folder / "0.tar").write_bytes(data.replace("video 1 ö".encode(), b"video 1 \xff\xff"))
    with pytest.raises(DamagedFileError, match=r"000000 to 000002, \.txt"):
        list(read_tables(str(folder / "0.tar"), infer_features(str(folder / "0.tar"))))


def test_a_folder_without_tars_is_the_users_mistake(tmp_path: Path):
    with pytest.raises(UserError, match="has no tar"):
        EmbeddingsBuilder.from_folder(tmp_path)


def test_url_through_fsspec(make_dataset: Any):
    folder = make_dataset()
    tar = (folder / "ds_00000.tar").as_uri()
    assert infer_features(tar) == embedding_features(DIM, "float16")
    remote, local = (next(read_tables(one, infer_features(tar))) for one in (tar, str(folder / "ds_00000.tar")))
    assert set(remote["__url__"].to_pylist()) == {tar}
    assert remote.drop_columns("__url__") == local.drop_columns("__url__")
