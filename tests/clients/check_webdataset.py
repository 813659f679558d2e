"""`webdataset` from PyPI reads the tars: every sample, in order, with its own decoders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import webdataset

REQUIREMENTS = ("webdataset", "numpy")

folder, expected = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
tars = [line.split(",") for line in (folder / "splits.csv").read_text().splitlines()[1:]]
for split, samples in expected.items():
    urls = [str(folder / tar) for tar, of_tar in tars if of_tar == split]
    rows = list(webdataset.WebDataset(urls, shardshuffle=False).decode())
    assert [row["__key__"] for row in rows] == list(samples)
    for row in rows:
        sample = samples[row["__key__"]]
        assert list(row["npy"].shape) == sample["shape"]
        assert np.isclose(row["npy"].astype(np.float64).sum(), sample["sum"])
        assert (row["txt"], row["json"]) == (sample["text"], sample["meta"])
