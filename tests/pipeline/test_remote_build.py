"""The commands with RAW and OUT in an S3 bucket, and with parts: the shards have the bytes of a local build."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
import uuid
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from builders.torch_reader import EmbeddingReader
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.processed import Processed
from preprocess.storage import file_names, location
from tests.media_files import write_video
from tests.object_store import copy_folder
from tests.store_proxy import Faults, Proxy

CLIPS = {"train/a.mp4": 15, "train/b.mp4": 9, "val/c.mp4": 21, "test/d.mp4": 1}


@pytest.fixture(scope="module")
def storage() -> str:
    """These tests name the buckets themselves."""
    return "local"


def command(root: Path, *arguments: object, code: int = 0) -> str:
    line = [sys.executable, "-m", "preprocess", *map(str, arguments)]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=280)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(root: Path, raw: Path | str, out: Path | str, model: Path, *more: object) -> str:
    return command(root, "build", "folder", "--raw", raw, "--out", out, "--model", model, "--workers", 2, *more)


def dataset(out: Path) -> dict[str, str]:
    folder = Layout(out, "CLIP-Folder").dataset
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in file_names(folder)}


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(CLIPS.items()):
        write_video(folder / name, n_frames, seed=seed)
    (folder / "train" / "broken.mp4").write_text("not a video")
    (folder / "train" / "b.txt").write_text("a caption of its own")
    return folder


@pytest.fixture(scope="module")
def local(raw: Path, small_clip: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    out = tmp_path_factory.mktemp("out")
    build(root, raw, out, small_clip, "--max-reject-rate", 1)
    made = dataset(out)
    assert {"ds_00000.tar", "ds_00001.tar", "ds_00002.tar", "manifest.json", "rejects.jsonl"} < made.keys()
    return made


def test_from_a_bucket_into_a_bucket(raw: Path, local: dict[str, str], small_clip: Path, root: Path, s3: str) -> None:
    base = f"{s3}/{uuid.uuid4().hex}"
    out = location(f"{base}/data")
    copy_folder(raw, location(f"{base}/raw"))
    build(root, f"{base}/raw", out, small_clip, "--max-reject-rate", 1)
    assert dataset(out) == local
    layout = Layout(out, "CLIP-Folder")
    source = read_json(layout.source)
    assert (source["raw"], source["processed"]) == (f"{base}/raw", "parts")
    assert not [name for name in file_names(layout.processed / "train") if not name.startswith("part_")]
    assert not (root / "s3:").exists()

    again = build(root, f"{base}/raw", out, small_clip, "--max-reject-rate", 1)
    assert "0 triples written, 4 kept, 1 rejected" in again
    assert "3 shards in s3://" in again
    assert "(0 new)" in again
    assert command(root, "where", "folder", "--out", out).strip() == f"{base}/data/CLIP-Folder"
    assert f'EmbeddingsBuilder.from_folder("{base}/data/CLIP-Folder")' in command(
        root, "report", "folder", "--out", out
    )
    assert "4 triples unpacked" in command(root, "unpack", "folder", "--out", out)
    assert "(3 new)" in command(root, "shards", "folder", "--out", out)
    assert dataset(out) == local


def test_from_a_busy_web_server(raw: Path, local: dict[str, str], small_clip: Path, root: Path, tmp_path: Path) -> None:
    """Of a web server, the pages that list a folder are its listing."""
    handler = partial(SimpleHTTPRequestHandler, directory=str(raw))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with Proxy.before(f"http://127.0.0.1:{server.server_port}") as proxy:
            proxy.faults = Faults(("unavailable", "too_many", "reset", "cut"), share=1, ending=".mp4")
            build(root, proxy.address, tmp_path, small_clip, "--max-reject-rate", 1)
            assert proxy.faults.happened.keys() == {"unavailable", "too_many", "reset", "cut"}
            nothing = command(root, "samples", "folder", "--raw", f"{proxy.address}/nothing", "--out", tmp_path, code=2)
        server.shutdown()
    assert dataset(tmp_path) == local
    assert "/nothing'" in nothing.splitlines()[-1]


def test_the_reader_opens_a_dataset_in_a_bucket(
    raw: Path, small_clip: Path, root: Path, s3: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    address = f"{s3}/{uuid.uuid4().hex}"
    build(root, raw, address, small_clip, "--max-reject-rate", 1)
    reader = EmbeddingReader(
        f"{address}/CLIP-Folder", "train", batch_size=4, cache_dir=tmp_path_factory.mktemp("cache")
    )
    (batch,) = reader
    assert sorted(batch["text"]) == ["a", "a caption of its own"]
    assert batch["embeddings"].shape == (2, 2, 16)


@pytest.mark.parametrize("delay_s", [2.0, 4.0])
def test_killed_while_parts_are_written(
    raw: Path, local: dict[str, str], small_clip: Path, root: Path, tmp_path: Path, delay_s: float
) -> None:
    arguments = ["encode", "folder", "--raw", raw, "--out", tmp_path, "--model", small_clip, "--processed", "parts"]
    command_line = [sys.executable, "-m", "preprocess", *map(str, arguments)]
    with subprocess.Popen(command_line, cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        time.sleep(delay_s)
        process.kill()
    build(root, raw, tmp_path, small_clip, "--max-reject-rate", 1, "--processed", "parts")
    assert dataset(tmp_path) == local
    layout = Layout(tmp_path, "CLIP-Folder")
    assert Processed.open(layout).kind == "parts"


def test_what_is_missing_is_said_in_one_line(small_clip: Path, root: Path, s3: str, tmp_path: Path) -> None:
    nothing = command(root, "samples", "folder", "--raw", f"{s3}/nothing", "--out", tmp_path, code=2)
    assert f"there is no raw data at '{s3}/nothing'" in nothing
    assert "expects below RAW" in nothing
    no_bucket = command(root, "samples", "folder", "--raw", "s3://no-such-bucket-here/x", "--out", tmp_path, code=2)
    assert "no raw data at 's3://no-such-bucket-here/x'" in no_bucket
    secret = command(root, "samples", "folder", "--raw", "s3://me:secret@bucket/x", "--out", tmp_path, code=2)
    assert "secret" not in secret
    assert len(secret.strip().splitlines()) == 1
    refused = command(root, "where", "folder", "--out", "ssh://host/x", code=2)
    assert "ssh:// is not among" in refused


def test_a_table_in_a_bucket_names_files_in_it(small_clip: Path, root: Path, s3: str, tmp_path: Path) -> None:
    base = location(f"{s3}/{uuid.uuid4().hex}")
    rows = [
        {"videoID": "near", "videoLoc": "clips/a.mp4", "split": "train"},
        {"videoID": "beside", "videoLoc": "../other/b.mp4", "split": "train"},
    ]
    (base / "tables" / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    raw = base / "tables" / "list.jsonl"
    command(root, "samples", "table", "--raw", raw, "--out", tmp_path)
    lines = Layout(tmp_path, "CLIP-Table").samples.read_text().splitlines()
    media = {row["key"]: row["media"] for row in map(json.loads, lines)}
    assert media == {"near": "clips/a.mp4", "beside": f"{base}/other/b.mp4"}
    for outside in ("/etc/passwd", "../../../other-bucket/x.mp4"):
        raw.write_text(json.dumps({"videoID": "x", "videoLoc": outside}) + "\n")
        assert "is outside the bucket" in command(root, "samples", "table", "--raw", raw, "--out", tmp_path, code=2)
