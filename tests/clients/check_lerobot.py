"""LeRobot's own writer and reader: a dataset that it writes is read by us, and both agree on which frame is which.

The dataset that is handed in is not used.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from PIL import Image

REQUIREMENTS = ("lerobot==0.4.4",)  # the newest for Python 3.11

ROOT = Path(__file__).resolve().parent.parent.parent
LENGTHS = (12, 7, 15)  # frames of the episodes
CAMERAS = ("top", "wrist")
FPS = 10


def level(camera: int, index: int) -> int:
    """A gray level that tells a frame, by its number over all episodes, from all others of its camera."""
    return 10 + 7 * index if camera == 0 else 250 - 7 * index


def write(root: Path) -> None:
    shape = {"dtype": "video", "shape": (48, 64, 3), "names": ["height", "width", "channels"]}
    features = {f"observation.images.{camera}": shape for camera in CAMERAS}
    features["action"] = {"dtype": "float32", "shape": (1,), "names": ["x"]}
    dataset = LeRobotDataset.create("me/robot", fps=FPS, features=features, root=root, use_videos=True)
    index = 0
    for episode, length in enumerate(LENGTHS):
        for _ in range(length):
            images = {
                f"observation.images.{name}": np.full((48, 64, 3), level(camera, index), np.uint8)
                for camera, name in enumerate(CAMERAS)
            }
            dataset.add_frame({**images, "action": np.zeros(1, np.float32), "task": f"task {episode}"})
            index += 1
        dataset.save_episode()
    dataset.finalize()


def exported(raw: Path, out: Path, *options: str) -> dict[str, list[float]]:
    """The mean level of each frame that our command writes, by sample."""
    line = [ROOT / ".venv/bin/python", "-m", "preprocess", "frames", "lerobot", "--raw", raw, "--out", out, *options]
    subprocess.run(list(map(str, line)), cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    folders = sorted(path for path in out.iterdir() if path.is_dir())
    return {
        folder.name: [float(np.asarray(Image.open(path)).mean()) for path in sorted(folder.iterdir())]
        for folder in folders
    }


with tempfile.TemporaryDirectory() as temporary:
    root = Path(temporary, "robot")
    write(root)
    theirs: dict[str, list[float]] = {}
    for item in LeRobotDataset("me/robot", root=root, video_backend="pyav"):
        for name in CAMERAS:
            key = f"{name}_episode_{int(item['episode_index']):06d}"
            theirs.setdefault(key, []).append(float(item[f"observation.images.{name}"].mean()) * 255)
    assert sorted(map(len, theirs.values())) == sorted(2 * LENGTHS)
    # What was written is what its reader gives: the levels tell the frames apart.
    written = [theirs[f"top_episode_{e:06d}"][i] for e, length in enumerate(LENGTHS) for i in range(length)]
    assert np.abs(np.array(written) - [level(0, index) for index in range(sum(LENGTHS))]).max() < 3
    ours = exported(root, Path(temporary, "every"))
    assert ours.keys() == theirs.keys(), ours.keys()
    for key, levels in ours.items():
        assert len(levels) == len(theirs[key]), key
        assert np.abs(np.array(levels) - theirs[key]).max() < 3, (key, levels, theirs[key])
    for key, levels in exported(root, Path(temporary, "some"), "--fps", "3").items():
        # The frames nearest to 0, 1/3, 2/3, … s of the episode, by LeRobot's count of them.
        steps = np.unique(np.floor(np.arange(0, (len(theirs[key]) - 1) / FPS + 1e-9, 1 / 3) * FPS + 0.5).astype(int))
        assert np.abs(np.array(levels) - np.array(theirs[key])[steps]).max() < 3, (key, levels)
