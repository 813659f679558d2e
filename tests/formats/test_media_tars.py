"""Tars of media: samples, what a damaged one still gives, and how much of a stream is read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import pytest
import webdataset

from preprocess.formats import media_tars
from preprocess.formats.media_tars import media_by_stem, read_media_tar


def tar_of(files: dict[str, bytes], format: int = tarfile.PAX_FORMAT) -> bytes:
    """A tar by the standard library."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def by_webdataset(tar: Path) -> dict[str, dict[str, bytes]]:
    """The samples as `webdataset` groups them."""
    found: dict[str, dict[str, bytes]] = {}
    for sample in webdataset.WebDataset(str(tar), shardshuffle=False):
        found[sample["__key__"]] = {name: value for name, value in sample.items() if not name.startswith("__")}
    return found


def test_samples_are_those_of_webdataset_and_ranges_hold_their_bytes(tmp_path: Path) -> None:
    tar = tmp_path / "0.tar"
    with webdataset.TarWriter(str(tar)) as writer:
        for key in ("000", "001", "a/b/002"):
            parts = {"mp4": key.encode() * 300, "txt": f"text {key}", "json": {"key": key}, "cls": 3}
            writer.write({"__key__": key, **parts, "left.webm": b"left", "npy": b"passed over"})
    samples, damage = read_media_tar(tar)
    assert damage is None
    theirs = by_webdataset(tar)
    assert [sample.key for sample in samples] == list(theirs)
    data = tar.read_bytes()
    for sample in samples:
        parts = theirs[sample.key]
        assert {
            name: data[one.start : one.end] for one in sample.media if (name := one.name[len(sample.key) + 1 :])
        } == {
            "mp4": parts["mp4"],
            "left.webm": parts["left.webm"],
        }
        assert sample.texts == {f".{name}": parts[name] for name in ("txt", "json", "cls")}
        assert sample.whole


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_of_every_format_and_order(format: int) -> None:
    long = "folder/" + "n" * 90
    files = {f"{long}.mp4": b"video", "x.JPG": b"image", f"{long}.txt": b"text", "x.txt": b"text", ".hidden.mp4": b"no"}
    samples, damage = read_media_tar(tar_of(files, format))
    assert damage is None
    assert [sample.key for sample in samples] == [long, "x"]
    assert [(one.name, one.suffix) for sample in samples for one in sample.media] == [
        (f"{long}.mp4", ".mp4"),
        ("x.JPG", ".jpg"),
    ]
    assert all(sample.texts == {".txt": b"text"} for sample in samples)


def test_previews_are_left_out_and_cameras_are_samples_of_their_own() -> None:
    names = ("a.mp4", "a.jpg", "a.left.mp4", "a.webm", "b.png", "b.jpg", "a.left.txt")
    samples, _ = read_media_tar(tar_of(dict.fromkeys(names, b"x")))
    found = {stem: [one.name for one in media] for sample in samples for stem, media in media_by_stem(sample).items()}
    assert found == {"a": ["a.mp4", "a.webm"], "a.left": ["a.left.mp4"], "b": ["b.png", "b.jpg"]}


@pytest.mark.parametrize("cut", ["media", "text", "header", "between", "garbage"])
def test_a_damaged_tar_gives_what_is_before_the_damage(cut: str) -> None:
    files = {f"{i}.{suffix}": bytes([65 + i]) * 1500 for i in range(4) for suffix in ("mp4", "txt")}
    data = tar_of(files, tarfile.USTAR_FORMAT)
    of = {name: 2048 * i for i, name in enumerate(files)}  # a header of 512 bytes, 1500 bytes and their padding
    if cut == "garbage":
        data = data[: of["2.mp4"]] + b"\xff" * 512 + data[of["2.mp4"] + 512 :]
    else:
        end = {
            "media": of["2.mp4"] + 1000,
            "text": of["2.txt"] + 1000,
            "header": of["2.txt"] + 9,
            "between": of["2.mp4"],
        }
        data = data[: end[cut]]
    for source in (data, io.BytesIO(data), Pipe(data)):
        samples, damage = read_media_tar(source, name="0.tar")
        assert damage is not None
        assert str(damage).startswith("0.tar: byte ")
        assert [sample.key for sample in samples if sample.whole] == ["0", "1"]
        # The video of the third is whole, but its caption is lost: that is said, and it gets no other caption.
        assert [sample.key for sample in samples if not sample.whole] == (["2"] if cut in ("text", "header") else [])


class Pipe:
    """A stream that cannot seek, and gives a little at a time."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def read(self, n: int = -1) -> bytes:
        return self._data.read(min(n, 700))


class Counted(io.BytesIO):
    count = 0

    def read(self, n: int | None = -1) -> bytes:
        data = super().read(n)
        self.count += len(data)
        return data


def test_media_in_a_stream_that_can_seek_are_not_read() -> None:
    stream = Counted(tar_of({"a.mp4": b"v" * 10_000_000, "a.txt": b"text", "b.mp4": b"w" * 10_000_000}))
    samples, damage = read_media_tar(stream)
    assert damage is None
    assert [(one.name, one.end - one.start) for sample in samples for one in sample.media] == [
        ("a.mp4", 10_000_000),
        ("b.mp4", 10_000_000),
    ]
    assert stream.count < 10_000


def test_large_texts_are_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_tars, "MAX_TEXT_BYTES", 1000)
    stream: Any = Counted(tar_of({"a.mp4": b"v", "a.json": b"j" * 1_000_000, "b.mp4": b"v", "b.json": b"j" * 1000}))
    samples, _ = read_media_tar(stream)
    assert [sample.texts for sample in samples] == [{".json": None}, {".json": b"j" * 1000}]
    assert stream.count < 20_000
