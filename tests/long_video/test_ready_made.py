"""Episodes that others cut: clips in folders and a JSONL, to a training set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("diffusers", reason="requirements-long-video.txt is not installed")

from preprocess.errors import AnnotationError, RawDataError, UserError
from preprocess.long_video import commands
from preprocess.long_video.folder import Folder, write_rows
from preprocess.long_video.frame_format import FrameFormat
from preprocess.long_video.frames import episode_frames
from preprocess.long_video.jsonl import check_folder, read_episodes
from preprocess.long_video.segments import Episode
from tests.media_files import all_frames, write_video

SIZE = "48x64"  # of the clips: pixels can be compared as they are


def row(*flags: str, **more: Any) -> dict[str, Any]:
    """A line; each flag is s, e, b or - for a segment that starts a scene, ends one, both or neither."""
    return {
        "scene_start": [flag in "sb" for flag in flags],
        "scene_end": [flag in "eb" for flag in flags],
        **{f"text_{i}": f"text {i} of {''.join(flags)}" for i in range(len(flags))},
        **more,
    }


def clip(path: Path, seconds: int, seed: int = 0, extra: int = 1) -> None:
    """As the guide wants them: 16·L + 1 frames at 16 frames per second."""
    write_video(path, n_frames=16 * seconds + extra, fps=16, seed=seed)


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two episodes in clips of 3 s: twelve of them in the first, in the order of their numbers."""
    raw = tmp_path_factory.mktemp("joined")
    for number in range(12):
        clip(raw / f"tom/{number}.mp4", 3, seed=number, extra=number % 2)
    clip(raw / "jerry/a.mp4", 6, seed=20)
    return raw


@pytest.fixture(scope="module")
def nine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The 9 s set of the guide: one folder, each clip an episode of its own, of 145 frames."""
    raw = tmp_path_factory.mktemp("nine")
    for number in (0, 1, 10):
        clip(raw / f"tom/video_sample_{number}.mp4", 9, seed=number)
    return raw


def take(root: Path, raw: Path, rows: list[dict[str, Any]], seconds: str | None = None, size: str = SIZE) -> Folder:
    write_rows(root / "lines.jsonl", rows)
    commands.import_episodes(root / "set", raw, root / "lines.jsonl", seconds, size=size, workers=1, executor="inline")
    return Folder(root / "set")


def clips(episode: Episode) -> list[tuple[str, float]]:
    return [(segment.video, segment.start_s) for segment in episode.segments]


def test_a_line_per_folder_joins_its_clips(joined: Path, tmp_path: Path) -> None:
    folder = take(tmp_path, joined, [row("s", "e"), row(*"s-e" * 4)])
    assert folder.stages() == (6, 36)
    (jerry,), (tom,) = read_episodes(folder, 6), read_episodes(folder, 36)
    assert clips(jerry) == [("jerry/a.mp4", 0.0), ("jerry/a.mp4", 3.0)]
    assert clips(tom) == [(f"tom/{number}.mp4", 0.0) for number in range(12)]
    assert [segment.text for segment in jerry.segments] == ["text 0 of se", "text 1 of se"]
    assert [s.scene_end for s in tom.segments] == [False, False, True] * 4
    frames, _ = all_frames(joined / "tom/0.mp4")
    pixels = np.concatenate(list(episode_frames(joined, tom.segments[:2], FrameFormat(height=48, width=64))))
    np.testing.assert_array_equal(pixels[:48], frames[:48])
    np.testing.assert_array_equal(pixels[48:97], all_frames(joined / "tom/1.mp4")[0])


def test_lines_can_be_cut_into_stages(joined: Path, tmp_path: Path) -> None:
    folder = take(tmp_path, joined, [row("b", "b"), row(*"s-e" * 4)], "3,9")
    assert len(read_episodes(folder, 3)) == 14
    nines = read_episodes(folder, 9)
    assert [clips(episode)[0] for episode in nines] == [(f"tom/{first}.mp4", 0.0) for first in (0, 3, 6, 9)]
    with pytest.raises(UserError, match=r"gives no episode of 63 s.*leave --seconds out"):
        take(tmp_path, joined, [row("b", "b"), row(*"s-e" * 4)], "63")


def test_a_scene_that_ends_inside_a_clip_does_not_show_the_next(joined: Path, tmp_path: Path) -> None:
    folder = take(tmp_path, joined, [row("b", "b"), row(*"b" * 12)], "3")
    first, second = (e for e in read_episodes(folder, 3) if e.segments[0].video == "jerry/a.mp4")
    frames, _ = all_frames(joined / "jerry/a.mp4")
    size = FrameFormat(height=48, width=64)
    pixels = np.concatenate(list(episode_frames(joined, first.segments, size)))
    np.testing.assert_array_equal(pixels, frames[[*range(48), 47]])
    np.testing.assert_array_equal(np.concatenate(list(episode_frames(joined, second.segments, size))), frames[48:97])


def test_the_nine_second_set_of_the_guide_becomes_a_training_set(nine: Path, tmp_path: Path, models: Path) -> None:
    rows = [row("s", "-", "e"), row("b", "s", "e"), row("s", "e", "b")]
    folder = take(tmp_path, nine, rows, size="16x24")
    assert [clips(episode)[0][0] for episode in read_episodes(folder, 9)] == [
        f"tom/video_sample_{number}.mp4" for number in (0, 1, 10)
    ]
    commands.latents(folder.root, vae=str(models), precision="fp32", device="cpu")
    commands.text(folder.root, model=str(models), precision="fp32", device="cpu", max_tokens=16)
    commands.jsonl(folder.root)
    assert check_folder(folder) == []
    lines = [json.loads(line) for line in folder.train(9).read_text().splitlines()]
    variants = [[Path(name).stem.split("_")[1] for name in line["text_chunk_emb"]] for line in lines]
    assert variants == [["start", "none", "end"], ["both", "start", "end"], ["start", "end", "both"]]


@pytest.mark.parametrize("key", ["video", "mp4"])
def test_lines_may_name_their_clips(nine: Path, tmp_path: Path, key: str) -> None:
    names = ["/their/disk/tom/video_sample_10.mp4", "tom/video_sample_0.mp4"]
    folder = take(tmp_path, nine, [row("s", "-", "e", **{key: name}) for name in names])
    assert [clips(episode)[0][0] for episode in read_episodes(folder, 9)] == [
        "tom/video_sample_10.mp4",
        "tom/video_sample_0.mp4",
    ]


def test_lines_may_name_their_folders(joined: Path, tmp_path: Path) -> None:
    folder = take(tmp_path, joined, [row(*"s-e" * 4, episode="tom"), row("s", "e", episode="jerry")], "6")
    assert [episode.segments[0].video for episode in read_episodes(folder, 6)][-1] == "jerry/a.mp4"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            [row("b")] * 5,
            r"lines\.jsonl: 5 lines for 1 folders with 3 clips\. Expected one line per folder or",
        ),
        ([row("b")] * 3, r"line 1: 1 segments, and its clips tom/video_sample_0\.mp4 hold 3"),
        ([row("s", "-", "e", video="gone.mp4")], r"line 1: video is 'gone\.mp4'\. Expected the name of a folder"),
        ([row("s", "-", "e", video="tom/video_sample_0.mp4")] * 2, r"line 2: 'tom/video_sample_0\.mp4' was already"),
        ([row("b", video="tom/video_sample_0.mp4"), row("b")], r"line 2: it names no clip"),
        ([row("b"), row("b", video="tom/video_sample_0.mp4")], r"line 2: it names a clip, and lines before it do not"),
        ([{"scene_start": [True], "scene_end": []}] * 3, r"line 1: 1 scene_start, 0 scene_end, 0 texts"),
        ([{"scene_start": "yes", "scene_end": [True], "text_0": ""}] * 3, r"line 1: scene_start"),
    ],
)
def test_what_does_not_belong_together_is_refused(
    nine: Path, tmp_path: Path, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(AnnotationError, match=message):
        take(tmp_path, nine, rows)
    assert not (tmp_path / "set/episodes").exists()


def test_clips_of_other_lengths_and_none_at_all(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    clip(raw / "tom/0.mp4", 4)
    with pytest.raises(AnnotationError, match=r"clip tom/0\.mp4 lasts 4\.06\d s\. Expected clips of a multiple of 3"):
        take(tmp_path, raw, [row("b")])
    with pytest.raises(RawDataError, match="no folder"):
        take(tmp_path, tmp_path / "nowhere", [row("b")])


def test_a_clip_that_cannot_be_read_costs_its_line(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    clip(raw / "tom/0.mp4", 3)
    (raw / "tom/1.mp4").write_text("no video")
    folder = take(tmp_path, raw, [row("b"), row("b")])
    assert [clips(episode) for episode in read_episodes(folder, 3)] == [[("tom/0.mp4", 0.0)]]
    (reject,) = [json.loads(line) for line in folder.rejects("scenes").read_text().splitlines()]
    assert (reject["key"], reject["reason"]) == ("tom/1.mp4", "unreadable")
