"""Packing: triples to a finished dataset, and the writing and reading of one tar, beside `webdataset` and `tarfile`.

    .venv/bin/python benchmarks/pack.py [--samples 100000] [--tar-samples 10000]

A sample has 10 vectors of 512 dimensions as float16, a caption and its JSON. Packing is measured as whole processes, on
the same files: ours shuffles, checks, writes the checksums, `splits.csv` and the manifest; the peer is LAION's
create_shards. Every writer of one tar also takes its SHA-256; every reader ends with arrays, texts and parsed JSON.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from benchmarks.harness.peers import SCRIPTS, peer_python, why_absent
from benchmarks.harness.rounds import OUT, Bench, Command

Parts = list[tuple[bytes, bytes, bytes]]


# --- tasks that run in processes of their own ------------------------------------------------------------------------


def pack(out: Path, per_shard: int, workers: int) -> None:
    """Packs the triples below `out`; the whole process counts."""
    from benchmarks.harness.datasets import SPEC
    from preprocess.formats.layout import Layout
    from preprocess.pipeline.pack import pack_dataset
    from preprocess.runtime.options import RunOptions

    report = pack_dataset(Layout(out, SPEC.title), SPEC, per_shard=per_shard, run=RunOptions(workers=workers))
    if report.written == 0:
        raise SystemExit("an earlier run has packed them already")


def unpacked(out: Path) -> None:
    """Removes what an earlier run packed."""
    from benchmarks.harness.datasets import SPEC
    from preprocess.formats.layout import Layout

    layout = Layout(out, SPEC.title)
    for folder in (layout.work / "shards", layout.dataset):
        shutil.rmtree(folder, ignore_errors=True)


def parts_of(path: Path) -> Parts:
    """The members of a tar, three by three."""
    with tarfile.open(path) as archive:
        data = [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]
    return list(zip(data[::3], data[1::3], data[2::3], strict=True))


def write_ours(path: Path, parts: Parts) -> str:
    """Our writer; the checksum is taken on the way."""
    from preprocess.formats.shards import TripleBytes, plan_shards, write_shard

    (shard,) = plan_shards({"train": [str(i) for i in range(len(parts))]}, per_shard=len(parts))
    rows = 10
    return write_shard(path.parent, shard, [TripleBytes(*part, rows) for part in parts]).sha256


def write_tarfile(path: Path, parts: Parts) -> str:
    """Python's tarfile; the checksum needs a second pass."""
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
        for i, part in enumerate(parts):
            for suffix, data in zip(("npy", "txt", "json"), part, strict=True):
                info = tarfile.TarInfo(f"vid_{i:05d}.{suffix}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_webdataset(path: Path, parts: Parts) -> str:
    """webdataset's TarWriter, given bytes; the checksum needs a second pass."""
    import webdataset

    with webdataset.TarWriter(str(path), mtime=0) as writer:
        for i, part in enumerate(parts):
            writer.write({"__key__": f"vid_{i:05d}", "npy": part[0], "txt": part[1], "json": part[2]})
    return hashlib.sha256(path.read_bytes()).hexdigest()


def read_ours(path: Path) -> int:
    """Our reader."""
    from preprocess.formats import tar
    from preprocess.formats.triples import npy_array

    return sum(
        len((npy_array(triple.npy), str(triple.txt, "utf-8"), json.loads(bytes(triple.json)))) == 3
        for triple in tar.iter_triples(path)
    )


def read_tarfile(path: Path) -> int:
    """Python's tarfile with np.load."""
    count = 0
    with tarfile.open(path) as archive:
        parts: list[bytes] = []
        for member in archive:
            parts.append(archive.extractfile(member).read())  # type: ignore[union-attr]
            if len(parts) == 3:
                count += len((np.load(io.BytesIO(parts[0])), parts[1].decode(), json.loads(parts[2]))) == 3
                parts = []
    return count


def read_webdataset(path: Path) -> int:
    """webdataset with its own decoders."""
    import webdataset

    rows = webdataset.WebDataset(str(path), shardshuffle=False).decode()
    return sum(len((row["npy"], row["txt"], row["json"])) == 3 for row in rows)


WRITERS: dict[str, Callable[[Path, Parts], str]] = {
    "ours": write_ours,
    "webdataset": write_webdataset,
    "tarfile": write_tarfile,
}
READERS: dict[str, Callable[[Path], int]] = {
    "ours": read_ours,
    "webdataset": read_webdataset,
    "tarfile": read_tarfile,
}


def one_tar(task: str, way: str, path: Path) -> None:
    """Writes or reads a tar once, then again against the clock."""
    parts = parts_of(path)
    with tempfile.TemporaryDirectory() as folder:
        action: Callable[[], Any] = (
            functools.partial(READERS[way], path)
            if task == "read"
            else functools.partial(WRITERS[way], Path(folder, "one.tar"), parts)
        )
        action()
        began = time.perf_counter()
        result = action()
        seconds = time.perf_counter() - began
    if task == "read" and result != len(parts):
        raise SystemExit(f"{way} read {result} of {len(parts)} samples")
    print(json.dumps({"units": len(parts), "seconds": seconds}))


# --- side by side -----------------------------------------------------------------------------------------------------


def measure(bench: Bench, samples: int, tar_samples: int) -> None:
    """The three cases."""
    from benchmarks.harness.datasets import make_packed, make_processed

    task = [sys.executable, str(Path(__file__).resolve()), "--task"]
    layout = make_processed(bench.temporary / "data", samples)
    per_shard = max(1, samples // 10)
    ours = [
        Command(
            f"ours, {workers} worker{'s' if workers > 1 else ''}",
            "ours",
            [*task, "pack", str(layout.out), str(per_shard), str(workers)],
            prepare=[*task, "unpacked", str(layout.out)],
        )
        for workers in (1, 2)
    ]
    script = [peer_python(), str(SCRIPTS / "pack_webdataset.py"), str(layout.processed), OUT, str(per_shard)]
    peer = Command("webdataset.ShardWriter", "peer", script, absent=why_absent("webdataset"))
    bench.case(f"triples to shards, {samples:,} samples", "samples", samples, [*ours, peer])

    tar = next(make_packed(bench.temporary / "one", tar_samples, per_shard=tar_samples).glob("*.tar"))
    for title, name in (("writing of a tar with its SHA-256", "write"), ("tar to arrays, texts and JSON", "read")):
        contenders = [
            Command(
                way,
                "ours" if way == "ours" else "peer",
                [peer_python() if way == "webdataset" else sys.executable, *task[1:], name, way, str(tar)],
                absent=why_absent("webdataset") if way == "webdataset" else "",
            )
            for way in WRITERS
        ]
        bench.case(f"{title}, {tar_samples:,} samples", "samples", tar_samples, contenders)


def main() -> None:
    """Measures, prints, keeps."""
    match sys.argv[1:]:
        case ["--task", "pack", out, per_shard, workers]:
            pack(Path(out), int(per_shard), int(workers))
        case ["--task", "unpacked", out]:
            unpacked(Path(out))
        case ["--task", task, way, path]:
            one_tar(task, way, Path(path))
        case _:
            parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
            parser.add_argument("--samples", type=int, default=100_000)
            parser.add_argument("--tar-samples", type=int, default=10_000)
            bench, options = Bench.from_arguments("pack", parser)
            with bench:
                measure(bench, options.samples, options.tar_samples)
                bench.write()


if __name__ == "__main__":
    main()
