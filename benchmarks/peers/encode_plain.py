"""Plain PyAV and transformers, one video after the other, in fp32: `videos model out`."""

import sys
from pathlib import Path

import av
import numpy as np
import torch
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

videos, model, out = sys.argv[1:]
processor = CLIPImageProcessor.from_pretrained(model)
clip = CLIPVisionModelWithProjection.from_pretrained(model).eval()
for path in sorted(Path(videos).glob("*.mp4")):
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i % 25 == 0]
    with torch.inference_mode():
        rows = clip(**processor(images=frames, return_tensors="pt")).image_embeds
    np.save(Path(out) / (path.stem + ".npy"), rows.half().numpy())
