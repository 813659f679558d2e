"""LAION temporal-embedding-aggregation's `get_wds_dataset`, unmodified: it wants `sizes.json` and npy, txt, json."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np

REQUIREMENTS = ("webdataset==0.2.48", "open_clip_torch", "embedding_reader", "pandas", "braceexpand")
REPOSITORY = "LAION-AI/temporal-embedding-aggregation"
INHERIT = True

folder, expected, checkout = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
sys.path.insert(0, str(checkout / "src"))
from training.data import get_wds_dataset  # noqa: E402

tars = [line.split(",") for line in (folder / "splits.csv").read_text().splitlines()[1:]]
for split, samples in expected.items():
    names = [Path(tar).stem.removeprefix("ds_") for tar, of_tar in tars if of_tar == split]
    shards = (
        str(folder / f"ds_{{{names[0]}..{names[-1]}}}.tar") if len(names) > 1 else str(folder / f"ds_{names[0]}.tar")
    )
    args = Namespace(
        train_data=shards, val_data=shards, sequence_length=50, batch_size=2, workers=1, world_size=1, seed=0
    )
    for is_train in (False, True):
        info = get_wds_dataset(args, lambda emb: emb, is_train=is_train)
        loader = info.dataloader
        rounded = -(-len(samples) // 2) * 2 if is_train else len(samples)
        assert loader.num_samples == rounded, "the number of samples comes from sizes.json"
        seen: dict[str, float] = {}
        for vectors, masks, tokens, metas in loader:
            assert vectors.shape[1:] == (50, next(iter(samples.values()))["shape"][1])
            assert masks.shape[1:] == (50,)
            assert tokens.shape[1:] == (77,)
            for array, meta in zip(vectors, metas, strict=True):
                seen[json.loads(meta)["key"]] = float(array.numpy().astype(np.float64).sum())
        ours = {sample["meta"]["key"]: sample["sum"] for sample in samples.values()}
        assert seen.keys() <= ours.keys()
        assert all(np.isclose(total, ours[key]) for key, total in seen.items())
        if not is_train:
            assert list(seen) == list(ours)
