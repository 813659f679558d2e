"""ActionFormer's configuration reader and both of its datasets for `.npy`, unmodified, on our folder.

Its C++ extension for non-maximum suppression, which is compiled at installation, is not used by a loader.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import numpy as np
from exported import builders, read_samples

REQUIREMENTS = ("pandas", "joblib", "h5py", "pyyaml")
REPOSITORY = "happyharrycn/actionformer_release"
INHERIT = True

folder, checkout = sys.argv[1], sys.argv[3]
sys.path.insert(0, checkout)
sys.modules["nms_1d_cpu"] = ModuleType("nms_1d_cpu")
from libs.core import load_config  # noqa: E402
from libs.datasets import make_data_loader, make_dataset  # noqa: E402

SUBSETS = {"train": "training", "val": "validation", "test": "test"}
samples = read_samples(folder)
with TemporaryDirectory() as temporary:
    out = Path(temporary, "export")
    builders("features", folder, "--layout", "actionformer", "--out", out)
    os.chdir(out)
    cfg = load_config("dataset.yaml")
    assert cfg["model"]["input_dim"] == next(iter(samples.values())).vectors.shape[1]
    for name in (cfg["dataset_name"], "anet"):
        for split, subset in SUBSETS.items():
            dataset = make_dataset(name, False, [subset], **cfg["dataset"])
            mine = {key: sample for key, sample in samples.items() if sample.split == split}
            assert {video["id"] for video in dataset.data_list} == set(mine)
            for video in (dataset[i] for i in range(len(dataset))):
                sample = mine[video["video_id"]]
                np.testing.assert_array_equal(video["feats"].numpy().T, sample.vectors.astype(np.float32))
                assert (video["fps"], video["duration"]) == (1.0, sample.meta["duration"])
                windows = sorted({tuple(window) for _, window in sample.windows})
                if not windows:
                    assert video["segments"] is None
                    continue
                # Back from its grid to seconds: a row at t seconds stands for [t, t + 1).
                grid = (video["segments"].numpy() + 0.5 * video["feat_num_frames"]) * video["feat_stride"]
                np.testing.assert_allclose(grid / video["fps"], windows)
    training = make_dataset(cfg["dataset_name"], True, cfg["train_split"], **cfg["dataset"])
    loader = make_data_loader(training, False, None, 1, 1)
    assert sum(len(batch) for batch in loader) == sum(sample.split == "train" for sample in samples.values())
