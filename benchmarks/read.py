"""Shards to batches for PyTorch, and to Arrow, beside other readers of the same tars.

    .venv/bin/python benchmarks/read.py [--samples 20000] [--rounds 3]

Samples of (10, 512) float16; batches of 256; with and without shuffling, in this process and with 2 workers, from a
folder and from the links of a Hub cache. The clock starts when a reader is made and stops after its last batch. What a
reader needs beforehand is made beforehand: litdata's own format, and the Arrow cache of `datasets`.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness.peers import ROOT, SCRIPTS, peer_python, why_absent
from benchmarks.harness.rounds import Bench, Command

MODULES = {
    "clip-video-encode": "clip_video_encode.dataset.dataset_reader",
    "webdataset": "webdataset",
    "litdata": "litdata",
    "datasets, prepared": "datasets",
    "datasets, streaming": "datasets",
}
BOUND = "vectors copied, texts and JSON decoded, at known places"
PREPARATIONS = ("prepare-litdata", "prepare-datasets")


def arrow(way: str, folder: Path) -> None:
    """Prepares the dataset into a fresh cache, by our builder or by `load_dataset`; prints how long that took."""
    import datasets

    datasets.disable_progress_bars()
    tars = sorted(str(path) for path in folder.glob("*.tar"))
    cache = tempfile.mkdtemp()
    try:
        if way == "ours":
            from builders.embeddings import EmbeddingsBuilder

            began = time.perf_counter()
            builder = EmbeddingsBuilder(data_files={"train": tars}, cache_dir=cache)
            builder.download_and_prepare()
            count = len(builder.as_dataset("train"))
        else:
            began = time.perf_counter()
            count = len(datasets.load_dataset(str(folder), split="train", cache_dir=cache))
        print(json.dumps({"units": count, "seconds": time.perf_counter() - began}))
    finally:
        shutil.rmtree(cache)


def contenders(folder: Path, workers: int, shuffle: bool, prepared: dict[str, str]) -> list[Command]:
    """Ours and the peers; a peer without shuffling or without workers of its own takes part where it can."""
    script, given = str(SCRIPTS / "read.py"), [str(folder), str(workers), "shuffle" if shuffle else "in-order"]
    env = {"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    found = [Command("ours", "ours", [sys.executable, script, "ours", *given], env=env)]
    for way, module in MODULES.items():
        reason = why_absent(module) or prepared.get(way, "")
        if way == "clip-video-encode" and shuffle:
            reason = reason or "does not shuffle"
        found.append(Command(way, "peer", [peer_python(), script, way, *given], env=env, absent=reason))
    if (folder.parent / "places.json").is_file():
        found.append(Command(BOUND, "bound", [sys.executable, script, "bound", *given], env=env))
    return found


def prepare(folder: Path) -> dict[str, str]:
    """Makes what peers need beforehand; reasons why that failed, by peer."""
    failed = {}
    for task, way in zip(PREPARATIONS, ("litdata", "datasets, prepared"), strict=True):
        if why_absent(MODULES[way]):
            continue
        done = subprocess.run(
            [peer_python(), str(SCRIPTS / "read.py"), task, str(folder), "0", "in-order"],
            capture_output=True,
            text=True,
        )
        if done.returncode:
            failed[way] = "its own format cannot be made: " + (done.stderr.strip().splitlines() or ["?"])[-1][:200]
    return failed


def measure(bench: Bench, samples: int) -> None:
    """The cases: workers and shuffling, a Hub cache, Arrow."""
    from benchmarks.harness.datasets import as_hub_cache, make_packed

    folder = make_packed(bench.temporary / "CLIP-Bench", samples, per_shard=max(1, samples // 8))
    prepared = prepare(folder)
    subprocess.run(
        [sys.executable, str(SCRIPTS / "read.py"), "prepare-bound", str(folder), "0", "in-order"], check=True
    )
    for workers in (0, 2):
        for shuffle in (False, True):
            title = f"shards to batches, {workers or 'no'} workers{', shuffled' if shuffle else ''}"
            case = bench.case(title, "samples", samples, contenders(folder, workers, shuffle, prepared))
            case.note_bound()
            for one in case.contenders:
                if one.runs and one.facts["read"] != samples:
                    one.facts["note"] = f"read {one.facts['read']} of {samples} samples"
                    print(f"   note: {one.name} {one.facts['note']}")
    snapshot = as_hub_cache(folder, bench.temporary / "hub" / "datasets--org--CLIP-Bench")
    apart = {"litdata": "reads its own format only", "datasets, prepared": "reads its Arrow cache only"}
    bench.case("shards to batches, from a Hub cache", "samples", samples, contenders(snapshot, 0, False, apart))
    task = [sys.executable, str(Path(__file__).resolve()), "--arrow"]
    bench.case(
        "shards to Arrow",
        "samples",
        samples,
        [
            Command("ours", "ours", [*task, "ours", str(folder)]),
            Command("load_dataset", "peer", [*task, "load_dataset", str(folder)]),
        ],
    )


def main() -> None:
    """Measures, prints, keeps."""
    if sys.argv[1:2] == ["--arrow"]:
        arrow(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    bench, options = Bench.from_arguments("read", parser)
    with bench:
        measure(bench, options.samples)
        bench.write()


if __name__ == "__main__":
    main()
