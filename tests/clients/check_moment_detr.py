"""Moment-DETR's `StartEndDataset`, unmodified, reads our features and queries with the defaults of its own options.

The features of the queries are made here: they come from its text encoder, not from a dataset of videos.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from exported import builders, read_samples, write_query_features

REQUIREMENTS = ("pandas", "tqdm")
REPOSITORY = "jayleicn/moment_detr"
INHERIT = True

folder, checkout = sys.argv[1], sys.argv[3]
sys.path.insert(0, checkout)
from moment_detr.start_end_dataset import StartEndDataset, start_end_collate  # noqa: E402

samples = read_samples(folder)
with TemporaryDirectory() as temporary:
    out = Path(temporary, "export")
    builders("features", folder, "--layout", "moment-detr", "--out", out, "--clip-length", 1)
    seen = 0
    for split in ("train", "val", "test"):
        path = out / f"subs_train/{split}.jsonl"
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        write_query_features(Path(temporary, split), [line["qid"] for line in lines], 512)
        dataset = StartEndDataset(
            dset_name="hl",
            data_path=str(path),
            v_feat_dirs=[str(out / "clip_features")],
            q_feat_dir=str(Path(temporary, split)),
            clip_len=1,
            ctx_mode="video_tef",
        )
        wanted = [(key, *one) for key, sample in samples.items() if sample.split == split for one in sample.windows]
        found = [(line["vid"], line["query"], line["relevant_windows"][0]) for line in dataset.data]
        assert sorted(found) == sorted(wanted)
        items = []
        for number, (key, _, (start, end)) in enumerate(found):
            clips = dataset._get_video_feat_by_vid(key).numpy()
            rows = samples[key].vectors.astype(np.float64)
            np.testing.assert_allclose(clips, rows / np.linalg.norm(rows, axis=1, keepdims=True), atol=1e-4)
            if len(rows) - (end - start) < 2:
                continue  # it draws two clips outside of the window, and fails where there are none
            item = dataset[number]
            center, width = item["model_inputs"]["span_labels"][0].tolist()
            np.testing.assert_allclose([center, width], [(start + end) / 2 / len(rows), (end - start) / len(rows)])
            assert item["model_inputs"]["video_feat"].shape == (len(rows), 514)
            items.append(item)
        seen += len(items)
        if items:
            _, batch = start_end_collate(items)
            assert batch["video_feat"][0].shape[0] == len(items)
    assert seen
