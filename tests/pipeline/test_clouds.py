"""A build from a bucket of Google Cloud Storage, or a container of Azure, into it; repeated; and reading the result."""

from __future__ import annotations

import subprocess
import sys
import uuid
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from builders import EmbeddingReader, EmbeddingsBuilder
from preprocess.__main__ import app
from preprocess.formats.layout import Layout
from preprocess.storage import files_below, location
from tests.media_files import write_video
from tests.object_store import copy_folder


@pytest.fixture(scope="module")
def storage() -> str:
    """This test names the bucket itself."""
    return "local"


@pytest.fixture(scope="module", params=["gcs", "azure"])
def bucket(request: pytest.FixtureRequest) -> str:
    """The address of a bucket, or of a container."""
    return str(request.getfixturevalue(request.param))


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (40, 30, 3), np.uint8)).save(path)


def build(raw: Path | str, out: Path | str, model: Path) -> list[str]:
    return ["build", "folder", "--raw", str(raw), "--out", str(out), "--model", str(model)]


def build_here(raw: Path, out: Path, model: Path) -> dict[str, bytes]:
    done = CliRunner().invoke(app, [*build(raw, out, model), "--executor", "inline"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    folder = Layout(out, "CLIP-Folder").dataset
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_build_into_a_bucket_and_again(
    bucket: str, small_clip: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = tmp_path / "raw"
    for seed, name in enumerate(("train/a.png", "train/b.png", "val/c.png")):
        picture(raw / name, seed)
    write_video(raw / "train" / "d.mp4", 15)
    base = location(f"{bucket}/{uuid.uuid4().hex}")
    copy_folder(raw, base / "raw")
    dataset = Layout(base / "data", "CLIP-Folder").dataset

    def build_there() -> str:
        line = [sys.executable, "-m", "preprocess", *build(f"{base}/raw", f"{base}/data", small_clip), "--workers", "2"]
        done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=280)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    def made_there() -> dict[str, bytes]:
        return {name: (dataset / name).read_bytes() for name in files_below(dataset)}

    assert "4 triples written, 0 kept" in build_there()
    assert made_there() == build_here(raw, tmp_path / "out", small_clip)

    picture(raw / "train" / "b.png", 9)
    (base / "raw" / "train" / "b.png").write_bytes((raw / "train" / "b.png").read_bytes())
    again = build_there()
    assert "1 triples written, 3 kept" in again
    assert "(1 new)" in again
    made = build_here(raw, tmp_path / "anew", small_clip)
    assert made_there() == made

    monkeypatch.setattr("builders.remote.DEFAULT_CACHE", tmp_path / "tars")
    (batch,) = EmbeddingReader(str(dataset), "train", batch_size=4)
    assert sorted(batch["text"]) == ["a", "b", "d"]
    builder = EmbeddingsBuilder.from_folder(str(dataset), cache_dir=str(tmp_path / "cache"))
    builder.download_and_prepare()
    assert builder.as_dataset("train").num_rows == 3
