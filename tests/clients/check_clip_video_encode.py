"""clip-video-encode's unmodified `EmbeddingWebDatasetReader`: every split, with texts and metadata."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

REQUIREMENTS = ("webdataset", "open_clip_torch")
REPOSITORY = "iejMac/clip-video-encode"
INHERIT = True

folder, expected, checkout = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()), Path(sys.argv[3])
spec = importlib.util.spec_from_file_location("reader", checkout / "clip_video_encode/dataset/dataset_reader.py")
assert spec is not None
assert spec.loader is not None
reader = importlib.util.module_from_spec(spec)
spec.loader.exec_module(reader)

tars = [line.split(",") for line in (folder / "splits.csv").read_text().splitlines()[1:]]
for split, samples in expected.items():
    urls = [str(folder / tar) for tar, of_tar in tars if of_tar == split]
    # As its own evaluation calls it; larger batches of metadata with nulls are not possible.
    batches = list(reader.EmbeddingWebDatasetReader(urls, 200, 1, 1, enable_text=True, enable_meta=False))
    assert len(batches) == len(samples)
    for batch, sample in zip(batches, samples.values(), strict=True):
        vectors = batch["embeddings"][0].numpy().astype(np.float64)
        n_frames = sample["shape"][0]
        assert vectors.shape == (200, sample["shape"][1])
        assert batch["zero_mask"][0].tolist() == [1.0] * n_frames + [0.0] * (200 - n_frames)
        assert np.isclose(vectors.sum(), sample["sum"])
        assert batch["text"] == [sample["text"]]
        assert batch["text_tokens"].shape == (1, 77)

urls = [str(folder / tar) for tar, _ in tars]
everything = reader.create_embeddingwebdataset(urls, standard_seq_len=-1, enable_meta=True)
assert [item["meta"] for item in everything] == [s["meta"] for samples in expected.values() for s in samples.values()]
# As on the dataset card, which imports it from `clip_video_encode.dataset`.
batches = list(reader.EmbeddingWebDatasetReader(urls, standard_seq_len=200, batch_size=64, num_prepro_workers=2))
assert sum(len(batch["text"]) for batch in batches) == sum(map(len, expected.values()))
assert all(batch["embeddings"].shape[1] == batch["zero_mask"].shape[1] == 200 for batch in batches)
