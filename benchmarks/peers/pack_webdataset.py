"""Triples to shards as LAION's create_shards does, with webdataset's ShardWriter: `processed out samples_per_tar`."""

import json
import random
import sys
from pathlib import Path

import numpy as np
import webdataset as wds

processed, out, per_shard = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
with wds.ShardWriter(str(out / "ds_%06d.tar"), maxsize=1e12, maxcount=per_shard, verbose=0) as sink:
    for split in ("train", "val", "test"):
        folder = processed / split
        names = {path.stem for path in folder.glob("*.txt")} & {path.stem for path in folder.glob("*.npy")}
        keys = sorted(names)
        random.Random(0).shuffle(keys)
        for key in keys:
            sample = {
                "__key__": key,
                "npy": np.load(folder / f"{key}.npy"),
                "txt": (folder / f"{key}.txt").read_text(encoding="utf-8"),
                "json": json.dumps(json.loads((folder / f"{key}.json").read_text(encoding="utf-8"))),
            }
            sink.write(sample)
        if keys:
            sink.next_stream()
