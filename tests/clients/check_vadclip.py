"""VadCLIP's `UCFDataset` and `XDDataset`, unmodified: our lists and features, in training and in test mode."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from exported import builders, read_samples
from torch.utils.data import DataLoader

REQUIREMENTS = ("pandas",)
REPOSITORY = "nwpu-zxr/VadCLIP"
INHERIT = True

folder, checkout = sys.argv[1], Path(sys.argv[3])
sys.path.insert(0, str(checkout / "src"))
from utils.dataset import UCFDataset, XDDataset  # noqa: E402

LENGTH = 256  # its option --visual-length
samples = read_samples(folder)
with TemporaryDirectory() as temporary:
    builders("features", folder, "--layout", "vadclip", "--out", Path(temporary, "export"))
    os.chdir(Path(temporary, "export"))
    for split in ("train", "val", "test"):
        labeled = {k: s for k, s in samples.items() if s.split == split and s.meta["label"] is not None}
        for test_mode in (False, True):
            for kind in (UCFDataset, XDDataset):
                dataset = kind(LENGTH, f"{split}.csv", test_mode, {})
                keys = [Path(path).name.removesuffix("__0.npy") for path in dataset.df["path"]]
                assert sorted(keys) == sorted(labeled)
                for key, (features, label, length) in zip(keys, (dataset[i] for i in range(len(keys))), strict=True):
                    rows = labeled[key].vectors
                    assert (label, length) == (labeled[key].meta["label"], len(rows))
                    np.testing.assert_array_equal(features[: len(rows)].numpy(), rows.astype(np.float32))
                    assert features.shape == (LENGTH, rows.shape[1])
                    assert not features[len(rows) :].any()
                batch = next(iter(DataLoader(dataset, batch_size=len(keys))))
                assert batch[0].shape[:2] == (len(keys), LENGTH)
