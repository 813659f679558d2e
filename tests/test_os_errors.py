"""What the operating system refuses is one line with path, cause and remedy, and exit code 2, from every command."""

from __future__ import annotations

import errno
import functools
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from builders.__main__ import app as builders
from dataset_cards.__main__ import app as dataset_cards
from explorer.__main__ import app as explorer
from preprocess.__main__ import app as preprocess
from preprocess.console import run
from preprocess.os_errors import as_user_error, is_of_files, is_of_machine, os_error_in
from preprocess.storage import atomic_file, named_errors
from tests.media_files import write_video

COMMANDS = {
    preprocess: (
        "samples folder --raw {raw} --out {out}",
        "encode folder --raw {raw} --out {out} --model tiny-clip --executor inline",
        "build folder --raw {raw} --out {out} --model tiny-clip --executor inline",
        "retry folder --out {out}",
        "shards folder --out {out}",
        "unpack folder --out {out}",
        "recheck folder --raw {raw} --out {out}",
        "report folder --out {out}",
        "frames folder --raw {raw} --out {out} --executor inline",
        "annotations folder --raw {raw} --out {out}",
        "llama-factory --raw {raw} --out {out}",
        "preview folder --raw {raw} --out {out} --allow-frames",
        "download demo --raw {out}",
        "long-video scenes {out} --raw {raw} --annotations {raw}/none.jsonl",
        "long-video segments {out}",
        "long-video import {out} --raw {raw} --annotations {raw}/none.jsonl",
        "long-video latents {out}",
        "long-video text {out}",
        "long-video jsonl {out}",
        "long-video check {out}",
        "long-video demo --out {out}",
    ),
    builders: ("verify {out}", "push {out} --org me", "stats {out}"),
    dataset_cards: ("card folder --out {out}", "evaluate folder --out {out}", "page folder --out {out}"),
    explorer: ("search {out} words", "filter {out} --name x --out {out}", "page {out}", "space {out} --org me"),
}
NOTHING_TO_DO = {"download demo"}


@pytest.mark.parametrize("place", ["below a file", "a name that is too long"])
def test_a_place_that_cannot_be_used_is_one_line_from_every_command(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(typer.main, "get_command", functools.cache(typer.main.get_command))
    (tmp_path / "file").write_text("a file")
    write_video(tmp_path / "raw" / "a.mp4", 3)
    out = tmp_path / "file" / "x" if place == "below a file" else tmp_path / ("x" * 300)
    for app, lines in COMMANDS.items():
        for line in lines:
            monkeypatch.setattr(sys, "argv", ["x", *line.format(raw=tmp_path / "raw", out=out).split()])
            with pytest.raises(SystemExit) as end:
                run(app, "x")
            errors = capsys.readouterr().err
            if end.value.code == 0 and any(line.startswith(name) for name in NOTHING_TO_DO):
                continue
            assert end.value.code in (1, 2), (line, errors)
            *layout, last = errors.splitlines()
            assert last.startswith("error: "), (line, errors)
            assert not layout or "RAW/" in layout, "only what raw data should look like may come before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "raw"]
    assert (tmp_path / "file").read_text() == "a file"


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/a"), "the disk is full (/a). Free some space, then run"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/a"), "the disk quota is used up (/a). Free some of your quota"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), "/a: Read-only file system. Make it writable"),
        (OSError(errno.EIO, "Input/output error", "/a"), "/a: Input/output error. Check the disk"),
        (OSError(errno.EMFILE, "Too many open files", "/a"), "/a: Too many open files. Raise the limit of open files"),
        (OSError(errno.EACCES, "Permission denied", b"/a"), "/a: Permission denied. Change its permissions"),
        (OSError(errno.EXDEV, "Invalid cross-device link", "/a", None, "/b"), "/b: Invalid cross-device link."),
        (OSError(errno.ENOTDIR, "Not a directory", Path("/a")), "/a: Not a directory. Check the path"),
        (OSError("of a library,\n  in two lines"), "of a library, in two lines. Run the command with --debug"),
        (ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"), "the connection failed (Connection reset"),
        (socket.gaierror(-3, "Temporary failure in name resolution"), "the connection failed (Temporary failure"),
        (TimeoutError(errno.ETIMEDOUT, "Connection timed out", "/nfs/a"), "/nfs/a: Connection timed out."),
    ],
)
def test_the_cause_and_the_remedy(error: OSError, line: str) -> None:
    assert str(as_user_error(error)).startswith(line)
    assert "\n" not in str(as_user_error(error))


def test_what_libraries_say_in_their_text() -> None:
    error = os_error_in(Exception('I/O error: No space left on device (os error 28) at path "/a/.tmpX"'))
    assert error is not None
    assert (error.errno, error.filename) == (errno.ENOSPC, "/a/.tmpX")
    assert os_error_in(ValueError("another error")) is None


def test_what_clients_of_stores_raise() -> None:
    from aiohttp import ClientPayloadError
    from gcsfs.retry import HttpError

    for error, line in (
        (HttpError({"code": 503, "message": "busy"}), "the connection failed (HttpError 503). Check the network"),
        (ClientPayloadError("cut"), "the connection failed (ClientPayloadError). Check the network"),
    ):
        found = os_error_in(error)
        assert found is not None
        assert str(as_user_error(found)).startswith(line)


def test_an_error_of_the_machine_is_not_one_of_a_file() -> None:
    assert is_of_machine(OSError(errno.EMFILE, ""))
    assert not is_of_machine(OSError(errno.EACCES, ""))
    assert is_of_files(OSError(errno.EACCES, ""))
    assert not is_of_files(ConnectionResetError(errno.ECONNRESET, ""))
    assert not is_of_files(OSError("of a library"))


def test_a_write_that_fails_names_its_file(tmp_path: Path) -> None:
    def write() -> None:
        with atomic_file(tmp_path / "a") as file:
            os.close(file.fileno())
            file.write(b"x")

    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        write()
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(OSError, match="Input/output") as named, named_errors(tmp_path / "b"):
        raise OSError(errno.EIO, "Input/output error", "/other")
    assert named.value.filename == "/other"


def test_too_many_open_files_do_not_reject_a_sample(tmp_path: Path) -> None:
    """The files are good: another run with a higher limit has to encode them."""
    video = write_video(tmp_path / "a.mp4", 3)
    code = (
        "import resource, os, sys\nfrom pathlib import Path\n"
        "from preprocess.media import iter_frames\nfrom preprocess.media.sampling import Sampling\n"
        "from preprocess.media.images import read_image\n"
        "read = {'video': lambda p: list(iter_frames(p, Sampling.fps(1))), 'image': read_image}[sys.argv[1]]\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) - 1,) * 2)\n"
        "try:\n    read(Path(sys.argv[2]))\nexcept OSError as error:\n    print(error.errno)\n"
    )
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("this system does not say how many files are open")
    for kind in ("video", "image"):
        done = subprocess.run([sys.executable, "-c", code, kind, str(video)], capture_output=True, text=True)
        assert done.stdout == f"{errno.EMFILE}\n", done.stderr


def is_full(path: Path) -> bool:
    """Whether writing there fails; some containers have a /dev/full that takes everything."""
    try:
        with path.open("w") as file:
            file.write("x")
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False


LIST = [sys.executable, "-m", "preprocess", "list"]


@pytest.mark.skipif(not is_full(Path("/dev/full")), reason="this system has no /dev/full")
def test_what_cannot_be_printed_is_one_line_too(root: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(LIST, cwd=root, stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("error: the disk is full")


def test_a_reader_that_has_enough_is_no_error(root: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    done = subprocess.run(LIST, cwd=root, stdout=theirs, stderr=subprocess.PIPE, text=True)
    os.close(theirs)
    assert (done.returncode, done.stderr) == (1, "")
