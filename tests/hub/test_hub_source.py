"""`hub`: repositories of videos and images as sources, on a Hub at 127.0.0.1, beside what `datasets` gives."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import webdataset

from tests.hub.test_end_to_end import Client
from tests.media_files import all_frames, write_video

UPLOAD = """
import sys
from pathlib import Path
from huggingface_hub import HfApi

api = HfApi()
for folder in sorted(Path("repositories").iterdir()):
    api.create_repo(f"me/{folder.name}", repo_type="dataset", exist_ok=True)
    api.upload_folder(repo_id=f"me/{folder.name}", repo_type="dataset", folder_path=folder)
print(1)
"""

PARQUET = """
import sys
from pathlib import Path
import datasets

datasets.disable_progress_bars()
features = datasets.Features({
    "video": datasets.Video(), "poster": datasets.Image(), "text": datasets.Value("string"),
    "label": datasets.ClassLabel(names=["blue", "red"]), "views": datasets.Value("int64"),
    "boxes": datasets.List(datasets.Value("float32")),
})
data = Path("repositories/parquet/data")
data.mkdir(parents=True)
videos = sorted(Path("videos").glob("*.mp4"))
for split, some in (("train", videos[:3]), ("validation", videos[3:4]), ("test", videos[4:])):
    rows = [{
        "video": {"bytes": path.read_bytes(), "path": path.name},
        "poster": {"bytes": b"not looked at", "path": None},
        "text": f"text of {path.stem}", "label": int(path.stem) % 2, "views": int(path.stem), "boxes": [0.5, 1.5],
    } for path in some]
    table = datasets.Dataset.from_list(rows, features=features)
    table.to_parquet(data / f"{split}-00000-of-00001.parquet", batch_size=2)
print(1)
"""


def write_repositories(client: Client) -> dict[str, bytes]:
    """The same five videos as a VideoFolder, as Parquet, and as WebDataset; returns them by their number."""
    folder = client.folder
    videos = {f"{i:04d}": write_video(folder / "videos" / f"{i:04d}.mp4", 8, seed=i) for i in range(5)}
    split = dict(zip(videos, ("train", "train", "train", "validation", "test"), strict=True))
    for key, path in videos.items():
        target = folder / "repositories" / "videofolder" / split[key] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        with (target.parent / "metadata.csv").open("a") as table:
            if table.tell() == 0:
                table.write("file_name,text,views\n")
            table.write(f"{path.name},text of {key},{int(key)}\n")
    (folder / "repositories" / "tars").mkdir()
    for name in ("train", "validation", "test"):
        with webdataset.TarWriter(str(folder / "repositories" / "tars" / f"{name}-0.tar")) as writer:
            for key in (key for key in videos if split[key] == name):
                text = {"txt": f"text of {key}", "json": {"views": int(key)}}
                writer.write({"__key__": key, "mp4": videos[key].read_bytes(), **text})
    assert client.python(PARQUET) == 1
    assert client.python(UPLOAD) == 1
    return {key: path.read_bytes() for key, path in videos.items()}


@pytest.fixture
def client(root: Path, tmp_path: Path) -> Iterator[Client]:
    client = Client(root, tmp_path)
    yield client
    client.server.kill()
    client.server.wait()


READ = """
import hashlib, json, sys
from preprocess import recipes
from preprocess.errors import UserError
from preprocess.media.sampling import Sampling
from preprocess.pipeline.read_sample import read_sample
from preprocess.samples import RecipeOptions
from preprocess.storage import location

hub, answers = recipes.load("hub"), []
for raw, options, decode in json.loads(sys.argv[1]):
    folder = location(hub.address(raw))
    try:
        entries = list(recipes.entries(hub, folder, RecipeOptions(**options)))
    except UserError as error:
        answers.append(str(error))
        continue
    rows = [entry.to_json() for entry in entries]
    for entry, row in zip(entries, rows):
        if decode:
            media = read_sample(entry, str(folder), Sampling.every_nth(1), lambda image: image)
            row["pixels"] = [hashlib.sha256(image.tobytes()).hexdigest() for image in media.frames.pixels]
            row["stamp"] = media.stamp
    answers.append(rows)
print(json.dumps(answers))
"""


def read(client: Client, *asked: tuple[str, dict[str, Any], bool]) -> list[Any]:
    """The samples of each source, with the digests of their frames; or what is wrong with it."""
    done = client.run("-c", READ, json.dumps(asked))
    assert done.returncode == 0, done.stderr
    answers: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


def test_every_kind_of_repository_gives_the_frames_of_its_videos(client: Client) -> None:
    videos = write_repositories(client)
    frames = {}
    for key in videos:
        pixels, _ = all_frames(client.folder / "videos" / f"{key}.mp4")
        frames[f"text of {key}"] = [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
    kinds = ("videofolder", "parquet", "tars")
    answers = dict(zip(kinds, read(client, *((f"me/{kind}", {}, True) for kind in kinds)), strict=True))
    for kind, samples in answers.items():
        assert [sample["split"] for sample in samples] == ["train"] * 3 + ["val", "test"], kind
        assert {sample["captions"][0]: sample["pixels"] for sample in samples} == frames, kind
        assert sorted(sample["meta"]["views"] for sample in samples) == list(range(5))
        assert all(isinstance(sample["stamp"][1], str) and sample["stamp"][1] for sample in samples)
        assert not any("@" in sample["media"] for sample in samples), "a commit in it would make every sample a new one"
    assert {sample["captions"][0]: sample["label"] for sample in answers["parquet"]} == {
        f"text of {key}": ("blue", "red")[int(key) % 2] for key in videos
    }
    assert answers["parquet"][0]["meta"]["boxes"] == [0.5, 1.5]
    assert "poster" not in answers["parquet"][0]["meta"]

    # Nothing was stored on the way: the caches hold none of the videos.
    cached = [path for path in client.folder.glob("home*/**/*") if path.is_file() and not path.is_symlink()]
    largest = max((path.stat().st_size for path in cached), default=0)
    assert largest < min(map(len, videos.values())), [(path, path.stat().st_size) for path in cached]


@pytest.mark.slow
def test_what_changes_in_a_repository_is_encoded_again(client: Client, small_clip: Path) -> None:
    write_repositories(client)

    def encode(kind: str, *options: str) -> str:
        arguments = ("encode", "hub", "--out", "out", "--name", f"CLIP-{kind}", "--workers", "1", *options)
        done = client.run("-m", "preprocess", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    for kind in ("parquet", "tars"):
        assert "5 triples written" in encode(kind, "--raw", f"me/{kind}", "--model", str(small_clip))
    # A commit that leaves the data as they are changes nothing; a file that is another one is read again.
    (client.folder / "repositories" / "parquet" / "README.md").write_text("---\nlicense: mit\n---\n")
    path = client.folder / "repositories" / "tars" / "test-0.tar"
    path.write_bytes(path.read_bytes() + bytes(10240))
    client.python(UPLOAD)
    assert "0 triples written, 5 kept" in encode("parquet")
    assert "1 triples written, 4 kept" in encode("tars")


CONFIGS = """---
configs:
- config_name: small
  data_files: [{split: train, path: a/*.parquet}]
- config_name: large
  data_files: [{split: train, path: a/*.parquet}, {split: extra, path: b/*.parquet}]
---
"""


def test_configurations_revisions_columns_and_what_is_wrong_with_them(client: Client) -> None:
    videos = write_repositories(client)
    repository = client.folder / "repositories" / "configs"
    for name, split in (("a", "train"), ("b", "test")):
        (repository / name).mkdir(parents=True)
        data = (client.folder / f"repositories/parquet/data/{split}-00000-of-00001.parquet").read_bytes()
        (repository / name / "0.parquet").write_bytes(data)
    (repository / "README.md").write_text(CONFIGS)
    tag = "from huggingface_hub import HfApi; HfApi().create_tag('me/tars', tag='v1', repo_type='dataset'); print(1)"
    assert client.python(UPLOAD) == client.python(tag) == 1

    columns = {"id": "views", "caption": "label", "url": "video"}
    small, none, huge, large, named, *wrong = read(
        client,
        ("me/configs", {"config": "small"}, False),
        ("me/configs", {}, False),
        ("me/configs", {"config": "huge"}, False),
        ("me/configs", {"config": "large"}, False),
        ("hf://datasets/me/parquet", {"columns": columns}, False),
        ("me/parquet", {"columns": {"url": "nothing"}}, False),
        ("me/parquet", {"columns": {"label": "nothing"}}, False),
        ("me/nothing", {}, False),
        ("me/tars@v2", {}, False),
        ("hf://datasets/me/tars/train-0.tar", {}, False),
    )
    assert len(small) == 3
    assert "small" in none
    assert "large" in huge
    assert "extra is none of train, validation, test" in large
    assert [sample["key"] for sample in named] == [str(int(key)) for key in videos]
    assert {sample["captions"][0] for sample in named} == {"blue", "red"}
    assert {sample["label"] for sample in named} == {None}
    for problem, message in zip(
        ("no column 'nothing' of type Video", "no column 'nothing' (--label-col)", "opened", "opened", "not a dataset"),
        wrong,
        strict=True,
    ):
        assert problem in message
        assert "\n" not in message

    # A revision stays what it is.
    gone = "HfApi().delete_file('train-0.tar', 'me/tars', repo_type='dataset'); print(1)"
    client.python(f"from huggingface_hub import HfApi; {gone}")
    assert [len(samples) for samples in read(client, ("me/tars", {}, False), ("me/tars@v1", {}, False))] == [2, 5]
