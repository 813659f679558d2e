"""The size of a download is known before it begins, and a large one is confirmed."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from preprocess import recipes
from preprocess.__main__ import app
from preprocess.download import size
from preprocess.download.run import download, free_bytes, to_download
from preprocess.download.size import ASK_ABOVE, Size, remaining
from preprocess.download.state import DOWNLOADS, states
from preprocess.errors import UserError
from preprocess.samples import DatasetSpec, RemoteFile
from tests.download.conftest import Site
from tests.download.test_run import tarred, with_remotes


@pytest.fixture
def spec(site: Site) -> DatasetSpec:
    """A table, and a list of two tars."""
    site.serve("train.csv", b"label\n" * 100)
    for name in "01":
        site.serve(f"train/{name}.tar.gz", tarred({f"a/{name}.mp4": os.urandom(4000)}))
    lines = f"{site.address}/train/0.tar.gz\n{site.address}/train/1.tar.gz\n"
    url = site.serve("train/paths.txt", lines.encode(), kind="text/plain")
    return with_remotes(
        "kinetics700",
        RemoteFile(f"{site.address}/train.csv", "train.csv"),
        RemoteFile(url, "train/", kind="list", into="train", gives=("train/*.mp4",)),
    )


def sizes(site: Site, *paths: str) -> int:
    return sum(len(site.files[path].data) for path in paths)


def test_files_and_the_archives_of_a_list_are_asked_for_their_size(
    spec: DatasetSpec, site: Site, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    total = sizes(site, "/train.csv", "/train/0.tar.gz", "/train/1.tar.gz")
    assert remaining(spec.remotes, raw) == Size(total, 0)
    assert sorted(site.heads) == ["/train.csv", "/train/0.tar.gz", "/train/1.tar.gz"]
    assert [path for path, _ in site.requests] == ["/train/paths.txt"]
    assert not raw.exists()


def test_what_has_arrived_does_not_count(spec: DatasetSpec, site: Site, tmp_path: Path) -> None:
    site.files["/train/1.tar.gz"].cuts = [100] + [0] * 10
    list(download(to_download(states(spec, tmp_path), ["train/"]), tmp_path, wait=lambda seconds: None))
    part = tmp_path / DOWNLOADS / "train" / "1.tar.gz.part"
    assert part.stat().st_size
    missing = sizes(site, "/train.csv", "/train/1.tar.gz") - part.stat().st_size
    assert remaining(spec.remotes, tmp_path) == Size(missing, 0)


def test_a_server_may_give_no_size(spec: DatasetSpec, site: Site, tmp_path: Path) -> None:
    site.files["/train/0.tar.gz"].length = False
    del site.files["/train/1.tar.gz"]
    assert remaining(spec.remotes, tmp_path) == Size(700 - 100, 2)
    del site.files["/train/paths.txt"]
    assert remaining(spec.remotes, tmp_path) == Size(600, 1)


@pytest.mark.parametrize(
    ("known", "unknown", "is_large", "words"),
    [
        (ASK_ABOVE, 0, False, "10.0 GB"),
        (ASK_ABOVE + 1, 0, True, "10.0 GB"),
        (0, 1, False, "1 file of unknown size"),
        (0, 10, False, "10 files of unknown size"),
        (2000, 1001, True, "2.0 kB and 1,001 files of unknown size"),
    ],
)
def test_large(known: int, unknown: int, is_large: bool, words: str) -> None:
    found = Size(known, unknown)
    assert (found.is_large, str(found)) == (is_large, words)


def test_a_large_download_needs_a_yes(
    spec: DatasetSpec, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes.load("kinetics700"), "SPEC", spec)
    monkeypatch.setattr(size, "ASK_ABOVE", 1000)
    line = ["download", "kinetics700", "--raw", str(tmp_path)]
    done = CliRunner().invoke(app, line)
    assert isinstance(done.exception, UserError)
    assert str(done.exception).endswith("or download a part: --only 'PATTERN'.")
    assert [path for path, _ in site.requests] == ["/train/paths.txt"], "nothing but the list"
    assert CliRunner().invoke(app, [*line, "--only", "train.csv"]).exit_code == 0, "a part is small"
    assert (tmp_path / "train.csv").is_file()
    assert CliRunner().invoke(app, [*line, "--yes"]).exit_code == 0
    assert (tmp_path / "train/a/1.mp4").is_file()


ASK = """
import sys
from preprocess.download import commands
try:
    commands._confirm("700.0 GB to download", 5000)
except Exception as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("key", "code"), [(b"y\n", 0), (b"n\n", 1), (b"\n", 1)])
def test_at_a_terminal_it_asks(key: bytes, code: int, root: Path) -> None:
    main, terminal = pty.openpty()
    os.write(main, key)
    done = subprocess.run([sys.executable, "-c", ASK], cwd=root, stdin=terminal, capture_output=True, text=True)
    os.close(main)
    os.close(terminal)
    assert "700.0 GB to download; 5.0 kB are free. Continue? [y/N]" in done.stdout
    assert done.returncode == code
    assert ("nothing was downloaded" in done.stderr) == bool(code)


def test_what_does_not_fit_is_refused(
    spec: DatasetSpec, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recipes.load("kinetics700"), "SPEC", spec)
    assert free_bytes(tmp_path / "not" / "there") > 0
    monkeypatch.setattr("preprocess.download.run.free_bytes", lambda folder: 500)
    done = CliRunner().invoke(app, ["download", "kinetics700", "--raw", str(tmp_path), "--yes"])
    assert isinstance(done.exception, UserError)
    assert "do not fit: 500 B are free" in str(done.exception)
    assert not (tmp_path / "train.csv").exists()
