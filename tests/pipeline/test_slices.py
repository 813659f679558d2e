"""Slices of one output, encoded by runs that know nothing of each other: what they become is what one run makes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
from typer.testing import CliRunner

from preprocess.__main__ import app
from preprocess.errors import UserError
from preprocess.formats.layout import Layout, read_json
from preprocess.formats.slices import MAX_SLICES, Slice, ranges
from preprocess.pipeline.encode_output import read_samples
from preprocess.pipeline.slices import finish_slice, join_slices, slice_layouts
from preprocess.storage import file_names, location
from tests.media_files import write_video

NAME = "CLIP-Folder"
CLIPS = {"train/a.mp4": 15, "train/b.mp4": 9, "train/c.mp4": 21, "val/d.mp4": 12, "test/e.mp4": 1, "test/f.mp4": 30}

JOINED_AT_EVERY_POINT = """
import shutil, sys
from pathlib import Path
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.pipeline.slices import join_slices
from tests.pipeline.killing import killed_before

def content(out):
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(out)): path.read_bytes() for path in files}

made, folder = map(Path, sys.argv[1:])
whole = Layout(shutil.copytree(made, folder / "whole"), "CLIP-Folder")
assert join_slices(whole) == 3
n = killed = 1
while killed:
    layout = Layout(shutil.copytree(made, folder / str(n)), "CLIP-Folder")
    killed = killed_before(n, lambda: join_slices(layout))
    join_slices(layout)
    assert content(layout.out) == content(whole.out), n
    n += 1
print(n)
"""


@pytest.fixture(scope="module")
def storage() -> str:
    """These tests name the bucket themselves."""
    return "local"


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(CLIPS.items()):
        write_video(folder / name, n_frames, seed=seed)
    (folder / "train" / "broken.mp4").write_text("not a video")
    (folder / "train" / "b.txt").write_text("a caption of its own")
    return folder


def run(*arguments: object, code: int = 0) -> str:
    """A command in this process."""
    done = CliRunner().invoke(app, [*map(str, arguments)])
    said = done.output + (str(done.exception) if done.exception else "")
    assert code == (2 if isinstance(done.exception, UserError) else done.exit_code), said
    return said


def encode(raw: Path | str, out: Path | str, *more: object, code: int = 0) -> str:
    source = ("--raw", raw, "--out", out, "--model", "tiny-clip", "--executor", "inline")
    return run("encode", "folder", *source, "--max-reject-rate", 1, *more, code=code)


def dataset(out: Path) -> dict[str, bytes]:
    folder = Layout(out, NAME).dataset
    return {name: (folder / name).read_bytes() for name in file_names(folder)}


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a build without slices."""
    out = tmp_path_factory.mktemp("whole")
    encode(raw, out)
    run("shards", "folder", "--out", out, "--workers", 1)
    assert {"ds_00000.tar", "ds_00001.tar", "ds_00002.tar", "manifest.json", "rejects.jsonl"} < dataset(out).keys()
    return out


@pytest.fixture(scope="module")
def sliced(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished slices, which are not joined; tests copy them."""
    out = tmp_path_factory.mktemp("sliced")
    for number in (1, 2, 3):
        assert f"slice {number}/3 of {NAME}: " in encode(raw, out, "--slice", f"{number}/3")
    return out


@pytest.fixture
def copied(sliced: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sliced, tmp_path / "out"))


def part(out: Path, number: int) -> Layout:
    return Layout(out, NAME, Slice(number, 3))


@pytest.mark.parametrize("count", [1, 2, 3, 7, 12])
def test_each_item_is_in_one_slice_and_slices_are_balanced(count: int) -> None:
    items = list(range(10))
    slices = [Slice(number, count).of(items) for number in range(1, count + 1)]
    assert sorted(item for one in slices for item in one) == items
    assert max(map(len, slices)) - min(map(len, slices)) <= 1
    assert slices[0][0] == 0


def test_folders_of_slices_sort_like_their_numbers() -> None:
    names = [Slice(number, 64).folder for number in range(1, 65)]
    assert names == sorted(names)
    assert names[2] == "03-of-64"
    assert [Slice.of_folder(name) for name in names] == [Slice(number, 64) for number in range(1, 65)]
    for other in ("3-of-64", "65-of-64", "00-of-64", "joined.json", "٣-of-4", "../03-of-64"):
        assert Slice.of_folder(other) is None


def test_ranges_are_written_as_sbatch_reads_them() -> None:
    assert ranges([12, 7, 13, 14, 1]) == "1,7,12-14"
    assert ranges([]) == ""


def test_three_runs_at_once_make_what_one_run_makes(raw: Path, whole: Path, root: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", raw, "--out", tmp_path]
    line += ["--model", "tiny-clip", "--workers", "1", "--max-reject-rate", "1"]
    runs = [
        subprocess.Popen(
            [*map(str, line), "--slice", f"{number}/3"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for number in (1, 2, 3)
    ]
    said = [one.communicate(timeout=120)[0].decode() for one in runs]
    assert [one.returncode for one in runs] == [0, 0, 0], said
    assert not Layout(tmp_path, NAME).encoding.exists()

    assert f"{NAME}: 3 slices joined" in run("shards", "folder", "--out", tmp_path, "--workers", 1)
    assert dataset(tmp_path) == dataset(whole)
    layout, other = Layout(tmp_path, NAME), Layout(whole, NAME)
    assert not layout.slices.exists()
    for name in ("samples.jsonl", "rejects.jsonl", "journal.jsonl", "processed/encoding.json"):
        assert (layout.work / name).read_bytes() == (other.work / name).read_bytes(), name
    report, expected = read_json(layout.report)["encode"], read_json(other.report)["encode"]
    assert {**expected, "seconds": report["seconds"], "slices": 3} == report

    assert "0 triples written, 6 kept, 1 rejected" in encode(raw, tmp_path)
    assert "(0 new)" in run("shards", "folder", "--out", tmp_path, "--workers", 1)
    assert "its slices are joined" in encode(raw, tmp_path, "--slice", "2/3", code=2)
    assert not layout.slices.exists()


def test_what_is_missing_or_not_finished_is_named(copied: Path, tmp_path: Path) -> None:
    before = sorted(copied.rglob("*"))
    shutil.rmtree(part(copied, 2).work)
    said = run("shards", "folder", "--out", copied, code=2)
    assert f"{NAME}: slice 2 of 3 is missing or not finished. Run encode with --slice 2/3." in said
    note = read_json(part(copied, 1).slice_note)
    part(copied, 1).slice_note.write_text(json.dumps({**note, "complete": False}))
    said = run("shards", "folder", "--out", copied, code=2)
    assert "slices 1-2 of 3 are missing or not finished" in said
    assert "--array=1-2" in said
    part(copied, 3).slice_note.unlink()
    assert "slices 1-3 of 3 are missing" in run("encode", "folder", "--out", copied, code=2)
    assert {path for path in before if path.exists()} | {part(copied, 1).work.parent.parent / ".lock"} >= {
        *copied.rglob("*")
    }, "nothing was written"


def test_a_slice_that_was_killed_is_not_finished_until_it_has_run_again(
    raw: Path, whole: Path, root: Path, copied: Path
) -> None:
    shutil.rmtree(part(copied, 1).work)
    line = [sys.executable, "-m", "preprocess", "encode", "folder", "--raw", raw, "--out", copied, "--slice", "1/3"]
    with subprocess.Popen([*map(str, line), "--model", "tiny-clip"], cwd=root, stderr=subprocess.DEVNULL) as process:
        while not part(copied, 1).slice_note.is_file():
            time.sleep(0.01)
        process.kill()
    assert "slice 1 of 3 is missing or not finished" in run("shards", "folder", "--out", copied, code=2)
    encode(raw, copied, "--slice", "1/3")
    run("shards", "folder", "--out", copied, "--workers", 1)
    assert dataset(copied) == dataset(whole)


def test_joining_can_be_killed_anywhere_and_repeated(sliced: Path, root: Path, tmp_path: Path) -> None:
    line = [sys.executable, "-c", JOINED_AT_EVERY_POINT, str(sliced), str(tmp_path)]
    done = subprocess.run(line, cwd=root, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 30


def test_slices_of_other_settings_are_refused_with_the_field(raw: Path, copied: Path) -> None:
    shutil.rmtree(part(copied, 2).work)
    said = encode(raw, copied, "--slice", "2/3", "--fps", 2, code=2)
    assert f"slices 1/3 and 2/3 of {NAME} differ in sampling.value: 1.0 and 2.0" in said
    assert "differ in encoder.dtype" in encode(raw, copied, "--slice", "2/3", "--dtype", "float32", code=2)
    assert "differ in source.seed: 0 and 7" in encode(raw, copied, "--slice", "2/3", "--seed", 7, code=2)
    assert f"{NAME} has slices of 3 and of 4" in encode(raw, copied, "--slice", "2/4", code=2)
    assert not part(copied, 2).work.exists()
    encode(raw, copied, "--slice", "2/3", "--overwrite", "--fps", 2)  # as if all were to be made anew
    assert "differ in sampling.value" in run("shards", "folder", "--out", copied, code=2)
    assert len(slice_layouts(Layout(copied, NAME))) == 3
    encode(raw, copied, "--slice", "2/3", "--overwrite")
    assert join_slices(Layout(copied, NAME)) == 3


def test_slices_of_other_samples_are_refused(raw: Path, copied: Path, tmp_path: Path) -> None:
    more = Path(shutil.copytree(raw, tmp_path / "more"))
    assert "differ in source.raw" in encode(more, copied, "--slice", "2/3", "--overwrite", code=0) + run(
        "shards", "folder", "--out", copied, code=2
    )
    note = read_json(part(copied, 2).slice_note)
    note["source"]["raw"] = read_json(part(copied, 1).slice_note)["source"]["raw"]
    part(copied, 2).slice_note.write_text(json.dumps({**note, "samples": "0" * 64}))
    said = run("shards", "folder", "--out", copied, code=2)
    assert "differ in samples" in said
    assert "run all slices again" in said


def test_a_list_that_lost_a_sample_is_damage(copied: Path) -> None:
    lines = part(copied, 2).samples.read_bytes().splitlines(keepends=True)
    part(copied, 2).samples.write_bytes(b"".join(lines[1:]))
    assert "do not give the samples" in run("shards", "folder", "--out", copied, code=2)


def test_a_slice_with_a_lost_triple_is_not_finished(copied: Path) -> None:
    layout = part(copied, 3)
    finish_slice(layout, read_samples(layout.samples))
    for path in layout.processed.rglob("part_*.tar"):
        path.unlink()
    with pytest.raises(UserError, match="neither encoded nor rejected"):
        finish_slice(layout, read_samples(layout.samples))


def test_more_slices_than_samples(raw: Path, tmp_path: Path) -> None:
    few = tmp_path / "few"
    for name in ("a.mp4", "b.mp4"):
        (few / "train").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(raw / "train" / name, few / "train" / name)
    for number in (3, 1, 2):
        encode(few, tmp_path, "--slice", f"{number}/3")
    assert "2 samples in 1 shards" in run("shards", "folder", "--out", tmp_path, "--workers", 1)
    assert not slice_layouts(Layout(tmp_path, NAME))


@pytest.mark.parametrize("text", ["0/4", "5/4", "x", "1/0", "-1/4", "1/4/2", "1/٤", "", f"1/{MAX_SLICES + 1}"])
def test_what_is_no_slice_is_refused(raw: Path, tmp_path: Path, text: str) -> None:
    said = encode(raw, tmp_path, f"--slice={text}", code=2)
    assert f"--slice {text!r} is not one of several slices. Write --slice K/N with K from 1 to N" in said
    assert not list(tmp_path.iterdir())


def test_what_does_not_go_with_slices_is_refused(raw: Path, whole: Path, tmp_path: Path) -> None:
    assert "leave it out" in encode(raw, tmp_path, "--slice", "1/2", "--processed", "files", code=2)
    assert "makes its raw data itself" in run("encode", "demo", "--out", tmp_path, "--slice", "1/2", code=2)
    assert not list(tmp_path.iterdir())
    assert "is encoded without slices" in encode(raw, whole, "--slice", "1/2", code=2)


def test_in_a_bucket(raw: Path, whole: Path, s3: str) -> None:
    out = location(f"{s3}/{uuid.uuid4().hex}")
    encode(raw, out, "--slice", "2/2")
    assert "slice 1 of 2 is missing" in run("shards", "folder", "--out", out, code=2)
    encode(raw, out, "--slice", "1/2")
    assert "2 slices joined" in run("shards", "folder", "--out", out, "--workers", 1)
    assert dataset(out) == dataset(whole)
    assert not [path for path in out.rglob("*") if "slices" in str(path)]
    assert "0 triples written, 6 kept, 1 rejected" in encode(raw, out)
