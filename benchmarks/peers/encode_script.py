"""The strong script: what a good engineer writes by hand in 40 lines. `videos model out bf16|fp32`

Two processes with one thread each, sequential PyAV, batches of 32 frames across videos.
"""

import multiprocessing
import os
import sys
from pathlib import Path

import av
import numpy as np
import torch
from torchvision.transforms.v2 import functional
from transformers import CLIPVisionModelWithProjection

MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1) * 255
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1) * 255


def frames_of(path):
    """One frame a second, resized and cropped: uint8 `(3, 224, 224)`."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_count = 1
        for i, frame in enumerate(container.decode(video=0)):
            if i % 25 == 0:
                pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
                resized = functional.resize(pixels, [224], functional.InterpolationMode.BICUBIC, antialias=True)
                yield functional.center_crop(resized, [224, 224])


def work(paths, model, out, dtype):
    """Encodes some of the videos."""
    torch.set_num_threads(1)
    clip = CLIPVisionModelWithProjection.from_pretrained(model).eval().to(dtype)
    rows, waiting = {path: [] for path in paths}, []

    @torch.inference_mode()
    def flush():
        batch = (torch.stack([pixels for _, pixels in waiting]).float() - MEAN) / STD
        for (path, _), row in zip(waiting, clip(pixel_values=batch.to(dtype)).image_embeds, strict=True):
            rows[path].append(row.half().float().numpy())
        waiting.clear()

    for path in paths:
        for pixels in frames_of(path):
            waiting.append((path, pixels))
            if len(waiting) == 32:
                flush()
    if waiting:
        flush()
    for path, vectors in rows.items():
        np.save(Path(out, path.stem + ".npy"), np.stack(vectors).astype(np.float16))


if __name__ == "__main__":
    videos, model, out, precision = sys.argv[1:]
    paths = sorted(Path(videos).glob("*.mp4"))
    cores = len(os.sched_getaffinity(0))
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=work, args=(paths[i::cores], model, out, dtype)) for i in range(cores)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(worker.exitcode == 0 for worker in workers)
    assert len(list(Path(out).glob("*.npy"))) == len(paths)
