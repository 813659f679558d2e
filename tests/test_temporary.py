"""Temporary folders: nothing of a killed process stays, nothing of a living one or of the user goes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from preprocess import temporary

KILLED = """
import multiprocessing.util, os, signal, sys, tempfile
from pathlib import Path
from typing import IO
from preprocess import temporary
temporary.use_own_folder()
multiprocessing.util.get_temp_dir()  # which multiprocessing removes itself, before
Path(tempfile.mkdtemp(), "half a download").write_text("half")
print(tempfile.gettempdir(), temporary.shared_folder(), flush=True)
if sys.argv[1:]:
    os.kill(os.getpid(), int(sys.argv[1]))
"""


def start(tmp: Path, root: Path, *number: str) -> tuple[int, Path]:
    """A process that uses a folder of its own and ends, or kills itself; its exit code, and that folder."""
    environment = {**os.environ, "TMPDIR": str(tmp)}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *number], cwd=root, env=environment, capture_output=True, text=True, timeout=100
    )
    assert not done.stderr
    own, shared = map(Path, done.stdout.split())
    assert (own.parent, shared) == (tmp, tmp)
    return done.returncode, own


@pytest.fixture
def tmp() -> Path:
    """A folder with a short path, as TMPDIR has: sockets go into it."""
    import tempfile

    with tempfile.TemporaryDirectory(prefix="t-") as folder:
        yield Path(folder)


def test_a_process_that_ends_leaves_nothing_and_a_killed_ones_folder_goes_with_the_next(tmp: Path, root: Path) -> None:
    assert start(tmp, root)[0] == 0
    assert not list(tmp.iterdir())
    code, left = start(tmp, root, str(int(signal.SIGKILL)))
    assert code == -signal.SIGKILL
    assert list(tmp.iterdir()) == [left]
    with temporary.own_folder(tmp) as own:
        assert list(tmp.iterdir()) == [own]
        assert start(tmp, root)[0] == 0
        assert list(tmp.iterdir()) == [own], "the folder of a living process stays"
    assert not list(tmp.iterdir())


def test_what_looks_similar_stays(tmp_path: Path) -> None:
    mine = tmp_path / "ved-tmp-projects"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    (tmp_path / "ved-tmp-data").mkdir()
    assert temporary.remove_leftovers(tmp_path) == 0
    assert (mine / "thesis.txt").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ved-tmp-data", "ved-tmp-projects"]


def test_a_folder_without_a_lock_yet_is_replaced_by_its_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process takes a folder that was just made for a leftover, before the lock is in it."""
    real, made = temporary.tempfile.mkdtemp, []

    def mkdtemp(**options: object) -> str:
        made.append(real(**options))
        if len(made) == 1:
            temporary.remove_leftovers(tmp_path)
            assert not Path(made[0]).exists()
        return made[-1]

    monkeypatch.setattr(temporary.tempfile, "mkdtemp", mkdtemp)
    with temporary.own_folder(tmp_path) as own:
        assert [str(own)] == made[1:]
        assert temporary.remove_leftovers(tmp_path) == 0
        assert own.is_dir()
    assert not list(tmp_path.iterdir())


def test_where_sockets_would_have_too_long_a_path_the_shared_folder_is_used(tmp_path: Path, root: Path) -> None:
    deep = tmp_path / ("d" * 80)
    deep.mkdir()
    code = "import tempfile; from preprocess import temporary; temporary.use_own_folder(); print(tempfile.gettempdir())"
    environment = {**os.environ, "TMPDIR": str(deep)}
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == str(deep)
    assert not list(deep.iterdir())


def test_a_folder_that_was_removed_while_its_lock_was_waited_for_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, locked = temporary.fcntl.flock, []

    def flock(file: IO[bytes], how: int) -> None:
        if not locked:
            shutil.rmtree(next(tmp_path.iterdir()))
        locked.append(how)
        real(file, how)

    monkeypatch.setattr(temporary.fcntl, "flock", flock)
    with temporary.own_folder(tmp_path) as own:
        assert own.is_dir()
    assert len(locked) == 2


def test_a_forked_process_does_not_remove_the_folder_of_its_parent(tmp_path: Path) -> None:
    with temporary.own_folder(tmp_path) as own:
        pid = os.fork()
        if pid:
            os.waitpid(pid, 0)
            assert own.is_dir()
    if not pid:
        os._exit(0)  # the child, which has left the block
    assert not own.exists()
