"""A `datasets` builder that reads tars of triples straight into Arrow, for local use and for Parquet.

    builder = EmbeddingsBuilder.from_folder("data/CLIP-MSRVTT")
    builder.download_and_prepare(num_proc=4)
    train = builder.as_dataset("train").with_format("torch")

    for table in builder.as_streaming_dataset("train").with_format("arrow").iter(256):
        table["npy"]          # 256 × (n_frames, 512), float16, no Python list in between

Its rows equal those of `load_dataset("data/CLIP-MSRVTT")`, which needs no code of ours but goes through Python objects:
numpy to lists, one `.npy` header parsed and one row encoded at a time. `benchmarks/read.py` prints both side by side.
It also reads older tars: ids of any width, `.cap` in place of `.txt`, float32, no manifest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import fsspec
import numpy as np
import pyarrow as pa
from datasets.builder import Key

from builders.card_yaml import DTYPES, HUB_SPLITS, embedding_features
from builders.hub import local_folder
from builders.shard_index import ShardIndex
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.splits import SPLITS_FILE, read_splits
from preprocess.formats.tar import TarTriple, iter_triples
from preprocess.formats.triples import Vectors, npy_array

BATCH_ROWS = 256
BATCH_BYTES = 64 << 20  # of vectors: hour-long videos make smaller batches, and 32-bit offsets always suffice


@dataclass
class EmbeddingsConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """Options of `EmbeddingsBuilder`.

    Attributes:
        features: Pinned features; of the first sample where None (see `builders.card_yaml.embedding_features`).
        batch_rows: Samples per Arrow table.
    """

    features: datasets.Features | None = None
    batch_rows: int = BATCH_ROWS


class EmbeddingsBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Columns `npy` (n_frames, dim), `txt`, `json`, `__key__`, one row per triple, in the order of the tars."""

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = EmbeddingsConfig

    @classmethod
    def from_folder(cls, folder: str | Path, **options: Any) -> EmbeddingsBuilder:
        """A builder over the splits of a packed dataset.

        Args:
            folder: The folder, or `hf://datasets/<org>/<name>`, which is copied to the Hub's cache.
            **options: Of the builder, e.g. `cache_dir`, and of `EmbeddingsConfig`.

        Raises:
            UserError: There is no tar.
        """
        path = local_folder(str(folder))
        try:
            of_tar = read_splits(path / SPLITS_FILE)
        except FileNotFoundError:  # older datasets: one split
            of_tar = {tar.name: "train" for tar in sorted(path.glob("*.tar"))}
        data_files: dict[str, list[str]] = {}
        for tar, split in of_tar.items():
            data_files.setdefault(HUB_SPLITS[split], []).append(str(path / tar))
        if not data_files:
            raise UserError(f"{path} has no tar", "Give the folder of a packed dataset, e.g. data/CLIP-Shapes.")
        return cls(data_files=data_files, dataset_name=path.name.lower(), **options)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.config.features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not self.config.data_files:
            raise UserError("no data_files were given", "Give data_files={'train': ['ds_00000.tar', …]}.")
        files = dl_manager.download(self.config.data_files)
        if self.info.features is None:
            self.info.features = infer_features(next(iter(files.values()))[0])
        return [datasets.SplitGenerator(name=split, gen_kwargs={"tars": list(tars)}) for split, tars in files.items()]

    def _generate_shards(self, tars: Sequence[str]) -> Iterator[str]:
        yield from tars

    def _generate_tables(self, tars: Sequence[str]) -> Iterator[tuple[Key, pa.Table]]:
        for tar_index, tar in enumerate(tars):
            for table_index, table in enumerate(read_tables(tar, self.info.features, self.config.batch_rows)):
                yield Key(tar_index, table_index), table


def open_triples(tar: str) -> Iterator[TarTriple]:
    """The triples of a tar: a local file is mapped into memory, a URL is read once, forwards."""
    if "://" not in tar:
        index = ShardIndex(Path(tar))
        yield from (TarTriple(id_, *index.parts(i)) for i, id_ in enumerate(index.ids))
        return
    with fsspec.open(tar, "rb") as file:
        yield from iter_triples(file, name=tar)


def infer_features(tar: str) -> datasets.Features:
    """The features that the first sample of a tar asks for.

    Raises:
        DamagedFileError: There is no sample, or it is no float16 or float32 (n_frames, dim).
    """
    for id_, npy, _, _ in open_triples(tar):
        vectors = npy_array(npy, f"{tar}: {id_}.npy")
        if vectors.ndim == 2 and vectors.dtype.name in DTYPES:
            return embedding_features(vectors.shape[1], vectors.dtype.name)
        raise _misfit(tar, id_, vectors, "float16 or float32 (n_frames, dim)")
    raise DamagedFileError(tar, "", "holds no sample", "Pack the dataset again.")


def read_tables(tar: str, features: datasets.Features, batch_rows: int = BATCH_ROWS) -> Iterator[pa.Table]:
    """The rows of a tar as Arrow tables with the schema of `features`.

    Args:
        tar: Path or URL.
        features: As `embedding_features` gives them.
        batch_rows: Most rows of a table.

    Raises:
        DamagedFileError: The tar is damaged, or a sample is not what the features say: names tar and member.
    """
    schema = features.arrow_schema
    dtype, dim = np.dtype(features["npy"].dtype), features["npy"].shape[1]
    batch: list[TarTriple] = []
    arrays: list[Vectors] = []
    size = 0
    for triple in open_triples(tar):
        vectors = npy_array(triple.npy, f"{tar}: {triple.id}.npy")
        if vectors.ndim != 2 or vectors.shape[1] != dim or vectors.dtype.newbyteorder("=") != dtype:
            raise _misfit(tar, triple.id, vectors, f"{dtype.name} (n_frames, {dim})")
        if batch and (len(batch) == batch_rows or size + vectors.nbytes > BATCH_BYTES):
            yield _table(tar, batch, arrays, schema, dtype)
            batch, arrays, size = [], [], 0
        batch.append(triple)
        arrays.append(vectors)
        size += vectors.nbytes
    if batch:
        yield _table(tar, batch, arrays, schema, dtype)


def _table(
    tar: str, batch: Sequence[TarTriple], arrays: Sequence[Vectors], schema: pa.Schema, dtype: np.dtype[Any]
) -> pa.Table:
    columns = {
        "npy": _vectors_column(arrays, dtype),
        "txt": _strings([triple.txt for triple in batch]),
        "json": _strings([triple.json for triple in batch]),
        "__key__": pa.array([triple.id for triple in batch], pa.string()),
    }
    typed = []
    for field in schema:
        column = columns[field.name]
        try:
            column.validate(full=field.name in ("txt", "json"))  # Arrow does not look whether bytes are UTF-8
        except pa.ArrowInvalid as error:
            where = f"{batch[0].id} to {batch[-1].id}, .{field.name}"
            raise DamagedFileError(tar, where, str(error), "Run `python -m builders verify`.") from None
        is_extension = isinstance(field.type, pa.BaseExtensionType)
        typed.append(pa.ExtensionArray.from_storage(field.type, column) if is_extension else column)
    return pa.Table.from_arrays(typed, schema=schema)


def _vectors_column(arrays: Sequence[Vectors], dtype: np.dtype[Any]) -> pa.ListArray:
    """Lists of lists over one buffer: a list per sample of a list per frame."""
    values = np.ascontiguousarray(np.concatenate(arrays), dtype)
    rows, dim = values.shape
    flat = pa.Array.from_buffers(pa.from_numpy_dtype(dtype), values.size, [None, pa.py_buffer(values)])
    frames = pa.ListArray.from_arrays(_offsets(np.full(rows, dim, np.int32)), flat)
    return pa.ListArray.from_arrays(_offsets(np.fromiter(map(len, arrays), np.int32, len(arrays))), frames)


def _strings(parts: Sequence[memoryview]) -> pa.StringArray:
    offsets = _offsets(np.fromiter(map(len, parts), np.int32, len(parts)))
    return pa.StringArray.from_buffers(len(parts), offsets.buffers()[1], pa.py_buffer(b"".join(parts)))


def _offsets(lengths: np.ndarray[Any, np.dtype[np.int32]]) -> pa.Int32Array:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())


def _misfit(tar: str, id_: str, vectors: Vectors, expected: str) -> DamagedFileError:
    return DamagedFileError(
        tar,
        f"{id_}.npy",
        f"is {vectors.dtype} {vectors.shape}, should be {expected}",
        "Run `python -m builders verify`.",
    )
