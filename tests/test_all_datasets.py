"""Every dataset of the project, from a small raw tree in its real layout to a verified folder that `datasets` opens.

The trees are the fixtures of the recipes (`tests/recipes/fixtures`), whose empty files become small videos and images
here. The commands are those of `make build`, run in this process so that all builds share one fork server.
"""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import subprocess
import tarfile
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
import typer
from click.testing import Result
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
from typer.testing import CliRunner

import builders.__main__
import dataset_cards.__main__
import preprocess.__main__
from preprocess import recipes
from preprocess.exports.annotations import video_names
from preprocess.samples import IMAGE_SUFFIXES, VIDEO_SUFFIXES, RecipeOptions
from tests.media_files import moving_noise, write_video

# Samples in the shards of train, val and test, and how many more have no media, as the fixtures say.
EXPECTED = {
    "activitynet": ({"train": 1, "val": 1}, 1),
    "activitynet_qa": ({"train": 2, "val": 1}, 1),
    "caltech101": ({"train": 2, "val": 1}, 1),
    "didemo": ({"train": 2, "val": 1, "test": 1}, 0),
    "flickr30k": ({"train": 1, "val": 1}, 1),
    "flickr5k": ({"train": 1, "val": 1}, 1),
    "kinetics700": ({"train": 2, "val": 1, "test": 3}, 1),
    "mini_imagenet": ({"train": 2, "val": 1, "test": 1}, 0),
    "mscoco2014": ({"train": 2, "val": 1}, 1),
    "msrvtt": ({"train": 2, "test": 2}, 1),
}
IMAGES = {"caltech101", "flickr30k", "flickr5k", "mini_imagenet", "mscoco2014"}
TEXTS = {  # the caption of one sample of each, by the dataset's own caption mode
    "activitynet": ("v_QOlSCBRmfWY", "A young woman is seen. She dances."),
    "activitynet_qa": ("v_9eniCub7u60", "what does the man do? no"),
    "caltech101": ("Faces/image_0274", "face"),
    "didemo": (
        "39727414@N00_3622114091_452b89919c.3gp",
        "the man bends over. a bird flies by. camera pans.",
    ),
    "flickr30k": ("1007129816", "A man with pierced ears."),
    "flickr5k": ("1007129816", "A man with pierced ears."),
    "kinetics700": ("-3JkLm_Ab9c", "dunking basketball"),
    "mini_imagenet": ("n0153282900000005", "house finch"),
    "mscoco2014": ("COCO_val2014_000000184613", "A child."),
    "msrvtt": ("video9770", "a person is connecting something to system"),
}


def fill(folder: Path) -> None:
    """Makes a video or an image of every empty file that is called one: 1.2 s and more, or 48 x 40 pixels and more."""
    empty = sorted(path for path in folder.rglob("*") if path.is_file() and not path.stat().st_size)
    for number, path in enumerate(empty):
        suffix = path.suffix.lower()
        if suffix in VIDEO_SUFFIXES:
            codec = {".webm": "libvpx", ".avi": "mpeg4"}.get(suffix, "libx264")
            write_video(path, 12 + 7 * number, seed=number, codec=codec)
        else:
            assert suffix in IMAGE_SUFFIXES, path
            Image.fromarray(moving_noise(1, (40, 48 + 8 * number), seed=number)[0]).save(path)


def make_raw(name: str, folder: Path) -> Path:
    """The fixture's tree with its media; returns what RAW is."""
    folder.mkdir()
    raw = Path(importlib.import_module(f"tests.recipes.fixtures.{name}").make(folder))
    fill(folder)
    return raw


def command(app: typer.Typer, *arguments: object) -> Result:
    """Runs one of the three command lines in this process."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture(scope="module", params=sorted(EXPECTED))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def raw(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_raw(name, tmp_path_factory.mktemp(name) / "raw")


@pytest.fixture(scope="module")
def built(name: str, raw: Path, small_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make build DATASET=<name> RAW=… MODEL=…` leaves in `data/CLIP-<title>`."""
    out = tmp_path_factory.mktemp(f"data_of_{name}")
    folder = out / f"CLIP-{recipes.load(name).SPEC.title}"
    to = (name, "--out", out)
    exact = ("--precision", "fp32", "--dtype", "float32", "--workers", 1)
    command(preprocess.__main__.app, "build", *to, "--raw", raw, "--model", small_clip, *exact)
    command(dataset_cards.__main__.app, "card", *to)
    verified = command(builders.__main__.app, "verify", folder, "--workers", 1)
    assert verified.output.strip().endswith(": OK")
    assert folder.name in command(preprocess.__main__.app, "report", *to).output
    return folder


def shards(folder: Path) -> dict[str, dict[str, dict[str, bytes]]]:
    """Split → id → member → bytes, read with `csv` and `tarfile` alone."""
    found: dict[str, dict[str, dict[str, bytes]]] = {}
    with (folder / "splits.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            of_split = found.setdefault(row["split"], {})
            with tarfile.open(folder / row["tar_file"]) as tar:
                for info in tar:
                    member = tar.extractfile(info)
                    assert member
                    key, _, extension = info.name.partition(".")
                    of_split.setdefault(key, {})[extension] = member.read()
    return found


def test_a_build_holds_every_sample_whose_media_is_there(name: str, built: Path) -> None:
    written, missing = EXPECTED[name]
    found = shards(built)
    assert {split: len(samples) for split, samples in found.items()} == written
    manifest = json.loads((built / "manifest.json").read_text())
    assert sum(split["missing"] for split in manifest["splits"].values()) == missing
    assert not any(split["rejected"] for split in manifest["splits"].values())
    texts = {}
    for sample in (sample for samples in found.values() for sample in samples.values()):
        meta, vectors = json.loads(sample["json"]), np.load(io.BytesIO(sample["npy"]))
        assert vectors.shape == (meta["n_frames"], 16)
        assert meta["timestamps"] == [float(second) for second in range(meta["n_frames"])]
        assert (meta["n_frames"] == 1 and meta["duration"] == 0) if name in IMAGES else meta["n_frames"] >= 2
        texts[meta["videoID"]] = sample["txt"].decode()
    video, text = TEXTS[name]
    assert texts[video] == text


@pytest.mark.parametrize("name", ["kinetics700", "mscoco2014", "msrvtt"], indirect=True)
def test_load_dataset_opens_a_build(name: str, built: Path, tmp_path: Path) -> None:
    loaded = datasets.load_dataset(str(built), cache_dir=str(tmp_path)).with_format("numpy")
    names = {"val": "validation"}
    assert {split: len(rows) for split, rows in loaded.items()} == {
        names.get(split, split): count for split, count in EXPECTED[name][0].items()
    }
    for split, samples in shards(built).items():
        for row in loaded[names.get(split, split)]:
            sample = samples[row["__key__"]]
            np.testing.assert_array_equal(row["npy"], np.load(io.BytesIO(sample["npy"])))
            assert row["txt"] == sample["txt"].decode()


@pytest.mark.parametrize("name", sorted(IMAGES), indirect=True)
def test_images_are_embedded_as_the_model_itself_does(name: str, raw: Path, built: Path, small_clip: Path) -> None:
    processor = CLIPImageProcessor.from_pretrained(small_clip)
    model = CLIPVisionModelWithProjection.from_pretrained(small_clip).eval()
    compared = 0
    for samples in shards(built).values():
        for sample in samples.values():
            image = Image.open(raw / json.loads(sample["json"])["source"]).convert("RGB")
            with torch.no_grad():
                expected = model(**processor(images=image, return_tensors="pt")).image_embeds.numpy()
            np.testing.assert_allclose(np.load(io.BytesIO(sample["npy"])), expected, atol=1e-5)
            compared += 1
    assert compared == sum(EXPECTED[name][0].values())


def test_frames_and_annotations_name_the_same_media(name: str, raw: Path, tmp_path: Path) -> None:
    for export in ("frames", "annotations"):
        command(preprocess.__main__.app, export, name, "--raw", raw, "--out", tmp_path / export)
    contents = {path.read_text(encoding="utf-8") for path in (tmp_path / "annotations").iterdir()}  # val may equal test
    keys = Counter(key for content in contents for key in json.loads(content))
    folders = {path.name for path in (tmp_path / "frames").iterdir() if path.is_dir()}
    assert set(keys) == folders
    assert set(keys.values()) == {1}
    assert len(folders) == sum(EXPECTED[name][0].values())
    samples = list(recipes.load(name).samples(raw, RecipeOptions()))
    assert folders <= set(video_names(samples).values())
    for folder in folders:
        assert (tmp_path / "frames" / folder / "image_00001.jpg").is_file()


def test_captions_of_any_length_and_script_reach_the_reader(small_clip: Path, tmp_path: Path) -> None:
    raw = make_raw("flickr5k", tmp_path / "raw")
    captions = ["x" * 100_000, '👩‍🚀 in space, "quoted"', "كلب يركض على الشاطئ", "two\nlines\u2028three | <b>&amp;"]
    told = [{"image": "flickr5k-images/1007129816.jpg", "caption": captions}]
    (raw / "flickr5k/flickr5k_val.json.json").write_text(json.dumps(told, ensure_ascii=False), encoding="utf-8")
    to = ("flickr5k", "--out", tmp_path / "data")
    built = tmp_path / "data/CLIP-Flickr5k"
    command(preprocess.__main__.app, "build", *to, "--raw", raw, "--model", small_clip, "--caption-mode", "each")
    command(dataset_cards.__main__.app, "card", *to)
    command(builders.__main__.app, "verify", built, "--workers", 1)
    rows = datasets.load_dataset(str(built), split="validation", cache_dir=str(tmp_path / "cache"))
    assert sorted(rows["txt"]) == sorted(captions)
    assert all(row["captions"] == captions for row in rows["json"])


@pytest.mark.slow
def test_make_builds_it(name: str, raw: Path, small_clip: Path, root: Path, tmp_path: Path) -> None:
    """The line that a user types, evaluation included."""
    where = {"DATASET": name, "RAW": str(raw), "MODEL": str(small_clip), "OUT": str(tmp_path / "my data")}
    line = ["make", "--no-print-directory", "--old-file=.venv/.run", "build"]
    done = subprocess.run(line, cwd=root, env={**os.environ, **where}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert 'load_dataset("' in done.stdout.splitlines()[-1]
    found = shards(tmp_path / "my data" / f"CLIP-{recipes.load(name).SPEC.title}")
    assert {split: len(samples) for split, samples in found.items()} == EXPECTED[name][0]
