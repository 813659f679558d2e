from __future__ import annotations

import stat
from pathlib import Path

import pytest

from preprocess.formats.atomic import atomic_file, is_temporary, remove_temporary, write_atomic, write_if_changed


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


def test_a_file_is_not_there_before_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    with atomic_file(path) as file:
        file.write(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"


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
    assert remove_temporary(tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted(keep)
    assert remove_temporary(tmp_path / "absent") == 0
