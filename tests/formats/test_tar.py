"""Compared with Python's own `tarfile`, both ways."""

from __future__ import annotations

import io
import os
import tarfile
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.errors import DamagedFileError
from preprocess.formats import tar
from tests.fuzz.hostile import PAX, SIZE, SIZES, header_with, pax

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=100).filter(
    lambda s: len(s.encode()) <= 100 and s != "."
)
FILES = st.lists(st.tuples(NAMES, st.binary(max_size=2000)), max_size=8)


def ours(files: list[tuple[str, bytes]]) -> bytes:
    body = b"".join(tar.member(name, data) for name, data in files)
    return body + tar.end_of_archive(len(body))


def theirs(files: list[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@given(FILES)
def test_bytes_are_those_of_tarfile(files: list[tuple[str, bytes]]) -> None:
    assert ours(files) == theirs(files)


@given(FILES, st.sampled_from([tarfile.USTAR_FORMAT, tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_reads_what_tarfile_writes(files: list[tuple[str, bytes]], format: int) -> None:
    data = theirs(files, format)
    for source in (data, memoryview(data), io.BytesIO(data)):
        members = list(tar.iter_members(source, strict=True))
        assert [(m.name, bytes(m.data)) for m in members] == files
        assert all(data[m.offset : m.offset + len(m.data)] == m.data for m in members)


@given(FILES)
def test_tarfile_reads_what_we_write(files: list[tuple[str, bytes]]) -> None:
    with tarfile.open(fileobj=io.BytesIO(ours(files))) as archive:
        members = archive.getmembers()
        assert [(m.name, archive.extractfile(m).read()) for m in members] == files  # type: ignore[union-attr]
    assert all((m.mtime, m.uid, m.gid, m.mode, m.isreg()) == (0, 0, 0, 0o644, True) for m in members)


@pytest.mark.parametrize("format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names(format: int) -> None:
    files = [("x" * 180 + ".npy", b"1"), ("é" * 120 + ".txt", b"2"), ("b.json", b"3")]
    assert [(m.name, bytes(m.data)) for m in tar.iter_members(theirs(files, format))] == files


def test_a_long_ustar_name_is_a_path_and_passed_over() -> None:
    data = theirs([("a" * 60 + "/" + "b" * 60, b"1"), ("c.npy", b"2")])
    assert [m.name for m in tar.iter_members(data)] == ["c.npy"]


@pytest.mark.parametrize("name", ["", "a/b.npy", "/etc/passwd", "x" * 101, "é" * 51, "a\0b"])
def test_names_that_a_shard_must_not_have_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="member's name"):
        tar.member(name, b"")


def odd_tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for kind, name in (
            (tarfile.DIRTYPE, "folder"),
            (tarfile.SYMTYPE, "link.npy"),
            (tarfile.LNKTYPE, "hard.npy"),
            (tarfile.CHRTYPE, "device.npy"),
            (tarfile.FIFOTYPE, "x" * 150),  # a long name that must not stick to the next member
            (tarfile.REGTYPE, "../up.npy"),
            (tarfile.REGTYPE, "/root.npy"),
            (tarfile.REGTYPE, "./dot.npy"),
            (tarfile.REGTYPE, "good.npy"),
        ):
            info = tarfile.TarInfo(name)
            info.type = kind
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            archive.addfile(info)
    return buffer.getvalue()


def test_links_devices_and_paths_are_passed_over() -> None:
    assert [m.name for m in tar.iter_members(odd_tar())] == ["dot.npy", "good.npy"]


def test_links_devices_and_paths_are_errors_when_strict() -> None:
    with pytest.raises(DamagedFileError, match=r"shard\.tar: byte 0: 'folder/' is not a regular file \(type '5'\)"):
        list(tar.iter_members(odd_tar(), name="shard.tar", strict=True))


@pytest.mark.parametrize("cut", [1, 511, 512, 700, 1024, 1400, 2000])
def test_a_cut_tar_names_file_and_offset(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "ds_00000.tar"
    path.write_bytes(ours([("a.npy", b"x" * 100), ("b.npy", b"y" * 600)])[:cut])
    with pytest.raises(DamagedFileError, match=r"ds_00000\.tar: byte [\d,]+: cut off"):
        list(tar.iter_members(path))
    with path.open("rb") as stream, pytest.raises(DamagedFileError, match="cut off"):
        list(tar.iter_members(stream))


def test_an_empty_file_is_a_cut_tar(tmp_path: Path) -> None:
    path = tmp_path / "ds_00000.tar"
    path.touch()
    with pytest.raises(DamagedFileError, match=r"ds_00000\.tar: byte 0: cut off"):
        list(tar.iter_members(path))


@given(st.integers(0, 511).filter(lambda i: i not in (148, 149, 154, 155)), st.integers(1, 255))
def test_no_changed_header_goes_unseen(position: int, difference: int) -> None:
    """But for the first and last bytes of the checksum, where writers put zeros, spaces or nothing."""
    bad = bytearray(ours([("a.npy", b"x")]))
    bad[position] ^= difference
    with pytest.raises(DamagedFileError, match="byte 0: "):
        list(tar.iter_members(bytes(bad)))


@pytest.mark.parametrize("size", SIZES)
def test_a_size_is_plain_octal_digits(size: bytes) -> None:
    """A negative one made the reader turn back, for ever."""
    data = header_with(SIZE, size) + tar.END
    for source in (data, io.BytesIO(data)):
        with pytest.raises(DamagedFileError, match="byte 0: "):
            list(tar.iter_members(source))
    with pytest.raises(DamagedFileError, match=r"x\.tar: byte 0: "):
        tar.first_member(data, "x.tar")


@pytest.mark.parametrize("checksum", [b"-00001\0 ", b"0x1234\0 ", b"12 345\0 ", b"99999999"])
def test_a_checksum_is_plain_octal_digits(checksum: bytes) -> None:
    header = bytearray(tar.member("a.npy", b"")[:512])
    header[148:156] = checksum
    with pytest.raises(DamagedFileError, match="no tar header here"):
        list(tar.iter_members(bytes(header) + tar.END))


@pytest.mark.parametrize("records", PAX)
def test_pax_records_are_parsed_strictly(records: bytes) -> None:
    for source in (pax(records), io.BytesIO(pax(records))):
        with pytest.raises(DamagedFileError):
            list(tar.iter_members(source))


def test_extended_headers_are_bounded() -> None:
    with pytest.raises(DamagedFileError, match="bytes of extended header"):
        list(tar.iter_members(pax(b"10 path=b\n", size=1 << 30)))


def test_a_name_that_is_not_utf8_is_an_error() -> None:
    for data in (header_with(slice(0, 100), b"caf\xe9.npy".ljust(100, b"\0")) + tar.END, pax(b"12 path=b\xff\xfe\n")):
        with pytest.raises(DamagedFileError, match="is not UTF-8") as error:
            list(tar.iter_members(data))
        str(error.value).encode()  # can be printed


def test_a_header_that_claims_terabytes_costs_no_memory() -> None:
    header = bytearray(tar.member("a.npy", b"")[:512])
    header[124:136] = b"\x80" + (1 << 49).to_bytes(11, "big")
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    for source in (bytes(header), io.BytesIO(bytes(header))):
        with pytest.raises(DamagedFileError, match="cut off"):
            list(tar.iter_members(source))


def test_text_is_no_tar() -> None:
    with pytest.raises(DamagedFileError, match="no tar header here"):
        list(tar.iter_members(b"<html>not found</html>" * 100))


def test_reads_a_pipe() -> None:
    files = [("a.npy", b"x" * 200_000), ("b.txt", b"y")]
    reading, writing = os.pipe()
    writer = threading.Thread(target=lambda: os.fdopen(writing, "wb").write(ours(files)))
    writer.start()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        assert [(m.name, bytes(m.data)) for m in tar.iter_members(stream)] == files  # type: ignore[arg-type]
    writer.join()


def test_a_path_gives_views_that_outlive_the_reading(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(ours([("a.npy", b"x" * 1000), ("b.txt", b"y")]))
    views = [m.data for m in tar.iter_members(path)]
    path.unlink()
    assert [bytes(v) for v in views] == [b"x" * 1000, b"y"]


def test_triples_of_ours_and_of_clip_video_encode() -> None:
    new = ours([("vid_00000.npy", b"n0"), ("vid_00000.txt", b"t0"), ("vid_00000.json", b"j0")])
    old = ours([(f"{i:06d}.{x}", f"{x[0]}{i}".encode()) for i in range(2) for x in ("cap", "json", "npy")])
    assert [(t.id, bytes(t.npy), bytes(t.txt), bytes(t.json)) for t in tar.iter_triples(new)] == [
        ("vid_00000", b"n0", b"t0", b"j0")
    ]
    assert [(t.id, bytes(t.npy), bytes(t.txt), bytes(t.json)) for t in tar.iter_triples(old)] == [
        ("000000", b"n0", b"c0", b"j0"),
        ("000001", b"n1", b"c1", b"j1"),
    ]


def test_a_foreign_part_is_passed_over_or_an_error_when_strict() -> None:
    data = ours([("v.npy", b""), ("v.jpg", b""), ("v.txt", b""), ("v.json", b"")])
    assert [t.id for t in tar.iter_triples(data)] == ["v"]
    with pytest.raises(DamagedFileError, match=r"'v\.jpg' is not \.npy, \.txt, \.json"):
        list(tar.iter_triples(data, strict=True))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.npy", "a.txt", "b.npy", "b.txt", "b.json"], r"byte 1,024: 'a' has no \.json"),
        (["a.npy", "a.txt"], r"at the end: 'a' has no \.json"),
        (["a.txt", "a.json"], r"'a' has no \.npy"),
        (["a.npy", "a.txt", "a.json", "a.npy"], r"byte 1,536: 'a\.npy' is there twice"),
    ],
)
def test_an_incomplete_triple_is_an_error(names: list[str], message: str) -> None:
    with pytest.raises(DamagedFileError, match=message):
        list(tar.iter_triples(ours([(name, b"") for name in names])))
