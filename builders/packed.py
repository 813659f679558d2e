"""The current samples of a packed dataset, one at a time, for the writers of other formats.

    dataset = PackedDataset.open("data/CLIP-MSRVTT")
    for shard in dataset.shards("train"):
        for sample in dataset.samples(shard):
            sample.key, sample.text, sample.vectors, sample.times_s      # float16 (T, 512), float64 (T,)

Rows that later ones replace are left out. With a triple for each caption, a sample comes once, with its first caption.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from builders.hub import local_folder
from builders.shard_index import ShardIndex
from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.generations import replaced_rows
from preprocess.formats.manifest import MANIFEST_FILE, Manifest, ShardEntry
from preprocess.formats.manifest import read as read_manifest
from preprocess.formats.members import read_text
from preprocess.formats.triples import CAPTION_INDEX, Vectors, npy_array, parse_json
from preprocess.samples import JSON, SPLITS, Split

_REMEDY = "Run `python -m builders verify`."


@dataclass(frozen=True, slots=True)
class PackedSample:
    """One sample of a tar.

    Attributes:
        key: Of the sample, unique in the dataset.
        split: Of its tar.
        text: The `.txt`.
        label: The class, or None.
        meta: The `.json`.
        vectors: `(T, D)`, a view of the tar.
        times_s: float64 `(T,)`, seconds from the first frame of the file.
        where: Tar and id, for errors.
    """

    key: str
    split: Split
    text: str
    label: str | None
    meta: JSON
    vectors: Vectors
    times_s: NDArray[np.float64]
    where: str


@dataclass(frozen=True, slots=True)
class PackedDataset:
    """A dataset of which every current sample is read.

    Attributes:
        folder: Its tars and tables, on this machine.
        manifest: Its manifest.
    """

    folder: Path
    manifest: Manifest

    @classmethod
    def open(cls, address: str) -> PackedDataset:
        """A folder, or `hf://datasets/<org>/<name>[@<revision>]`, which is copied to the Hub's cache.

        Raises:
            UserError: There is no such dataset.
        """
        folder = local_folder(address)
        return cls(folder, read_manifest(folder / MANIFEST_FILE))

    @property
    def dim(self) -> int:
        """Length of one vector."""
        return int(self.manifest["encoder"]["dim"])

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """Of the vectors: float16 or float32."""
        return np.dtype(self.manifest["encoder"]["dtype"])

    @property
    def splits(self) -> list[Split]:
        """Those that have a tar, in the order of train, val, test."""
        return [split for split in SPLITS if self.shards(split)]

    def shards(self, split: Split) -> list[ShardEntry]:
        """The tars of a split, in order."""
        return [shard for shard in self.manifest["shards"] if shard["split"] == split]

    def origin(self) -> JSON:
        """What an export says about its source: the dataset, and how its rows were made."""
        content = (self.folder / MANIFEST_FILE).read_bytes()
        return {
            "dataset": self.manifest["dataset"],
            "manifest_sha256": hashlib.sha256(content).hexdigest(),
            "encoder": self.manifest["encoder"],
            "sampling": self.manifest["sampling"],
        }

    def samples(self, shard: ShardEntry) -> Iterator[PackedSample]:
        """The current samples of a tar, in order.

        Raises:
            UserError: The tar is missing or damaged.
        """
        path = self.folder / shard["file"]
        try:
            index = ShardIndex(path, without=frozenset(replaced_rows(self.manifest)))
        except FileNotFoundError:
            raise UserError(f"{path} does not exist", "Copy or download the dataset again.") from None
        for i, id_ in enumerate(index.ids):
            triple = index.triple(i)
            where = f"{path}: {id_}"
            meta = parse_json(triple.json, f"{where}.json")
            if meta.get(CAPTION_INDEX, 0) != 0:
                continue
            vectors = npy_array(triple.npy, f"{where}.npy")
            if vectors.ndim != 2 or vectors.shape[1] != self.dim or vectors.dtype != self.dtype:
                problem = f"is {vectors.dtype} {vectors.shape}, should be {self.dtype} (n_frames, {self.dim})"
                raise DamagedFileError(path, f"{id_}.npy", problem, _REMEDY)
            label = meta.get("label")
            yield PackedSample(
                key=str(meta.get("key", id_)),
                split=shard["split"],
                text=read_text(triple.txt, f"{where}.txt"),
                label=None if label is None else str(label),
                meta=meta,
                vectors=vectors,
                times_s=_times(meta, len(vectors), where),
                where=where,
            )


def _times(meta: JSON, rows: int, where: str) -> NDArray[np.float64]:
    """One time per row.

    Raises:
        DamagedFileError: There are no such numbers.
    """
    try:
        times = np.asarray(meta["timestamps"], np.float64)
        problem = "" if times.shape == (rows,) and np.isfinite(times).all() else f"timestamps for {rows} rows"
    except (KeyError, TypeError, ValueError) as error:
        problem = f"timestamps cannot be read ({error!r:.100})"
    if problem:
        raise DamagedFileError(f"{where}.json", "", problem, _REMEDY)
    return times
