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
import numpy as np
import pyarrow as pa
from datasets.builder import Key
from datasets.info import DatasetInfosDict

from builders.card_yaml import HUB_SPLITS, read_front_matter
from builders.contents import README_FILE
from builders.features import embedding_features
from builders.hub import local_folder
from builders.shard_index import ShardIndex
from preprocess.addresses import scheme_of
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats import members
from preprocess.formats.members import SampleMember
from preprocess.formats.splits import SPLITS_FILE, read_splits
from preprocess.formats.tar import TarTriple, iter_triples
from preprocess.formats.triples import Vectors, npy_array, npy_vectors, parse_json
from preprocess.samples import canonical_json, is_url
from preprocess.storage import location

_COLUMNS = {*members.extensions(), "__key__", "__url__"}
_REMEDY = "Run `python -m builders verify`."

BATCH_ROWS = 256
BATCH_BYTES = 64 << 20  # of vectors: hour-long videos make smaller batches, and 32-bit offsets always suffice


@dataclass
class EmbeddingsConfig(datasets.BuilderConfig):  # type: ignore[misc]
    """Options of `EmbeddingsBuilder`.

    Attributes:
        features: Pinned features; of the first sample where None (see `builders.features.embedding_features`).
        batch_rows: Samples per Arrow table.
    """

    features: datasets.Features | None = None
    batch_rows: int = BATCH_ROWS


class EmbeddingsBuilder(datasets.ArrowBasedBuilder):  # type: ignore[misc]
    """Columns `npy` (n_frames, dim), `txt`, `json`, `__key__`, `__url__`: one row per triple, in their order.

    Rows that later ones replace, in an appended dataset, are included, as `load_dataset` includes them.
    """

    VERSION = datasets.Version("1.0.0")
    BUILDER_CONFIG_CLASS = EmbeddingsConfig

    @classmethod
    def from_folder(cls, folder: str | Path, **options: Any) -> EmbeddingsBuilder:
        """A builder over the splits of a packed dataset, with the features that its card pins.

        Args:
            folder: The folder, here or in an object store, or `hf://datasets/<org>/<name>`, which is copied to the
                Hub's cache.
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
        options = {"features": pinned_features(path), **options}
        return cls(data_files=data_files, dataset_name=path.name.lower(), **options)

    def _info(self) -> datasets.DatasetInfo:
        return datasets.DatasetInfo(features=self.config.features)

    def _split_generators(self, dl_manager: Any) -> list[datasets.SplitGenerator]:
        if not self.config.data_files:
            raise UserError("no data_files were given", "Give data_files={'train': ['ds_00000.tar', …]}.")
        files = self.config.data_files
        if not all(_in_store(tar) for tars in files.values() for tar in tars):
            files = dl_manager.download(files)
        if self.info.features is None:
            self.info.features = infer_features(next(iter(files.values()))[0])
        return [datasets.SplitGenerator(name=split, gen_kwargs={"tars": list(tars)}) for split, tars in files.items()]

    def _generate_shards(self, tars: Sequence[str]) -> Iterator[str]:
        yield from tars

    def _generate_tables(self, tars: Sequence[str]) -> Iterator[tuple[Key, pa.Table]]:
        for tar_index, tar in enumerate(tars):
            for table_index, table in enumerate(read_tables(tar, self.info.features, self.config.batch_rows)):
                yield Key(tar_index, table_index), table


def _in_store(tar: str) -> bool:
    """Whether a tar is read where it is: no second copy of what is in an object store fills the cache of `datasets`."""
    return is_url(tar) and scheme_of(tar) not in ("http", "https", "hf")


def open_triples(tar: str) -> Iterator[TarTriple]:
    """The triples of a tar: a local file is mapped into memory, a URL is read once, forwards."""
    if "://" not in tar:
        index = ShardIndex(Path(tar))
        yield from map(index.triple, range(len(index)))
        return
    yield from iter_triples(location(tar), name=tar)


def pinned_features(folder: Path) -> datasets.Features | None:
    """The features of the default config in the card of a folder; None if the folder has no such card."""
    try:
        data = read_front_matter((folder / README_FILE).read_text("utf-8"))
        features = DatasetInfosDict.from_dataset_card_data(data)["default"].features
    except Exception:  # of a card that is damaged, `datasets` raises anything; the features are then inferred
        return None
    return features if features is not None and _COLUMNS >= set(features) >= _COLUMNS - {"__url__"} else None


def infer_features(tar: str) -> datasets.Features:
    """The features that the first sample of a tar asks for; `json` is `Json`, as other samples may have other types.

    Raises:
        DamagedFileError: There is no sample, or it is not a float16 or float32 (n_frames, dim).
    """
    for triple in open_triples(tar):
        vectors = npy_vectors(triple.npy, f"{tar}: {triple.id}.npy")
        return embedding_features(vectors.shape[1], vectors.dtype.name)
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
        "__key__": pa.array([triple.id for triple in batch], pa.string()),
        "__url__": pa.array([tar] * len(batch), pa.string()),
    }
    for member, parts in zip(members.MEMBERS, zip(*(triple.parts for triple in batch), strict=True), strict=True):
        if member.column == "vectors":
            columns[member.extension] = _vectors_column(arrays, dtype)
        elif member.column == "json" and pa.types.is_struct(schema.field(member.extension).type):
            columns[member.extension] = _struct_column(tar, batch, parts, schema.field(member.extension).type)
        else:
            columns[member.extension] = _column(member, parts)
    texts = {member.extension for member in members.MEMBERS if member.column in ("string", "json")}
    typed = []
    for field in schema:
        column = columns[field.name]
        try:
            column.validate(full=field.name in texts)  # Arrow does not look whether bytes are UTF-8
        except pa.ArrowInvalid as error:
            where = f"{batch[0].id} to {batch[-1].id}, .{field.name}"
            raise DamagedFileError(tar, where, str(error), _REMEDY) from None
        is_extension = isinstance(field.type, pa.BaseExtensionType)
        typed.append(pa.ExtensionArray.from_storage(field.type, column) if is_extension else column)
    return pa.Table.from_arrays(typed, schema=schema)


def _struct_column(
    tar: str, batch: Sequence[TarTriple], parts: Sequence[memoryview], type_: pa.StructType
) -> pa.StructArray:
    """Metadata as columns of the declared types, `Json` where the declaration says so.

    Raises:
        DamagedFileError: The metadata of a sample has another key, or a value of another type.
    """
    metas = [parse_json(part, f"{tar}: {triple.id}.json") for triple, part in zip(batch, parts, strict=True)]
    names = {field.name for field in type_}
    other = next((i for i, meta in enumerate(metas) if not meta.keys() <= names), None)
    if other is not None:
        key = min(metas[other].keys() - names)
        raise DamagedFileError(tar, f"{batch[other].id}.json", f"has the undeclared key {key!r}", _REMEDY)
    columns = []
    for field in type_:
        values = [meta.get(field.name) for meta in metas]
        try:
            columns.append(_values(values, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            where = f"{batch[0].id} to {batch[-1].id}, .json"
            problem = f"{field.name} should be {field.type}: {error}"
            raise DamagedFileError(tar, where, problem, _REMEDY) from None
    return pa.StructArray.from_arrays(columns, fields=list(type_))


def _values(values: Sequence[Any], type_: pa.DataType) -> pa.Array:
    """Values of one key of the metadata; as JSON where the types differ."""
    if not isinstance(type_, pa.JsonType):
        return pa.array(values, type_)
    texts = [None if value is None else canonical_json(value) for value in values]
    return pa.ExtensionArray.from_storage(type_, pa.array(texts, type_.storage_type))


def _vectors_column(arrays: Sequence[Vectors], dtype: np.dtype[Any]) -> pa.ListArray:
    """Lists of lists over one buffer: a list per sample of a list per frame."""
    values = np.ascontiguousarray(np.concatenate(arrays), dtype)
    rows, dim = values.shape
    flat = pa.Array.from_buffers(pa.from_numpy_dtype(dtype), values.size, [None, pa.py_buffer(values)])
    frames = pa.ListArray.from_arrays(_offsets(np.full(rows, dim, np.int32)), flat)
    return pa.ListArray.from_arrays(_offsets(np.fromiter(map(len, arrays), np.int32, len(arrays))), frames)


def _column(member: SampleMember, parts: Sequence[memoryview]) -> pa.Array:
    """Texts or bytes over one buffer."""
    offsets = _offsets(np.fromiter(map(len, parts), np.int32, len(parts)))
    kind = pa.binary() if member.column == "binary" else pa.string()
    return pa.Array.from_buffers(kind, len(parts), [None, offsets.buffers()[1], pa.py_buffer(b"".join(parts))])


def _offsets(lengths: np.ndarray[Any, np.dtype[np.int32]]) -> pa.Int32Array:
    return pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32())


def _misfit(tar: str, id_: str, vectors: Vectors, expected: str) -> DamagedFileError:
    return DamagedFileError(
        tar,
        f"{id_}.npy",
        f"is {vectors.dtype} {vectors.shape}, should be {expected}",
        _REMEDY,
    )
