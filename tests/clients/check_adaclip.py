"""AdaCLIP's `BaseDataset`, unmodified, with its own settings: our annotations and frames, by name, order and number.

The raw data is made here and exported by our commands, as a user would; the dataset that is handed in is not used.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import types
from argparse import Namespace
from pathlib import Path

import av
import numpy as np

# pkg_resources.packaging, which CLIP's own code asks for, went with setuptools 70.
REQUIREMENTS = ("ftfy", "regex", "easydict", "setuptools<70")
REPOSITORY = "SamsungLabs/AdaCLIP"
INHERIT = True

ROOT = Path(__file__).resolve().parent.parent.parent
LENGTHS = (12, 5, 1)  # frames
CLIP_MEAN, CLIP_STD = 0.48145466, 0.26862954  # of red


def gray(video: int, frame: int) -> int:
    """A level that tells the frame, and the video, from all others."""
    return 20 + 18 * frame + 6 * video


def write_video(path: Path, video: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
        for frame in range(LENGTHS[video]):
            pixels = np.full((48, 64, 3), gray(video, frame), np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))


def make_didemo(raw: Path) -> dict[str, str]:
    """Three videos whose names hold `@` and a second suffix; returns name → the text that is to be read."""
    names = [f"3503434899{video}@N01_606044750{video}_dc1a90b8e{video}.mov" for video in range(3)]
    rows = []
    for video, name in enumerate(names):
        write_video(raw / "videos" / f"{name}.mp4", video)
        rows += [{"video": name, "description": f"moment {i} of {video}", "times": [[0, 1]]} for i in range(2)]
    for split in ("train", "val", "test"):
        (raw / f"{split}_data.json").write_text(json.dumps(rows if split == "val" else []), encoding="utf-8")
    return {name: f"moment 0 of {video}. moment 1 of {video}." for video, name in enumerate(names)}


def make_msrvtt(raw: Path) -> dict[str, str]:
    """Three videos of the 1k-A test, one sentence each."""
    names = [f"video{7020 + video}" for video in range(3)]
    for video, name in enumerate(names):
        write_video(raw / "MSRVTT/videos/all" / f"{name}.mp4", video)
    rows = [{"video_id": name, "start time": 1.5, "end time": 9, "split": "test"} for name in [*names, "video0"]]
    sentences = [{"video_id": row["video_id"], "caption": "another", "sen_id": 0} for row in rows]
    (raw / "MSRVTT_data.json").write_text(json.dumps({"videos": rows, "sentences": sentences}), encoding="utf-8")
    (raw / "MSRVTT_train.9k.csv").write_text("video_id\nvideo0\n", encoding="utf-8")
    lines = [f"ret{i},msr{i},{name},a sentence about {name}" for i, name in enumerate(names)]
    (raw / "MSRVTT_JSFUSION_test.csv").write_text(
        "\n".join(["key,vid_key,video_id,sentence", *lines]), encoding="utf-8"
    )
    return {name: f"a sentence about {name}" for name in names}


def export(dataset: str, raw: Path, out: Path) -> tuple[Path, Path]:
    """Runs our two commands; returns the folders of frames and annotations."""
    for command in ("frames", "annotations"):
        line = [ROOT / ".venv/bin/python", "-m", "preprocess", command, dataset, "--raw", raw, "--out", out / command]
        subprocess.run(list(map(str, line)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return out / "frames", out / "annotations"


def settings(checkout: Path, config: str, frames: Path) -> Namespace:
    """AdaCLIP's own defaults, then its own file of settings for that dataset, and where our frames are."""
    from configs.config import parser

    chosen = {**vars(parser.parse_args([])), **json.loads((checkout / "configs" / config).read_text())}
    return Namespace(**{**chosen, "frames_dir": str(frames)})


def check(dataset_class: type, cfg: Namespace, annotations: Path, texts: dict[str, str]) -> None:
    from modeling.clip import tokenize

    dataset = dataset_class(cfg, str(annotations), is_train=False)
    assert [name for name, _ in dataset.vid_query_pairs] == list(texts)
    for video, (sample, text) in enumerate(zip((dataset[i] for i in range(len(dataset))), texts.values(), strict=True)):
        tokens = tokenize([text])[0]
        assert sample["tokens"][0, : len(tokens)].tolist() == tokens
        images = sample["clip_images"].numpy()
        assert images.shape == (cfg.num_frm, 3, 224, 224)
        wanted = np.linspace(0, LENGTHS[video], cfg.num_frm, endpoint=False, dtype=int)  # its uniform sampling
        levels = (images[:, 0].mean(axis=(1, 2)) * CLIP_STD + CLIP_MEAN) * 255
        assert np.abs(levels - [gray(video, frame) for frame in wanted]).max() < 3, levels
        assert sample["policy_images"].shape[0] == cfg.num_frm
    batch = dataset.collate_data([dataset[i] for i in range(len(dataset))])
    assert batch["clip_inputs"].shape == (len(texts), cfg.num_frm, 3, 224, 224)


checkout = Path(sys.argv[3])
sys.path.insert(0, str(checkout))
# Its folder `datasets` has no __init__.py, so the package of that name from PyPI would go before it.
sys.modules["datasets"] = types.ModuleType("datasets")
sys.modules["datasets"].__path__ = [str(checkout / "datasets")]
from datasets.dataset import BaseDataset  # noqa: E402

with tempfile.TemporaryDirectory() as temporary:
    for name, make, config in (
        ("didemo", make_didemo, "didemo.json"),
        ("msrvtt", make_msrvtt, "msrvtt-jsfusion.json"),
    ):
        raw = Path(temporary, "raw", name)
        raw.mkdir(parents=True)
        texts = make(raw)
        frames, annotations = export(name, raw, Path(temporary, "out", name))
        cfg = settings(checkout, config, frames)
        check(BaseDataset, cfg, annotations / Path(cfg.val_annot).name, texts)  # the file that its own config names
