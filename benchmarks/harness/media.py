"""Videos and models that benchmarks make for themselves: nothing is downloaded, and every run has the same input."""

from __future__ import annotations

import os
import shutil
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

RATE = 25
OPTIONS: dict[str, dict[str, str]] = {
    "libx264": {"preset": "medium", "bf": "3", "crf": "23"},
    "libx265": {"preset": "fast", "crf": "26", "x265-params": "log-level=none"},
    "libvpx-vp9": {"deadline": "realtime", "cpu-used": "6", "crf": "33", "b": "0"},
    "libsvtav1": {"preset": "9", "crf": "35"},
}
DISTINCT = 20


def render(
    path: Path, seconds: int, height: int, width: int, gop: int = 250, codec: str = "libx264", seed: int = 0
) -> None:
    """A clip of 25 frames a second with drifting texture, a moving box and film grain: motion and detail to code."""
    import av
    import numpy as np

    os.environ.setdefault("SVT_LOG", "1")  # errors only
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 60, width // 8 + 60, 3), dtype=np.uint8)
    texture = coarse.repeat(8, 0).repeat(8, 1)
    grain = random.integers(0, 24, (4, height, width, 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=RATE, options=OPTIONS[codec])
        stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
        stream.codec_context.gop_size = gop
        for number in range(RATE * seconds):
            down, right = number % 200, 2 * number % 400
            image = texture[down : down + height, right : right + width] // 2 + 40
            left = 5 * number % (width - 64)
            image[height // 3 : height // 3 + 64, left : left + 64] = (200, 60, 30)
            frame = av.VideoFrame.from_ndarray(image + grain[number % 4], format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def make_clips(folder: Path, count: int, seconds: int = 10, height: int = 256, width: int = 340) -> None:
    """`count` clips with GOP 250, x264's own; only the first `DISTINCT` are rendered, the others are copies."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        path = folder / f"clip{i:05d}.mp4"
        if path.exists():
            continue
        if i < DISTINCT:
            render(path, seconds, height, width, seed=i)
        else:
            shutil.copyfile(folder / f"clip{i % DISTINCT:05d}.mp4", path)


def make_clip_model(folder: Path, size: str = "B/32") -> Path:
    """CLIP from its config, with random weights: speed does not depend on them.

    Args:
        folder: Where it is saved.
        size: `B/32` or `L/14`, or `null`: one layer of 16 on 32 x 32 pixels, which costs next to nothing.
    """
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    torch.manual_seed(0)
    vision: dict[str, int] = {}
    text: dict[str, int] = {}
    if size == "L/14":
        vision = {
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "patch_size": 14,
        }
    elif size == "null":
        vision = {
            "hidden_size": 16,
            "intermediate_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 32,
            "patch_size": 32,
        }
        text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    dim = {"B/32": 512, "L/14": 768, "null": 16}[size]
    config = CLIPConfig(vision_config={**vision, "projection_dim": dim}, text_config=text, projection_dim=dim)
    CLIPModel(config).eval().save_pretrained(folder)
    edge = vision.get("image_size", 224)
    CLIPImageProcessor(size={"shortest_edge": edge}, crop_size={"height": edge, "width": edge}).save_pretrained(folder)
    return folder


def random_vae(device: str, dtype: torch.dtype) -> Any:
    """CogVideoX's encoder of latents with random weights, ready to encode; it has no decoder."""
    import torch
    from diffusers import AutoencoderKLCogVideoX
    from diffusers.utils import logging

    logging.set_verbosity_error()  # that the cast to bfloat16 is for the whole model
    torch.manual_seed(0)
    kind: Any = AutoencoderKLCogVideoX  # diffusers has no types
    vae = kind()
    vae.decoder = None
    return vae.to(device, dtype).eval()


def make_images(folder: Path, count: int, classes: int = 20) -> Path:
    """`count` different images of 32 x 32 in folders of classes: media that cost next to nothing to decode."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class {label}").mkdir(parents=True)
    for i in range(count):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"class {i % classes}" / f"image{i:07d}.jpg", quality=50)
    return folder


def repeat_video(source: Path, target: Path, times: int) -> Path:
    """The packets of a video one after the other, `times` times: a long video without encoding one."""
    import av

    with av.open(str(target), "w") as output:
        stream: Any = None
        for number in range(times):
            with av.open(str(source)) as container:
                one = container.streams.video[0]
                stream = stream or output.add_stream_from_template(one)
                length = one.duration or 0
                for packet in container.demux(one):
                    if packet.pts is None or packet.dts is None:
                        continue
                    packet.pts += number * length
                    packet.dts += number * length
                    packet.stream = stream
                    output.mux(packet)
    return target
