"""Archives made by the standard library, hostile ones too: what is unpacked, and what never is."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from preprocess.download.http import DownloadError
from preprocess.download.unpack import Unpacked, unpack

FILES = {"MSRVTT/videos/all/video0.mp4": b"v" * 5000, "MSRVTT/list_é.txt": b"video0\n", "empty": b""}


def make_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in files.items():
            pack.writestr(name, data)
    return path


def make_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as pack:  # type: ignore[call-overload]
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            pack.addfile(entry, io.BytesIO(data))
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_files_come_out_as_they_went_in(tmp_path: Path, make: object) -> None:
    archive = make(tmp_path / "a", FILES | {"__MACOSX/x": b"junk", "MSRVTT/.DS_Store": b"junk"})  # type: ignore[operator]
    seen: list[None] = []
    done = unpack(archive, tmp_path / "raw", lambda: seen.append(None))
    assert (done, len(seen)) == (Unpacked(written=3, left_out=2), 5)
    assert contents(tmp_path / "raw") == FILES
    assert unpack(archive, tmp_path / "raw") == Unpacked(kept=3, left_out=2)


def test_a_second_run_writes_what_is_missing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", FILES)
    unpack(archive, tmp_path / "raw")
    (tmp_path / "raw/empty").unlink()
    video = tmp_path / "raw/MSRVTT/videos/all/video0.mp4"
    before = video.stat().st_mtime_ns
    assert unpack(archive, tmp_path / "raw") == Unpacked(written=1, kept=2)
    assert video.stat().st_mtime_ns == before
    video.write_bytes(b"compressed by the user")
    with pytest.raises(DownloadError, match=r"video0\.mp4 exists already and is not the file that a\.zip holds"):
        unpack(archive, tmp_path / "raw")
    assert video.read_bytes() == b"compressed by the user"


def test_an_archive_in_the_archive_is_unpacked_where_it_lies(tmp_path: Path) -> None:
    inner = make_tar(tmp_path / "inner", {"101_ObjectCategories/ant/image_0001.jpg": b"jpg"}).read_bytes()
    archive = make_zip(tmp_path / "a.zip", {"caltech-101/101_ObjectCategories.tar.gz": inner, "caltech-101/a.m": b"m"})
    for _ in range(2):
        unpack(archive, tmp_path / "raw")
        assert contents(tmp_path / "raw") == {
            "caltech-101/101_ObjectCategories/ant/image_0001.jpg": b"jpg",
            "caltech-101/a.m": b"m",
        }


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/out", "a\\..\\out", "x" * 300])
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_path_that_leads_out_is_refused(tmp_path: Path, make: object, name: str) -> None:
    archive = make(tmp_path / "a", {name: b"hostile"})  # type: ignore[operator]
    with pytest.raises(DownloadError, match="is not a path below its folder"):
        unpack(archive, tmp_path / "raw")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_links_and_devices_are_not_made(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    with tarfile.open(tmp_path / "a.tar", "w") as pack:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE):
            entry = tarfile.TarInfo(f"link{kind.decode()}")
            entry.type, entry.linkname = kind, str(secret)
            pack.addfile(entry)
        through = tarfile.TarInfo("link2/x")
        through.size = 1
        pack.addfile(through, io.BytesIO(b"x"))
    assert unpack(tmp_path / "a.tar", tmp_path / "raw") == Unpacked(written=1, left_out=4)
    assert contents(tmp_path / "raw") == {"link2/x": b"x"}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        info = zipfile.ZipInfo("link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(info, str(secret))
    assert unpack(tmp_path / "a.zip", tmp_path / "other") == Unpacked(left_out=1)
    assert secret.read_text() == "secret"


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_link_of_the_user_is_not_replaced(tmp_path: Path, make: object) -> None:
    """Also where it leads nowhere: the disk that it points to may only be absent."""
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.mp4").symlink_to(tmp_path / "other disk" / "a.mp4")
    with pytest.raises(DownloadError, match="exists already and is not the file"):
        unpack(make(tmp_path / "a", {"a.mp4": b"video"}), tmp_path / "raw")  # type: ignore[operator]
    assert (tmp_path / "raw/a.mp4").is_symlink()
    assert not (tmp_path / "other disk").exists()


def test_a_name_that_is_not_text_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.GNU_FORMAT) as pack:
        entry = tarfile.TarInfo("a\udcff.mp4")
        entry.size = 1
        pack.addfile(entry, io.BytesIO(b"x"))
    with pytest.raises(DownloadError, match=r"holds 'a\\udcff.mp4', which is not a path"):
        unpack(tmp_path / "a.tar", tmp_path / "raw")
    assert contents(tmp_path / "raw") == {}


def test_an_encrypted_file_is_named(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"a.mp4": b"video"})
    data = archive.read_bytes()
    for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):  # APPNOTE 4.3.7 and 4.3.12
        at = data.index(signature) + flags
        data = data[:at] + bytes([data[at] | 1]) + data[at + 1 :]
    archive.write_bytes(data)
    with pytest.raises(DownloadError, match=r"a\.mp4 is encrypted"):
        unpack(archive, tmp_path / "raw")


@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_a_damaged_archive_is_an_error_and_no_damaged_file_appears(tmp_path: Path, make: object) -> None:
    archive = make(tmp_path / "a", FILES)  # type: ignore[operator]
    whole = archive.read_bytes()
    for damaged in (whole[:60], whole[:40] + b"\xff" * 8 + whole[48:], b"", b"no archive"):
        archive.write_bytes(damaged)
        with pytest.raises(DownloadError, match="is not a whole zip or tar"):
            unpack(archive, tmp_path / "raw")
        assert all(FILES[name] == data for name, data in contents(tmp_path / "raw").items())


def test_a_file_where_a_folder_belongs(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/MSRVTT").write_text("")
    with pytest.raises(DownloadError, match="MSRVTT is a file, not a folder"):
        unpack(make_zip(tmp_path / "a.zip", FILES), tmp_path / "raw")
