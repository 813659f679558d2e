"""`webdataset`, `hub` and `lerobot` from real files to a verified dataset that loads: the whole way, and once more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import datasets
import numpy as np
import pytest
import webdataset
from typer.testing import CliRunner

import builders.__main__
import dataset_cards.__main__
import preprocess.__main__
from tests.media_files import write_video
from tests.recipes.fixtures.hub import write as write_parquet
from tests.recipes.test_lerobot import write as write_lerobot

TITLES = {"webdataset": "WebDataset", "hub": "Hub", "lerobot": "LeRobot"}


def tars(raw: Path) -> Path:
    for split in ("train", "val"):
        (raw / split).mkdir(parents=True)
        with webdataset.TarWriter(str(raw / split / "0.tar")) as writer:
            for i in range(3):
                video = write_video(raw.parent / "v.mp4", 15 + i, seed=i).read_bytes()
                writer.write({"__key__": f"{split}{i}", "mp4": video, "txt": f"video {i}", "json": {"n": i}})
    return raw


def parquet(raw: Path) -> Path:
    for split in ("train", "validation"):
        rows: list[dict[str, object]] = []
        for i in range(3):
            video = write_video(raw.parent / "v.mp4", 15 + i, seed=i).read_bytes()
            media = {"bytes": video, "path": None}
            rows.append(
                {"video": media, "caption": f"video {i}", "label": i % 2, "tags": ["a"], "taken": None, "sha": b""}
            )
        write_parquet(raw / "data" / f"{split}-00000-of-00001.parquet", rows)
    return raw


def robot(raw: Path) -> Path:
    write_lerobot(raw)
    return raw


def run(app: object, *arguments: object) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)  # type: ignore[arg-type]
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("webdataset", tars),
        pytest.param("hub", parquet, marks=pytest.mark.slow),
        pytest.param("lerobot", robot, marks=pytest.mark.slow),
    ],
)
def test_from_the_source_to_the_reader(
    name: str, make: Callable[[Path], Path], small_clip: Path, tmp_path: Path
) -> None:
    raw, out = make(tmp_path / "raw"), tmp_path / "data"
    how = ("--model", small_clip, "--precision", "fp32", "--dtype", "float32", "--workers", 1)
    run(preprocess.__main__.app, "build", name, "--raw", raw, "--out", out, *how)
    run(dataset_cards.__main__.app, "card", name, "--out", out)
    folder = out / f"CLIP-{TITLES[name]}"
    assert run(builders.__main__.app, "verify", folder, "--workers", 1).strip().endswith(": OK")
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache")).with_format("numpy")
    rows = [row for split in loaded.values() for row in split]
    assert len(rows) == 6
    for row in rows:
        meta = row["json"]
        assert len(row["npy"]) == meta["n_frames"] == len(meta["timestamps"]) > 0
        if name == "lerobot":
            # The frames nearest to each second of the episode, at their own times in its file.
            assert np.allclose(meta["timestamps"] - meta["start_time"], np.arange(meta["n_frames"]), atol=1e-6)
        else:
            assert meta["timestamps"].tolist() == [0.0, 1.0]

    again = run(preprocess.__main__.app, "encode", name, "--out", out, "--workers", 1)
    assert "0 triples written, 6 kept, 0 rejected" in again
    assert "6 samples encoded again, 0 differ" in run(
        preprocess.__main__.app, "recheck", name, "--out", out, "--workers", 1
    )
    # A file that is replaced takes with it what was made from it, and nothing else.
    path = next(
        path
        for path in sorted(raw.rglob("*"))
        if path.suffix == {"hub": ".parquet", "lerobot": ".mp4"}.get(name, ".tar")
    )
    os.utime(path, (1, 1))
    count = {"webdataset": 3, "hub": 3, "lerobot": 2}[name]  # of three episodes, two are in the first file
    assert f"{count} triples written, {6 - count} kept" in run(preprocess.__main__.app, "encode", name, "--out", out)


def test_a_cell_without_bytes_is_a_reject_and_paths_alone_are_files(small_clip: Path, tmp_path: Path) -> None:
    """Parquet may hold bytes in some rows, or only the paths of files that lie elsewhere."""
    raw = tmp_path / "raw"
    video = write_video(tmp_path / "v.mp4", 15).read_bytes()
    row: dict[str, object] = {"caption": "a", "label": 0, "tags": [], "taken": None, "sha": None}
    whole, empty = {"bytes": video, "path": "v.mp4"}, {"bytes": None, "path": "v.mp4"}
    write_parquet(
        raw / "data/train-00000-of-00001.parquet", [{**row, "video": media} for media in (whole, empty, None)]
    )
    (raw / "files").mkdir()
    (raw / "files" / "v.mp4").write_bytes(video)
    paths = [{"bytes": None, "path": path} for path in ("files/v.mp4", "https://127.0.0.1:9/v.mp4", None)]
    write_parquet(raw / "data/test-00000-of-00001.parquet", [{**row, "video": media} for media in paths])
    how = ("--model", small_clip, "--workers", 1, "--out", tmp_path / "data")
    said = run(preprocess.__main__.app, "encode", "hub", "--raw", raw, *how)
    assert "2 triples written, 0 kept, 4 rejected" in said
    ledger = (tmp_path / "data/work/CLIP-Hub/rejects.jsonl").read_text()
    assert ledger.count('"missing"') == 3
    assert ledger.count('"download_failed"') == 1
    assert str(tmp_path) not in ledger
