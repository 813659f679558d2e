"""The index of a dataset: one memory-mapped matrix of L2-normalized rows, with the sample and the times of each.

    data/work/CLIP-Shapes/explorer/9f1c2b7a64d0e583-v1/
    ├── vectors.f16       float16 (rows, dim), L2-normalized
    ├── pooled.f32        float32 (samples, dim): mean direction of each sample, L2-normalized
    ├── times.npy         float32 (rows, 3): timestamp, start and end of what the row stands for, in seconds
    ├── first_rows.npy    int64 (samples + 1,): rows of sample i are first_rows[i] to first_rows[i + 1]
    ├── samples.arrow     id, key, split, label, text, shard, meta (the .json as it is)
    └── index.json        what it was made from, and what making it took

The folder's name is the checksum of `manifest.json`, so another build of the dataset gets another index.
`explorer.make_index` writes it.
"""

from __future__ import annotations

import hashlib
import math
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from builders.hub import local_folder
from builders.remote import DEFAULT_CACHE
from dataset_cards.evaluation.features import Matrix, unit
from explorer.make_index import make_index
from explorer.samples import IndexedSample, Query
from preprocess.errors import UserError
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.manifest import MANIFEST_FILE, Manifest
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.preview import PREVIEW_FOLDER
from preprocess.formats.splits import SPLITS_FILE
from preprocess.formats.triples import parse_json

VERSION = 1


@dataclass(frozen=True)
class Index:
    """An opened index; the arrays are views of files.

    Attributes:
        folder: Where the index is.
        source: The dataset, as it was named: a folder or `hf://…`.
        dataset: Its local folder; of one on the Hub a copy that may lack the tars.
        vectors: float16 `(R, D)`, L2-normalized.
        pooled: float32 `(N, D)`, L2-normalized; zeros for a sample without rows.
        times: float32 `(R, 3)`: timestamp, start, end in seconds.
        first_rows: int64 `(N + 1,)`.
        samples: The table of the samples, in the order of the shards.
    """

    folder: Path
    source: str
    dataset: Path
    manifest: Manifest
    vectors: NDArray[np.float16]
    pooled: Matrix
    times: NDArray[np.float32]
    first_rows: NDArray[np.int64]
    samples: pa.Table

    def __len__(self) -> int:
        return len(self.first_rows) - 1

    def rows(self, number: int) -> slice:
        """The rows of a sample."""
        return slice(int(self.first_rows[number]), int(self.first_rows[number + 1]))

    def sample(self, number: int) -> IndexedSample:
        """What is known of a sample.

        Raises:
            IndexError: There is no such sample.
        """
        if not 0 <= number < len(self):
            raise IndexError(f"sample {number} of {len(self)}")
        row = self.samples.slice(number, 1).to_pylist()[0]
        meta = parse_json(row.pop("meta").encode(), f"{row['shard']}: {row['id']}.json")
        return IndexedSample(number=number, meta=meta, **row)

    def number(self, key: str) -> int:
        """The number of the sample with a key, or with an id of the shards.

        Raises:
            UserError: There is none.
        """
        for column in ("key", "id"):
            found = pc.index(self.samples[column], pa.scalar(key, pa.string())).as_py()
            if found >= 0:
                return int(found)
        raise UserError(f"no sample {key[:200]!r} in {self.source}", "Give a key as `search` prints it.")

    def row_at(self, number: int, seconds: float) -> int:
        """The row of a sample whose timestamp is nearest.

        Raises:
            UserError: The sample has no row.
        """
        rows = self.rows(number)
        if rows.start == rows.stop:
            raise UserError(f"sample {self.sample(number).key!r} has no row", "Name another one.")
        return int(rows.start) + int(np.argmin(np.abs(self.times[rows, 0] - seconds)))

    def query_at(self, place: str) -> Query:
        """The row named by `KEY@SECONDS`, or the whole sample named by `KEY`, as a query.

        Raises:
            UserError: There is no such sample, or the time is not a number.
        """
        key, at, seconds = place.partition("@")
        number = self.number(key)
        if not at:
            return Query(self.pooled[number], f"like {key}")
        try:
            at_s = float(seconds)
            if not math.isfinite(at_s):
                raise ValueError(seconds)
            row = self.row_at(number, at_s)
        except ValueError:
            raise UserError(f"{seconds[:50]!r} is not a time in seconds", "Write --like KEY@12.5.") from None
        return Query(unit(self.vectors[row].astype(np.float32)), f"like {key} at {float(self.times[row, 0]):g} s")

    @cached_property
    def columns(self) -> dict[str, NDArray[np.object_]]:
        """`split` and `label` of all samples as arrays of strings (None where a sample has no label)."""
        return {name: self.samples[name].to_numpy() for name in ("split", "label")}


def open_index(source: str, cache: Path | None = None) -> Index:
    """Opens the index of a dataset, making it first where there is none.

    Args:
        source: Folder of a packed dataset, or `hf://datasets/<org>/<name>[@<revision>]`.
        cache: Folder for indexes. Where None: the work folder of a dataset that was built here, else a folder in the
            user's cache.

    Raises:
        UserError: There is no dataset, or one of its files is damaged.
    """
    dataset = local_folder(source, only=[MANIFEST_FILE, f"{PREVIEW_FOLDER}/*"])
    path = dataset / MANIFEST_FILE
    manifest = read_manifest(path)
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    folder = (cache or _cache_of(dataset, source)) / f"{checksum[:16]}-v{VERSION}"
    if not (folder / "index.json").is_file():
        if "://" in source:
            dataset = local_folder(source, only=[MANIFEST_FILE, SPLITS_FILE, "ds_*.tar", f"{PREVIEW_FOLDER}/*"])
        report = make_index(dataset, manifest, checksum, folder)
        print(
            f"index of {report['rows']:,} rows of {report['samples']:,} samples: {report['seconds']:.1f} s, "
            f"{report['bytes'] / 1e6:,.1f} MB on disk, peak memory {report['peak_memory_bytes'] / 1e6:,.0f} MB",
            file=sys.stderr,
        )
    return _open(folder, source, dataset, manifest)


def _cache_of(dataset: Path, source: str) -> Path:
    work = Layout(dataset.resolve().parent, dataset.resolve().name).work
    if "://" not in source and work.is_dir():
        return work / "explorer"
    return DEFAULT_CACHE.expanduser() / "explorer"


def _open(folder: Path, source: str, dataset: Path, manifest: Manifest) -> Index:
    note = read_json(folder / "index.json")
    shape = note["rows"], note["dim"]
    pooled = note["samples"], note["dim"]
    with pa.memory_map(str(folder / "samples.arrow")) as file:
        table = pa.ipc.open_file(file).read_all()
    return Index(
        folder=folder,
        source=source,
        dataset=dataset,
        manifest=manifest,
        vectors=np.memmap(folder / "vectors.f16", np.float16, "r", shape=shape),
        pooled=np.memmap(folder / "pooled.f32", np.float32, "r", shape=pooled),
        times=np.load(folder / "times.npy", mmap_mode="r"),
        first_rows=np.load(folder / "first_rows.npy"),
        samples=table,
    )
