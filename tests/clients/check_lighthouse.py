"""Lighthouse's options and `StartEndDataset`, unmodified: its dataset `activitynet` with features `clip`, as it trains.

The features of the queries are made here: they come from its text encoder, not from a dataset of videos.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from exported import builders, read_samples, write_query_features

REQUIREMENTS = ("pandas", "tqdm", "easydict", "pyyaml")
REPOSITORY = "line/lighthouse"
INHERIT = True

folder, checkout = sys.argv[1], Path(sys.argv[3])
sys.path[:0] = [str(checkout / "training"), str(checkout)]
from config import BaseOptions  # noqa: E402
from dataset import StartEndDataset, start_end_collate  # noqa: E402

samples = read_samples(folder)
with TemporaryDirectory() as temporary:
    out = Path(temporary, "export")
    builders("features", folder, "--layout", "lighthouse", "--out", out)
    os.chdir(checkout)  # its configurations are named relative to it
    options = BaseOptions("moment_detr", "activitynet", "clip", None, None)
    options.parse()
    opt = options.option
    os.chdir(out)  # and so are data and features
    assert opt.clip_length == json.loads(Path("source.json").read_text())["clip_length_s"]
    assert opt.v_feat_dim == next(iter(samples.values())).vectors.shape[1] + 2
    seen = 0
    for split, path in (("train", opt.train_path), ("val", opt.eval_path)):
        lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
        texts = Path(temporary, split)
        write_query_features(texts, [line["qid"] for line in lines], opt.t_feat_dim)
        dataset = StartEndDataset(
            dset_name=opt.dset_name,
            domain=None,
            data_path=path,
            v_feat_dirs=opt.v_feat_dirs,
            a_feat_dirs=opt.a_feat_dirs,
            q_feat_dir=str(texts),
            v_feat_types=opt.v_feat_types,
            a_feat_types=opt.a_feat_types,
            max_q_l=opt.max_q_l,
            max_v_l=opt.max_v_l,
            ctx_mode=opt.ctx_mode,
            clip_len=opt.clip_length,
            max_windows=opt.max_windows,
            span_loss_type=opt.span_loss_type,
        )
        wanted = [(key, *one) for key, sample in samples.items() if sample.split == split for one in sample.windows]
        found = [(line["vid"], line["query"], line["relevant_windows"][0]) for line in dataset.data]
        assert sorted(found) == sorted(wanted)
        items = [dataset[number] for number in range(len(dataset))]
        for item in items:
            rows = samples[item["meta"]["vid"]].vectors.astype(np.float64)
            picked = [min(second, len(rows) - 1) for second in range(1, len(rows) + 1, 2)]  # the middles of [0, 2), …
            unit = rows[picked] / np.linalg.norm(rows[picked], axis=1, keepdims=True)
            clips = item["model_inputs"]["video_feat"].numpy()
            assert clips.shape == (len(picked), opt.v_feat_dim)
            np.testing.assert_allclose(clips[:, :-2], unit, atol=1e-4)
        _, batch = start_end_collate(items)
        assert batch["video_feat"][0].shape[0] == len(items)
        seen += len(items)
    assert seen
