"""Readers of packed datasets, each to batches of 256 with 10 rows in float16: `way folder workers shuffle`.

Prints samples and seconds, from the making of the reader to the last batch; imports are not counted. `prepare-*` ways
make what a reader needs beforehand (litdata's own format), which is not counted either.
"""

import io
import json
import random
import sys
import time
from pathlib import Path

import numpy as np

BATCH, LENGTH, DIM = 256, 10, 512


def tars(folder):
    """The tars of the train split."""
    return sorted(str(path) for path in Path(folder).glob("*.tar"))


def stack(rows):
    """Rows of `(vectors, text, meta)` to a batch with a mask, as all readers give it."""
    import torch

    batch = np.zeros((len(rows), LENGTH, DIM), np.float16)
    mask = np.zeros((len(rows), LENGTH), bool)
    for i, (vectors, _, _) in enumerate(rows):
        batch[i, : len(vectors)] = vectors[:LENGTH]
        mask[i, : len(vectors)] = True
    texts, metas = [row[1] for row in rows], [row[2] for row in rows]
    return {"embeddings": torch.from_numpy(batch), "mask": torch.from_numpy(mask), "text": texts, "meta": metas}


def ours(folder, workers, shuffle):
    """`EmbeddingReader`."""
    from builders.torch_reader import EmbeddingReader

    reader = EmbeddingReader(folder, batch_size=BATCH, length=LENGTH, shuffle=shuffle)
    return reader.loader(num_workers=workers) if workers else reader


def clip_video_encode(folder, workers, shuffle):
    """Its `EmbeddingWebDatasetReader`; it takes one worker or more, and does not shuffle."""
    from clip_video_encode.dataset.dataset_reader import EmbeddingWebDatasetReader

    return EmbeddingWebDatasetReader(tars(folder), LENGTH, BATCH, max(1, workers), enable_text=False, enable_meta=False)


def decoded(sample):
    """A row from the bytes of a sample."""
    return np.load(io.BytesIO(sample["npy"])), sample["txt"].decode(), json.loads(sample["json"])


def webdataset(folder, workers, shuffle):
    """`WebDataset` with NumPy and JSON, batched in the workers."""
    import webdataset as wds

    source = wds.WebDataset(tars(folder), shardshuffle=100 if shuffle else False, seed=0)
    if shuffle:
        source = source.shuffle(1000)
    source = source.map(decoded).batched(BATCH, collation_fn=stack)
    return wds.WebLoader(source, batch_size=None, num_workers=workers)


def litdata(folder, workers, shuffle):
    """`StreamingDataLoader` on litdata's own format, which `prepare-litdata` made."""
    from litdata import StreamingDataLoader, StreamingDataset

    source = StreamingDataset(str(Path(folder).parent / "litdata"), shuffle=shuffle)
    return StreamingDataLoader(source, batch_size=BATCH, num_workers=workers, collate_fn=stack)


def litdata_row(path_and_number):
    """All rows of one tar, in litdata's serialization."""
    import webdataset as wds

    for sample in wds.WebDataset(path_and_number, shardshuffle=False):
        yield decoded(sample)


def prepare_litdata(folder):
    """Writes litdata's format beside the folder."""
    from litdata import optimize

    target = str(Path(folder).parent / "litdata")
    optimize(litdata_row, tars(folder), target, chunk_bytes="64MB", num_workers=1)


def prepared(folder, workers, shuffle):
    """`load_dataset`, prepared before (by `prepare-datasets`), in PyTorch's format."""
    import datasets
    import torch

    cache = str(Path(folder).parent / "datasets")
    rows = datasets.load_dataset(str(folder), split="train", cache_dir=cache)
    if shuffle:
        rows = rows.shuffle(seed=0)
    rows = rows.with_format("numpy")
    return torch.utils.data.DataLoader(rows, batch_size=BATCH, num_workers=workers, collate_fn=from_rows)


def streaming(folder, workers, shuffle):
    """`load_dataset(streaming=True)`, in NumPy's format."""
    import datasets
    import torch

    rows = datasets.load_dataset(str(folder), split="train", streaming=True)
    if shuffle:
        rows = rows.shuffle(seed=0, buffer_size=1000)
    rows = rows.with_format("numpy")
    return torch.utils.data.DataLoader(rows, batch_size=BATCH, num_workers=workers, collate_fn=from_rows)


def from_rows(rows):
    """A batch of the rows of `datasets`."""
    return stack([(row["npy"], row["txt"], row["json"]) for row in rows])


def prepare_bound(folder):
    """Writes where in its tar the vectors, the text and the JSON of each sample are: offsets and sizes."""
    import tarfile

    found = []
    for number, path in enumerate(tars(folder)):
        samples = {}
        with tarfile.open(path) as tar:
            for member in tar:
                stem, _, suffix = member.name.partition(".")
                samples.setdefault(stem, {})[suffix] = (member.offset_data, member.size)
        found += [(number, *(parts[suffix] for suffix in ("npy", "txt", "json"))) for parts in samples.values()]
    (Path(folder).parent / "places.json").write_text(json.dumps(found))


def bound(folder, workers, shuffle):
    """What no reader of tars leaves out, were all places known: vectors are copied, texts and JSON decoded.

    With workers, those copy into the memory that they share with this process, and JSON is decoded here, as it takes
    longer to send what was decoded.
    """
    import mmap

    import torch
    from pydantic_core import from_json  # the fastest decoder that is installed

    places = json.loads((Path(folder).parent / "places.json").read_text())
    if shuffle:
        random.shuffle(places)
    maps = []
    for path in tars(folder):
        with Path(path).open("rb") as file:
            maps.append(mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ))
    size = 2 * LENGTH * DIM

    class Batches(torch.utils.data.IterableDataset):
        def __iter__(self):
            info = torch.utils.data.get_worker_info()
            firsts = range(0, len(places), BATCH)
            for first in firsts if info is None else firsts[info.id :: info.num_workers]:
                chunk = places[first : first + BATCH]
                vectors = torch.empty((len(chunk), LENGTH, DIM), dtype=torch.float16)
                if info is not None:
                    vectors.share_memory_()
                with memoryview(vectors.numpy()).cast("B") as target:
                    for i, (number, (start, length), _, _) in enumerate(chunk):
                        target[size * i : size * (i + 1)] = maps[number][start + length - size : start + length]
                yield {
                    "embeddings": vectors,
                    "mask": torch.ones((len(chunk), LENGTH), dtype=torch.bool),
                    "text": [maps[number][start : start + length].decode() for number, _, (start, length), _ in chunk],
                    "meta": [maps[number][start : start + length] for number, _, _, (start, length) in chunk],
                }

    def decoded_batches():
        source = torch.utils.data.DataLoader(Batches(), batch_size=None, num_workers=workers) if workers else Batches()
        for batch in source:
            yield {**batch, "meta": list(map(from_json, batch["meta"]))}

    return decoded_batches()


WAYS = {
    "ours": ours,
    "bound": bound,
    "clip-video-encode": clip_video_encode,
    "webdataset": webdataset,
    "litdata": litdata,
    "datasets, prepared": prepared,
    "datasets, streaming": streaming,
}

if __name__ == "__main__":
    way, folder, workers, shuffle = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4] == "shuffle"
    if way == "prepare-litdata":
        prepare_litdata(folder)
        sys.exit()
    if way == "prepare-bound":
        prepare_bound(folder)
        sys.exit()
    if way == "prepare-datasets":
        list(prepared(folder, 0, False))
        sys.exit()
    import torch.utils.data

    if way.startswith("datasets"):
        import datasets

        datasets.disable_progress_bars()
    elif way != "bound":
        __import__("builders.torch_reader" if way == "ours" else way.replace("-", "_"))
    if way in ("ours", "bound"):
        import pydantic_core  # noqa: F401 - which is imported when the first JSON is read
    random.seed(0)
    ready = bound(folder, workers, shuffle) if way == "bound" else None  # with the places at hand
    began = time.perf_counter()
    count = 0
    for batch in ready or WAYS[way](folder, workers, shuffle):
        assert batch["embeddings"].dtype == torch.float16
        count += len(batch["embeddings"])
    print(json.dumps({"units": count, "seconds": time.perf_counter() - began, "facts": {"read": count}}))
