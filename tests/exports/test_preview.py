"""Contact sheets of a real build: what they show, what `datasets` reads, what is published and what is refused."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from builders.hub_ids import LICENSES
from preprocess.errors import UserError
from preprocess.exports import contact_sheet as drawing
from preprocess.exports.contact_sheet import contact_sheet, tile, tile_label
from preprocess.exports.embedded_frames import n_sampled
from preprocess.exports.preview import draw
from preprocess.licenses import FREE_LICENSES, check_license
from preprocess.media import read_media
from preprocess.media.sampling import Sampling
from preprocess.recipes import load
from preprocess.samples import Reject, Sample
from tests.media_files import moving_noise, write_audio, write_video

CLIPS = {"train/a": 30, "train/b": 5, "train/c": 21, "val/d": 12, "test/e": 40}  # frames, ten a second


def command(root: Path, *arguments: object, module: str = "preprocess") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=root, capture_output=True, text=True, timeout=280
    )


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(CLIPS.items()):
        write_video(folder / f"{name}.mp4", n_frames, seed=seed)
        (folder / f"{name}.txt").write_text(f"drifting noise number {seed}")
    Image.fromarray(moving_noise(1)[0]).save(folder / "train" / "photo.png")
    return folder


@pytest.fixture(scope="module")
def packed(raw: Path, small_clip: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build without a preview."""
    out = tmp_path_factory.mktemp("data")
    built = command(
        root, "build", "folder", "--raw", raw, "--model", small_clip, "--out", out, "--fps", 10, "--workers", 2
    )
    assert built.returncode == 0, built.stderr
    return out


@pytest.fixture
def out(packed: Path, tmp_path: Path) -> Path:
    """A copy of it, to add to."""
    return Path(shutil.copytree(packed, tmp_path / "data"))


def preview(root: Path, out: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    done = command(root, "preview", "folder", "--out", out, "--allow-frames", "--workers", 2, *arguments)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done


def tars(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (out / "CLIP-Folder" / "preview").iterdir()}


def members(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar}


def triples(out: Path) -> dict[str, tuple[str, dict]]:
    """Id to text and metadata of everything in the shards, read with `tarfile`."""
    found = {}
    for path in (out / "CLIP-Folder").glob("ds_*.tar"):
        parts = members(path.read_bytes())
        for id_ in {name[:-4] for name in parts if name.endswith(".npy")}:
            found[id_] = (parts[f"{id_}.txt"].decode(), json.loads(parts[f"{id_}.json"]))
    return found


# --- from the folder to load_dataset ----------------------------------------------------------------------------------

LOAD = """
import json, sys
from datasets import load_dataset
sheets, rows = load_dataset(sys.argv[1], "preview"), load_dataset(sys.argv[1])
texts = {row["__key__"]: row["txt"] for split in rows.values() for row in split}
for split, shown in sheets.items():
    assert shown.column_names == ["jpg", "txt", "__key__", "__url__"], shown.column_names
    for row in shown:
        assert row["txt"] == texts[row["__key__"]], row
        assert type(row["jpg"]).__name__ == "JpegImageFile", row["jpg"]
        print(json.dumps([split, row["__key__"], row["jpg"].size, row["txt"]]))
print(json.dumps({split: len(shown) for split, shown in rows.items()}))
"""


def test_card_verify_and_load_dataset(out: Path, root: Path) -> None:
    done = preview(root, out)
    assert done.stdout.splitlines()[-1].startswith("6 contact sheets in ")
    assert sorted(tars(out)) == ["test_00000.tar", "train_00000.tar", "val_00000.tar"]
    unlisted = command(root, "verify", out / "CLIP-Folder", module="builders")
    assert unlisted.returncode == 1, "there is a preview, and no card that names it"
    assert command(root, "card", "folder", "--out", out, module="dataset_cards").returncode == 0
    verified = command(root, "verify", out / "CLIP-Folder", module="builders")
    assert verified.returncode == 0, verified.stdout

    environment = {**os.environ, "HF_HOME": str(out / "hf")}
    arguments = [sys.executable, "-c", LOAD, out / "CLIP-Folder"]
    loaded = subprocess.run(arguments, capture_output=True, text=True, env=environment, timeout=280)
    assert loaded.returncode == 0, loaded.stderr
    *rows, counts = map(json.loads, loaded.stdout.splitlines())
    assert counts == {"train": 4, "validation": 1, "test": 1}
    assert [split for split, *_ in rows] == ["train"] * 4 + ["validation", "test"]
    in_shards = triples(out)
    assert {id_ for _, id_, *_ in rows} == in_shards.keys()
    # 64 x 48 pixels become tiles of 256 x 192 with 24 for the time, 8 between them: 12 in 4 x 3, 5 in 3 x 2, or one.
    sizes = {in_shards[id_][1]["source"]: tuple(size) for _, id_, size, _ in rows}
    whole = (4 * 264 + 8, 3 * 224 + 8)
    assert sizes.pop("train/photo.png") == (264 + 8, 224 + 8)
    assert sizes.pop("train/b.mp4") == (3 * 264 + 8, 2 * 224 + 8)
    assert set(sizes.values()) == {whole}

    readme = (out / "CLIP-Folder" / "README.md").read_text("utf-8")
    assert "except for the frames on the contact sheets in `preview`" in readme
    assert '"preview")' in readme


def test_the_same_bytes_again_and_nothing_drawn_twice(out: Path, root: Path) -> None:
    assert preview(root, out).stdout.endswith("(6 new)\n")
    folder = out / "CLIP-Folder" / "preview"
    before, times = tars(out), {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (out / "work" / "CLIP-Folder" / "preview" / ".half.jpg.0123456789abcdef.tmp").touch()  # of a run that was killed
    assert preview(root, out).stdout.endswith("(0 new)\n")
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    assert len(list((out / "work" / "CLIP-Folder" / "preview").iterdir())) == 6
    next((out / "work" / "CLIP-Folder" / "preview").iterdir()).unlink()  # a run that was killed had not come so far
    assert preview(root, out, "--workers", 1).stdout.endswith("(1 new)\n")
    shutil.rmtree(out / "work" / "CLIP-Folder" / "preview")
    shutil.rmtree(folder)
    preview(root, out, "--workers", 1)
    assert tars(out) == before


def test_fewer_sheets_are_some_of_the_same(out: Path, root: Path) -> None:
    preview(root, out)
    every = members(tars(out)["train_00000.tar"])
    (out / "CLIP-Folder" / "preview" / "train_00001.tar").write_bytes(b"of an earlier preview")
    preview(root, out, "--samples", 2)
    few = members(tars(out)["train_00000.tar"])
    assert len(every) == 8
    assert len(few) == 4
    assert few.items() <= every.items()
    assert sorted(tars(out)) == ["test_00000.tar", "train_00000.tar", "val_00000.tar"]
    assert list(few) == sorted(few, key=lambda name: (name[:-4], name[-3:]))


def test_a_changed_video_is_drawn_again_and_a_lost_one_is_told(
    raw: Path, out: Path, root: Path, tmp_path: Path
) -> None:
    elsewhere = Path(shutil.copytree(raw, tmp_path / "elsewhere"))  # times and sizes are kept
    preview(root, out)
    write_video(elsewhere / "val" / "d.mp4", 12, seed=77)
    (elsewhere / "train" / "b.mp4").write_bytes(b"no video any more")
    for lost in (elsewhere / "test").glob("e.*"):  # its captions, too: a text without a video is an error
        lost.unlink()
    done = preview(root, out, "--raw", elsewhere)
    told = done.stdout.splitlines()
    assert told[-1].startswith("4 contact sheets")
    assert told[-1].endswith("(1 new)")
    assert [line.partition(": ")[2].partition(",")[0] for line in told[:-1]] == ["missing", "unreadable"]
    assert sorted(tars(out)) == ["train_00000.tar", "val_00000.tar"]


def test_no_sheet_at_all_is_an_error(out: Path, root: Path, tmp_path: Path) -> None:
    write_video(tmp_path / "other" / "train" / "z.mp4", 5)
    done = command(root, "preview", "folder", "--out", out, "--allow-frames", "--raw", tmp_path / "other")
    assert done.returncode == 2
    assert "none of 6 samples gives a contact sheet" in done.stderr
    assert not (out / "CLIP-Folder" / "preview").exists()


def test_shards_that_change_lose_their_preview(out: Path, root: Path) -> None:
    preview(root, out)
    assert command(root, "shards", "folder", "--out", out).returncode == 0
    assert len(tars(out)) == 3, "nothing changed"
    assert command(root, "shards", "folder", "--out", out, "--shuffle-seed", 7).returncode == 0
    assert not (out / "CLIP-Folder" / "preview").exists()


# --- what may be published --------------------------------------------------------------------------------------------


def test_frames_are_refused_where_no_licence_allows_them(out: Path, root: Path) -> None:
    done = command(root, "preview", "folder", "--out", out)
    assert done.returncode == 2
    assert done.stderr.startswith("error: frames of 'folder' may not be redistributed by everyone")
    assert done.stderr.endswith("add --allow-frames.\n")
    assert done.stderr.count("\n") == 1
    assert not (out / "CLIP-Folder" / "preview").exists()


@pytest.mark.parametrize("name", ["kinetics700", "mscoco2014", "activitynet_qa", "didemo", "msrvtt", "flickr30k"])
def test_a_licence_of_the_annotations_does_not_cover_the_frames(name: str) -> None:
    with pytest.raises(UserError, match="--allow-frames"):
        check_license(load(name).SPEC)
    check_license(load(name).SPEC, allow_frames=True)


def test_the_licences_that_allow_it() -> None:
    assert FREE_LICENSES < LICENSES
    assert not {"unknown", "other"} & FREE_LICENSES
    assert not [name for name in FREE_LICENSES if "-nd" in name]
    demo = load("demo").SPEC
    check_license(demo)
    for name in ("cc0-1.0", "cc-by-4.0", "cc-by-nc-sa-4.0", "mit"):
        check_license(dataclasses.replace(demo, media_license=name))
    for name in ("cc-by-nd-4.0", "cc-by-nc-nd-3.0", "other", "odbl"):
        with pytest.raises(UserError, match=name):
            check_license(dataclasses.replace(demo, media_license=name))


# --- what a sheet shows -----------------------------------------------------------------------------------------------


def sample(media: str, **window: float) -> Sample:
    return Sample("x", "train", media, ("x",), **window)


def cells(sheet: bytes, n: int, columns: int) -> list[np.ndarray]:
    """The tiles of a sheet of 64 x 48 videos, cut out again at 64 x 48."""
    image = Image.open(io.BytesIO(sheet))
    boxes = [(8 + i % columns * 264, 8 + i // columns * 224) for i in range(n)]
    return [np.asarray(image.crop((x, y, x + 256, y + 192)).resize((64, 48)), np.float32) for x, y in boxes]


SAMPLINGS = ("fps=1", "fps=10", "every_nth=3", "num_frames=5", "num_frames=20", "segment=16")


@pytest.mark.parametrize("window", [{}, {"start_s": 1.0, "end_s": 3.0}], ids=["whole", "window"])
@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_tiles_are_embedded_frames(raw: Path, window: dict[str, float], sampling: str) -> None:
    how = Sampling.parse(sampling)
    embedded = read_media(raw / "test" / "e.mp4", how, **window).frames
    n = len(embedded.pixels)
    step = -(-n // 12)
    sheet = draw(sample("test/e.mp4", **window), str(raw), how, n)
    assert isinstance(sheet, bytes)
    n_tiles = -(-n // step)
    rows = -(-n_tiles // 4)
    shown = cells(sheet, n_tiles, -(-n_tiles // rows))
    wanted = embedded.pixels[::step].astype(float)
    near = [np.abs(pixels - tile).mean() for pixels, tile in zip(wanted, shown, strict=True)]
    far = [np.abs(pixels - tile).mean() for pixels, tile in zip(wanted[::-1], shown, strict=True)]
    assert max(near) < 12
    assert len(near) < 2 or max(far) > 2 * max(near), "other frames are not as similar"


def test_clips_cover_frames() -> None:
    encoder = {"unit": "clip", "clip_frames": 4, "clip_stride": 2}
    assert n_sampled({"n_frames": 3, "padded_frames": 1}, encoder) == 7
    assert n_sampled({"n_frames": 3}, {"unit": "frame"}) == 3


def test_each_time_stands_below_its_tile(raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[str]] = []
    monkeypatch.setattr(
        "preprocess.exports.preview.contact_sheet",
        lambda tiles, labels: drawn.append(labels) or contact_sheet(tiles, labels),
    )
    with_times = draw(sample("train/b.mp4"), str(raw), Sampling.fps(10), 5)
    without = draw(sample("train/photo.png"), str(raw), Sampling.fps(10), 1)
    assert drawn == [["0.0 s", "0.1 s", "0.2 s", "0.3 s", "0.4 s"], [""]], "an image has no time"
    strip = np.asarray(Image.open(io.BytesIO(with_times)).convert("L"))[200:224]
    for i in range(3):
        ink = np.flatnonzero((strip[:, 8 + 264 * i : 8 + 264 * i + 256] < 128).any(axis=0))
        assert 20 < np.ptp(ink) < 80
        assert abs(ink.mean() - 128) < 8, "below the middle of the tile"
    assert (np.asarray(Image.open(io.BytesIO(without)).convert("L"))[202:] > 240).all()


def test_no_time_is_wider_than_its_cell() -> None:
    left, top, right, bottom = ImageFont.load_default(drawing._FONT_SIZE).getbbox(
        tile_label(99 * 3600 + 59 * 60 + 59.9)
    )
    assert right - left <= drawing._MIN_CELL + drawing._GAP
    assert bottom - top <= drawing._LABEL_HEIGHT


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, "0.0 s"), (0.42, "0.4 s"), (59.94, "59.9 s"), (59.96, "1:00.0"), (61.5, "1:01.5"), (3723.5, "1:02:03.5")],
)
def test_clock(seconds: float, shown: str) -> None:
    assert tile_label(seconds) == shown


@pytest.mark.parametrize(("size", "shape"), [((48, 64), (192, 256)), ((640, 360), (256, 144)), ((2000, 3), (256, 1))])
def test_tiles_keep_the_shape_of_the_frame(size: tuple[int, int], shape: tuple[int, int]) -> None:
    assert tile(np.zeros((*size, 3), np.uint8)).shape == (*shape, 3)
    tiles = np.zeros((7, *shape, 3), np.uint8)
    assert Image.open(io.BytesIO(contact_sheet(tiles, ["59:59.9"] * 7))).format == "JPEG"


def test_a_file_without_pictures_is_a_reject(tmp_path: Path) -> None:
    write_audio(tmp_path / "sound.mp4")
    for media, reason in (("sound.mp4", "no_video_stream"), ("gone.mp4", "missing")):
        done = draw(sample(media), str(tmp_path), Sampling.fps(1), 3)
        assert isinstance(done, Reject)
        assert done.reason == reason
