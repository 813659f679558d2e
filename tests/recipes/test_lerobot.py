"""LeRobot's format: which frame is which row, beside the frame times in its Parquet and a full decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from preprocess.errors import AnnotationError
from preprocess.media.sampling import Sampling
from preprocess.pipeline.read_sample import read_sample
from preprocess.recipes.lerobot import samples
from preprocess.samples import RecipeOptions, Reject, Sample
from tests.media_files import all_frames, write_video
from tests.recipes.fixtures.lerobot import CAMERAS, INFO, episode, make

LENGTHS = (12, 7, 15)  # frames of the episodes; the first two are in one file
FILES = (0, 0, 1)


def write(raw: Path, fps: int = 10, noise: float = 0.0) -> None:
    """A dataset with real videos, and the times of its frames in Parquet, as LeRobot writes them.

    Args:
        noise: By how much the start of an episode in its file is off, as sums of rounded durations are.
    """
    make(raw)
    rows, data = [], []
    for number, (length, file) in enumerate(zip(LENGTHS, FILES, strict=True)):
        before = sum(LENGTHS[i] for i in range(number) if FILES[i] == file)
        start_s = before / fps + (noise if before else 0.0)
        rows.append(episode(number, f"task {number % 2}", length, file, start_s))
        data += [{"episode_index": number, "frame_index": i, "timestamp": i / fps} for i in range(length)]
    pq.write_table(pa.Table.from_pylist(rows), raw / "meta/episodes/chunk-000/file-000.parquet")
    (raw / "data/chunk-000").mkdir(parents=True)
    schema = pa.schema({"episode_index": pa.int64(), "frame_index": pa.int64(), "timestamp": pa.float32()})
    pq.write_table(pa.Table.from_pylist(data, schema=schema), raw / "data/chunk-000/file-000.parquet")
    info = {**INFO, "fps": fps, "splits": {"train": "0:3"}}
    (raw / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    for seed, camera in enumerate(CAMERAS):
        for file in set(FILES):
            frames = sum(length for length, of in zip(LENGTHS, FILES, strict=True) if of == file)
            path = raw / f"videos/{camera}/chunk-000/file-{file:03d}.mp4"
            write_video(path, frames, fps=fps, seed=10 * seed + file)


def independently(raw: Path) -> dict[tuple[str, int], tuple[Any, Any]]:
    """Pixels and times in the file of the frames of each episode and camera, as LeRobot's reader looks them up.

    The frame nearest to `from_timestamp` plus the row's `timestamp`.
    """
    rows = pq.read_table(raw / "data/chunk-000/file-000.parquet").to_pylist()
    found = {}
    for entry in pq.read_table(raw / "meta/episodes/chunk-000/file-000.parquet").to_pylist():
        for camera in CAMERAS:
            file = f"file-{entry[f'videos/{camera}/file_index']:03d}.mp4"
            pixels, times = all_frames(raw / "videos" / camera / "chunk-000" / file)
            start_s = entry[f"videos/{camera}/from_timestamp"]
            of_episode = [row["timestamp"] for row in rows if row["episode_index"] == entry["episode_index"]]
            nearest = [int(np.argmin(np.abs(times - (start_s + time)))) for time in of_episode]
            found[camera.rpartition(".")[2], entry["episode_index"]] = pixels[nearest], times[nearest]
    return found


def listed(raw: Path) -> list[Sample]:
    return list(samples(raw, RecipeOptions()))


def decoded(sample: Sample, raw: Path, sampling: Sampling) -> Any:
    media = read_sample(sample, str(raw), sampling, lambda image: image)
    assert not isinstance(media, Reject), media
    return media.frames


@pytest.mark.parametrize(("fps", "noise"), [(10, 0.0), (30, 1e-4), (30, -1e-4), (24, 0.008)])
def test_rows_are_the_frames_that_its_parquet_names(fps: int, noise: float, tmp_path: Path) -> None:
    write(tmp_path, fps, noise)
    expected = independently(tmp_path)
    found = listed(tmp_path)
    assert len(found) == len(expected) == 6
    for sample in found:
        pixels, times = expected[sample.meta["camera"], sample.meta["episode_index"]]
        every = decoded(sample, tmp_path, Sampling.every_nth(1))
        np.testing.assert_array_equal(every.pixels, pixels)
        np.testing.assert_allclose(every.timestamps_s, times, atol=1e-9)
        for rate in (5, fps, 100):
            some = decoded(sample, tmp_path, Sampling.fps(rate))
            frames = np.unique(np.floor(np.arange(0, (len(times) - 1) / fps + 1e-9, 1 / rate) * fps + 0.5).astype(int))
            np.testing.assert_array_equal(some.pixels, pixels[frames])
            np.testing.assert_allclose(some.timestamps_s, times[frames], atol=1e-9)
            # As the card says: which frame of the episode a row is.
            offsets = (some.timestamps_s - sample.to_json()["start_s"]) * sample.meta["frames_per_second"]
            assert np.round(offsets).astype(int).tolist() == frames.tolist()


def test_what_is_said_about_an_episode(tmp_path: Path) -> None:
    write(tmp_path)
    found = listed(tmp_path)
    assert sorted(sample.key for sample in found) == [
        f"{camera}_episode_{number:06d}" for camera in ("top", "wrist") for number in range(3)
    ]
    assert {sample.captions for sample in found} == {("task 0",), ("task 1",)}
    split = {}
    for sample in found:
        assert split.setdefault(sample.meta["videoID"], sample.split) == sample.split
        assert sample.media.startswith(f"videos/observation.images.{sample.meta['camera']}/chunk-000/file-00")
        assert (sample.meta["robot_type"], sample.meta["frames_per_second"]) == ("so101", 10)
    # One split over everything, which LeRobot always declares, is none; several are taken.
    make(tmp_path / "declared")
    declared = {sample.meta["episode_index"]: sample.split for sample in listed(tmp_path / "declared")}
    assert declared == {0: "train", 1: "train", 2: "test"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "convert_dataset_v21_to_v30"),
        ({"fps": 0}, "fps"),
        ({"features": {"action": {"dtype": "float32"}}}, "none is a video, only float32"),
        ({"features": {"../up": {"dtype": "video"}}}, "features"),
        ({"video_path": "../{video_key}.mp4"}, "video_path"),
        ({"splits": {"train": "0:2", "test": "1:3"}}, "episode 1 is in two"),
        ({"splits": {"train": "0:2", "test": "most"}}, "'most'"),
        ({"splits": {"train": "0:2", "dev": "2:3"}}, "'dev'"),
    ],
)
def test_an_info_that_cannot_be_used(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "meta/info.json").write_text(json.dumps({**INFO, **change}), encoding="utf-8")
    with pytest.raises(AnnotationError) as error:
        listed(tmp_path)
    assert message in str(error.value)


@pytest.mark.parametrize("change", [{"length": 0}, {"tasks": []}, {"episode_index": 0}, {"tasks": None}])
def test_an_episode_that_cannot_be_used(change: dict[str, Any], tmp_path: Path) -> None:
    make(tmp_path)
    rows = [episode(0, "a", 3, 0, 0.0), {**episode(1, "b", 3, 0, 0.3), **change}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "meta/episodes/chunk-000/file-000.parquet")
    with pytest.raises(AnnotationError, match="row 2"):
        listed(tmp_path)


def test_a_template_knows_its_three_fields_only(tmp_path: Path) -> None:
    make(tmp_path)
    info = {**INFO, "video_path": "v/{video_key}/{chunk_index:03d}-{file_index}-{chunk_index.__class__}.mp4"}
    (tmp_path / "meta/info.json").write_text(json.dumps(info), encoding="utf-8")
    assert listed(tmp_path)[0].media == "v/observation.images.top/000-0-{chunk_index.__class__}.mp4"
