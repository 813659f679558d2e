"""What a recipe declares, from a server into a raw folder that the recipe then reads."""

from __future__ import annotations

import dataclasses
import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from preprocess import recipes
from preprocess.__main__ import app
from preprocess.download.http import DownloadError
from preprocess.download.run import Outcome, download, raw_folder, to_download
from preprocess.download.state import DOWNLOADS, State, state_table, states
from preprocess.errors import UserError
from preprocess.run_files import exclusive
from preprocess.samples import DatasetSpec, RecipeOptions, RemoteFile
from tests.download.conftest import Site


def zipped(files: dict[str, bytes]) -> bytes:
    with io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as pack:
            for name, data in files.items():
                pack.writestr(name, data)
        return file.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    with io.BytesIO() as file:
        with tarfile.open(fileobj=file, mode="w:gz") as pack:
            for name, data in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(data)
                pack.addfile(entry, io.BytesIO(data))
        return file.getvalue()


def with_remotes(name: str, *remotes: RemoteFile) -> DatasetSpec:
    return dataclasses.replace(recipes.load(name).SPEC, remotes=remotes)


def run(spec: DatasetSpec, raw: Path, *only: str) -> list[Outcome]:
    return list(download(to_download(states(spec, raw), only), raw, wait=lambda seconds: None))


def statuses(spec: DatasetSpec, raw: Path) -> list[str]:
    return [state.status for state in states(spec, raw)]


HEADER = "label,youtube_id,time_start,time_end,split\n"


@pytest.fixture
def kinetics(site: Site) -> DatasetSpec:
    """Kinetics as it is published: tables, and for each split a list of tars."""
    site.serve(
        "annotations/train.csv", f"{HEADER}bowling,abcdefghijk,0,10,train\nabseiling,-bcdefghijk,5,15,train\n".encode()
    )
    site.serve("train/0.tar.gz", tarred({"bowling/abcdefghijk_000000_000010.mp4": b"clip"}))
    site.serve("train/1.tar.gz", tarred({"abseiling/-bcdefghijk_000005_000015.mp4": b"clip"}))
    parts = f"{site.address}/train/0.tar.gz\r\n{site.address}/train/1.tar.gz\n"
    url = site.serve("train/paths.txt", parts.encode(), kind="text/plain")
    return with_remotes(
        "kinetics700",
        RemoteFile(f"{site.address}/annotations/train.csv", "annotations/train.csv"),
        RemoteFile(url, "train/", kind="list", into="train", gives=("train/*.mp4",)),
    )


def test_tables_and_listed_archives_become_what_the_recipe_reads(
    kinetics: DatasetSpec, site: Site, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    assert statuses(kinetics, raw) == ["missing", "missing"]
    assert [outcome.error for outcome in run(kinetics, raw)] == [None, None]
    assert statuses(kinetics, raw) == ["found", "found"]
    assert not (raw / DOWNLOADS).exists()
    samples = recipes.load("kinetics700").samples(raw, RecipeOptions())
    assert [(raw / s.media).read_bytes() for s in samples] == [b"clip", b"clip"]  # type: ignore[union-attr]
    site.requests.clear()
    assert run(kinetics, raw) == []
    assert site.requests == []


def test_a_list_goes_on_with_the_archive_that_failed(kinetics: DatasetSpec, site: Site, tmp_path: Path) -> None:
    raw, second = tmp_path / "raw", site.files.pop("/train/1.tar.gz")
    table, clips = run(kinetics, raw)
    assert table.error is None
    assert "1.tar.gz answered 404" in str(clips.error)
    assert statuses(kinetics, raw) == ["found", "incomplete"]
    site.files["/train/1.tar.gz"] = second
    site.requests.clear()
    assert [outcome.error for outcome in run(kinetics, raw)] == [None]
    assert [path for path, _ in site.requests] == ["/train/1.tar.gz"]
    assert statuses(kinetics, raw) == ["found", "found"]
    assert not (raw / DOWNLOADS).exists()


@pytest.mark.parametrize(
    "line",
    ["https://elsewhere.org/a.tar.gz", "ftp://{host}/a.tar", "../a.tar", "http://{host}/.lock", "http://{host}/"],
)
def test_a_list_of_something_else_is_refused(kinetics: DatasetSpec, site: Site, tmp_path: Path, line: str) -> None:
    host = site.address.removeprefix("http://")
    site.serve("train/paths.txt", line.format(host=host).encode())
    (_, clips) = run(kinetics, tmp_path)
    assert f"which is not a file on {host}" in str(clips.error)
    assert statuses(kinetics, tmp_path)[1] == "missing"


def test_an_archive_is_unpacked_and_removed(site: Site, tmp_path: Path) -> None:
    files = {"MSRVTT/videos/all/video0.mp4": b"clip", "MSRVTT/annotation/MSR_VTT.json": b"{}"}
    url = site.serve("MSRVTT.zip", zipped(files))
    spec = with_remotes("msrvtt", RemoteFile(url, "MSRVTT/", kind="archive", gives=("video[0-9]*.*",)))
    assert [outcome.error for outcome in run(spec, tmp_path)] == [None]
    assert {str(p.relative_to(tmp_path)): p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == files


def test_unpacking_that_was_interrupted_goes_on_without_another_download(site: Site, tmp_path: Path) -> None:
    url = site.serve("a.zip", zipped({"video0.mp4": b"clip", "video1.mp4": b"another"}))
    spec = with_remotes("msrvtt", RemoteFile(url, "MSRVTT/", kind="archive", gives=("video[0-9]*.*",)))
    (tmp_path / "video1.mp4").mkdir()
    assert "exists already" in str(run(spec, tmp_path)[0].error)
    assert (tmp_path / "video0.mp4").is_file()
    assert statuses(spec, tmp_path) == ["incomplete"]  # although a video is there
    (tmp_path / "video1.mp4").rmdir()
    assert [outcome.error for outcome in run(spec, tmp_path)] == [None]
    assert len(site.asked("a.zip")) == 1


def test_one_that_fails_does_not_keep_the_others(site: Site, tmp_path: Path) -> None:
    there = RemoteFile(site.serve("b.json", b"[]"), "sub/b.json")
    spec = with_remotes("msrvtt", RemoteFile(f"{site.address}/gone.json", "gone.json"), there)
    gone, found = run(spec, tmp_path)
    assert isinstance(gone.error, DownloadError)
    assert found == Outcome(there)
    assert (tmp_path / "sub/b.json").read_bytes() == b"[]"


def test_only_some(kinetics: DatasetSpec, tmp_path: Path) -> None:
    assert [outcome.remote.path for outcome in run(kinetics, tmp_path, "annotations/*")] == ["annotations/train.csv"]
    with pytest.raises(UserError, match=r"matches nothing\. The files are: annotations/train\.csv, train/"):
        run(kinetics, tmp_path, "val/*")


def test_files_are_found_by_name_wherever_they_are(tmp_path: Path) -> None:
    spec = recipes.load("mscoco2014").SPEC
    for path in ("images/deep/COCO_train2014_000000000009.jpg", "captions_train.json", "x/coco_karpathy_test.json"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    found = {state.remote.path: (state.status, state.files) for state in states(spec, tmp_path)}
    assert found == {
        "mscoco2014/train2014/": ("found", 1),
        "mscoco2014/val2014/": ("missing", 0),
        "mscoco2014/coco_karpathy_train.json": ("found", 1),
        "mscoco2014/coco_karpathy_val.json": ("missing", 0),
        "mscoco2014/coco_karpathy_test.json": ("found", 1),
    }


def test_the_table_says_how_to_obtain_the_rest() -> None:
    spec = recipes.load("flickr30k").SPEC
    shown = state_table(spec, [State(remote, "missing", 0) for remote in spec.remotes])
    assert spec.raw_layout.strip() in shown
    for remote in spec.remotes:
        assert remote.url in shown
        assert remote.how in shown
        assert remote.terms in shown


def test_two_runs_do_not_write_into_one_folder(kinetics: DatasetSpec, tmp_path: Path) -> None:
    with exclusive(tmp_path / DOWNLOADS, "raw"), pytest.raises(UserError, match="another run is working on"):
        run(kinetics, tmp_path)


def test_the_folder_is_a_local_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="is not a folder"):
        raw_folder(str(tmp_path / "file"))
    with pytest.raises(UserError, match=r"s3://bucket/raw is not a local folder"):
        raw_folder("s3://bucket/raw")


def command(*line: str) -> tuple[int, str, BaseException | None]:
    done = CliRunner().invoke(app, ["download", *line])
    return done.exit_code, done.output, done.exception


def test_the_command(kinetics: DatasetSpec, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes.load("kinetics700"), "SPEC", kinetics)
    code, output, _ = command("kinetics700")
    assert code == 0
    assert "make download DATASET=kinetics700 RAW=<folder>" in output
    assert command("kinetics700", "--raw", str(tmp_path), "--show")[0] == 0
    assert site.requests == []
    second = site.files.pop("/train/1.tar.gz")
    code, output, error = command("kinetics700", "--raw", str(tmp_path))
    assert "annotations/train.csv: downloaded" in output
    assert "train/: " in output
    assert "answered 404" in output
    assert isinstance(error, UserError)
    assert "1 of 2 could not be downloaded" in str(error)
    site.files["/train/1.tar.gz"] = second
    code, output, _ = command("kinetics700", "--raw", str(tmp_path))
    assert code == 0
    assert output.endswith(f"Everything is there: make build DATASET=kinetics700 RAW={tmp_path}\n")
    assert "has nothing to download" in command("demo")[1]


def test_every_declared_address_is_one_of_a_kind() -> None:
    for name in recipes.names():
        for remote in recipes.load(name).SPEC.remotes:
            assert remote.kind == "page" or not remote.path.endswith("/") or remote.gives, (name, remote.path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"url": "ftp://example.org/a"},
        {"url": "https://me@example.org/a"},
        {"path": "/a"},
        {"path": "a/../../b"},
        {"into": ".."},
        {"kind": "torrent"},
        {"path": "folder/"},
        {"kind": "page"},
        {"how": "ask"},
    ],
)
def test_declarations_are_checked(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"must|page"):
        RemoteFile(**{"url": "https://example.org/a", "path": "a", **wrong})  # type: ignore[arg-type]
