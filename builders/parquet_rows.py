"""A packed dataset as Parquet with one row per frame, for DuckDB, Polars, `datasets` and vector tools.

    out/train-00000.parquet, train-00001.parquet, validation-00000.parquet, …     one file per tar
    out/source.json                                                               what it is of

    key        split  time  label  text                            embedding
    video7010  train  0.0   music  a man is playing a guitar       [0.0131, -0.2402, …]     fixed-size list of 512

Pages are cut by content (content-defined chunking), so that a new version shares most of its bytes with the old one
where storage deduplicates, as the Hub's does. Pages have an index and row groups about `GROUP_BYTES` of vectors: a
reader of a few rows fetches a few ranges. Vectors are not compressed: they hardly shrink, and are read 4 times faster.
Memory holds one row group, whatever the size of the dataset. The same dataset gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from builders.card_yaml import HUB_SPLITS
from builders.export_folder import export_folder
from builders.packed import PackedDataset, PackedSample
from preprocess.console import progress
from preprocess.formats.manifest import ShardEntry
from preprocess.samples import canonical_json

if TYPE_CHECKING:
    import pyarrow as pa

VECTOR = "embedding"
GROUP_BYTES = 16 << 20
"""Vectors of one row group: 16,384 rows of 512 float16."""

_TEXTS = ("key", "split", "label", "text")


@dataclass(frozen=True, slots=True)
class ParquetReport:
    """Files written, and the rows and samples in all of them."""

    files: tuple[Path, ...]
    rows: int
    samples: int


def write_parquet(address: str, out: Path, group_bytes: int = GROUP_BYTES) -> ParquetReport:
    """Writes the current rows of a dataset.

    Args:
        address: A folder, or `hf://datasets/<org>/<name>`.
        out: Local folder; appears when it is complete.
        group_bytes: Most bytes of vectors in a row group, which holds at least one row.

    Raises:
        UserError: There is no such dataset, a tar is damaged, or `out` holds something else.
    """
    dataset = PackedDataset.open(address)
    names: list[str] = []
    rows = samples = 0
    total = sum(shard["frames"] for shard in dataset.manifest["shards"])
    with export_folder(out) as (folder, source), progress(total, " rows", "parquet") as bar:
        for split in dataset.splits:
            for number, shard in enumerate(dataset.shards(split)):
                name = f"{HUB_SPLITS[split]}-{number:05d}.parquet"
                counted = _write_file(dataset, shard, folder / name, group_bytes, bar.update)
                if not counted[0]:  # later rows replace all of this tar's
                    (folder / name).unlink()
                    continue
                names.append(name)
                rows, samples = rows + counted[0], samples + counted[1]
        source |= {"format": "parquet", **dataset.origin(), "rows": rows, "samples": samples, "files": names}
    return ParquetReport(tuple(out / name for name in names), rows, samples)


def schema(dataset: PackedDataset) -> pa.Schema:
    """The columns; the metadata say which dataset and model the rows are of."""
    import pyarrow as pa

    vector = pa.list_(pa.from_numpy_dtype(dataset.dtype), dataset.dim)
    fields = [("key", pa.string()), ("split", pa.string()), ("time", pa.float64()), ("label", pa.string())]
    of = {"video_embedding_dataset": canonical_json(dataset.origin())}
    return pa.schema([*fields, ("text", pa.string()), (VECTOR, vector)], metadata=of)


def _write_file(
    dataset: PackedDataset, shard: ShardEntry, path: Path, group_bytes: int, done: Callable[[int], object]
) -> tuple[int, int]:
    """Writes the rows of one tar; returns how many rows and samples."""
    import pyarrow.parquet as pq

    columns = schema(dataset)
    per_group = max(1, group_bytes // (dataset.dim * dataset.dtype.itemsize))
    rows = samples = 0
    with pq.ParquetWriter(
        path,
        columns,
        compression={**dict.fromkeys((*_TEXTS, "time"), "zstd"), f"{VECTOR}.list.element": "none"},
        use_dictionary=list(_TEXTS),
        use_content_defined_chunking=True,
        write_page_index=True,
    ) as writer:
        for group in _groups(dataset.samples(shard), per_group):
            writer.write_table(_table(group, columns), row_group_size=per_group)
            count = sum(len(part.sample.times_s) for part in group)
            rows, samples = rows + count, samples + sum(part.first for part in group)
            done(count)
    return rows, samples


class _Part(NamedTuple):
    """Consecutive rows of a sample, and whether they are its first."""

    sample: PackedSample
    first: bool


def _groups(samples: Iterable[PackedSample], per_group: int) -> Iterator[list[_Part]]:
    """The rows of the samples, so many at a time as a row group has; the last group may have fewer."""
    group: list[_Part] = []
    room = per_group
    for sample in samples:
        start, end = 0, len(sample.times_s)
        while start < end:
            stop = min(end, start + room)
            rows = slice(start, stop)
            part = replace(sample, vectors=sample.vectors[rows], times_s=sample.times_s[rows])
            group.append(_Part(part, first=start == 0))
            room -= stop - start
            start = stop
            if not room:
                yield group
                group, room = [], per_group
    if group:
        yield group


def _table(group: Sequence[_Part], columns: pa.Schema) -> pa.Table:
    import pyarrow as pa

    samples = [part.sample for part in group]
    of_row = np.repeat(np.arange(len(samples)), [len(sample.times_s) for sample in samples])
    vectors = np.ascontiguousarray(np.concatenate([sample.vectors for sample in samples]))
    texts = {name: [getattr(sample, name) for sample in samples] for name in ("key", "label", "text")}
    texts["split"] = [HUB_SPLITS[sample.split] for sample in samples]
    arrays = {name: pa.array(values, pa.string()).take(pa.array(of_row)) for name, values in texts.items()}
    arrays["time"] = pa.array(np.concatenate([sample.times_s for sample in samples]))
    arrays[VECTOR] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), type=columns.field(VECTOR).type)
    return pa.Table.from_arrays([arrays[name] for name in columns.names], schema=columns)
