"""What `make build OUT=s3://…` runs, on busy servers of S3 and GCS: the dataset has the bytes of a local one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from builders import EmbeddingsBuilder
from preprocess.addresses import scheme_of
from preprocess.storage import files_below, is_remote, location, make_folder
from tests.media_files import write_video
from tests.object_store import ENDPOINTS, copy_folder
from tests.store_proxy import KINDS, Faults, Proxy

SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIANOTAREALKEY00001",
    "AWS_SECRET_ACCESS_KEY": "q7-not-a-real-secret-Zx81",
    "AWS_SESSION_TOKEN": "t5-not-a-real-token-Pw42",
}
NAME = "CLIP-Folder"


@pytest.fixture(scope="module")
def storage() -> str:
    """These tests name the buckets themselves."""
    return "local"


@pytest.fixture(scope="module", params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of a bucket."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def proxy(store: str) -> Iterator[Proxy]:
    variable = ENDPOINTS[scheme_of(store)]
    with Proxy.before(os.environ[variable], variable) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for seed in range(14):
        pixels = np.random.default_rng(seed).integers(0, 255, (40, 30, 3), np.uint8)
        path = folder / ("red", "blue")[seed % 2] / f"{seed:02}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    for seed, name in enumerate(("red/a.mp4", "blue/b.mp4")):
        write_video(folder / name, 25, seed=seed)
    (folder / "red" / "broken.mp4").write_text("not a video")
    return folder


def build(raw: Path | str, out: Path | str) -> list[str]:
    return ["preprocess", "build", "folder", "--raw", str(raw), "--out", str(out), "--model", "tiny-clip"]


def steps(raw: Path | str, out: Path | str) -> list[list[str]]:
    """What `make build` runs."""
    where = ["folder", "--out", str(out)]
    return [
        [*build(raw, out), "--workers", "2", "--max-reject-rate", "1", "--per-shard", "4"],
        ["dataset_cards", "evaluate", *where],
        ["dataset_cards", "card", *where],
        ["builders", "verify", f"{out}/{NAME}"],
        ["preprocess", "report", *where],
    ]


def run(root: Path, step: list[str], code: int = 0, **environment: str) -> str:
    line = [sys.executable, "-m", *step]
    done = subprocess.run(
        line, cwd=root, capture_output=True, text=True, timeout=600, env={**os.environ, **environment}
    )
    assert done.returncode == code, (step, done.stdout, done.stderr)
    return done.stdout + done.stderr


def content(folder: Path) -> dict[str, bytes]:
    if is_remote(folder):
        return {name: (folder / name).read_bytes() for name in files_below(folder)}
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def local(raw: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("out")
    for step in steps(raw, out):
        run(root, step)
    made = content(out / NAME)
    assert {"README.md", "assets/map.png", "ds_00003.tar", "manifest.json", "rejects.jsonl"} < made.keys()
    return made


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_whole_build_on_a_busy_store(
    raw: Path, local: dict[str, bytes], root: Path, store: str, proxy: Proxy, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    # A store that does not answer costs a second here, not a minute.
    monkeypatch.setenv("FSSPEC_S3", '{"config_kwargs": {"read_timeout": 1}}')
    make_folder(temporary := tmp_path / "tmp")
    base = f"{store}/a-whole-build"
    copy_folder(raw, location(f"{base}/raw"))
    proxy.faults = Faults(KINDS, share=0.12, times=2, hang_s=3)
    said = [run(root, step, TMPDIR=str(temporary)) for step in steps(f"{base}/raw", f"{base}/data")]
    faults, proxy.faults = proxy.faults, Faults()
    assert content(location(f"{base}/data/{NAME}")) == local
    assert faults.happened.keys() == set(KINDS), "every kind of fault happened"
    assert "16 samples, 20 frames in 5 tars: OK" in said[3]
    assert not list(temporary.glob("ved-tmp-*"))

    loading = said[4].partition("\nfrom builders")[2]
    names: dict[str, object] = {"EmbeddingsBuilder": EmbeddingsBuilder}
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    exec("from builders" + loading, names)
    assert sum(names["dataset"].num_rows.values()) == 16  # type: ignore[attr-defined]

    for step in (
        ["builders", "verify", f"{scheme_of(store)}://no-such-bucket-here/x", "--debug"],
        [
            "preprocess",
            "samples",
            "folder",
            "--raw",
            f"{scheme_of(store)}://no-such-bucket-here/x",
            "--out",
            str(tmp_path / "none"),
        ],
        ["builders", "push", f"{base}/data/{NAME}", "--org", "me"],
        ["dataset_cards", "page", "folder", "--out", f"{base}/data"],
    ):
        said.append(run(root, step, code=1 if "--debug" in step else 2, TMPDIR=str(temporary)))
    proxy.faults = Faults(("unavailable",), share=1, times=10**6)
    failed = run(root, ["builders", "stats", f"{base}/data/{NAME}"], code=2, AWS_MAX_ATTEMPTS="1")
    proxy.faults = Faults()
    assert len(failed.splitlines()) == 1
    told = "\n".join([*said, failed]).encode() + b"".join(content(tmp_path).values())
    told += b"".join(content(location(base)).values()) + "".join(files_below(location(base))).encode()
    for secret in SECRETS.values():
        assert secret.encode() not in told


def killed_at(n: int, root: Path, step: list[str], proxy: Proxy, temporary: Path) -> bool:
    """Runs a command that is killed, with all processes that it started, when it makes its n-th change in the store."""
    line = [sys.executable, "-m", *step]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    changes = 0
    with subprocess.Popen(
        line, cwd=root, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:

        def on_request(what: str, path: str) -> None:
            nonlocal changes
            changes += what in ("put", "delete", "copy")
            if changes == n:
                os.killpg(process.pid, signal.SIGKILL)

        proxy.on_request = on_request
        try:
            return process.wait(600) == -signal.SIGKILL
        finally:
            proxy.on_request = None


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_at_every_few_changes(
    raw: Path, local: dict[str, bytes], root: Path, store: str, proxy: Proxy, tmp_path: Path
) -> None:
    out = location(f"{store}/{uuid.uuid4().hex}")
    kills = 0
    for step in steps(raw, out)[:3]:
        n = 1
        while killed_at(n, root, step, proxy, tmp_path):
            kills += 1
            n += 4
            for name, data in content(out / NAME).items():
                assert name in local, "no partial or temporary name"
                if name.endswith((".tar", ".png")):
                    assert data == local[name], f"{name} is whole"
    assert kills >= 6
    run(root, ["builders", "verify", f"{out}/{NAME}"], TMPDIR=str(tmp_path))
    assert content(out / NAME) == local
    assert not list(tmp_path.glob("ved-tmp-*")), "what killed commands had on this machine is gone"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_slices_are_joined_after_kills(
    raw: Path, local: dict[str, bytes], root: Path, store: str, proxy: Proxy, tmp_path: Path
) -> None:
    out = f"{store}/{uuid.uuid4().hex}"
    for part in ("1/2", "2/2"):
        encode = ["preprocess", "encode", *build(raw, out)[2:], "--max-reject-rate", "1", "--slice", part]
        assert killed_at(4, root, encode, proxy, tmp_path)
        run(root, encode)
    pack = ["preprocess", "shards", "folder", "--out", out, "--per-shard", "4"]
    n = 1
    while killed_at(n, root, pack, proxy, tmp_path):
        n += 3
    assert n > 9
    for step in steps(raw, out)[1:]:
        run(root, step)
    assert content(location(f"{out}/{NAME}")) == local
    assert "slices" not in "".join(files_below(location(out)))
