"""The three real videos beside the checkout (mp4, avi, mp4), built with the embedded model and read back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
import webdataset

READ_BACK = """
import json, sys
import numpy as np
from datasets import load_dataset
plain = load_dataset(sys.argv[1])
streamed = load_dataset(sys.argv[1], streaming=True)
rows = {}
for split in plain:
    one = {r["json"]["key"]: np.asarray(r["npy"]).shape for r in plain[split]}
    other = {r["json"]["key"]: np.asarray(r["npy"]).shape for r in streamed[split]}
    assert one == other, (one, other)
    rows |= one
print(json.dumps(rows))
"""


@pytest.fixture(scope="module")
def built(shared_data: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`make build DATASET=folder RAW=videos MODEL=tiny-clip`, without make."""
    out = tmp_path_factory.mktemp("data")
    for module, *arguments in (
        ("preprocess", "build", "folder", "--raw", str(shared_data / "videos"), "--model", "tiny-clip"),
        ("dataset_cards", "card", "folder"),
    ):
        command = [sys.executable, "-m", module, *arguments, "--out", str(out)]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=240)
        assert done.returncode == 0, done.stderr
    return out / "CLIP-Folder"


def rows_at_one_fps(path: Path) -> int:
    """How many whole seconds k lie below the duration, by a full decode and the length of the last frame."""
    with av.open(str(path)) as container:
        times = sorted(frame.time for frame in container.decode(video=0))
    length = times[-1] - times[0] + float(np.median(np.diff(times)))
    return int(np.ceil(length - 1e-6))


def test_three_triples_with_a_row_a_second(built: Path, shared_data: Path) -> None:
    rows = {}
    for tar in sorted(built.glob("ds_*.tar")):
        for sample in webdataset.WebDataset(str(tar), shardshuffle=False).decode():
            assert sample["npy"].dtype == np.float16
            assert np.isfinite(sample["npy"]).all()
            assert len(sample["json"]["timestamps"]) == len(sample["npy"])
            rows[sample["json"]["source"]] = sample["npy"].shape
    videos = sorted((shared_data / "videos").iterdir())
    assert rows == {path.name: (rows_at_one_fps(path), 512) for path in videos}
    assert len(rows) == 3


def test_datasets_reads_the_same_plain_and_streaming(built: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", READ_BACK, str(built)],
        capture_output=True,
        text=True,
        timeout=240,
        env={**os.environ, "HF_HOME": str(tmp_path)},
    )
    assert done.returncode == 0, done.stderr
    shapes = json.loads(done.stdout.splitlines()[-1])
    assert len(shapes) == 3
    assert all(width == 512 for _, width in shapes.values())
