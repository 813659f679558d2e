"""Frames of real videos and images as JPEG folders, with real worker processes."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from preprocess.errors import REASONS, SettingsError, UserError
from preprocess.exports import frames
from preprocess.exports.annotations import write_annotations
from preprocess.exports.frames import Extraction, FrameExportSettings, FramesReport, extract, write_frames
from preprocess.media import iter_frames
from preprocess.media.frames import Restart
from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task
from preprocess.samples import Reject, Sample
from tests.media_files import all_frames, moving_noise, write_audio, write_video

LENGTHS = {"a": 12, "b": 1, "c": 25}  # frames, ten a second, 64 x 48 pixels


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three videos, an image, a sound that calls itself a video."""
    folder = tmp_path_factory.mktemp("raw")
    for seed, (name, n_frames) in enumerate(LENGTHS.items()):
        write_video(folder / f"{name}.mp4", n_frames, seed=seed)
    Image.fromarray(moving_noise(1)[0]).save(folder / "photo.png")
    write_audio(folder / "sound.mp4")
    return folder


def samples() -> list[Sample]:
    """One per file, one that does not exist, and one that takes half a second of a video that another takes whole."""
    files = ("a.mp4", "b.mp4", "c.mp4", "photo.png", "sound.mp4", "gone.mp4")
    whole = [Sample(name[:-4], "train", name, ("x",), meta={"videoID": f"{name[:-4]}.x@N01"}) for name in files]
    return [*whole, Sample("part", "test", "c.mp4", ("x",), start_s=0.5, end_s=1.0, meta={"videoID": "part"})]


def run(raw: Path, out: Path, settings: FrameExportSettings | None = None, **options: Any) -> FramesReport:
    wanted = RunOptions(**{"workers": 2, **options})
    return write_frames("folder", samples(), raw, out, settings or FrameExportSettings(), wanted)


def pixels(folder: Path) -> list[np.ndarray]:
    """Frames in the order of their numbers, which must be 1, 2, 3, …"""
    names = sorted(path.name for path in folder.iterdir())
    assert names == [f"image_{number:05d}.jpg" for number in range(1, len(names) + 1)]
    return [np.asarray(Image.open(folder / name)) for name in names]


def as_jpeg(frame: np.ndarray, quality: int = 95) -> np.ndarray:
    """What is left of a frame after the round trip through a file of that quality."""
    file = io.BytesIO()
    Image.fromarray(frame).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def same(made: list[np.ndarray], frames: Iterable[np.ndarray], quality: int = 95) -> bool:
    return all(np.array_equal(jpeg, as_jpeg(frame, quality)) for jpeg, frame in zip(made, frames, strict=True))


def content(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def whole(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("frames") / "new" / "folder"
    report = run(raw, out)
    assert (report.written, report.kept, report.frames, report.truncated) == (5, 0, 12 + 1 + 25 + 1 + 5, 0)
    assert dict(report.rejects) == {"no_video_stream": 1, "missing": 1}
    assert report.bytes == sum(path.stat().st_size for path in out.glob("*/*.jpg"))
    return out


def test_every_frame_of_every_video(raw: Path, whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir() if path.is_dir()) == [
        *("a.x@N01", "b.x@N01", "c.x@N01", "part", "photo.x@N01")
    ]
    for name in LENGTHS:
        expected, _ = all_frames(raw / f"{name}.mp4")
        made = pixels(whole / f"{name}.x@N01")
        assert len(made) == len(expected)
        assert same(made, expected)
        assert np.abs(made[0].astype(int) - expected[0]).mean() < 10, "a JPEG looks like its frame"
    frames_of_c, _ = all_frames(raw / "c.mp4")
    assert same(pixels(whole / "part"), frames_of_c[5:10])
    assert same(pixels(whole / "photo.x@N01"), moving_noise(1))


def test_rejects_and_settings_are_written(whole: Path) -> None:
    rejects = [Reject(**json.loads(line)) for line in (whole / "rejects.jsonl").read_text().splitlines()]
    assert [(reject.key, reject.stage, reject.reason) for reject in rejects] == [
        ("gone", "find", "missing"),
        ("sound", "decode", "no_video_stream"),
    ]
    expected = {"dataset": "folder", "fps": None, "short_side": None, "quality": 95}
    assert json.loads((whole / "frames.json").read_text()) == expected
    assert not [path for path in whole.iterdir() if path.name.endswith(".tmp")]


def test_rate_size_and_quality(raw: Path, whole: Path, tmp_path: Path) -> None:
    run(raw, tmp_path, FrameExportSettings(fps=5, short_side=24, quality=60))
    expected, _ = all_frames(raw / "c.mp4")
    small = [np.asarray(Image.fromarray(frame).resize((32, 24), Image.Resampling.BICUBIC)) for frame in expected[::2]]
    assert len(small) == 13
    assert same(pixels(tmp_path / "c.x@N01"), small, quality=60)
    run(raw, tmp_path / "coarse", FrameExportSettings(quality=10))
    sizes = [sum(path.stat().st_size for path in out.glob("*/*.jpg")) for out in (tmp_path / "coarse", whole)]
    assert sizes[0] < sizes[1] / 2


def test_a_frame_on_screen_for_several_steps_is_written_for_each(raw: Path, tmp_path: Path) -> None:
    run(raw, tmp_path, FrameExportSettings(fps=20, short_side=1000))
    expected, _ = all_frames(raw / "a.mp4")
    made = pixels(tmp_path / "a.x@N01")
    assert len(made) == 24
    assert same(made, expected.repeat(2, axis=0))


def test_a_frame_is_encoded_once_however_often_it_is_repeated(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    save = Image.Image.save

    def counted(self: Image.Image, file: Path, *arguments: Any, **options: Any) -> None:
        saved.append(file.name)
        save(self, file, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", counted)
    sample = Sample("a", "train", "a.mp4", ("x",))
    report = extract(sample, str(raw), tmp_path / "a", FrameExportSettings(fps=30))
    assert not isinstance(report, Reject)
    assert report.frames == 36
    assert saved == [f"image_{1 + 3 * number:05d}.jpg" for number in range(12)]
    files = sorted((tmp_path / "a").iterdir())
    assert {file.stat().st_nlink for file in files} == {1}, "changing one of them must not change another"
    assert report.bytes == sum(file.stat().st_size for file in files)


def test_a_rate_out_of_range_is_refused_at_once() -> None:
    for fps in (0.0, -1.0, 1e9, float("nan")):
        with pytest.raises(ValueError, match=f"sampling value .*got {fps!r}"):
            FrameExportSettings(fps=fps)


def test_a_second_run_writes_nothing_and_another_kind_is_refused(raw: Path, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.glob("*/*")}
    report = run(raw, whole)
    assert (report.written, report.kept, sum(report.rejects.values())) == (0, 5, 2)
    with pytest.raises(SettingsError, match=r"fps = None, not 2"):
        run(raw, whole, FrameExportSettings(fps=2))
    assert {path: path.stat().st_mtime_ns for path in whole.glob("*/*")} == before


def test_an_interrupted_run_goes_on(raw: Path, whole: Path, tmp_path: Path) -> None:
    """What a killed run leaves: some folders, and one under a temporary name."""
    half = tmp_path / ".c.tmp"
    half.mkdir()
    (half / "0.frame").write_bytes(b"half a frame")
    run(raw, tmp_path)
    (tmp_path / ".gone.tmp").mkdir()
    (tmp_path / ".gone.tmp" / "0.frame").touch()
    for path in (tmp_path / "a.x@N01").iterdir():
        path.unlink()
    (tmp_path / "a.x@N01").rmdir()
    report = run(raw, tmp_path)
    assert (report.written, report.kept) == (1, 4)
    assert content(tmp_path) == content(whole)


@dataclass(frozen=True)
class Dying(Extraction):
    """The real extraction, whose process dies on one video once it has written frames: FFmpeg's faults come unasked."""

    def __call__(self, task: Task[Sample], watch: Watch) -> Iterator[Any]:
        (sample,) = task.items
        if sample.key == "a":
            watch(sample.key)
            extract(sample, self.raw, self.out / ".a.tmp", self.settings)
            os.abort()
        yield from Extraction.__call__(self, task, watch)


def test_a_crash_costs_one_video(raw: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "Extraction", Dying)
    report = run(raw, tmp_path)
    assert dict(report.rejects) == {"no_video_stream": 1, "missing": 1, "decoder_crashed": 1}
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        *("b.x@N01", "c.x@N01", "part", "photo.x@N01")
    ]
    monkeypatch.undo()
    assert run(raw, tmp_path).written == 0, "a reject is not tried again by itself"
    assert run(raw, tmp_path, retry=frozenset(REASONS)).written == 1
    rejected = [json.loads(line) for line in (tmp_path / "rejects.jsonl").read_text().splitlines()]
    assert {reject["attempts"] for reject in rejected} == {2}
    expected = content(whole)
    assert {**content(tmp_path), "rejects.jsonl": expected["rejects.jsonl"]} == expected


def test_a_video_that_was_replaced_is_exported_again(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for name in ("a", "b"):
        write_video(raw / f"{name}.mp4", 3)
    listed = [Sample(name, "train", f"{name}.mp4", ("x",)) for name in ("a", "b")]
    arguments = (raw, tmp_path / "out", FrameExportSettings(), RunOptions(workers=1))
    write_frames("folder", listed, *arguments)
    (raw / "b.mp4").unlink()
    write_video(raw / "b.mp4", 5)
    report = write_frames("folder", listed, *arguments)
    assert (report.written, report.changed, report.kept) == (1, 1, 1)
    assert [len(list((tmp_path / "out" / name).iterdir())) for name in ("a", "b")] == [3, 5]
    assert write_frames("folder", listed, *arguments).kept == 2


def test_a_missing_video_is_tried_again_when_it_is_there(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    write_video(raw / "a.mp4", 3)
    listed = [Sample(name, "train", f"{name}.mp4", ("x",)) for name in ("a", "late")]
    arguments = (raw, tmp_path / "out", FrameExportSettings(), RunOptions(workers=1))
    assert dict(write_frames("folder", listed, *arguments).rejects) == {"missing": 1}
    write_video(raw / "late.mp4", 4)
    report = write_frames("folder", listed, *arguments)
    assert (report.written, report.kept, dict(report.rejects)) == (1, 1, {})


def test_no_frame_at_all_is_an_error(tmp_path: Path) -> None:
    gone = [Sample("a", "train", "a.mp4", ("x",))]
    with pytest.raises(UserError, match=r"none of 1 samples gives a frame. .*rejects\.jsonl says why"):
        write_frames("folder", gone, tmp_path, tmp_path / "out", FrameExportSettings(), RunOptions(workers=1))


def test_a_damaged_file_gives_what_decodes_and_nothing_else(tmp_path: Path) -> None:
    """Decoding restarts when it meets the damage, after frames were written, and then numbers them differently."""
    video = write_video(tmp_path / "hurt.mp4", 40)
    damaged = bytearray(video.read_bytes())
    middle = len(damaged) // 2
    damaged[middle : middle + 300] = np.random.default_rng(0).bytes(300)
    video.write_bytes(damaged)
    records = list(iter_frames(video, Sampling.every_nth(1)))
    restart = next(number for number, record in enumerate(records) if isinstance(record, Restart))
    assert restart > 0, "frames were written before"
    clip = read_video(video, Sampling.every_nth(1))
    assert clip.truncated
    assert 10 < len(clip.frames.pixels) < 40
    report = extract(Sample("hurt", "train", "hurt.mp4", ("x",)), str(tmp_path), tmp_path / "f", FrameExportSettings())
    assert not isinstance(report, Reject)
    assert (report.frames, report.truncated) == (len(clip.frames.pixels), True)
    assert same(pixels(tmp_path / "f"), clip.frames.pixels)


def test_memory_does_not_grow_with_the_clip(tmp_path: Path) -> None:
    """500 frames of 640 x 480 are 460 MB as RGB; what the process may hold is far less."""
    script = """
import resource, sys
from pathlib import Path
from preprocess.exports.frames import FrameExportSettings, extract
from preprocess.samples import Sample
extract(Sample("b", "train", "b.mp4", ("x",)), sys.argv[1], Path(sys.argv[1], "one"), FrameExportSettings())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
report = extract(Sample("a", "train", "a.mp4", ("x",)), sys.argv[1], Path(sys.argv[1], "many"), FrameExportSettings())
print(report.frames, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""
    import av

    for name, count in (("a", 500), ("b", 25)):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height = 640, 480
            for number in range(count):
                grey = np.full((480, 640, 3), number % 256, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(grey, format="rgb24")))
            container.mux(stream.encode(None))
    command = [sys.executable, "-c", script, str(tmp_path)]
    count_, grown = map(int, subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert count_ == 500
    assert grown < 100, f"{grown} MB"


def test_folders_are_called_as_in_the_annotations(raw: Path, whole: Path, tmp_path: Path) -> None:
    write_annotations(samples(), raw, tmp_path)
    entries = {name for path in tmp_path.iterdir() for name in json.loads(path.read_text())}
    assert entries - {path.name for path in whole.iterdir()} == {"sound.x@N01"}
    assert {path.name for path in whole.iterdir() if path.is_dir()} <= entries


def test_the_command(raw: Path, tmp_path: Path, root: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "preprocess", "frames", "folder", "--raw", str(raw), "--out", str(out)]
    command += ["--split", "1,0,0", "--fps", "1", "--short-side", "24", "--workers", "2"]
    strict = [*command, "--max-reject-rate", "0.1"]
    ended = subprocess.run(strict, cwd=root, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, "one of five does not decode"
    assert "written   4 videos, 7 frames" in ended.stdout
    assert "1 of 5 samples could not be decoded" in ended.stderr
    assert Image.open(out / "a" / "image_00002.jpg").size == (32, 24)
    ended = subprocess.run(
        [*command, "--max-reject-rate", "0.2"], cwd=root, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0
    assert "kept      4 videos" in ended.stdout
