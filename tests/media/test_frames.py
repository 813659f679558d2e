"""Frame streams: one record per decoded frame, explicit restarts, one decode for several transforms, flat memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from preprocess.errors import MediaError
from preprocess.media import iter_frames, read_media, read_media_views, video
from preprocess.media.decode import WholeDecode
from preprocess.media.frames import FrameRows, Restart, collect, rows_in_order
from preprocess.media.h264_order import DisplayOrder
from preprocess.media.sampling import Sampling
from tests.media_files import moving_noise

CLIPS = ["h264 open gop", "h264 variable frame rate", "h264 in avi, B-frames", "h264 edit list", "mpeg2 ts"]


def damage(path: Path, at: float) -> Path:
    """Overwrites 300 bytes in the middle of the packets."""
    data = bytearray(path.read_bytes())
    start = int(len(data) * at)
    data[start : start + 300] = np.random.default_rng(0).bytes(300)
    path.write_bytes(data)
    return path


def last_pass(records: Iterable[FrameRows | Restart]) -> list[FrameRows]:
    """The records that count."""
    kept: list[FrameRows] = []
    for record in records:
        if isinstance(record, Restart):
            kept = []
        else:
            kept.append(record)
    return kept


@pytest.mark.parametrize("sampling", [Sampling.fps(7.3), Sampling.fps(60), Sampling.every_nth(1)], ids=str)
@pytest.mark.parametrize("name", CLIPS)
def test_each_distinct_frame_is_one_record_with_all_its_rows(
    name: str, sampling: Sampling, clip_path: Callable[[str], Path], reference: Callable[[str], Any]
) -> None:
    shown = reference(name)
    stream = iter_frames(clip_path(name), sampling, start_s=0.2, end_s=2.4)
    records = []
    numbers = []
    for record in stream:
        assert isinstance(record, FrameRows)
        assert stream.n_rows > 0
        records.append(record)
        numbers.append(shown.on_screen(float(record.times_s[0])))
        assert {shown.on_screen(float(time)) for time in record.times_s} == {numbers[-1]}
        np.testing.assert_array_equal(record.image, shown.pixels[numbers[-1]])
    assert len(set(numbers)) == len(numbers), "a frame is decoded once, however many rows show it"
    assert [row for record in records for row in record.rows] == list(range(stream.n_rows))
    np.testing.assert_array_equal(np.concatenate([record.times_s for record in records]), stream.times_s)
    assert not stream.truncated


def test_a_stream_can_be_left_and_iterated_again(clip_path: Callable[[str], Path]) -> None:
    stream = iter_frames(clip_path("h264 gop 12 B-frames"), Sampling.every_nth(1))
    first = next(iter(stream))
    assert isinstance(first, FrameRows)
    assert (stream.n_rows, stream.duration_s) == (75, 3.0), "known with the first record"
    again = last_pass(stream)
    assert len(again) == 75
    np.testing.assert_array_equal(again[0].image, first.image)


def test_an_image_is_a_stream_of_one_record(tmp_path: Path) -> None:
    picture = moving_noise(1)[0]
    Image.fromarray(picture).save(tmp_path / "photo.PNG")
    stream = iter_frames(tmp_path / "photo.PNG", Sampling.fps(30), start_s=7.0)
    (record,) = last_pass(stream)
    assert (record.rows, record.times_s.tolist()) == (range(1), [0.0])
    assert (stream.n_rows, stream.duration_s, stream.truncated) == (1, 0.0, False)
    np.testing.assert_array_equal(record.image, picture)


def test_damage_restarts_the_stream(
    make_clip: Callable[..., Path], all_frames: Callable[[Path], Any], tmp_path: Path
) -> None:
    path = damage(make_clip(tmp_path / "hurt.mp4", gop=12, options={"bf": "2"}), 0.5)
    shown = all_frames(path)
    assert len(shown.pixels) < 75
    stream = iter_frames(path, Sampling.every_nth(1))
    counts: list[int] = [0]
    for record in stream:
        if isinstance(record, Restart):
            counts.append(0)
        else:
            counts[-1] += 1
    assert len(counts) > 1
    assert counts[0] > 0, "frames came before the damage was met"
    assert stream.truncated
    assert counts[-1] == stream.n_rows == len(shown.pixels)
    kept = last_pass(rows_in_order(stream, path))
    assert [record.rows.start for record in kept] == list(range(len(kept)))
    for record, pixels in zip(kept, shown.pixels, strict=True):
        np.testing.assert_array_equal(record.image, pixels)
    (frames,) = collect(stream, [lambda image: image])
    np.testing.assert_array_equal(frames.pixels, np.stack(shown.pixels))


def test_a_file_that_decodes_otherwise_each_time(clip_path: Callable[[str], Path], monkeypatch: Any) -> None:
    seen = WholeDecode.seen_pts
    lengths = iter((70, 60))
    monkeypatch.setattr(WholeDecode, "seen_pts", lambda self: seen(self)[: next(lengths)])
    monkeypatch.setattr(DisplayOrder, "places", lambda self: None)  # or spans of the file are decoded
    with pytest.raises(MediaError, match="decodes to different frames each time") as caught:
        last_pass(iter_frames(clip_path("h264 in avi, B-frames"), Sampling.every_nth(1)))
    assert caught.value.reason == "unreadable"


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Counts the packets that are given to decoders and the frames that are converted to RGB."""
    counts = {"packets": 0, "images": 0}
    packets_again, upright_rgb = video.packets_again, video.upright_rgb

    def counted(*arguments: Any) -> Iterator[Any]:
        for packet in packets_again(*arguments):
            counts["packets"] += 1
            yield packet

    def converted(*arguments: Any) -> Any:
        counts["images"] += 1
        return upright_rgb(*arguments)

    monkeypatch.setattr(video, "packets_again", counted)
    monkeypatch.setattr(video, "upright_rgb", converted)
    return counts


def halve(image: Any) -> Any:
    return image[::2, ::2]


def scale(image: Any) -> Any:
    return image.astype(np.float32) / 255


def test_several_transforms_share_one_decode(clip_path: Callable[[str], Path], work: dict[str, int]) -> None:
    path = clip_path("h264 gop 12 B-frames")
    alone = [read_media(path, Sampling.fps(50), transform=transform) for transform in (halve, scale)]
    assert work == {"packets": 150, "images": 150}
    together = read_media_views(path, Sampling.fps(50), (halve, scale), start_s=0.0)
    assert work == {"packets": 225, "images": 225}, "75 frames, once for both"
    assert [view.frames.pixels.dtype for view in together] == [np.uint8, np.float32]
    assert [view.frames.pixels.shape for view in together] == [(150, 32, 48, 3), (150, 64, 96, 3)]
    for ours, expected in zip(together, alone, strict=True):
        np.testing.assert_array_equal(ours.frames.pixels, expected.frames.pixels)
        np.testing.assert_array_equal(ours.frames.timestamps_s, expected.frames.timestamps_s)
        assert (ours.duration_s, ours.truncated) == (expected.duration_s, expected.truncated)


def test_a_transform_must_keep_its_size(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    sizes = iter(range(8, 90))
    path = make_clip(tmp_path / "v.mp4", frames=5)
    with pytest.raises(MediaError, match="changes its frame size"):
        read_media_views(path, Sampling.every_nth(1), (halve, lambda image: image[: next(sizes)]))


def rows(*starts: int) -> list[FrameRows]:
    """One record of one row for each start."""
    return [FrameRows(range(at, at + 1), np.array([float(at)]), np.zeros((1, 1, 3), np.uint8)) for at in starts]


def starts(records: Iterable[FrameRows | Restart]) -> list[int | None]:
    return [None if isinstance(record, Restart) else record.rows.start for record in records]


@given(data=st.data(), count=st.integers(1, 60), limit=st.integers(1, 8))
def test_rows_are_put_in_order_within_the_limit(data: st.DataObject, count: int, limit: int) -> None:
    late = [at + data.draw(st.integers(0, limit)) + 0.5 * data.draw(st.booleans()) for at in range(count)]
    shuffled = sorted(range(count), key=late.__getitem__)
    kept = [at for at in shuffled if data.draw(st.integers(0, 9))]  # rows may be missing, until a restart
    assert starts(rows_in_order(rows(*kept), Path("v.mp4"), limit)) == sorted(kept)


def test_records_held_back_are_bounded() -> None:
    taken = 0

    def source() -> Iterator[FrameRows]:
        nonlocal taken
        for record in rows(*range(1, 100)):
            taken += 1
            yield record

    ordered = rows_in_order(source(), Path("v.mp4"), 5)
    assert next(ordered).rows.start == 1  # type: ignore[union-attr]
    assert taken == 6
    with pytest.raises(MediaError, match=r"v\.mp4 has frames more than 2 out of order"):
        starts(rows_in_order(rows(1, 2, 3, 0), Path("v.mp4"), 2))


def test_a_restart_voids_what_was_held_back() -> None:
    records = [*rows(0, 2, 3), Restart(), *rows(1, 0)]
    assert starts(rows_in_order(records, Path("v.mp4"))) == [0, None, 0, 1]


def test_frames_that_come_out_of_order(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    """Two recordings in one file, the second with times between those of the first."""
    parts = [
        make_clip(tmp_path / f"{number}.ts", "mpeg2video", frames=20, gop=5, container_options={"output_ts_offset": at})
        for number, at in enumerate(("1", "1.02"))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    stream = iter_frames(path, Sampling.every_nth(1))
    came = [record.rows.start for record in last_pass(stream)]
    assert came != sorted(came), "otherwise this test proves nothing"
    ordered = last_pass(rows_in_order(stream, path))
    assert [record.rows.start for record in ordered] == list(range(stream.n_rows))
    pixels = read_media(path, Sampling.every_nth(1)).frames.pixels
    np.testing.assert_array_equal(np.stack([record.image for record in ordered]), pixels)


def test_a_file_that_claims_to_last_for_years(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    path = make_clip(tmp_path / "years.mkv", frames=3, pts=[0, 1, 25 * 10**8], options={"bf": "0"})
    with pytest.raises(MediaError, match=r"years\.mkv: fps=1 gives 100,000,00\d rows .* above 5,000,000") as caught:
        read_media(path, Sampling.fps(1))
    assert caught.value.reason == "too_large"
    assert len(read_media(path, Sampling.every_nth(1)).frames.pixels) == 3


PEAK = """
import resource, sys
from pathlib import Path
from preprocess.exports.frames import FrameExportSettings, extract
from preprocess.media import packets
from preprocess.samples import Sample

def export(path):
    sample = Sample(path.stem, "train", path.name, ("x",))
    return extract(sample, str(path.parent), path.parent / f"{path.stem}.frames", FrameExportSettings(quality=1)).frames

def detect(path):
    from preprocess.long_video.detect import Detector, detect_cuts
    return len(detect_cuts(path, Detector()).cuts_s)

packets.HELD_BYTES = 1 << 20  # what is held is bounded by this, and would otherwise grow up to it
run = {"export": export, "detect": detect}[sys.argv[1]]
for path in map(Path, sys.argv[2:]):
    print(run(path), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.fixture(scope="module")
def long_videos(make_clip: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """5 and 60 minutes, one frame per second, 160 x 120: the frames of the hour are 207 MB as RGB."""
    folder = tmp_path_factory.mktemp("long")
    plain = [np.full((120, 160, 3), value, np.uint8) for value in (30, 200)]
    return [
        make_clip(
            folder / f"{minutes}.mp4",
            frames=60 * minutes,
            size=(120, 160),
            pts=[25 * number for number in range(60 * minutes)],
            options={"preset": "ultrafast", "bf": "0"},
            image=lambda number: plain[number // 30 % 2],
        )
        for minutes in (5, 60)
    ]


@pytest.mark.parametrize("task", ["export", "detect"])
def test_memory_does_not_grow_from_five_minutes_to_an_hour(task: str, long_videos: list[Path]) -> None:
    if task == "detect":
        pytest.importorskip("scenedetect", reason="requirements-long-video.txt is not installed")
    command = [sys.executable, "-c", PEAK, task, *map(str, long_videos)]
    lines = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    (short, before), (long, after) = (map(int, line.split()) for line in lines)
    assert (short, long) == {"export": (300, 3600), "detect": (9, 119)}[task]
    unit = 1 if sys.platform == "darwin" else 1024
    assert (after - before) * unit < 8 << 20
