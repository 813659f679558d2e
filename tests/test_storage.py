from __future__ import annotations

import errno
import os
import pickle
import stat
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest

from preprocess import append_log, storage
from preprocess.append_log import AppendLog
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.pipeline.index import only_run
from preprocess.run_files import exclusive
from preprocess.storage import (
    LOCK_FILE,
    atomic_file,
    atomic_folder,
    atomic_path,
    clear_folder,
    file_names,
    fingerprint,
    fingerprints,
    is_remote,
    is_temporary,
    location,
    make_folder,
    output_location,
    read_ranges,
    remove,
    remove_temporary,
    write_atomic,
    write_if_changed,
)


def test_a_file_that_fails_leaves_the_old_one_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            file.flush()
            names = {p.name for p in tmp_path.iterdir()}
            assert [is_temporary(name) for name in names - {"a.json"}] == [True]
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def left_by_a_killed_process(path: Path) -> Path:
    """The temporary file of a process that was killed before it published `path`."""
    pid = os.fork()
    if not pid:
        with atomic_file(path) as file:
            file.write(b"half")
            os._exit(0)
    os.waitpid(pid, 0)
    (left,) = (found for found in path.parent.iterdir() if found.name.startswith(f".{path.name}."))
    assert is_temporary(left.name)
    return left


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path: Path) -> None:
    left = left_by_a_killed_process(tmp_path / "a.json")
    other = left_by_a_killed_process(tmp_path / "a.json.txt")
    assert write_if_changed(tmp_path / "a.json", b"new")
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "a.json"]
    assert not left.exists()


def test_what_a_killed_build_left_goes_with_the_next(tmp_path: Path) -> None:
    layout = Layout(tmp_path, "CLIP-Test")
    layout.processed.mkdir(parents=True)
    left = [left_by_a_killed_process(path) for path in (layout.encoding, layout.samples, layout.options)]
    with only_run(layout):
        assert not [path for path in left if path.exists()]


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"


def test_content_then_name_are_on_disk_before_a_file_is_reported_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync of the content, rename, fsync of the folder, in this order; not for files that are synced together."""
    calls: list[str] = []

    def fsync(descriptor: int) -> None:
        target = Path(f"/proc/self/fd/{descriptor}").readlink()
        calls.append("folder" if target == tmp_path else "content" if is_temporary(target.name) else str(target))
        real_fsync(descriptor)

    def replace(source: str, target: Path) -> None:
        calls.append("rename")
        real_replace(source, target)

    real_fsync, real_replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_atomic(tmp_path / "manifest.json", b"{}")
    assert calls == ["content", "rename", "folder"]
    calls.clear()
    write_atomic(tmp_path / "one_of_many.npy", b"", durable=False)
    assert calls == ["rename"]


def test_who_reads_the_old_file_goes_on_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"old")
    with path.open("rb") as reader:
        write_atomic(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_the_longest_key_fits_in_a_file_name_and_others_may_read_it(tmp_path: Path) -> None:
    path = tmp_path / ("k" * 200 + ".json")
    write_atomic(path, b"x")
    plain = tmp_path / "plain"
    plain.touch()
    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_the_same_bytes_are_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert write_if_changed(path, b"1")
    inode = path.stat().st_ino
    assert not write_if_changed(path, b"1")
    assert path.stat().st_ino == inode
    assert write_if_changed(path, b"2")
    assert path.read_bytes() == b"2"


def test_only_temporary_files_are_removed(tmp_path: Path) -> None:
    keep = [tmp_path / ".gitignore", tmp_path / "a.tmp", tmp_path / "a.json"]
    for path in (*keep, tmp_path / ".a.json.0123456789abcdef.tmp"):
        path.touch()
    (tmp_path / ".vae.0123456789abcdef.tmp").mkdir()
    (tmp_path / ".vae.0123456789abcdef.tmp" / "config.json").touch()
    assert remove_temporary(tmp_path) == 2
    assert sorted(tmp_path.iterdir()) == sorted(keep)
    assert remove_temporary(tmp_path / "absent") == 0


def test_only_the_temporary_files_of_a_name_are_removed(tmp_path: Path) -> None:
    keep = [tmp_path / ".b.mp4.0123456789abcdef.tmp", tmp_path / "a.mp4"]
    for path in (*keep, tmp_path / ".a.mp4.0123456789abcdef.tmp"):
        path.touch()
    assert remove_temporary(tmp_path, "a.mp4") == 1
    assert sorted(tmp_path.iterdir()) == sorted(keep)


def test_a_writer_that_opens_by_name_publishes_whole(tmp_path: Path) -> None:
    target = tmp_path / "a.mp4"
    target.write_bytes(b"old")

    def write(data: bytes, fails: bool) -> None:
        with atomic_path(target) as path:
            assert (path.name, path.parent.parent) == ("a.mp4", tmp_path)
            assert is_temporary(path.parent.name)
            path.write_bytes(data)
            if fails:
                raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(b"half", fails=True)
    assert (target.read_bytes(), list(tmp_path.iterdir())) == (b"old", [target])
    write(b"new", fails=False)
    assert (target.read_bytes(), list(tmp_path.iterdir())) == (b"new", [target])


def test_a_folder_is_emptied_but_for_its_lock(tmp_path: Path) -> None:
    """The run that empties it holds the lock: without the file, a second run could begin."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    folder = tmp_path / "work"
    (folder / "processed" / "train").mkdir(parents=True)
    for name in (LOCK_FILE, "samples.jsonl", "processed/train/a.npy"):
        (folder / name).touch()
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    clear_folder(folder)
    assert [path.name for path in folder.iterdir()] == [LOCK_FILE]
    assert (tmp_path / "elsewhere" / "kept").exists(), "a link is removed, not what it points to"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "models" / "vae"

    def fail() -> None:
        with atomic_folder(target) as folder:
            (folder / "config.json").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(target.parent.iterdir()) == []
    with atomic_folder(target) as folder:
        (folder / "config.json").touch()
        assert not target.exists()
    assert [path.name for path in target.iterdir()] == ["config.json"]


# --- locations --------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["local", "s3", "gcs"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "local":
        return tmp_path
    return location(f"{request.getfixturevalue(request.param)}/{tmp_path.name}")


def test_a_path_stays_a_path() -> None:
    for text in ("data", "/data/x", "file:///data/x"):
        assert type(location(text)) is type(Path())
    assert location("file:///data/a%20b") == Path("/data/a b")
    path = Path("x")
    assert location(path) is path
    assert not is_remote(path)


@pytest.mark.parametrize("address", ["s3://bucket/data", "s3://bucket/data/", "hf://datasets/org/name@main/data"])
def test_an_address_has_the_methods_of_a_path(address: str) -> None:
    path = location(address)
    assert is_remote(path)
    assert str(path / "a" / "b.json") == f"{address.rstrip('/')}/a/b.json"
    assert (path / "a.json").parent == path
    assert pickle.loads(pickle.dumps(path)) == path


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("ssh://host/x", "ssh:// is not among"),
        ("github://a/b", "github:// is not among"),
        ("s3://bucket/x::file:///etc", "leads through another"),
        ("s3://key:secret@bucket/x", "was given with a user name or password"),
        ("https://token@host.org/x", "was given with a user name or password"),
    ],
)
def test_what_is_not_opened(address: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        location(address)
    assert "secret" not in str(error.value)
    assert "token" not in str(error.value)


@pytest.mark.parametrize("address", ["https://host.org/x", "hf://datasets/org/name"])
def test_what_cannot_be_written_to(address: str) -> None:
    with pytest.raises(UserError, match="cannot be written to"):
        output_location(address)


# --- both kinds of storage --------------------------------------------------------------------------------------------


def test_files_are_published_whole(folder: Path) -> None:
    path = folder / "a.bin"
    with atomic_file(path) as file:
        file.write(b"x" * 1000)
        assert not path.exists()
    assert path.read_bytes() == b"x" * 1000

    def fails() -> None:
        with atomic_file(path) as file:
            file.write(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fails()
    assert path.read_bytes() == b"x" * 1000
    assert write_if_changed(path, b"")
    assert not write_if_changed(path, b"")
    assert write_if_changed(folder / "b.bin", b"b")
    assert file_names(folder) == ["a.bin", "b.bin"]


def test_a_large_object_appears_whole(s3: str, tmp_path: Path) -> None:
    """In several requests, none of which shows."""
    path = location(f"{s3}/{tmp_path.name}") / "large"
    block = bytes(range(256)) * 4096
    with atomic_file(path) as file:
        for _ in range(120):
            file.write(block)
    assert fingerprint(path)[0] == 120 << 20
    assert read_ranges([(path, (119 << 20) + 5, (119 << 20) + 9)]) == [block[5:9]]


def test_fingerprints_change_with_the_content(folder: Path) -> None:
    path = folder / "a"
    write_atomic(path, b"one")
    before = fingerprint(path)
    assert fingerprints(folder) == {"a": before}
    assert fingerprint(path) == before
    time.sleep(0.02)  # two ticks of the clock that some kernels give files their times by
    write_atomic(path, b"two")
    assert fingerprint(path) != before
    assert before[0] == 3
    with pytest.raises(FileNotFoundError):
        fingerprint(folder / "none")
    assert fingerprints(folder / "none") == {}
    assert file_names(folder / "none") == []


def test_a_listing_has_files_of_that_folder_only(folder: Path) -> None:
    for name in ("b", "a", "c/d", "ab/c"):
        make_folder((folder / name).parent)
        write_atomic(folder / name, b"x")
    assert file_names(folder) == ["a", "b"]
    assert set(fingerprints(folder)) == {"a", "b"}


@pytest.mark.parametrize("gap", [0, 10, 1 << 20])
def test_ranges_are_read_in_the_order_asked_for(folder: Path, gap: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage.ranges, "_MAX_GAP", gap)
    data = {name: np.random.default_rng(i).bytes(5000) for i, name in enumerate("ab")}
    for name, content in data.items():
        write_atomic(folder / name, content)
    asked = [("b", 10, 20), ("a", 0, None), ("b", 25, 4000), ("a", 4990, 5000), ("b", 0, 10), ("a", 7, 7), ("b", 9, 30)]
    read = read_ranges([(folder / name, start, end) for name, start, end in asked])
    assert [bytes(one) for one in read] == [data[name][start:end] for name, start, end in asked]
    assert read_ranges([]) == []
    with pytest.raises(FileNotFoundError):
        read_ranges([(folder / "a", 0, 1), (folder / "none", 0, None)])


def test_removing(folder: Path) -> None:
    for name in ("a", "b/c", storage.LOCK_FILE):
        make_folder((folder / name).parent)
        write_atomic(folder / name, b"x")
    remove(folder / "a")
    remove(folder / "a")
    assert "a" not in file_names(folder)
    clear_folder(folder)
    assert not (folder / "b").exists()
    clear_folder(folder)


def test_a_log_is_whole_at_the_end(folder: Path) -> None:
    path = folder / "log"
    log = AppendLog(path)
    log.replace(lambda: [b"0\n"])
    for i in range(1, 4):
        log.append(b"%d\n" % i)
        if not is_remote(path):
            assert path.read_bytes().endswith(b"%d\n" % i)
    log.flush()
    assert path.read_bytes() == b"0\n1\n2\n3\n"
    again = AppendLog(path)
    assert list(again.lines()) == [(0, b"0\n"), (2, b"1\n"), (4, b"2\n"), (6, b"3\n")]
    assert again.append(b"four\n") == 8
    again.flush()
    assert path.read_bytes() == b"0\n1\n2\n3\nfour\n"
    assert again.read([8, 2, 2]) == [b"four\n", b"1\n", b"1\n"]
    again.replace(lambda: [b"five\n"])
    assert path.read_bytes() == b"five\n"
    assert list(again.lines()) == [(0, b"five\n")]
    again.replace(list)
    assert path.read_bytes() == b""


def test_a_log_is_read_in_blocks_and_lines_of_any_length(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(append_log, "_BLOCK", 7)
    monkeypatch.setattr(append_log, "_LINE", 3)
    monkeypatch.setattr(append_log, "_LINES", 16)
    lines = [b"x" * length + b"\n" for length in (0, 1, 5, 6, 7, 8, 40, 0, 300, 2)]
    places = [sum(map(len, lines[:i])) for i in range(len(lines))]
    for log in (AppendLog(folder / "log"), AppendLog()):
        assert [log.append(line) for line in lines] == places
        assert list(log.lines()) == list(zip(places, lines, strict=True))
        for chosen in (slice(None), slice(None, None, -1), slice(None, None, 2), slice(3, 9)):
            assert log.read(places[chosen]) == lines[chosen]
        assert log.read([*places[:3], *places[:3]]) == [*lines[:3], *lines[:3]], "again"
        assert log.read([places[-1] + 3, 10_000]) == [b"", b""], "behind the end of the file"


@pytest.mark.parametrize("length", [1, 511, 512, 513, 2000])
def test_half_a_line_of_a_killed_run_is_no_line(tmp_path: Path, length: int) -> None:
    path = tmp_path / "log"
    for whole in (b"", b"one\ntwo\n"):
        path.write_bytes(whole + b"x" * length)
        log = AppendLog(path)
        assert [line for _, line in log.lines()] == whole.splitlines(keepends=True)
        assert path.read_bytes() == whole + b"x" * length, "reading changes nothing"
        assert log.append(b"next\n") == len(whole)
        assert path.read_bytes() == whole + b"next\n"


def test_a_temporary_log_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    log = AppendLog()
    log.append(b"line\n")
    assert not list(tmp_path.iterdir())
    assert log.read([0]) == [b"line\n"]
    open_files = Path("/proc/self/fd")
    before = len(list(open_files.iterdir()))
    del log
    assert len(list(open_files.iterdir())) == before - 1


FULL_FILE = """
import resource, sys
from pathlib import Path
from preprocess.append_log import AppendLog
path = Path(sys.argv[1])
log = AppendLog(path)
log.append(b"1\\n")
resource.setrlimit(resource.RLIMIT_FSIZE, (5, resource.RLIM_INFINITY))
try:
    log.append(b"22222222\\n")
except OSError as error:
    print(error.filename == str(path), path.read_bytes())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append(b"3\\n")
"""


def test_a_line_that_could_not_be_written_leaves_no_half(tmp_path: Path, root: Path) -> None:
    """A run that ends because of it notes at the end what it knows for certain, in the same file."""
    command = [sys.executable, "-c", FULL_FILE, str(tmp_path / "log")]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("True b'1\\n'\n", "")
    assert (tmp_path / "log").read_bytes() == b"1\n3\n"


def test_a_remote_log_is_uploaded_at_intervals(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = location(f"{s3}/{tmp_path.name}") / "log"
    log = AppendLog(path)
    log.append(b"1\n")
    assert not path.exists()
    monkeypatch.setattr(AppendLog, "INTERVAL_S", 0.0)
    log.append(b"2\n")
    assert path.read_bytes() == b"1\n2\n"


def test_an_upload_that_takes_long_is_followed_by_a_longer_pause(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = location(f"{s3}/{tmp_path.name}") / "log"
    monkeypatch.setattr(AppendLog, "INTERVAL_S", 0.0)
    monkeypatch.setattr(AppendLog, "PAUSE", 1e6)
    log = AppendLog(path)
    log.append(b"1\n")
    log.append(b"2\n")
    assert path.read_bytes() == b"1\n"
    log.flush()
    assert path.read_bytes() == b"1\n2\n"


def test_one_run_at_a_time(folder: Path) -> None:
    with exclusive(folder, str(folder)):
        with pytest.raises(UserError, match="another run is working on"), exclusive(folder, "x"):
            pass
        with exclusive(folder / "other", "x"):
            pass
    with exclusive(folder, "x"):
        pass


def test_a_bucket_that_does_not_exist_is_named(s3: str) -> None:
    path = location("s3://no-such-bucket-here/x")
    for action in (lambda: write_atomic(path / "a", b"x"), lambda: storage.files_below(path)):
        with pytest.raises(UserError, match=r"s3://no-such-bucket-here/x.* cannot be used .*bucket does not exist"):
            action()


def test_without_credentials_or_server_one_error(s3: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(UserError, match=r"s3://bucket/x cannot be used \(EndpointConnectionError"):
        file_names(location("s3://bucket/x"))
    fsspec.filesystem("s3").clear_instance_cache()
