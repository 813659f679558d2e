"""Daft: its frames of one a second, a batched class with the model, Parquet. `videos model out bf16|fp32 seconds`"""

import os
import sys
from pathlib import Path

os.environ["DAFT_PROGRESS_BAR"] = "0"

import daft
import numpy as np
import torch
from daft import DataType
from daft.functions import video_file, video_frames
from transformers import CLIPVisionModelWithProjection

videos, model, out, precision, seconds = sys.argv[1:]
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1) * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1) * 255


@daft.cls(max_concurrency=1)
class Clip:
    """The vision tower."""

    def __init__(self):
        self.dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        self.clip = CLIPVisionModelWithProjection.from_pretrained(model).eval().to(self.dtype)

    @daft.method.batch(return_dtype=DataType.embedding(DataType.float32(), 512), batch_size=32)
    def __call__(self, images):
        """Frames of 224 pixels high, cropped in the middle, to vectors."""
        pixels = torch.from_numpy(np.stack(images.to_pylist())).permute(0, 3, 1, 2)
        left = (pixels.shape[-1] - 224) // 2
        values = (pixels[..., left : left + 224].float() - MEAN) / STD
        with torch.inference_mode():
            return list(self.clip(pixel_values=values.to(self.dtype)).image_embeds.float().numpy())


# By expression: `daft.read_video_frames` waits for itself without end on a machine of two cores (0.7.26).
paths = daft.from_glob_path(f"{videos}/*.mp4")
found = video_frames(video_file(paths["path"]), width=298, height=224, sample_interval_seconds=1.0)
frames = paths.into_batches(8).select("path", found.alias("frame")).explode("frame")
rows = frames.select("path", frames["frame"]["frame_time"], Clip()(frames["frame"]["data"]).alias("vector"))
rows.write_parquet(out)
assert daft.read_parquet(out).count_rows() == int(seconds) * len(list(Path(videos).glob("*.mp4")))
