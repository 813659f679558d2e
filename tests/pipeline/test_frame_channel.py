"""Frames on their way between processes: bounded, and nothing is left behind."""

from __future__ import annotations

import resource
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from preprocess.pipeline import frame_channel
from preprocess.pipeline.frame_channel import FrameChannel, open_channel
from tests.pipeline.conftest import on_disk

pytestmark = on_disk

PIXELS = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)


def test_pixels_arrive_and_leave_no_file(tmp_path: Path) -> None:
    with open_channel(tmp_path) as channel:
        sent = [channel.send(f"k{i}", PIXELS + i) for i in range(3)]
        assert all(one.file is not None and one.pixels is None for one in sent)
        for i, one in enumerate(sent):
            np.testing.assert_array_equal(one.take(), PIXELS + i)
        assert channel.folder is not None
        assert {path.name for path in channel.folder.iterdir()} == {".ved-lock", ".lock"}
    assert not list(tmp_path.iterdir())


def test_what_does_not_fit_goes_through_the_pipe_until_there_is_room(tmp_path: Path) -> None:
    with open_channel(tmp_path, limit=2 * PIXELS.nbytes) as channel:
        sent = [channel.send(f"k{i}", PIXELS) for i in range(4)]
        assert [one.file is not None for one in sent] == [True, True, False, False]
        sent[0].take()
        assert channel.send("k9", PIXELS).file is not None
        np.testing.assert_array_equal(sent[3].take(), PIXELS)


def test_a_file_of_a_failed_worker_is_replaced(tmp_path: Path) -> None:
    with open_channel(tmp_path, limit=PIXELS.nbytes) as channel:
        channel.send("k", PIXELS)  # its worker dies before it has said so
        sent = channel.send("k", PIXELS + 1)
        assert sent.file is not None, "the lost block does not count"
        np.testing.assert_array_equal(sent.take(), PIXELS + 1)


def test_a_full_or_absent_shared_memory_costs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_channel(tmp_path / "absent") as channel:
        assert channel.folder is None
        np.testing.assert_array_equal(channel.send("k", PIXELS).take(), PIXELS)
    with open_channel(tmp_path) as channel:
        monkeypatch.setattr(frame_channel, "_free", lambda folder: PIXELS.nbytes - 1)
        assert channel.send("k", PIXELS).file is None


def test_a_block_that_cannot_be_written_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may take the space between the reservation and the write."""
    reserve, limits = FrameChannel._reserve, resource.getrlimit(resource.RLIMIT_FSIZE)

    def reserve_then_fill(self: FrameChannel, key: str, size: int) -> Path | None:
        file = reserve(self, key, size)
        resource.setrlimit(resource.RLIMIT_FSIZE, (PIXELS.nbytes // 2, limits[1]))
        return file

    monkeypatch.setattr(FrameChannel, "_reserve", reserve_then_fill)
    with open_channel(tmp_path) as channel:
        try:
            sent = channel.send("k", PIXELS)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sent.file is None
        np.testing.assert_array_equal(sent.take(), PIXELS)
        assert channel.folder is not None
        assert not (channel.folder / "k").exists()


SMALL = """
import os, sys
from pathlib import Path
import numpy as np
from preprocess.pipeline import frame_channel
frame_channel._free = lambda folder: 1 << 30      # another process takes the space after it was measured
pixels = np.ones((4, 100, 100, 3), np.uint8)
with frame_channel.open_channel(Path(sys.argv[1])) as channel:
    sent = channel.send("k", pixels)
    assert sent.file is None, sent.file
    assert (sent.take() == pixels).all()
    assert not (channel.folder / "k").exists()
print("ok")
"""


@pytest.mark.parametrize("fault", ["a small tmpfs", "a limit on files"])
def test_shared_memory_that_fills_up_costs_nothing(tmp_path: Path, root: Path, fault: str) -> None:
    """No SIGBUS: the pixels go through the pipe, and no half-written file stays."""
    python = f"cd {shlex.quote(str(root))} && exec {shlex.quote(sys.executable)} -c {shlex.quote(SMALL)} {tmp_path}"
    if fault == "a small tmpfs":
        command = ["unshare", "--mount", "sh", "-c", f"mount -t tmpfs -o size=64k small {tmp_path} && {python}"]
        probe = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "small", str(tmp_path)]
        if shutil.which("unshare") is None or subprocess.run(probe, capture_output=True, check=False).returncode:
            pytest.skip("mounting a file system is not allowed here")
    else:
        command = ["sh", "-c", f"ulimit -f 50 && {python}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path: Path, root: Path) -> None:
    code = (
        "import os, sys, signal; import numpy as np; from pathlib import Path;"
        "from preprocess.pipeline.frame_channel import open_channel;"
        "context = open_channel(Path(sys.argv[1])); channel = context.__enter__();"
        "channel.send('k', np.ones((2, 4, 4, 3), np.uint8)); os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    with open_channel(tmp_path) as living:
        assert not left.exists()
        with open_channel(tmp_path) as second:
            assert living.folder is not None
            assert living.folder.is_dir(), "a run that lives keeps its own"
            assert second.folder != living.folder
    assert not list(tmp_path.iterdir())
