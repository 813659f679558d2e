"""How fast the same tars are read by our builder and reader, and by what people use otherwise. Prints ratios.

    python benchmarks/read.py                     # 5,000 samples of (10, 512) float16 in a temporary folder
    python benchmarks/read.py data/CLIP-MSRVTT    # the train split of a dataset that is there
    CLIENTS_DIR=… .venv-clients/clip_video_encode/bin/python benchmarks/read.py
                                                  # also clip-video-encode's reader, after `make clients`

Each contender is run `--repeat` times after one pass that warms the page cache, in turn with its rival; the best run
counts, as everything else on the machine only ever makes a run slower.
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import typer

from builders.card_yaml import card_data, front_matter
from builders.json_types import MetaTypes, add_meta
from preprocess.console import new_app, run, table
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.splits import read_splits, sizes_json, splits_csv
from preprocess.formats.triples import npy_bytes, triple_meta
from preprocess.samples import DatasetSpec, Sample, canonical_json

app = new_app("Reads tars of triples in several ways and compares the rates.")
SPEC = DatasetSpec("bench", "CLIP-Bench", "mit", "", "", ("en",), ("other",), "")
Contender = Callable[[Path], int]


def make(folder: Path, samples: int, rows: int, dim: int, dtype: str, per_shard: int) -> Path:
    """Writes a dataset of random vectors as a build would, without manifest."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    shards = []
    types: MetaTypes = {}
    for shard in plan_shards({"train": [f"video_{i}" for i in range(samples)]}, per_shard=per_shard):
        parts = []
        for key in shard.names:
            sample = Sample(key, "train", f"train/{key}.mp4", ("a person is doing something",), label="something")
            meta = triple_meta(sample, rows, np.arange(rows), float(rows), False)
            add_meta(types, meta)
            vectors = rng.standard_normal((rows, dim)).astype(dtype)
            parts.append(
                TripleBytes(npy_bytes(vectors), sample.captions[0].encode(), canonical_json(meta).encode(), rows)
            )
        shards.append(write_shard(folder, shard, parts))
    (folder / "splits.csv").write_bytes(splits_csv({s.file: s.split for s in shards}))
    (folder / "sizes.json").write_bytes(sizes_json({s.file: s.samples for s in shards}))
    (folder / "README.md").write_text(front_matter(card_data(SPEC, shards, dim=dim, dtype=dtype, types=types)))
    return folder


def tars(folder: Path) -> list[str]:
    """The train split's."""
    return [str(folder / tar) for tar, split in read_splits(folder / "splits.csv").items() if split == "train"]


# --- into Arrow -------------------------------------------------------------------------------------------------------


def native_prepare(folder: Path) -> int:
    """`load_dataset` on the folder, into a fresh cache."""
    import datasets

    cache = tempfile.mkdtemp()
    try:
        return len(datasets.load_dataset(str(folder), split="train", cache_dir=cache))
    finally:
        shutil.rmtree(cache)


def our_prepare(folder: Path) -> int:
    """`EmbeddingsBuilder.download_and_prepare`, into a fresh cache."""
    from builders.embeddings import EmbeddingsBuilder

    cache = tempfile.mkdtemp()
    try:
        builder = EmbeddingsBuilder(data_files={"train": tars(folder)}, cache_dir=cache)
        builder.download_and_prepare()
        return len(builder.as_dataset("train"))
    finally:
        shutil.rmtree(cache)


def native_streaming(folder: Path) -> int:
    """`load_dataset(streaming=True)`, row by row as numpy."""
    import datasets

    return sum(1 for _ in datasets.load_dataset(str(folder), split="train", streaming=True).with_format("numpy"))


def our_streaming(folder: Path) -> int:
    """`as_streaming_dataset`, 256 rows at a time as Arrow."""
    from builders.embeddings import EmbeddingsBuilder

    builder = EmbeddingsBuilder(data_files={"train": tars(folder)})
    return sum(len(part) for part in builder.as_streaming_dataset("train").with_format("arrow").iter(256))


# --- into batches for PyTorch, 32 frames a video, one process ---------------------------------------------------------

BATCH, LENGTH = 256, 32


def our_reader(folder: Path) -> int:
    """`EmbeddingReader`."""
    from builders.torch_reader import EmbeddingReader

    return sum(len(batch["text"]) for batch in EmbeddingReader(folder, batch_size=BATCH, length=LENGTH))


def our_shuffled_reader(folder: Path) -> int:
    """`EmbeddingReader(shuffle=True)`."""
    from builders.torch_reader import EmbeddingReader

    return sum(len(batch["text"]) for batch in EmbeddingReader(folder, batch_size=BATCH, length=LENGTH, shuffle=True))


def plain_webdataset(folder: Path) -> int:
    """`webdataset.WebDataset`, decoded by numpy and json, padded and stacked as our batches are."""
    import torch
    import webdataset

    def decode(sample: dict[str, Any]) -> tuple[Any, Any, str, Any]:
        vectors = np.load(io.BytesIO(sample["npy"]))[:LENGTH]
        padded = np.zeros((LENGTH, vectors.shape[1]), vectors.dtype)
        padded[: len(vectors)] = vectors
        return padded, np.arange(LENGTH) < len(vectors), sample["txt"].decode(), json.loads(sample["json"])

    def stack(rows: list[tuple[Any, Any, str, Any]]) -> tuple[Any, ...]:
        vectors, masks, texts, metas = zip(*rows, strict=True)
        return torch.from_numpy(np.stack(vectors)), torch.from_numpy(np.stack(masks)), texts, metas

    source = webdataset.WebDataset(tars(folder), shardshuffle=False)
    return sum(len(batch[2]) for batch in source.map(decode).batched(BATCH, collation_fn=stack))


def clip_video_encode(folder: Path) -> int:
    """clip-video-encode's reader, from its checkout as it is; it needs at least one worker and `open_clip`."""
    path = Path(os.environ["CLIENTS_DIR"]) / "iejMac/clip-video-encode/clip_video_encode/dataset/dataset_reader.py"
    if "dataset_reader" not in sys.modules:
        spec = importlib.util.spec_from_file_location("dataset_reader", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules["dataset_reader"] = module
    reader = sys.modules["dataset_reader"].EmbeddingWebDatasetReader(tars(folder), LENGTH, BATCH, 1, enable_text=False)
    return sum(len(batch["embeddings"]) for batch in reader)


# --- side by side -----------------------------------------------------------------------------------------------------

ROUNDS: tuple[tuple[str, tuple[Contender, ...]], ...] = (
    ("prepare", (native_prepare, our_prepare)),
    ("streaming", (native_streaming, our_streaming)),
    ("PyTorch", (plain_webdataset, our_reader, our_shuffled_reader)),
)


def rates(folder: Path, contenders: tuple[Contender, ...], repeat: int) -> list[float]:
    """Samples per second of each contender, its best of `repeat` runs taken in turn."""
    best = [0.0] * len(contenders)
    for _ in range(repeat + 1):  # the first warms caches and imports
        for i, contender in enumerate(contenders):
            start = time.perf_counter()
            samples = contender(folder)
            best[i] = max(best[i], samples / (time.perf_counter() - start))
    return best


@app.command()
def read(
    folder: Annotated[Path | None, typer.Argument(help="A dataset; random vectors where none is given.")] = None,
    samples: Annotated[int, typer.Option(help="Of the random dataset.")] = 5_000,
    rows: Annotated[int, typer.Option(help="Frames a sample.")] = 10,
    dtype: Annotated[str, typer.Option(help="float16 or float32.")] = "float16",
    repeat: Annotated[int, typer.Option(help="Runs of each.")] = 3,
) -> None:
    """Prints samples per second and how many times the first of each round the others are."""
    import datasets

    datasets.disable_progress_bars()
    temporary = Path(tempfile.mkdtemp())
    try:
        folder = folder or make(temporary / "CLIP-Bench", samples, rows, 512, dtype, per_shard=2_500)
        lines: list[tuple[object, ...]] = [("what", "who", "samples/s", "times the first")]
        for name, contenders in ROUNDS:
            if name == "PyTorch" and os.environ.get("CLIENTS_DIR"):
                contenders = (clip_video_encode, *contenders)
            measured = rates(folder, contenders, repeat)
            for contender, rate in zip(contenders, measured, strict=True):
                lines.append((name, contender.__name__, round(rate), f"{rate / measured[0]:.1f}"))
        print(table(lines, right=frozenset({2, 3})))
    finally:
        shutil.rmtree(temporary)


if __name__ == "__main__":
    run(app, "python benchmarks/read.py")
