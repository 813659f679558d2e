"""ttt-video-dit's `PreembeddingDataset` and data module, unmodified: the training JSONL of every stage of `long-demo`.

The training set is made here by our command, as a person would; the dataset that is handed in is not used.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

REQUIREMENTS = ("decord==0.6.0",)
REPOSITORY = "test-time-training/ttt-video-dit"
INHERIT = True

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, sys.argv[3])
from ttt.datasets.preembedding_dataset import PreembeddingDataModule, PreembeddingDataset  # noqa: E402


def check_stage(folder: Path, seconds: int) -> int:
    jsonl = folder / f"train_{seconds:02d}s.jsonl"
    rows = [json.loads(line) for line in jsonl.read_text("utf-8").splitlines()]
    dataset = PreembeddingDataset(str(folder), 2.0, str(jsonl))
    assert len(dataset) == len(rows) > 0
    for number, row in enumerate(rows):
        item = dataset.get_data_by_index(number)  # `dataset[number]` would swallow an error
        moments = torch.load(folder / row["vid_emb"], weights_only=True)
        latent_frames = 16 * seconds // 4 + 1
        assert moments.shape == (latent_frames, 32, 8, 12)
        assert item["vae_emb"].shape == (latent_frames, 16, 8, 12)
        assert item["vae_emb"].dtype == torch.bfloat16
        # Scaled by the loader, not by us: a draw around the mean, with the deviation that the log-variance says.
        mean, logvar = moments.float().chunk(2, dim=1)
        noise = (item["vae_emb"].float() / 2.0 - mean) / torch.exp(0.5 * logvar)
        assert abs(noise.mean()) < 0.05
        assert abs(noise.std() - 1) < 0.05
        texts = [torch.load(folder / name, weights_only=True) for name in row["text_chunk_emb"]]
        assert item["txt_scene_embs"].shape == (seconds // 3, 493, 32)
        assert torch.equal(item["txt_scene_embs"], torch.stack(texts))
    module = PreembeddingDataModule(str(folder), 2.0, str(jsonl), effective_rank=0, effective_world_size=1)
    batches = list(module.create_dataloader(batch_size=1, num_workers=1))
    assert len(batches) == len(rows)
    assert {tuple(batch["txt_scene_embs"].shape) for batch in batches} == {(1, seconds // 3, 493, 32)}
    return len(rows)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "preprocess", "long-video", "demo", "--out", temporary, "--seconds", "3,9,18"]
        subprocess.run(command, cwd=ROOT, check=True)
        # Its sampler asks for the process group that its training has.
        torch.distributed.init_process_group("gloo", f"file://{temporary}/group", rank=0, world_size=1)
        counts = {seconds: check_stage(Path(temporary) / "long-demo", seconds) for seconds in (3, 9, 18)}
        assert counts == {3: 12, 9: 3, 18: 1}, counts
        torch.distributed.destroy_process_group()
