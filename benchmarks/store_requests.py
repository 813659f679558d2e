"""Requests to an object store for 1,000 samples: encode, pack, evaluate, card, verify, read, and each of them again.

    .venv/bin/python benchmarks/store_requests.py [--samples 1000] [--per-shard 500]

Small images in an S3 bucket (moto on 127.0.0.1) become a dataset in the same bucket, by the commands that a user runs;
a proxy counts what arrives. `benchmarks/results/store_requests.json` keeps the figures.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from preprocess.console import table
from preprocess.formats.layout import write_json
from preprocess.storage import location
from tests.object_store import s3_server
from tests.store_proxy import Proxy

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "store_requests.json"
KINDS = ("get", "head", "list", "put", "delete", "copy")
READ = """
import sys
from builders import EmbeddingReader
reader = EmbeddingReader(sys.argv[1], "train", batch_size=64, cache_dir=sys.argv[2])
assert sum(len(batch["text"]) for batch in reader) == int(sys.argv[3])
"""


def put_images(raw: str, count: int) -> None:
    """Images of 32 x 32 pixels, in two classes, all in train."""
    from io import BytesIO

    from PIL import Image

    folder = location(raw)
    for i in range(count):
        data = BytesIO()
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (32, 32, 3), np.uint8)).save(data, "PNG")
        (folder / "train" / ("red", "blue")[i % 2] / f"{i:06}.png").write_bytes(data.getvalue())


def steps(bucket: str, count: int, per_shard: int, cache: str) -> Iterator[tuple[str, list[str]]]:
    """Name and arguments of what is measured."""
    out, raw = f"{bucket}/data", f"{bucket}/raw"
    where = ["folder", "--out", out]
    for again in ("", " again"):
        encode = ["-m", "preprocess", "encode", *where, "--raw", raw, "--model", "tiny-clip", "--workers", "2"]
        yield f"encode{again}", encode
        yield f"pack{again}", ["-m", "preprocess", "shards", *where, "--per-shard", str(per_shard)]
        yield f"evaluate{again}", ["-m", "dataset_cards", "evaluate", *where]
        yield f"card{again}", ["-m", "dataset_cards", "card", *where]
        yield f"verify{again}", ["-m", "builders", "verify", f"{out}/CLIP-Folder"]
        yield f"read{again}", ["-c", READ, f"{out}/CLIP-Folder", cache, str(count)]


def main() -> None:
    """Prints the table and writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--per-shard", type=int, default=500)
    options = parser.parse_args()
    counted: dict[str, dict[str, int]] = {}
    with (
        tempfile.TemporaryDirectory() as cache,
        s3_server() as bucket,
        Proxy.before(os.environ["AWS_ENDPOINT_URL"]) as proxy,
    ):
        put_images(f"{bucket}/raw", options.samples)
        for name, arguments in steps(bucket, options.samples, options.per_shard, cache):
            proxy.counts.clear()
            done = subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{name}: {done.stdout}{done.stderr}")
            counted[name] = {kind: proxy.counts[kind] for kind in KINDS if proxy.counts[kind]}
    rows = [(name, *(counts.get(kind, 0) for kind in KINDS), sum(counts.values())) for name, counts in counted.items()]
    print(table([("step", *KINDS, "all"), *rows], right=frozenset(range(1, len(KINDS) + 2))))
    settings = {"samples": options.samples, "per_shard": options.per_shard}
    write_json(RESULTS, {**settings, "requests": counted})


if __name__ == "__main__":
    main()
