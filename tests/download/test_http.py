"""One file over HTTP, from a real server: whole, or an error; resumed, never mixed from two versions."""

from __future__ import annotations

import datetime
import email.utils
import hashlib
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from preprocess.download.http import ATTEMPTS, DownloadError, _redirected, fetch, open_client, partial_files
from tests.download.conftest import Site

DATA = random.Random(0).randbytes(300_000)
OTHER = random.Random(1).randbytes(280_000)


class Waits(list[float]):
    """Remembers for how long it was told to wait, and does not."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def get(tmp_path: Path, waits: Waits) -> Callable[..., Path]:
    def run(url: str, **sums: str) -> Path:
        target = tmp_path / "file.bin"
        with open_client() as client:
            fetch(client, url, target, wait=waits, **sums)  # type: ignore[arg-type]
        return target

    return run


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone(site: Site, get: Callable[..., Path], tmp_path: Path) -> None:
    url = site.serve("a.bin", DATA)
    sums = {"sha256": hashlib.sha256(DATA).hexdigest().upper(), "md5": hashlib.md5(DATA).hexdigest()}
    assert get(url, **sums).read_bytes() == DATA
    assert left(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("length", [True, False])
def test_an_empty_file_and_one_of_unknown_length(site: Site, get: Callable[..., Path], length: bool) -> None:
    assert get(site.serve("empty", b"", length=length)).read_bytes() == b""
    assert get(site.serve("a.bin", DATA, length=length)).read_bytes() == DATA


def test_an_interrupted_transfer_goes_on_where_it_stopped(site: Site, get: Callable[..., Path], waits: Waits) -> None:
    assert get(site.serve("a.bin", DATA, cuts=[100_000, 50_000])).read_bytes() == DATA
    first, second, third = site.asked("a.bin")
    assert first is None
    assert second
    assert third
    assert 0 < int(second[6:-1]) < int(third[6:-1]) < len(DATA)
    assert waits == [2.0, 2.0]  # bytes arrived each time: not the same failure again


def test_the_next_run_goes_on_too(site: Site, get: Callable[..., Path], tmp_path: Path) -> None:
    url = site.serve("a.bin", DATA, cuts=[100_000, *[0] * ATTEMPTS])
    with pytest.raises(DownloadError, match=r"a\.bin could not be downloaded: the transfer ended"):
        get(url)
    part, _ = partial_files(tmp_path / "file.bin")
    arrived = part.stat().st_size
    assert part.read_bytes() == DATA[:arrived] != b""
    site.files["/a.bin"].cuts.clear()
    site.requests.clear()
    assert get(url).read_bytes() == DATA
    assert site.asked("a.bin") == [f"bytes={arrived}-"]
    assert left(tmp_path) == ["file.bin"]


@pytest.mark.parametrize("how", [{}, {"heeds_if_range": False}, {"ranges": False}])
def test_a_file_that_changed_is_never_mixed_with_what_had_arrived(
    site: Site, get: Callable[..., Path], how: dict[str, bool]
) -> None:
    url = site.serve("a.bin", DATA, cuts=[100_000, *[0] * ATTEMPTS], **how)
    with pytest.raises(DownloadError):
        get(url)
    site.serve("a.bin", OTHER, **how)
    assert get(url).read_bytes() == OTHER


def test_a_file_that_became_shorter_than_what_had_arrived(site: Site, get: Callable[..., Path]) -> None:
    url = site.serve("a.bin", DATA, cuts=[200_000, *[0] * ATTEMPTS])
    with pytest.raises(DownloadError):
        get(url)
    site.serve("a.bin", OTHER[:1000], heeds_if_range=False)
    assert get(url).read_bytes() == OTHER[:1000]


def test_without_a_validator_nothing_is_resumed(site: Site, get: Callable[..., Path]) -> None:
    assert get(site.serve("a.bin", DATA, validators=False, cuts=[100_000])).read_bytes() == DATA
    assert site.asked("a.bin") == [None, None]


@pytest.mark.parametrize("note", ["", "[", '{"url": 3}'])
def test_bytes_of_unknown_origin_are_not_used(site: Site, get: Callable[..., Path], tmp_path: Path, note: str) -> None:
    part, beside = partial_files(tmp_path / "file.bin")
    part.write_bytes(OTHER[:1000])
    if note:
        beside.write_text(note)
    assert get(site.serve("a.bin", DATA)).read_bytes() == DATA


def test_a_wrong_checksum_leaves_nothing(site: Site, get: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"has the sha256 [0-9a-f]{64}, the publisher's is 0000"):
        get(site.serve("a.bin", DATA), sha256="0000")
    with pytest.raises(DownloadError, match="has the md5"):
        get(site.serve("a.bin", DATA), md5="0000")
    assert left(tmp_path) == []


@pytest.mark.parametrize("status", [401, 403, 404, 410, 451])
def test_a_refusal_is_final(site: Site, get: Callable[..., Path], waits: Waits, status: int) -> None:
    url = site.serve("a.bin", DATA, answers=[(status, {})])
    with pytest.raises(DownloadError, match=rf"{site.address}/a\.bin answered {status}"):
        get(f"{url}")
    assert waits == []


def test_a_busy_server_is_given_the_time_it_asks_for(site: Site, get: Callable[..., Path], waits: Waits) -> None:
    soon = email.utils.format_datetime(
        datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=90), usegmt=True
    )
    answers = [(429, {"Retry-After": "7"}), (503, {"Retry-After": soon}), (503, {}), (500, {"Retry-After": "soon"})]
    assert get(site.serve("a.bin", DATA, answers=answers)).read_bytes() == DATA
    assert waits[0] == 7
    assert 60 < waits[1] <= 90
    assert waits[2:] == [8, 16]


def test_a_server_that_stays_busy_is_given_up(site: Site, get: Callable[..., Path], waits: Waits) -> None:
    with pytest.raises(DownloadError, match="the server answered 503 Service Unavailable"):
        get(site.serve("a.bin", DATA, answers=[(503, {})] * 10))
    assert len(waits) == ATTEMPTS - 1
    with pytest.raises(DownloadError, match="asks to wait for 86400 s"):
        get(site.serve("a.bin", DATA, answers=[(429, {"Retry-After": "86400"})]))


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_not_the_file(site: Site, get: Callable[..., Path], tmp_path: Path, kind: str) -> None:
    url = site.serve("a.bin", DATA, cuts=[100_000, *[0] * ATTEMPTS])
    with pytest.raises(DownloadError):
        get(url)
    arrived = partial_files(tmp_path / "file.bin")[0].read_bytes()
    site.serve("a.bin", b"\n<!DOCTYPE html><html>Log in to this network</html>", kind=kind)
    with pytest.raises(DownloadError, match="answered with a web page"):
        get(url)
    assert partial_files(tmp_path / "file.bin")[0].read_bytes() == arrived != b""
    site.serve("a.bin", DATA)
    site.requests.clear()
    assert get(url).read_bytes() == DATA
    assert site.asked("a.bin") == [f"bytes={len(arrived)}-"]


def test_redirects_are_followed_a_few_times(site: Site, get: Callable[..., Path]) -> None:
    site.serve("a.bin", DATA)
    hops = [site.serve(f"hop{i}", b"", answers=[(302, {"Location": f"/hop{i + 1}"})] * 2) for i in range(9)]
    site.serve("hop5", b"", answers=[(307, {"Location": f"{site.address}/a.bin"})])
    assert get(hops[1]).read_bytes() == DATA
    site.serve("hop5", b"", answers=[(302, {"Location": "/hop6"})])
    with pytest.raises(DownloadError, match="redirects more than 5 times"):
        get(hops[0])


@pytest.mark.parametrize("target", ["file:///etc/hostname", "ftp://127.0.0.1/a.bin", "data:,x"])
def test_redirects_to_other_protocols_are_refused(
    site: Site, get: Callable[..., Path], tmp_path: Path, target: str
) -> None:
    with pytest.raises(DownloadError, match="which is not followed"):
        get(site.serve("a.bin", b"", answers=[(302, {"Location": target})]))
    assert left(tmp_path) == []


def test_a_server_that_is_not_there(get: Callable[..., Path], waits: Waits) -> None:
    with pytest.raises(DownloadError, match=r"http://127\.0\.0\.1:9/a could not be downloaded: ConnectError"):
        get("http://127.0.0.1:9/a?token=secret")
    assert waits == [2, 4, 8, 16]


@pytest.mark.parametrize(
    ("here", "target", "there"),
    [
        ("https://host.org/a", "http://host.org/a", None),
        ("https://host.org/a", "ftp://host.org/a", None),
        ("http://host.org/a", "file:///etc/passwd", None),
        ("http://host.org/a", "https://host.org/b", "https://host.org/b"),
        ("http://host.org/a", "http://other.org/b", "http://other.org/b"),
        ("https://host.org/a/b", "../c", "https://host.org/c"),
    ],
)
def test_a_redirect_keeps_the_protocol_or_makes_it_safer(here: str, target: str, there: str | None) -> None:
    if there is not None:
        assert _redirected(here, target) == there
        return
    with pytest.raises(DownloadError, match="which is not followed"):
        _redirected(here, target)
