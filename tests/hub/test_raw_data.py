"""Raw data in a repository of the Hub: `RAW=hf://datasets/<org>/<name>`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hub.test_end_to_end import Client
from tests.media_files import write_video

UPLOAD = """
from huggingface_hub import HfApi

api = HfApi()
api.create_repo("me/videos", repo_type="dataset")
api.upload_folder(repo_id="me/videos", repo_type="dataset", folder_path="raw")
print(1)
"""


@pytest.fixture
def client(root: Path, tmp_path: Path) -> Iterator[Client]:
    client = Client(root, tmp_path)
    yield client
    client.server.kill()
    client.server.wait()


def test_a_build_from_the_hub_has_the_bytes_of_one_from_a_folder(client: Client, small_clip: Path) -> None:
    for seed, name in enumerate(("red/a", "red/b", "blue/c")):
        write_video(client.folder / "raw" / f"{name}.mp4", 25, seed=seed)
    assert client.python(UPLOAD) == 1
    shards = []
    for raw, out in (("raw", "near"), ("hf://datasets/me/videos", "far")):
        model = ("--model", str(small_clip), "--name", "CLIP-Mine", "--precision", "fp32", "--workers", "1")
        done = client.run("-m", "preprocess", "build", "folder", "--raw", raw, "--out", out, *model)
        assert done.returncode == 0, done.stderr
        shards.append((client.folder / out / "CLIP-Mine" / "ds_00000.tar").read_bytes())
    assert shards[0] == shards[1]
