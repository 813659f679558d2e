"""The newest `huggingface_hub` and `datasets`, no code of ours: upload, snapshot, load, on a Hub at 127.0.0.1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

REQUIREMENTS = ("huggingface_hub", "datasets")

folder, expected = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text())
SERVER = Path(__file__).resolve().parent.parent / "hub" / "hub_server.py"


def check() -> None:
    import numpy as np
    from datasets import load_dataset
    from huggingface_hub import HfApi, snapshot_download

    api = HfApi()
    api.create_repo("org/CLIP-Shapes", repo_type="dataset", private=True)
    api.upload_folder(repo_id="org/CLIP-Shapes", repo_type="dataset", folder_path=folder)
    snapshot = Path(snapshot_download("org/CLIP-Shapes", repo_type="dataset"))
    for path in folder.rglob("*"):
        assert path.is_dir() or (snapshot / path.relative_to(folder)).read_bytes() == path.read_bytes(), path
    for streaming in (False, True):
        loaded = load_dataset("org/CLIP-Shapes", streaming=streaming)
        assert set(loaded) == {{"val": "validation"}.get(split, split) for split in expected}
        for split, samples in expected.items():
            rows = list(loaded[{"val": "validation"}.get(split, split)].with_format("numpy"))
            assert [row["__key__"] for row in rows] == list(samples)
            for row in rows:
                sample = samples[row["__key__"]]
                assert list(row["npy"].shape) == sample["shape"]
                assert np.isclose(row["npy"].astype(np.float64).sum(), sample["sum"])
                assert row["txt"] == sample["text"]


with TemporaryDirectory() as temporary:
    log = str(Path(temporary) / "requests.jsonl")
    with subprocess.Popen([sys.executable, str(SERVER), log], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            os.environ |= {  # before the libraries are imported
                "HF_ENDPOINT": server.stdout.readline().strip(),
                "HF_HOME": temporary,
                "HF_TOKEN": "hf_writer",
                "HF_HUB_DISABLE_XET": "1",
                "HF_HUB_OFFLINE": "0",
                "HF_UPDATE_DOWNLOAD_COUNTS": "0",
            }
            check()
        finally:
            server.terminate()
