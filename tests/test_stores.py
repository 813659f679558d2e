"""Every operation of `preprocess.storage` on busy servers of S3 and GCS, and what a killed upload leaves."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from preprocess import storage
from preprocess.addresses import scheme_of
from preprocess.errors import UserError
from preprocess.storage import location
from preprocess.storage.mapping import keep_copies, mapped
from preprocess.storage.stores import ATTEMPTS, store_options
from preprocess.storage.writing import abort_uploads
from tests.object_store import ENDPOINTS
from tests.store_proxy import Faults, Proxy

CONTENT = bytes(range(256)) * 400
ANSWERS = ("unavailable", "too_many", "internal", "slow_down")


REPEATED = {"s3": ATTEMPTS - 1, "gs": 5}
"""How often a request is made again."""


@pytest.fixture(scope="module", params=["s3", "gcs"])
def store(request: pytest.FixtureRequest) -> str:
    """The address of a bucket."""
    return str(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def proxy(store: str) -> Iterator[Proxy]:
    variable = ENDPOINTS[scheme_of(store)]
    with Proxy.before(os.environ[variable], variable) as proxy:
        yield proxy


@pytest.fixture
def folder(proxy: Proxy, store: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with two objects; the time between two requests is a hundredth of the real one."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 100)

    monkeypatch.setattr("botocore.retryhandler.random.random", lambda: 0.005)
    monkeypatch.setattr("gcsfs.retry.asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr("preprocess.storage.stores.READ_TIMEOUT_S", 0.7)
    folder = location(f"{store}/{uuid.uuid4().hex}")
    for name in ("a", "b"):
        storage.write_atomic(folder / name, CONTENT)
    proxy.counts.clear()
    yield folder
    proxy.faults = Faults()


def write_large(path: Path) -> None:
    with storage.atomic_file(path) as file:
        file.write(CONTENT)


OPERATIONS: dict[str, Callable[[Path], object]] = {
    "read": lambda folder: storage.read_if_there(folder / "a"),
    "ranges": lambda folder: storage.read_ranges([(folder / "a", 10, 20), (folder / "b", 50, 90_000)]),
    "list": storage.file_names,
    "below": storage.files_below,
    "stamp": lambda folder: storage.fingerprint(folder / "a"),
    "map": lambda folder: bytes(mapped(folder / "a")),
    "write": lambda folder: storage.write_atomic(folder / "new", CONTENT),
    "file": lambda folder: write_large(folder / "new"),
    "move": lambda folder: storage.move_files(folder, folder / "moved", ["a", "b"]),
    "remove": lambda folder: storage.remove(folder / "a"),
    "clear": storage.clear_folder,
}


def state(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in storage.files_below(folder)}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_busy_store_is_asked_again(name: str, folder: Path, proxy: Proxy, store: str) -> None:
    other = location(f"{store}/{uuid.uuid4().hex}")
    for one in ("a", "b"):
        storage.write_atomic(other / one, CONTENT)
    expected = OPERATIONS[name](other)
    proxy.faults = Faults((*ANSWERS, "reset", "cut"), share=1, times=REPEATED[scheme_of(store)])
    found = OPERATIONS[name](folder)
    happened = proxy.faults.happened.total()
    proxy.faults = Faults()
    assert happened >= REPEATED[scheme_of(store)]
    if name != "stamp":  # the ETag is that of the content, the time is not
        assert found == expected
    assert state(folder) == state(other)


def test_what_was_moved_without_an_answer_is_moved(folder: Path, proxy: Proxy) -> None:
    proxy.faults = Faults(("cut",), share=1, times=1)
    storage.move_files(folder, folder / "moved", ["a", "b"])
    proxy.faults = Faults()
    assert state(folder) == {"moved/a": CONTENT, "moved/b": CONTENT}


def test_a_request_without_an_answer_is_made_again(folder: Path, proxy: Proxy) -> None:
    proxy.faults = Faults(("hang",), share=1, times=1, hang_s=2)
    assert storage.read_if_there(folder / "a") == CONTENT
    assert proxy.faults.happened == {"hang": 1}


def test_a_store_that_stays_busy_is_one_line(
    folder: Path, proxy: Proxy, store: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults = Faults(("unavailable",), share=1, times=10**6)
    with pytest.raises(UserError, match="cannot be used") as caught:
        storage.read_if_there(folder / "a")
    assert proxy.counts["get"] == REPEATED[scheme_of(store)] + 1
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="cannot be used"):
        mapped(folder / "a")
    assert not caplog.records
    if scheme_of(store) == "s3":
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "2")
        proxy.counts.clear()
        with pytest.raises(UserError):
            storage.read_if_there(location(str(folder), writable=True) / "a")
        assert proxy.counts["get"] == 2


def test_a_file_is_one_request(folder: Path, proxy: Proxy) -> None:
    wanted = {
        "read": {"get": 1},
        "ranges": {"get": 2},
        "list": {"list": 1},
        "write": {"put": 1},
        "file": {"put": 1},
        "map": {"get": 1},
    }
    for name, counts in wanted.items():
        proxy.counts.clear()
        OPERATIONS[name](folder)
        assert proxy.counts == counts, name
    proxy.counts.clear()
    assert storage.read_if_there(folder / "not there") is None
    assert proxy.counts == {"get": 1}


WORKER = """
import logging, pickle, sys
import preprocess.storage
path = pickle.load(sys.stdin.buffer)
print(type(path.fs).__module__, logging.getLogger("gcsfs").isEnabledFor(logging.ERROR))
"""


def test_workers_talk_to_gcs_over_http_alone(gcs: str, root: Path) -> None:
    """They do not call `location`, but are sent paths."""
    line = [sys.executable, "-c", WORKER]
    done = subprocess.run(line, cwd=root, input=pickle.dumps(location(gcs)), capture_output=True, check=True)
    assert done.stdout == b"gcsfs.core False\n"


def test_a_store_that_cannot_be_opened_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsspec.config.conf", {"gs": {"access": "none"}})
    with pytest.raises(UserError, match=r"gs://bucket/x cannot be used \(ValueError\)"):
        location("gs://bucket/x")


def test_what_the_user_says_to_fsspec_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = store_options("s3")["config_kwargs"]
    assert settings["retries"] == {"mode": "legacy", "total_max_attempts": ATTEMPTS}
    monkeypatch.setattr("fsspec.config.conf", {"s3": {"config_kwargs": {"read_timeout": 1}}})
    assert store_options("s3")["config_kwargs"] == {**settings, "read_timeout": 1}
    monkeypatch.setenv("AWS_RETRY_MODE", "adaptive")
    assert "retries" not in store_options("s3")["config_kwargs"]
    assert store_options("memory") == {}
    for scheme, option in (("gs", "requests_timeout"), ("az", "max_concurrency")):
        assert store_options(scheme).keys() == {option}
        monkeypatch.setattr("fsspec.config.conf", {scheme: {option: 9, "anon": True}})
        assert store_options(scheme) == {option: 9}


def test_copies_are_kept_for_those_who_read_again(
    folder: Path, proxy: Proxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("preprocess.storage.mapping.KEPT_BYTES", len(CONTENT) + 10)
    with keep_copies():
        for _ in range(3):
            assert [bytes(mapped(folder / name)) for name in ("a", "b")] == [CONTENT, CONTENT]
            assert not list(tmp_path.iterdir())
        assert proxy.counts == {"get": 4}, "one of both fits"
    mapped(folder / "a")
    assert proxy.counts == {"get": 5}
    storage.write_atomic(folder / "empty", b"")
    assert bytes(mapped(folder / "empty")) == b""
    with pytest.raises(FileNotFoundError) as caught:
        mapped(folder / "gone")
    assert caught.value.filename == f"{folder}/gone"


UPLOAD = """
import sys
from preprocess.storage import atomic_file, location
with atomic_file(location(sys.argv[1])) as file:
    for i in range(101):
        file.write(bytes([i]) * (1 << 20))
"""


def test_a_killed_upload_is_aborted_by_the_next_run(
    folder: Path, proxy: Proxy, store: str, root: Path, tmp_path: Path
) -> None:
    target = folder / "ds_00000.tar"
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", UPLOAD, str(target)], cwd=root, env=environment) as process:

        def kill(what: str, path: str) -> None:
            if what == "part":
                process.kill()

        proxy.on_request = kill
        assert process.wait(60) == -9
    proxy.on_request = None
    assert storage.file_names(folder) == ["a", "b"], "no part of it is visible"
    filesystem, bucket = folder.fs, folder.path.partition("/")[0]  # type: ignore[attr-defined]
    if scheme_of(store) == "s3":
        (begun,) = filesystem.call_s3("list_multipart_uploads", Bucket=bucket)["Uploads"]
        assert begun["Key"].endswith("/ds_00000.tar")
        assert abort_uploads(folder.parent) == 0, "of this folder only"
    storage.remove_temporary(folder)
    if scheme_of(store) == "s3":
        assert not filesystem.call_s3("list_multipart_uploads", Bucket=bucket).get("Uploads")
    subprocess.run([sys.executable, "-c", UPLOAD, str(target)], cwd=root, env=environment, check=True)
    assert storage.fingerprint(target)[0] == 101 << 20
