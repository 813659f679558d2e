"""Makes the index of a dataset in one pass over the shards. `explorer.index` lists its files.

Memory holds one block of rows, and the times and the key of every sample: not the vectors.
"""

from __future__ import annotations

import resource
import shutil
import sys
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dataset_cards.evaluation.features import Matrix, unit
from preprocess.console import progress
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import write_json
from preprocess.formats.manifest import Manifest
from preprocess.formats.tar import iter_triples
from preprocess.formats.times import row_spans
from preprocess.formats.triples import npy_array, parse_json
from preprocess.samples import JSON
from preprocess.storage import atomic_folder, remove_temporary

BLOCK_ROWS = 65_536
"""Rows that are normalized, or compared with a query, at once."""

_REMEDY = "Run `python -m builders verify` on the dataset."
_COLUMNS = ("id", "key", "split", "label", "text", "shard", "meta")
_SCHEMA = pa.schema([(name, pa.string()) for name in _COLUMNS])


def make_index(dataset: Path, manifest: Manifest, checksum: str, folder: Path) -> JSON:
    """Writes the index beside its place, then renames it.

    Args:
        dataset: Folder of the shards.
        manifest: Of the dataset.
        checksum: SHA-256 of the manifest's file.
        folder: Where the index is to be; its parent is made where it is missing.

    Returns:
        The content of `index.json`: rows, samples, dim, seconds, bytes, peak memory.

    Raises:
        UserError: A shard is missing or damaged, or the dataset has no rows.
    """
    started = time.perf_counter()
    remove_temporary(folder.parent, folder.name)
    with atomic_folder(folder) as partial:
        counts, times = _write_rows(dataset, manifest, partial)
        np.save(partial / "times.npy", np.concatenate(times) if times else np.empty((0, 3), np.float32))
        first_rows = np.concatenate(([0], np.cumsum(counts, dtype=np.int64))).astype(np.int64)
        np.save(partial / "first_rows.npy", first_rows)
        if not first_rows[-1]:
            raise UserError(f"{dataset} holds no embedding", "Build it from raw data in which some video can be read.")
        report = {
            "dataset": manifest["dataset"],
            "manifest_sha256": checksum,
            "rows": int(first_rows[-1]),
            "samples": len(counts),
            "dim": manifest["encoder"]["dim"],
            "seconds": round(time.perf_counter() - started, 3),
            "bytes": sum(path.stat().st_size for path in partial.iterdir()),
            "peak_memory_bytes": _peak_memory(),
        }
        write_json(partial / "index.json", report)
        shutil.rmtree(folder, ignore_errors=True)
    return report


def _peak_memory() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _write_rows(dataset: Path, manifest: Manifest, to: Path) -> tuple[list[int], list[NDArray[np.float32]]]:
    """Writes vectors, mean directions and the table of samples; returns rows per sample, and their times."""
    counts: list[int] = []
    times: list[NDArray[np.float32]] = []
    total = sum(shard["frames"] for shard in manifest["shards"])
    with (
        (to / "vectors.f16").open("wb") as vectors,
        (to / "pooled.f32").open("wb") as pooled,
        pa.OSFile(str(to / "samples.arrow"), "wb") as file,
        pa.ipc.new_file(file, _SCHEMA) as table,
        progress(total, " rows", "index") as bar,
    ):
        for batch in _batches(dataset, manifest):
            rows = unit(np.concatenate([of for _, of, _ in batch]).astype(np.float32))
            lengths = [len(of) for _, of, _ in batch]
            vectors.write(rows.astype("<f2").tobytes())
            pooled.write(_mean_directions(rows, lengths).astype("<f4").tobytes())
            table.write_batch(pa.RecordBatch.from_pylist([row for row, _, _ in batch], _SCHEMA))
            times += [of_rows for _, _, of_rows in batch]
            counts += lengths
            bar.update(len(rows))
    return counts, times


def _mean_directions(rows: Matrix, lengths: list[int]) -> Matrix:
    """`(N, D)`: the L2-normalized mean of the rows of each sample; zeros where it has none."""
    means = np.zeros((len(lengths), rows.shape[1]), np.float32)
    filled = np.flatnonzero(lengths)
    starts = np.cumsum([0, *lengths[:-1]])[filled]
    if len(filled):
        means[filled] = unit(np.add.reduceat(rows, starts, axis=0))
    return means


_Entry = tuple[JSON, NDArray[np.floating[Any]], NDArray[np.float32]]


def _batches(dataset: Path, manifest: Manifest) -> Iterator[list[_Entry]]:
    """The samples of the shards, so many at a time that a block of rows is full; each key once, as it is now."""
    replaced = replaced_rows(manifest)
    once = manifest["caption_mode"] == "each"  # there a sample has a triple, with the same vectors, for each caption
    seen: set[str] = set()
    batch: list[_Entry] = []
    held = 0
    for shard in manifest["shards"]:
        tar, dim = dataset / shard["file"], manifest["encoder"]["dim"]
        for row, vectors, times in _entries(tar, shard["split"], dim, replaced):
            if once and row["key"] in seen:
                continue
            seen.add(row["key"])
            batch.append((row, vectors.copy(), times))  # a view would keep its tar open, and a block may be of many
            held += len(vectors)
            if held >= BLOCK_ROWS:
                yield batch
                batch, held = [], 0
    if batch:
        yield batch


def _entries(tar: Path, split: str, dim: int, without: Collection[str]) -> Iterator[_Entry]:
    if not tar.is_file():
        raise UserError(f"{tar} is missing", _REMEDY)
    for triple in iter_triples(tar):
        if triple.id in without:
            continue
        where = f"{triple.id}.json"
        vectors = npy_array(triple.npy, f"{tar}: {triple.id}.npy")
        meta = parse_json(triple.json, f"{tar}: {where}")
        if vectors.ndim != 2 or vectors.shape[1] != dim or not np.isfinite(vectors).all():
            problem = f"should be finite (n_frames, {dim}), is {vectors.dtype} {vectors.shape}"
            raise DamagedFileError(tar, f"{triple.id}.npy", problem, _REMEDY)
        try:
            stamps = np.asarray(meta["timestamps"], np.float64).reshape(-1, 1)
            times = np.concatenate((stamps, row_spans(meta)), axis=1).astype(np.float32)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise DamagedFileError(tar, where, f"times cannot be read ({error!r:.100})", _REMEDY) from None
        if len(times) != len(vectors):
            raise DamagedFileError(tar, where, f"{len(times)} times for {len(vectors)} rows", _REMEDY)
        label = meta.get("label")
        row = {
            "id": triple.id,
            "key": str(meta.get("key", triple.id)),
            "split": split,
            "label": None if label is None else str(label),
            "text": str(triple.txt, "utf-8", "replace"),
            "shard": tar.name,
            "meta": str(triple.json, "utf-8"),
        }
        yield row, vectors, times
