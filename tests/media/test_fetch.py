"""Local paths and URLs, against a real server on 127.0.0.1."""

from __future__ import annotations

import http.server
import tempfile
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocess.errors import MediaError
from preprocess.media.fetch import _file_name as file_name
from preprocess.media.fetch import drop_kept_copy, local_file
from preprocess.media.local import FilePart, local_size, open_local
from preprocess.references import ByteRange, Cell
from preprocess.storage import location
from preprocess.storage.stores import ATTEMPTS
from tests.store_proxy import Faults, Proxy

CONTENT = bytes(range(256)) * 5000


class Handler(http.server.BaseHTTPRequestHandler):
    """Knows one file, one that does not exist, one that is forbidden, and one that breaks off."""

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        name = self.path.partition("?")[0]
        status = {"/videos/a b.mp4": 200, "/videos/a%20b.mp4": 200, "/forbidden.mp4": 403, "/breaks.mp4": 200}.get(
            name, 404
        )
        self.send_response(status)
        self.send_header("Content-Length", str(len(CONTENT) if status == 200 else 0))
        self.end_headers()
        if body and status == 200:
            self.wfile.write(CONTENT[: 1000 if name == "/breaks.mp4" else None])

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of temporary files of our own, to see that it is empty afterwards."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def no_wait(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been waited between two requests."""
    waited: list[float] = []
    monkeypatch.setattr("preprocess.storage.stores.time.sleep", waited.append)
    return waited


def refused(raw: str | Path, media: str) -> MediaError:
    with pytest.raises(MediaError) as caught, local_file(raw, media):
        pass
    return caught.value


def test_local_files_are_used_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "raw" / "videos" / "a.mp4"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    for raw in (tmp_path / "raw", str(tmp_path / "raw")):
        with local_file(raw, "videos/a.mp4") as found:
            assert found == path
    assert path.exists()
    missing = refused(tmp_path / "raw", "videos/b.mp4")
    assert missing.reason == "missing"
    assert str(tmp_path) not in str(missing)
    assert refused(tmp_path / "raw", "videos").reason == "missing"


def test_links_inside_raw_are_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.mp4").write_bytes(CONTENT)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "videos").symlink_to(tmp_path / "elsewhere")
    with local_file(tmp_path / "raw", "videos/a.mp4") as found:
        assert found.read_bytes() == CONTENT


@pytest.mark.parametrize("media", ["../a.mp4", "videos/../../a.mp4", "", "a\0.mp4"])
def test_paths_out_of_raw_are_refused(media: str, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(CONTENT)
    (tmp_path / "raw" / "videos").mkdir(parents=True)
    assert refused(tmp_path / "raw", media).reason == "missing"


def test_absolute_paths_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(CONTENT)
    assert refused(tmp_path, str(tmp_path / "a.mp4")).reason == "missing"


def test_download(server: str, temporary: Path) -> None:
    with local_file("unused", f"{server}/videos/a%20b.mp4?signature=x.avi") as path:
        assert path.suffix == ".mp4"
        assert path.is_relative_to(temporary)
        assert path.read_bytes() == CONTENT
    assert not list(temporary.iterdir())


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b c.mp4", "b c.mp4"),
        ("a/..", "media"),
        ("", "media"),
        ("é" * 150 + ".mp4", "media.mp4"),
        ("a." + "x" * 300, "media." + "x" * 19),
    ],
)
def test_a_copy_is_called_like_its_file(path: str, name: str) -> None:
    assert file_name(path) == name


def test_raw_may_be_an_address(server: str, temporary: Path) -> None:
    for raw in (server, f"{server}/"):
        with local_file(raw, "videos/a%20b.mp4") as path:
            assert path.read_bytes() == CONTENT
    assert refused(server, "../a.mp4").reason == "missing"
    assert not list(temporary.iterdir())


def test_a_file_that_is_not_below_a_remote_raw_folder_is_missing(s3: str, server: str, temporary: Path) -> None:
    for raw in (server, f"{s3}/raw"):
        error = refused(raw, "videos/gone.mp4")
        assert (error.reason, str(error)) == ("missing", "videos/gone.mp4 does not exist")
    assert refused("s3://no-such-bucket-here", "a.mp4").reason == "missing"
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("name", ["gone.mp4", "forbidden.mp4", "breaks.mp4"])
def test_failed_downloads_leave_nothing(name: str, server: str, temporary: Path, no_wait: list[float]) -> None:
    error = refused("unused", f"{server}/{name}?token=secret")
    assert error.reason == "download_failed"
    assert name in str(error)
    assert "secret" not in str(error)
    assert not list(temporary.iterdir())
    assert len(no_wait) == (ATTEMPTS - 1 if name == "breaks.mp4" else 0)


def test_a_busy_server_is_asked_again(server: str, temporary: Path, no_wait: list[float]) -> None:
    """503, 429, 500, a connection that breaks before or within the file: then the file, whole."""
    kinds = ("unavailable", "slow_down", "too_many", "internal", "reset", "cut")
    with Proxy.before(server) as proxy:
        proxy.faults = Faults(kinds, share=1, times=ATTEMPTS - 1)
        with local_file("unused", f"{proxy.address}/videos/a%20b.mp4") as path:
            assert isinstance(path, Path)
            assert path.read_bytes() == CONTENT
        assert proxy.faults.happened == dict.fromkeys(kinds, 1)
    assert len(no_wait) >= ATTEMPTS - 2  # aiohttp itself asks again where a connection that it used before breaks
    assert all(0.5 * 2**n <= seconds <= 2**n for n, seconds in enumerate(no_wait))


def test_no_server(temporary: Path, no_wait: list[float]) -> None:
    error = refused("unused", "http://user:secret@127.0.0.1:9/a.mp4")
    assert error.reason == "download_failed"
    assert "secret" not in str(error)
    assert not list(temporary.iterdir())


def test_an_error_while_the_file_is_used_removes_it(server: str, temporary: Path) -> None:
    def use() -> None:
        with local_file("unused", f"{server}/videos/a%20b.mp4") as path:
            assert path.exists()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        use()
    assert not list(temporary.iterdir())


def test_file_urls_are_local(tmp_path: Path, temporary: Path) -> None:
    path = tmp_path / "a b#c.mp4"
    path.write_bytes(CONTENT)
    for url in (path.as_uri(), f"file://{path}", f"FILE://{path}"):
        with local_file("unused", url) as found:
            assert found == path
    assert path.exists()
    assert refused("unused", (tmp_path / "gone.mp4").as_uri()).reason == "missing"


@pytest.mark.parametrize("url", ["reference://a.json", "memory://a.mp4", "simplecache://a.mp4", "github://a/b.mp4"])
def test_other_protocols_are_refused(url: str) -> None:
    error = refused("unused", url)
    assert error.reason == "download_failed"
    assert "is not among" in str(error)


def test_chained_addresses_are_refused(server: str, tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(CONTENT)
    for url in (f"https://x::file://{tmp_path}/a.mp4", f"http://x::{server}/videos/a%20b.mp4"):
        error = refused("unused", url)
        assert error.reason == "download_failed"
        assert "not followed" in str(error)


def test_the_name_of_a_part_is_no_path(tmp_path: Path, temporary: Path) -> None:
    """Names come from tars and tables, which may be anyone's."""
    pq.write_table(pa.table({"video": pa.array([CONTENT], pa.binary())}), tmp_path / "a.parquet")
    for name in ("..", "x" * 250 + ".mp4", "a\nb.mp4", ".mp4"):
        with local_file(tmp_path, Cell(0, "video", name).of("a.parquet")) as found:
            assert isinstance(found, Path)
            assert found.parent.parent == temporary
            assert found.read_bytes() == CONTENT
    assert list(temporary.iterdir()) == []


def test_a_cell_that_has_no_bytes(tmp_path: Path, temporary: Path) -> None:
    cells = pa.array([None, b"x"], pa.binary())
    pq.write_table(pa.table({"video": cells, "n": [1, 2]}), tmp_path / "a.parquet")
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    for cell, file, reason in (
        (Cell(0, "video", "a.mp4"), "a.parquet", "missing"),
        (Cell(2, "video", "a.mp4"), "a.parquet", "unreadable"),
        (Cell(0, "n", "a.mp4"), "a.parquet", "unreadable"),
        (Cell(0, "video", "a.mp4"), "b.parquet", "unreadable"),
        (Cell(0, "video", "a.mp4"), "c.parquet", "missing"),
    ):
        error = refused(tmp_path, cell.of(file))
        assert error.reason == reason, (cell, file)
        assert str(tmp_path) not in str(error)
    assert list(temporary.iterdir()) == []


def test_a_range_of_a_local_file_is_read_where_it_is(tmp_path: Path, temporary: Path) -> None:
    (tmp_path / "0.tar").write_bytes(CONTENT)
    with local_file(tmp_path, ByteRange(300, 1300, "a.mp4").of("0.tar")) as found:
        assert isinstance(found, FilePart)
        assert (found.name, found.suffix, local_size(found)) == ("a.mp4", ".mp4", 1000)
        with open_local(found) as file:
            assert file.read() == CONTENT[300:1300]
            assert file.read() == b""
            file.seek(-10, 2)
            assert file.read(100) == CONTENT[1290:1300]
            assert file.seek(5) == file.tell() == 5
            assert file.read(3) == CONTENT[305:308]
        assert list(temporary.iterdir()) == []
    assert refused(tmp_path, ByteRange(0, 9, "a.mp4").of("1.tar")).reason == "missing"


def test_a_copy_is_kept_for_the_next_window_of_the_same_file(temporary: Path, s3: str) -> None:
    raw = location(f"{s3}/{uuid.uuid4().hex}")
    for name in ("a", "b"):
        (raw / f"{name}.mp4").write_bytes(name.encode() * 1000)
    try:
        with local_file(raw, "a.mp4", keep=True) as first:
            assert isinstance(first, Path)
            assert first.read_bytes() == b"a" * 1000
            mark = first.stat().st_ino
        with local_file(raw, "a.mp4", keep=True) as again:
            assert (again, again.stat().st_ino) == (first, mark)
        (raw / "a.mp4").write_bytes(b"c" * 1000)  # as large as before: the ETag tells
        with local_file(raw, "a.mp4", keep=True) as changed:
            assert changed.read_bytes() == b"c" * 1000
        with local_file(raw, "b.mp4", keep=True) as other:
            assert other.read_bytes() == b"b" * 1000
        assert [path.name for path in temporary.glob("*/*")] == ["b.mp4"]
        with pytest.raises(MediaError, match=r"c\.mp4 does not exist"), local_file(raw, "c.mp4", keep=True):
            pass
    finally:
        drop_kept_copy()
    assert list(temporary.iterdir()) == []
