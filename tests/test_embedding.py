"""`embed` in Python gives the rows, times and spans that a build writes, from one loaded model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import builders
import preprocess
from preprocess import Embedding, embed, embedding
from preprocess.__main__ import app
from preprocess.encoders import registry
from preprocess.errors import MediaError, UserError
from tests.encoders import small_models
from tests.media_files import write_video


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two videos and an image."""
    folder = tmp_path_factory.mktemp("raw")
    write_video(folder / "a.mp4", 47, fps=10, seed=1)
    write_video(folder / "b.mp4", 12, fps=10, seed=2)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "c.png")
    return folder


def built(raw: Path, out: Path, model: Path, *options: str) -> dict[str, tuple[np.ndarray[Any, Any], Any]]:
    """What a build writes for each file: rows and metadata."""
    command = ["encode", "folder", "--raw", str(raw), "--out", str(out), "--name", "X", "--model", str(model)]
    with pytest.raises(SystemExit, match="0"):
        app([*command, "--executor", "inline", "--workers", "1", *options])
    files = sorted((out / "work" / "X" / "processed").glob("*/*.npy"))
    return {file.stem: (np.load(file), json.loads(file.with_suffix(".json").read_text())) for file in files}


def test_the_rows_are_those_of_a_build(raw: Path, tmp_path: Path, small_clip: Path):
    found = built(raw, tmp_path, small_clip, "--fps", "4")
    together = embed(sorted(raw.iterdir()), model=str(small_clip), fps=4)
    assert [Path(e.source).stem for e in together] == ["a", "b", "c"]
    for e in (*together, *(embed(str(path), model=str(small_clip), fps=4) for path in sorted(raw.iterdir()))):
        rows, meta = found[Path(e.source).stem]
        assert e.vectors.dtype == rows.dtype == np.float16
        assert np.array_equal(e.vectors, rows)
        assert e.timestamps_s.tolist() == meta["timestamps"]
        assert (e.duration_s, e.truncated, e.spans_s) == (meta["duration"], False, None)


def test_the_clips_are_those_of_a_build(raw: Path, tmp_path: Path):
    model = tmp_path / "xclip"
    small_models.xclip(model)
    found = built(raw, tmp_path, model, "--fps", "4", "--clip-stride", "3", "--dtype", "float32")
    for e in embed(sorted(raw.iterdir()), model=str(model), fps=4, clip_stride=3, dtype="float32"):
        rows, meta = found[Path(e.source).stem]
        assert e.vectors.dtype == np.float32
        assert np.array_equal(e.vectors, rows)
        assert e.spans_s is not None
        assert e.spans_s.tolist() == meta["spans"]
        assert e.timestamps_s.tolist() == meta["timestamps"]


def test_a_part_of_a_video_by_url(raw: Path, small_clip: Path):
    part = embed((raw / "a.mp4").as_uri(), model=str(small_clip), start_s=1, end_s=3, num_frames=2)
    assert part.timestamps_s.tolist() == [1.0, 2.0]
    assert part.duration_s == 2.0
    assert part.source == "a.mp4"


def test_the_model_is_loaded_once(raw: Path, small_clip: Path, monkeypatch: pytest.MonkeyPatch):
    embedding._load.cache_clear()
    loaded = []
    load = registry.load_encoder
    monkeypatch.setattr("preprocess.encoders.load_encoder", lambda *args: loaded.append(args) or load(*args))
    for _ in range(3):
        embed(raw / "b.mp4", model=str(small_clip))
    assert len(loaded) == 1


def test_torch_keeps_its_threads(raw: Path, small_clip: Path):
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        embed(raw / "c.png", model=str(small_clip))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_mistakes_name_the_file_or_the_option(raw: Path, small_clip: Path, tmp_path: Path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        embed([raw / "c.png", tmp_path / "bad.mp4"], model=str(small_clip))
    with pytest.raises(MediaError, match=r"gone\.mp4"):
        embed(tmp_path / "gone.mp4", model=str(small_clip))
    wrong: list[dict[str, Any]] = [
        {"fps": 1, "num_frames": 2},
        {"fps": -1},
        {"num_frames": 1.5},
        {"dtype": "float64"},
        {"threads": 0},
        {"start_s": 2, "end_s": 1},
        {"clip_stride": 2},
        {"device": "abacus"},
    ]
    for options in wrong:
        with pytest.raises(UserError):
            embed(raw / "c.png", model=str(small_clip), **options)


def test_importing_the_packages_loads_neither_torch_nor_datasets():
    code = "import sys, preprocess, builders; sys.exit(bool({'torch', 'datasets', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent.parent).returncode == 0


def test_the_names_of_the_packages():
    assert preprocess.Embedding is Embedding
    assert builders.EmbeddingReader.__module__ == "builders.torch_reader"
    assert builders.EmbeddingsBuilder.__module__ == "builders.embeddings"
    for package in (preprocess, builders):
        with pytest.raises(AttributeError, match="nothing"):
            package.nothing  # noqa: B018
