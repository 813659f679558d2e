"""Raw data in a repository of the Hub: `RAW=hf://datasets/<org>/<name>`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.hub.test_end_to_end import Client
from tests.media_files import write_video
from tests.recipes.fixtures import lerobot
from tests.recipes.test_webdataset import write_tars

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


def make_folder(raw: Path) -> None:
    for seed, name in enumerate(("red/a", "red/b", "blue/c")):
        write_video(raw / f"{name}.mp4", 25, seed=seed)


def make_tars(raw: Path) -> None:
    write_tars(raw, raw.parent)


def make_robot(raw: Path) -> None:
    lerobot.make(raw)
    for seed, video in enumerate(sorted(raw.rglob("*.mp4"))):
        write_video(video, 19, seed=seed)


@pytest.mark.parametrize(
    ("dataset", "make", "below"),
    [("folder", make_folder, ""), ("webdataset", make_tars, "/{000..001}.tar"), ("lerobot", make_robot, "")],
)
def test_a_build_from_the_hub_has_the_bytes_of_one_from_a_folder(
    client: Client, small_clip: Path, dataset: str, make: Callable[[Path], None], below: str
) -> None:
    make(client.folder / "raw")
    assert client.python(UPLOAD) == 1
    shards = []
    for raw, out in (("raw", "near"), ("hf://datasets/me/videos", "far")):
        model = ("--model", str(small_clip), "--name", "CLIP-Mine", "--precision", "fp32", "--workers", "1")
        done = client.run("-m", "preprocess", "build", dataset, "--raw", raw + below, "--out", out, *model)
        assert done.returncode == 0, done.stderr
        tars = sorted((client.folder / out / "CLIP-Mine").glob("*.tar"))
        shards.append({tar.name: tar.read_bytes() for tar in tars})
    assert shards[0] == shards[1] != {}
