"""End to end: videos per second from files to triples, beside what people write by hand.

    python benchmarks/encode.py [--clips 40] [--runs 3] [--peer /path/to/python/with/clip-video-encode]

Clips of 10 s, 340 x 256, 25 frames a second, sampled at 1 frame a second; ViT-B/32 with random weights, made from its
config, so that nothing is downloaded. Each run is a whole process, the model's start included. The baseline decodes
every frame with PyAV, puts one frame a second through the model's own processor, and encodes each video as a batch in
fp32. A peer's time is taken when its interpreter is named.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

BASELINE = """
import sys
from pathlib import Path
import av, numpy, torch
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
videos, model, out = sys.argv[1:]
processor = CLIPImageProcessor.from_pretrained(model)
clip = CLIPVisionModelWithProjection.from_pretrained(model).eval()
for path in sorted(Path(videos).glob("*.mp4")):
    with av.open(str(path)) as container:
        frames = [f.to_ndarray(format="rgb24") for i, f in enumerate(container.decode(video=0)) if i % 25 == 0]
    with torch.inference_mode():
        rows = clip(**processor(images=frames, return_tensors="pt")).image_embeds
    numpy.save(Path(out) / (path.stem + ".npy"), rows.half().numpy())
"""

PEER = """
import sys
from pathlib import Path
from clip_video_encode import clip_video_encode
videos, out = sys.argv[1:]
clip_video_encode([str(p) for p in sorted(Path(videos).glob("*.mp4"))], out, take_every_nth=25, frame_workers=2)
"""


def make_clips(folder: Path, count: int) -> None:
    """Drifting noise compresses badly, as film does; GOP 250 is x264's own."""
    import av
    import numpy as np

    rng = np.random.default_rng(0)
    for i in range(count):
        field = rng.integers(0, 256, (32, 96, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        with av.open(str(folder / f"clip{i:03d}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "veryfast", "crf": "28"})
            stream.width, stream.height, stream.pix_fmt = 340, 256, "yuv420p"
            for t in range(250):
                pixels = np.ascontiguousarray(field[:256, t : t + 340])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
            container.mux(stream.encode(None))


def make_model(folder: Path) -> None:
    """ViT-B/32 from its config; speed does not depend on the weights."""
    import torch
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    torch.manual_seed(0)
    CLIPModel(CLIPConfig()).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)


def main() -> None:
    """Times the commands in turn and prints rates and ratios, run by run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer", help="Python in which clip_video_encode is installed")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        videos, model = base / "videos", base / "model"
        videos.mkdir()
        make_clips(videos, arguments.clips)
        make_model(model)
        ours = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", str(videos), "--model", str(model)]
        commands = {
            "ours, auto precision": [*ours, "--out", "OUT"],
            "ours, fp32": [*ours, "--out", "OUT", "--precision", "fp32"],
            "plain PyAV + transformers": [sys.executable, "-c", BASELINE, str(videos), str(model), "OUT"],
        }
        if arguments.peer:
            commands["clip-video-encode"] = [arguments.peer, "-c", PEER, str(videos), "OUT"]
        rates: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(arguments.runs):
            for i, (name, command) in enumerate(commands.items()):
                out = base / f"out{run}_{i}"
                out.mkdir()
                began = time.perf_counter()
                subprocess.run(
                    [str(out) if word == "OUT" else word for word in command],
                    cwd=ROOT,
                    check=True,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
                rates[name].append(arguments.clips / (time.perf_counter() - began))
        baseline = rates["plain PyAV + transformers"]
        print(f"{arguments.clips} clips of 10 s, {arguments.runs} runs, whole processes")
        print(f"{'':28}{'videos/s: min':>14}{'median':>9}{'max':>9}{'ratio to plain, run by run':>30}")
        for name, values in rates.items():
            ratios = ", ".join(f"{a / b:.2f}" for a, b in zip(values, baseline, strict=True))
            print(f"{name:28}{min(values):14.2f}{statistics.median(values):9.2f}{max(values):9.2f}{ratios:>30}")


if __name__ == "__main__":
    main()
