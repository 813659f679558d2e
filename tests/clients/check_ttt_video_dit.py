"""ttt-video-dit, unmodified: its data module and two steps of training on every stage of `long-demo`, on the CPU.

The model is its `CogVideoX` with the TTT layers of the paper, small, and in PyTorch instead of its GPU kernels
(`use_kernel`); `train.py` itself needs CUDA. The training sets are made here by our commands, as a user would:
`long-demo`, and what the guide starts from (folders of clips of 9 and 18 s at 16 frames per second, a JSONL of scene
flags and texts). The dataset handed in is not used.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import torch

REQUIREMENTS = ("decord==0.6.0", "einops", "wandb")
REPOSITORY = "test-time-training/ttt-video-dit"
INHERIT = True

ROOT = Path(__file__).resolve().parent.parent.parent
GUIDE_SIZE = (32, 48)
os.environ["TORCHDYNAMO_DISABLE"] = "1"  # `torch.compile` on every method would take minutes
sys.path.insert(0, sys.argv[3])
from ttt.datasets.preembedding_dataset import PreembeddingDataModule, PreembeddingDataset  # noqa: E402
from ttt.models.cogvideo.model import CogVideoX  # noqa: E402
from ttt.models.configs import ModelConfig  # noqa: E402


def check_stage(folder: Path, seconds: int, size: tuple[int, int] = (64, 96)) -> int:
    height, width = size[0] // 8, size[1] // 8
    jsonl = folder / f"train_{seconds:02d}s.jsonl"
    rows = [json.loads(line) for line in jsonl.read_text("utf-8").splitlines()]
    dataset = PreembeddingDataset(str(folder), 2.0, str(jsonl))
    assert len(dataset) == len(rows) > 0
    for number, row in enumerate(rows):
        item = dataset.get_data_by_index(number)  # `dataset[number]` would swallow an error
        moments = torch.load(folder / row["vid_emb"], weights_only=True)
        latent_frames = 16 * seconds // 4 + 1
        assert moments.shape == (latent_frames, 32, height, width)
        assert item["vae_emb"].shape == (latent_frames, 16, height, width)
        assert item["vae_emb"].dtype == torch.bfloat16
        # Scaled by the loader, not by us: a draw around the mean, with the deviation that the log-variance says.
        mean, logvar = moments.float().chunk(2, dim=1)
        noise = (item["vae_emb"].float() / 2.0 - mean) / torch.exp(0.5 * logvar)
        assert abs(noise.mean()) < 0.05
        assert abs(noise.std() - 1) < 0.05
        texts = [torch.load(folder / name, weights_only=True) for name in row["text_chunk_emb"]]
        assert item["txt_scene_embs"].shape[::2] == (seconds // 3, 32)
        assert torch.equal(item["txt_scene_embs"], torch.stack(texts))
    module = PreembeddingDataModule(str(folder), 2.0, str(jsonl), effective_rank=0, effective_world_size=1)
    batches = list(module.create_dataloader(batch_size=1, num_workers=1))
    assert len(batches) == len(rows)
    assert len({tuple(batch["txt_scene_embs"].shape) for batch in batches}) == 1
    train(batches[0], seconds, height, width)
    return len(rows)


def train(batch: dict[str, torch.Tensor], seconds: int, height: int, width: int) -> None:
    """Two steps on one batch as in `train.py`, from the same noise: the loss goes down."""
    config = ModelConfig(
        **{"model_dim": 64, "num_heads": 2, "num_layers": 1, "text_dim": 32, "time_embed_dim": 32},
        **{"ssm_layer": "ttt_mlp", "mini_batch_size": 64, "adapter_method": "sft"},
        **{"latent_height": height // 2, "latent_width": width // 2, "compressed_num_frames": 4 * seconds + 1},
    )
    torch.manual_seed(0)
    model = CogVideoX(config, effective_rank=0, effective_world_size=1)
    model.init_ssm_weights()
    for layer in model.dit.layers:
        layer.seq_modeling_block.ssm.ttt.use_kernel = False
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(2):
        optimizer.zero_grad()
        torch.manual_seed(1)
        loss = model(batch["vae_emb"].float(), batch["txt_scene_embs"].float()).mean()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        assert norm > 0
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0], losses
    print(f"{seconds} s: trained on {tuple(batch['txt_scene_embs'].shape)}, loss {losses[0]:.3f} to {losses[1]:.3f}")


def write_clip(path: Path, seconds: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=16)
        stream.height, stream.width = GUIDE_SIZE
        for frame in range(16 * seconds + 1):
            pixels = np.full((*GUIDE_SIZE, 3), frame % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def import_guide_set(root: Path, models: Path, seconds: int) -> Path:
    """Two clips of one folder, each a data point, through our commands; returns the training set."""
    clips, count = root / f"clips{seconds}", seconds // 3
    for number in range(2):
        write_clip(clips / "episode" / f"video_sample_{number}.mp4", seconds)
    flags = {"scene_start": [True] + [False] * (count - 1), "scene_end": [False] * (count - 1) + [True]}
    line = json.dumps({**flags, **{f"text_{i}": f"a red circle {i}" for i in range(count)}})
    (root / "lines.jsonl").write_text(f"{line}\n" * 2, encoding="utf-8")
    folder = root / f"set{seconds}"
    for step, *more in (
        ("import", "--raw", clips, "--annotations", root / "lines.jsonl", "--size", "x".join(map(str, GUIDE_SIZE))),
        ("latents", "--vae", models, "--device", "cpu"),
        ("text", "--model", models, "--device", "cpu"),
        ("jsonl", "--seconds", seconds),
        ("check",),
    ):
        command = [sys.executable, "-m", "preprocess", "long-video", step, folder, *more]
        subprocess.run(list(map(str, command)), cwd=ROOT, check=True)
    return folder


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "preprocess", "long-video", "demo", "--out", temporary, "--seconds", "3,9,18"]
        subprocess.run(command, cwd=ROOT, check=True)
        # Its sampler asks for the process group that its training has.
        torch.distributed.init_process_group("gloo", f"file://{temporary}/group", rank=0, world_size=1)
        counts = {seconds: check_stage(Path(temporary) / "long-demo", seconds) for seconds in (3, 9, 18)}
        assert counts == {3: 12, 9: 3, 18: 1}, counts
        models = Path(temporary) / "long-demo" / "models"
        for seconds in (9, 18):
            assert check_stage(import_guide_set(Path(temporary), models, seconds), seconds, GUIDE_SIZE) == 2
        torch.distributed.destroy_process_group()
