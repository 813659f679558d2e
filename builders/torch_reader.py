"""Batches of embeddings for PyTorch.

    reader = EmbeddingReader("data/CLIP-MSRVTT", "train", batch_size=256, length=32, shuffle=True)
    loader = reader.loader(num_workers=4)
    for batch in loader:
        batch["embeddings"]   # (256, 32, 512) float16, zeros where mask is False
        batch["mask"]         # (256, 32) bool, True where there is a frame
        batch["text"]         # 256 captions
        batch["meta"]         # 256 dicts
    torch.save({"loader": loader.state_dict(), …})

An epoch is one order of all samples (`builders.order`), divided into batches that ranks and workers take in turn. So
each sample occurs exactly once, the batches do not depend on the number of workers, and `load_state_dict` resumes
within an epoch with any number of workers or ranks. Samples are read from memory-mapped tars (`builders.shard_index`);
remote tars are copied first: those of `hf://` to the Hub's cache, others to `cache_dir`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from builders.order import batch_starts, epoch_order, position_after, rows_wanted
from builders.remote import local_tars, replaced_ids
from builders.shard_index import ShardIndex
from preprocess.errors import DamagedFileError, SettingsError, UnknownNameError, UserError
from preprocess.formats.members import MEMBERS, read_texts
from preprocess.formats.triples import Vectors, many_vectors, parse_jsons
from preprocess.storage import MappedFiles

Fit = Literal["cut", "resample"]
Batch = dict[str, Any]
Contents = list[memoryview]


class EmbeddingReader(IterableDataset[Batch]):
    """Batches of one split; see the module. Rows that later ones replace, in an appended dataset, are left out.

    Args:
        source: Folder, `hf://datasets/<org>/<name>[@<revision>]`, or another address that fsspec opens.
        split: `train`, `val` (or `validation`) or `test`.
        batch_size: Samples per batch.
        length: Rows per sample; None pads to the longest sample of each batch.
        fit: How a video of another length is fitted to `length`. `cut` keeps the first frames and pads with zeros;
            `resample` takes evenly spaced frames of the whole video, repeating some if it is shorter.
        shuffle: Shuffle the samples, differently in each epoch.
        seed: Seed of the shuffle.
        mix_shards: Number of tars whose samples are shuffled together.
        tokenize: Called with the texts of a batch; returns `batch["tokens"]`.
        meta: Include `meta` in the batches.
        dtype: Dtype of `embeddings`; as stored if None.
        rank: Rank of this process; if None, that of `torch.distributed` if it is initialized, else 0.
        world_size: Likewise.
        drop_last: Drop the samples that do not give every rank a full batch.
        cache_dir: Folder for copies of tars from addresses other than `hf://`.

    Raises:
        UserError: There are no such tars, or an option is invalid.
    """

    def __init__(
        self,
        source: str | Path,
        split: str = "train",
        *,
        batch_size: int = 64,
        length: int | None = None,
        fit: Fit = "cut",
        shuffle: bool = False,
        seed: int = 0,
        mix_shards: int = 8,
        tokenize: Callable[[list[str]], Any] | None = None,
        meta: bool = True,
        dtype: torch.dtype | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
        cache_dir: str | Path | None = None,
    ) -> None:
        if batch_size < 1 or (length is not None and length < 1) or mix_shards < 1:
            raise UserError(f"{batch_size = }, {length = }, {mix_shards = }", "Each must be at least 1.")
        if fit not in ("cut", "resample"):
            raise UnknownNameError("fit", fit, ("cut", "resample"))
        self.batch_size, self.length, self.fit = batch_size, length, fit
        self.shuffle, self.seed, self.mix_shards = shuffle, seed, mix_shards
        self.tokenize, self.meta, self.dtype, self.drop_last = tokenize, meta, dtype, drop_last
        self.rank, self.world_size = _place_in_the_world(rank, world_size)
        tars, replaced = local_tars(source, split, cache_dir), replaced_ids(source, cache_dir)
        files = MappedFiles()
        self.shards = [ShardIndex(path, replaced, files) for path in tars]
        self.starts = np.concatenate(([0], np.cumsum([len(shard) for shard in self.shards], dtype=np.int64)))
        self.total = int(self.starts[-1])
        self._names = [str(shard.path) for shard in self.shards]  # for errors; made here, as they take time
        self.epoch = 0
        self.position = 0  # samples that all ranks together have had of this epoch
        self._begin = 0  # where the next pass begins; 0 unless a state was loaded

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch."""
        return len(self._batch_starts(0))

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next pass, which starts from its first batch."""
        self.epoch, self.position, self._begin = epoch, 0, 0

    def state_dict(self) -> dict[str, int]:
        """Position of the next batch. With workers, use that of the loader, which counts the batches that arrive."""
        return {"epoch": self.epoch, "position": self.position, "seed": self.seed, "samples": self.total}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """The next pass continues from a `state_dict`, with any number of workers and ranks and any batch size.

        Raises:
            SettingsError: The state is from another dataset or seed.
        """
        for name, mine in (("samples", self.total), ("seed", self.seed)):
            if state[name] != mine:
                raise SettingsError(
                    f"the state is from a run with {name} {state[name]}, this one has {mine}",
                    "Use the same dataset, split and seed.",
                )
        self.epoch, self.position, self._begin = state["epoch"], state["position"], state["position"]

    def loader(self, num_workers: int = 0, **options: Any) -> EmbeddingLoader:
        """Batches made by `num_workers` processes, in the same order as without; options are those of DataLoader."""
        return EmbeddingLoader(self, num_workers, **options)

    def __iter__(self) -> Iterator[Batch]:
        """One pass over the batches of this rank, or of this DataLoader worker; the next pass is the next epoch."""
        return map(self.parse_meta, self.unparsed(self.take_begin()))

    def take_begin(self) -> int:
        """Position of the first batch of the pass that starts now; later passes start at 0."""
        begin, self._begin = self._begin, 0
        return begin

    def unparsed(self, begin: int) -> Iterator[Batch]:
        """A pass from `begin` whose `meta` is still JSON, with `tar`, the number of the tar of each sample.

        To parse JSON takes less time than to send what was parsed to another process.
        """
        epoch = self.epoch
        sizes = [len(shard) for shard in self.shards]
        order = epoch_order(sizes, shuffle=self.shuffle, seed=self.seed, epoch=epoch, mix_shards=self.mix_shards)
        starts = self._batch_starts(begin)
        info = get_worker_info()
        for start in starts if info is None else starts[info.id :: info.num_workers]:
            batch = self._batch(order[start : start + self.batch_size])
            batch["position"] = position_after(start, self.total, self.batch_size, self.world_size, begin)
            self.position = batch["position"]
            yield batch
        self.set_epoch(epoch + 1)

    def _batch_starts(self, position: int) -> range:
        return batch_starts(
            self.total,
            self.batch_size,
            position=position,
            rank=self.rank,
            world_size=self.world_size,
            drop_last=self.drop_last,
        )

    def _batch(self, numbers: NDArray[np.int64]) -> Batch:
        tars, keys, npys, txts, jsons = self._parts(numbers)

        def name(extension: str) -> Callable[[int], str]:
            return lambda i: f"{self._names[tars[i]]}: {keys[i]}.{extension}"

        embeddings, mask = collate(many_vectors(npys, name("npy")), self.length, self.fit)
        embeddings = embeddings if self.dtype is None else embeddings.to(self.dtype)
        batch: Batch = {"embeddings": embeddings, "mask": mask, "text": read_texts(txts, name("txt")), "key": keys}
        if self.meta:
            batch |= {"meta": list(map(bytes, jsons)), "tar": tars}
        if self.tokenize is not None:
            batch["tokens"] = self.tokenize(batch["text"])
        return batch

    def _parts(self, numbers: NDArray[np.int64]) -> tuple[list[int], list[str], Contents, Contents, Contents]:
        """Of each sample: the number of its tar, its id, and the data of `.npy`, `.txt` and `.json`."""
        of_tars = np.searchsorted(self.starts, numbers, side="right") - 1
        rows, tars = numbers - self.starts[of_tars], of_tars.tolist()
        views = {tar: self.shards[tar].view for tar in set(tars)}
        places = np.empty((len(numbers), len(MEMBERS), 2), np.int64)
        for tar in views:
            places[of_tars == tar] = self.shards[tar].places[rows[of_tars == tar]]

        def part(member: int) -> Contents:
            firsts, sizes = places[:, member].T
            spans = zip(tars, firsts.tolist(), (firsts + sizes).tolist(), strict=True)
            return [views[tar][first:end] for tar, first, end in spans]

        ids = [self.shards[tar].ids[row] for tar, row in zip(tars, rows.tolist(), strict=True)]
        return tars, ids, part(0), part(1), part(2)

    def parse_meta(self, batch: Batch) -> Batch:
        """A batch of `unparsed` as the reader gives it.

        Raises:
            DamagedFileError: A `.json` is not an object.
        """
        if self.meta:
            tars, keys = batch.pop("tar"), batch["key"]
            batch["meta"] = parse_jsons(batch["meta"], lambda i: f"{self._names[tars[i]]}: {keys[i]}.json")
        return batch


class _Unparsed(IterableDataset[Batch]):
    """What workers run: the reader, without the parsing of `meta`."""

    def __init__(self, reader: EmbeddingReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return len(self.reader)

    def __iter__(self) -> Iterator[Batch]:
        return self.reader.unparsed(self.reader.take_begin())


class EmbeddingLoader:
    """A DataLoader over a reader whose state counts consumed batches, however far ahead its workers are.

    One iteration is an epoch, or the rest of it after loading a state; the next iteration is the next epoch.
    """

    def __init__(self, reader: EmbeddingReader, num_workers: int = 0, **options: Any) -> None:
        if options.get("persistent_workers"):
            raise UserError("persistent_workers", "Omit it: each epoch sends the reader to new workers.")
        self.reader = reader
        self._loader: DataLoader[Batch] = DataLoader(
            _Unparsed(reader), batch_size=None, num_workers=num_workers, **options
        )

    def __len__(self) -> int:
        """Batches of this rank in a whole epoch."""
        return len(self.reader)

    def __iter__(self) -> Iterator[Batch]:
        reader, epoch = self.reader, self.reader.epoch
        batches = iter(self._loader)  # the workers, if any, now have the reader as it is
        reader.take_begin()
        for batch in batches:
            reader.position = batch["position"]
            yield reader.parse_meta(batch)
        reader.set_epoch(epoch + 1)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch of the next pass, which starts from its first batch."""
        self.reader.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Position after the last batch that was consumed."""
        return self.reader.state_dict()

    def load_state_dict(self, state: dict[str, int]) -> None:
        """As `EmbeddingReader.load_state_dict`, for the next iteration."""
        self.reader.load_state_dict(state)


def collate(
    arrays: Sequence[Vectors], length: int | None = None, fit: Fit = "cut"
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads or cuts videos of different lengths to one tensor.

    Args:
        arrays: Per video `(n_frames, D)`.
        length: Rows of the result; those of the longest video if None.
        fit: As in `EmbeddingReader`.

    Returns:
        `(B, T, D)` of the arrays' dtype, zeros where padded; `(B, T)` bool, False where padded.
    """
    widths = {array.shape[1:] for array in arrays}
    if len(widths) != 1 or len(next(iter(widths))) != 1:
        raise DamagedFileError("batch", "", f"videos of widths {sorted(widths)}", "Run `python -m builders verify`.")
    lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    if length is not None and (fit != "cut" or lengths.max() > length):
        arrays = [array[rows_wanted(len(array), length, fit)] for array in arrays]
        lengths = np.fromiter(map(len, arrays), np.int64, len(arrays))
    longest = int(lengths.max()) if length is None else length
    shape, dtype = (len(arrays), longest, *widths.pop()), np.result_type(*{a.dtype for a in arrays})
    if (lengths == longest).all():  # as of a dataset with a fixed number of frames: one call of NumPy
        embeddings = _memory(shape, dtype)
        np.concatenate(arrays, out=embeddings.flatten(0, 1).numpy())
    else:
        embeddings = _memory(shape, dtype).zero_()
        for out, array in zip(embeddings.numpy(), arrays, strict=True):
            out[: len(array)] = array
    return embeddings, torch.from_numpy(np.arange(longest) < lengths[:, None])


def _memory(shape: tuple[int, ...], dtype: np.dtype[Any]) -> torch.Tensor:
    """A tensor to be filled; in a worker in shared memory, where its batches would be copied to otherwise."""
    size = math.prod(shape) * dtype.itemsize
    if get_worker_info() is None or not size:
        return torch.from_numpy(np.empty(shape, dtype))
    # As torch's default_collate does it.
    shared = torch.UntypedStorage._new_shared(size)  # type: ignore[no-untyped-call]
    return torch.empty(0, dtype=torch.from_numpy(np.empty(0, dtype)).dtype).set_(shared).view(shape)


def _place_in_the_world(rank: int | None, world_size: int | None) -> tuple[int, int]:
    from torch import distributed

    known = distributed.is_available() and distributed.is_initialized()
    world_size = world_size if world_size is not None else distributed.get_world_size() if known else 1
    rank = rank if rank is not None else distributed.get_rank() if known else 0
    if not 0 <= rank < world_size:
        raise UserError(f"{rank = } with {world_size = }", "rank counts from 0 to world_size - 1.")
    return rank, world_size
