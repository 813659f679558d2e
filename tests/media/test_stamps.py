"""The state of media before a build: of local files, from listings of a store, from the servers that are asked."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from preprocess.media import stamps
from preprocess.media.stamps import MediaStamps, media_stamp
from preprocess.pipeline import plan
from preprocess.samples import Sample
from preprocess.storage import Stamp, location, write_atomic


@pytest.fixture(params=["a list", "a table"])
def few(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a few samples are a list or a table."""
    monkeypatch.setattr(stamps, "_ASKED", 2)
    if request.param == "a table":
        monkeypatch.setattr(plan, "AS_OBJECTS", 1)


@pytest.fixture
def store(s3: str, tmp_path: Path) -> str:
    """A folder of its own in a store."""
    return f"{s3}/{tmp_path.name}"


def samples(*media: str) -> Sequence[Sample]:
    return plan.collected(Sample(f"k{i}", "train", one, ("a",)) for i, one in enumerate(media))


def all_of(found: MediaStamps, count: int) -> list[Stamp | None]:
    return found.of(np.arange(count))


@pytest.mark.usefixtures("few")
def test_local_files_are_looked_at_when_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.mp4").write_bytes(b"12345")
    (tmp_path / "2.tar").write_bytes(b"123")
    listed = samples("a/1.mp4", "2.tar#bytes=1-2&name=x.jpg", "gone.mp4")
    found = MediaStamps(str(tmp_path), listed)
    found.ask(lambda which: np.ones(len(which)))
    os.utime(tmp_path / "a/1.mp4", ns=(5, 7))
    assert all_of(found, 3) == [(5, 7), media_stamp(str(tmp_path), "2.tar"), None]


@pytest.mark.usefixtures("few")
def test_a_store_is_listed_folder_by_folder(store: str) -> None:
    for i, name in enumerate(("x.mp4", "b/1.mp4", "b/2.mp4", "b/c/3.mp4")):
        write_atomic(location(store) / name, bytes(i))
    listed = samples("b/2.mp4", "x.mp4", "b/c/3.mp4", "gone.mp4", "no/such.mp4", "b/1.mp4", "b/2.mp4")
    found = all_of(MediaStamps(store, listed), 7)
    assert [stamp and stamp[0] for stamp in found] == [2, 0, 3, None, None, 1, 2]
    assert found[2] == media_stamp(store, "b/c/3.mp4"), "a listing says what a request for the file says"


@pytest.mark.usefixtures("few")
def test_only_servers_that_can_tell_are_asked_and_once_for_a_file(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_atomic(location(store) / name, name.encode() * 3)
    asked = []
    monkeypatch.setattr(stamps, "media_stamp", lambda raw, file: asked.append(file) or media_stamp(raw, file))
    files = [f"{store}/{name}" for name in ("a", "a", "b", "c", "a", "gone")]
    found = MediaStamps(str(tmp_path), samples("here.mp4", *files))
    found.ask(lambda which: [number != 4 for number in which.tolist()])
    assert sorted(asked) == [f"{store}/{name}" for name in ("a", "b", "gone")]
    one, two = media_stamp("", files[0]), media_stamp("", files[2])
    assert one
    assert all_of(found, 7) == [None, one, one, two, None, one, None]


@pytest.mark.usefixtures("few")
def test_own_addresses_beside_a_listed_store_are_asked_for(store: str) -> None:
    write_atomic(location(store) / "raw/1.mp4", b"1")
    write_atomic(location(store) / "other/2.mp4", b"22")
    found = MediaStamps(f"{store}/raw", samples("1.mp4", f"{store}/other/2.mp4"))
    assert [stamp and stamp[0] for stamp in all_of(found, 2)] == [1, None]
    found.ask(lambda which: which == 1)
    assert [stamp and stamp[0] for stamp in all_of(found, 2)] == [1, 2]
