"""Packing and reading of tars, samples per second, beside `tarfile` and `webdataset`.

    .venv/bin/python benchmarks/pack.py [samples]

A sample has 10 vectors of 512 dimensions as float16, a caption and its JSON. Every reader ends with the same arrays,
texts and parsed JSON. The best of three runs is printed; on a machine with other work trust the ratios only.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from preprocess.console import table
from preprocess.formats import tar
from preprocess.formats.layout import Layout
from preprocess.formats.shards import TripleBytes, plan_shards, write_shard
from preprocess.formats.triple_files import write_triple
from preprocess.formats.triples import npy_array, npy_bytes, triple_meta
from preprocess.pipeline.pack import pack_dataset
from preprocess.runtime.options import RunOptions
from preprocess.samples import DatasetSpec, Sample, Triple, canonical_json

SPEC = DatasetSpec("bench", "CLIP-Bench", "mit", "", "", ("en",), (), "")
ROWS, DIM = 10, 512
RUNS = 3


def make_triples(count: int) -> list[tuple[Sample, Triple]]:
    """Samples and triples as encoding makes them."""
    rng = np.random.default_rng(0)
    made = []
    for i in range(count):
        sample = Sample(
            f"video{i}", "train", f"videos/video{i}.mp4", ("a man is playing a guitar",), meta={"category": i % 20}
        )
        vectors = rng.standard_normal((ROWS, DIM), dtype=np.float32).astype(np.float16)
        meta = triple_meta(sample, ROWS, range(ROWS), float(ROWS), False)
        made.append((sample, Triple(sample.key, vectors, sample.captions[0], meta)))
    return made


def seconds(action: Callable[[], object]) -> float:
    """Wall time of the best of `RUNS` runs."""
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


# --- writing one tar, with its SHA-256 --------------------------------------------------------------------------------


def write_ours(folder: Path, parts: list[TripleBytes]) -> str:
    """Our writer; the checksum is taken on the way."""
    (shard,) = plan_shards({"train": [str(i) for i in range(len(parts))]}, per_shard=len(parts))
    return write_shard(folder, shard, parts).sha256


def write_tarfile(folder: Path, parts: list[TripleBytes]) -> str:
    """Python's tarfile; the checksum needs a second pass."""
    path = folder / "tarfile.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for i, part in enumerate(parts):
            for suffix, data in zip(("npy", "txt", "json"), part, strict=False):
                info = tarfile.TarInfo(f"vid_{i:05d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_webdataset(folder: Path, parts: list[TripleBytes]) -> str:
    """The webdataset package's TarWriter, given bytes; the checksum needs a second pass."""
    import webdataset  # imports torch, which the worker processes need not wait for

    path = folder / "webdataset.tar"
    with webdataset.TarWriter(str(path), mtime=0) as writer:
        for i, part in enumerate(parts):
            writer.write({"__key__": f"vid_{i:05d}", "npy": part.npy, "txt": part.txt, "json": part.json})
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- reading one tar --------------------------------------------------------------------------------------------------

Row = tuple[np.ndarray[Any, Any], str, dict[str, Any]]


def read_ours(path: Path) -> Iterator[Row]:
    """Our reader."""
    for triple in tar.iter_triples(path):
        yield npy_array(triple.npy), str(triple.txt, "utf-8"), json.loads(bytes(triple.json))


def read_tarfile(path: Path) -> Iterator[Row]:
    """Python's tarfile with np.load."""
    with tarfile.open(path) as archive:
        parts = []
        for member in archive:
            parts.append(archive.extractfile(member).read())
            if len(parts) == 3:
                yield np.load(io.BytesIO(parts[0])), parts[1].decode(), json.loads(parts[2])
                parts = []


def read_webdataset(path: Path) -> Iterator[Row]:
    """The webdataset package with its own decoders."""
    import webdataset

    for row in webdataset.WebDataset(str(path), shardshuffle=False).decode():
        yield row["npy"], row["txt"], row["json"]


def compare(title: str, count: int, actions: dict[str, Callable[[], object]]) -> list[tuple[object, ...]]:
    """One line per way: samples per second, and how many times faster the first way is."""
    rates = {name: count / seconds(action) for name, action in actions.items()}
    first = next(iter(rates.values()))
    return [(title, name, round(rate), f"{first / rate:.1f}") for name, rate in rates.items()]


def main(count: int) -> None:
    """Measures and prints the table."""
    made = make_triples(count)
    parts = [TripleBytes(npy_bytes(t.vectors), t.text.encode(), canonical_json(t.meta).encode(), ROWS) for _, t in made]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        hashes = {write_ours(folder, parts), write_tarfile(folder, parts)}
        assert len(hashes) == 1, "our writer and tarfile differ"
        ways = {"ours": write_ours, "tarfile": write_tarfile, "webdataset": write_webdataset}
        rows = compare("write + sha256", count, {n: lambda w=w: w(folder, parts) for n, w in ways.items()})
        readers = {"ours": read_ours, "tarfile": read_tarfile, "webdataset": read_webdataset}
        path = folder / "tarfile.tar"
        for mine, *others in zip(*(read(path) for read in readers.values()), strict=True):
            assert all(np.array_equal(mine[0], other[0]) and mine[1:] == other[1:] for other in others), mine
        rows += compare("read + parse", count, {n: lambda r=r: sum(1 for _ in r(path)) for n, r in readers.items()})
        rows += pack_rows(folder, made)
    print(table([("", "way", "samples/s", "ours is × faster"), *rows], right=frozenset({2, 3})))


def pack_rows(folder: Path, made: list[tuple[Sample, Triple]]) -> list[tuple[object, ...]]:
    """From processed triples to a finished dataset, with one and two processes; then again, with nothing to do."""
    layout = Layout(folder, SPEC.title)
    (layout.processed / "train").mkdir(parents=True)
    encoder = {"model": "none", "dim": DIM, "dtype": "float16"}
    layout.encoding.write_text(json.dumps({"encoder": encoder, "sampling": {}, "preprocessing": {}, "versions": {}}))
    start = time.perf_counter()
    for _, triple in made:
        write_triple(layout.processed, "train", triple)
    rows: list[tuple[object, ...]] = [("write triples", "ours", round(len(made) / (time.perf_counter() - start)), "")]
    layout.samples.write_text("".join(canonical_json(sample.to_json()) + "\n" for sample, _ in made))
    for workers in sorted({1, 2, os.cpu_count() or 1}):
        for state in layout.work.glob("shards/*"):
            state.unlink()
        report = pack_dataset(layout, SPEC, per_shard=max(1, len(made) // 8), run=RunOptions(workers=workers))
        rows.append(("pack a dataset", f"ours, {workers} workers", round(len(made) / report.seconds), ""))
    report = pack_dataset(layout, SPEC, per_shard=max(1, len(made) // 8))
    assert report.written == 0
    return [*rows, ("pack it again", "ours", round(len(made) / report.seconds), "")]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
