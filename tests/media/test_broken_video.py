"""Files that are cut, damaged, turned, or no video at all."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from preprocess.errors import MediaError
from preprocess.media import frames, read_media
from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video
from tests.decoders import opencv_frames, torchcodec_decoder
from tests.media.conftest import remux

ONE = 1 << 16
# (a, b, c, d) of the display matrix: column' = a * column + c * row, row' = b * column + d * row.
TURNS = {
    "upright": (1, 0, 0, 1),
    "90": (0, 1, -1, 0),
    "180": (-1, 0, 0, -1),
    "270": (0, -1, 1, 0),
    "mirrored": (-1, 0, 0, 1),
    "upside down": (1, 0, 0, -1),
    "transposed": (0, 1, 1, 0),
    "other diagonal": (0, -1, -1, 0),
}


def reason_of(path: Path, **window: float) -> str:
    with pytest.raises(MediaError) as caught:
        read_video(path, Sampling.fps(1), **window)  # type: ignore[arg-type]
    assert path.name in str(caught.value)
    assert str(path.parent) not in str(caught.value)
    return caught.value.reason


@pytest.mark.parametrize("turn", TURNS)
def test_display_matrix(
    turn: str, make_clip: Callable[..., Path], all_frames: Callable[[Path], Any], tmp_path: Path
) -> None:
    a, b, c, d = TURNS[turn]
    path = make_clip(
        tmp_path / "turned.mp4", frames=4, matrix=[a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    )
    decoded = np.stack(all_frames(path).pixels)
    expected = np.empty((4, 96, 64, 3) if a == 0 else decoded.shape, np.uint8)
    for row in range(64):
        for column in range(96):
            to_column = a * column + c * row + (95 if a < 0 else 63 if c < 0 else 0)
            to_row = b * column + d * row + (95 if b < 0 else 63 if d < 0 else 0)
            expected[:, to_row, to_column] = decoded[:, row, column]
    np.testing.assert_array_equal(read_video(path, Sampling.every_nth(1)).frames.pixels, expected)


@pytest.fixture
def turned(turn: str, make_clip: Callable[..., Path], tmp_path: Path) -> Path:
    """Four frames with the display matrix of `turn`."""
    a, b, c, d = TURNS[turn]
    matrix = [a * ONE, b * ONE, 0, c * ONE, d * ONE, 0, 0, 0, 1 << 30]
    return make_clip(tmp_path / "turned.mp4", frames=4, matrix=matrix)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="the ffmpeg program is not installed")
@pytest.mark.parametrize("turn", TURNS)
def test_display_matrix_as_the_ffmpeg_program_applies_it(turned: Path) -> None:
    ours = read_video(turned, Sampling.every_nth(1)).frames.pixels
    command = ["ffmpeg", "-v", "error", "-i", str(turned), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    shown = subprocess.run(command, capture_output=True, check=True).stdout
    np.testing.assert_array_equal(ours, np.frombuffer(shown, np.uint8).reshape(ours.shape))


@pytest.mark.parametrize("turn", ["upright", "90", "180", "270"])
def test_rotation_as_opencv_does_it(turned: Path) -> None:
    np.testing.assert_array_equal(read_video(turned, Sampling.every_nth(1)).frames.pixels, opencv_frames(turned))


@pytest.mark.parametrize("turn", ["upright", "90", "180", "270"])
def test_rotation_as_torchcodec_does_it(turned: Path) -> None:
    theirs = torchcodec_decoder(turned).get_frames_in_range(0, 4).data.numpy()
    np.testing.assert_array_equal(read_video(turned, Sampling.every_nth(1)).frames.pixels, theirs)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cut.mp4", {"movflags": "faststart"}),
        ("cut.mkv", {}),
        ("cut.avi", {}),
        ("frag.mp4", {"movflags": "frag_keyframe"}),
    ],
)
@pytest.mark.parametrize(("share", "b_frames"), [(0.45, 0), (0.7, 0), (0.5, 3)])
def test_truncated_files_keep_what_decodes(
    name: str,
    options: dict[str, str],
    share: float,
    b_frames: int,
    make_clip: Callable[..., Path],
    all_frames: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    if b_frames and name == "cut.avi":
        return  # without display times, an AVI with B-frames is decoded whole anyway
    path = make_clip(tmp_path / name, gop=12, options={"bf": str(b_frames)}, container_options=options)
    assert not read_video(path, Sampling.every_nth(1)).truncated
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    shown = all_frames(path)
    assert 10 < len(shown.pixels) < 75
    clip = read_video(path, Sampling.every_nth(1))
    assert clip.truncated
    np.testing.assert_array_equal(clip.frames.pixels, np.stack(shown.pixels))
    for time_s in shown.times_s[-6:]:  # the frames at the cut, partly concealed
        alone = read_video(path, Sampling.fps(1), start_s=time_s)
        assert alone.truncated
        np.testing.assert_array_equal(alone.frames.pixels[0], shown.pixels[shown.on_screen(time_s)])
    assert reason_of(path, start_s=2.9) == "empty_window"


@pytest.mark.parametrize("first", [1, 2, 7])
def test_mpeg4_from_the_middle_of_a_gop_has_no_gray_frame(
    first: int, make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    """The decoder returns one in place of the reference that is missing, before the pictures and with one's time."""
    whole = make_clip(tmp_path / "whole.avi", "mpeg4", gop=20, options={"bf": "2"})
    path = remux(whole, tmp_path / "middle.avi", lambda packets: packets[first:])
    with av.open(str(path)) as container:
        decoder = container.streams.video[0].codec_context
        decoder.thread_count = 1
        fed = [*(packet for packet in container.demux(video=0) if packet.size), None]
        shown = [frame.to_ndarray(format="rgb24") for packet in fed for frame in decoder.decode(packet)]
    gray = [number for number, pixels in enumerate(shown) if pixels.std() == 0]
    assert gray == [0]
    np.testing.assert_array_equal(read_video(path, Sampling.every_nth(1)).frames.pixels, np.stack(shown[1:]))


def test_a_file_cut_between_two_packets(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    """No packet is short, so nothing but the header tells."""
    path = make_clip(tmp_path / "cut.mp4", gop=12, options={"bf": "0"}, container_options={"movflags": "faststart"})
    with av.open(str(path)) as container:
        ends = [packet.pos + packet.size for packet in container.demux(video=0) if packet.size]
    path.write_bytes(path.read_bytes()[: ends[39]])
    clip = read_video(path, Sampling.every_nth(1))
    assert (len(clip.frames.pixels), clip.truncated) == (40, True)


def test_damage_in_the_middle(
    make_clip: Callable[..., Path], all_frames: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Whatever is damaged, spans give what a decode of everything gives, concealed errors included."""
    source = make_clip(tmp_path / "whole.mkv", gop=12, options={"bf": "2"})
    data = source.read_bytes()
    random = np.random.default_rng(7)
    differed = 0
    for number in range(12):
        damaged = bytearray(data)
        at = int(random.integers(len(data) // 5, len(data) - 300))
        damaged[at : at + 40] = random.bytes(40)
        path = tmp_path / f"damaged{number}.mkv"
        path.write_bytes(damaged)
        shown = all_frames(path)
        for sampling in (Sampling.every_nth(1), Sampling.fps(3)):
            clip = read_video(path, sampling)
            for time_s, pixels in zip(clip.frames.timestamps_s, clip.frames.pixels, strict=True):
                np.testing.assert_array_equal(pixels, shown.pixels[shown.on_screen(float(time_s))])
        differed += len(shown.pixels) < 75 or not np.array_equal(
            np.stack(shown.pixels), read_video(source, Sampling.every_nth(1)).frames.pixels
        )
    assert differed >= 6


def spoil(numbers: set[int]) -> Callable[[list[av.Packet]], list[av.Packet]]:
    """Overwrites some packets with ones, which no VP9 frame begins with."""

    def change(old: list[av.Packet]) -> list[av.Packet]:
        for number in numbers & set(range(len(old))):
            old[number].update(b"\xff" * old[number].size)
        return old

    return change


def test_packets_that_do_not_decode(
    make_clip: Callable[..., Path], copy_packets: Callable[..., Path], all_frames: Callable[[Path], Any], tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "good.mkv", "libvpx-vp9", frames=30, gop=10, options={"cpu-used": "8"})
    path = copy_packets(source, tmp_path / "bad.mkv", spoil({13, 14}))
    shown = all_frames(path)
    assert len(shown.pixels) == 28
    clip = read_video(path, Sampling.every_nth(1))
    assert clip.truncated
    np.testing.assert_array_equal(clip.frames.pixels, np.stack(shown.pixels))
    # Where the frame is missing, the one before it is still on screen.
    held = read_video(path, Sampling.fps(25), start_s=12 / 25, end_s=16 / 25).frames.pixels
    for row, number in enumerate([12, 12, 12, 13]):
        np.testing.assert_array_equal(held[row], shown.pixels[number])
    assert reason_of(copy_packets(source, tmp_path / "none.mkv", spoil(set(range(30))))) == "unreadable"


def test_no_video(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    whole = make_clip(tmp_path / "whole.mp4").read_bytes()
    moov = whole.find(b"moov")
    files = {
        "empty.mp4": b"",
        "text.mp4": b"This is a list of videos, one on each line.\n" * 50,
        "subtitles.mp4": b"1\n00:00:00,000 --> 00:00:04,000\nHello\n\n" * 20,
        "no_moov.mp4": whole[: moov - 4],
        "noise.mp4": np.random.default_rng(0).bytes(20_000),
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXTINF:3,\nwhole.mp4\n#EXT-X-ENDLIST\n",
        "concat.mp4": b"ffconcat version 1.0\nfile whole.mp4\n",
    }
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        assert reason_of(tmp_path / name) == "unreadable", name
    assert reason_of(tmp_path / "gone.mp4") == "missing"
    (tmp_path / "folder.mp4").mkdir()
    assert reason_of(tmp_path / "folder.mp4") == "unreadable"


def write_sound(path: Path, cover: bool) -> Path:
    with av.open(str(path), "w") as container:
        sound = container.add_stream("libmp3lame" if path.suffix == ".mp3" else "aac", rate=44100)
        picture = container.add_stream("mjpeg", rate=1) if cover else None
        if picture:
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 99, np.uint8), format="rgb24")
            container.mux([*picture.encode(frame), *picture.encode(None)])
        samples = np.zeros((1, 1152 * 40), np.float32)
        for start in range(0, samples.shape[1], 1024):
            frame = av.AudioFrame.from_ndarray(samples[:, start : start + 1024], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44100, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


@pytest.mark.parametrize(("name", "cover"), [("sound.m4a", False), ("sound.mp4", False), ("song.mp3", True)])
def test_sound_and_cover_art_are_no_video(name: str, cover: bool, tmp_path: Path) -> None:
    path = write_sound(tmp_path / name, cover)
    with av.open(str(path)) as container:
        assert len(container.streams.video) == int(cover)
    assert reason_of(path) == "no_video_stream"


def test_window_beyond_the_end(clip_path: Callable[[str], Path]) -> None:
    assert reason_of(clip_path("h264 gop 250"), start_s=3.0) == "empty_window"
    assert reason_of(clip_path("h264 gop 250"), start_s=50.0, end_s=60.0) == "empty_window"


def test_frames_larger_than_allowed(clip_path: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_PIXELS", 64 * 96 - 1)
    assert reason_of(clip_path("h264 gop 250")) == "too_large"
    monkeypatch.setattr(frames, "MAX_PIXELS", 64 * 96)
    assert len(read_video(clip_path("h264 gop 250"), Sampling.fps(1)).frames.pixels) == 3


def test_names_that_look_like_addresses(
    make_clip: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = make_clip(tmp_path / "plain.mp4", frames=5)
    for name in ("12:30 a%20b#c?d.mp4", "concat:x.mp4", "ünï ✓.mp4", "-i.mp4"):
        other = shutil.copy(path, tmp_path / name)
        for spelled in (other, Path(name)):
            assert len(read_video(spelled, Sampling.every_nth(1)).frames.pixels) == 5


def test_frame_size_that_changes(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    small = make_clip(tmp_path / "small.ts", "mpeg2video", frames=20, gop=5)
    large = make_clip(
        tmp_path / "large.ts",
        "mpeg2video",
        frames=20,
        gop=5,
        size=(96, 128),
        container_options={"output_ts_offset": "0.8"},
    )
    path = tmp_path / "both.ts"
    path.write_bytes(small.read_bytes() + large.read_bytes())
    assert reason_of(path) == "unreadable"
    clip = read_video(path, Sampling.fps(5), transform=lambda image: np.ascontiguousarray(image[:8, :8]))
    assert clip.frames.pixels.shape == (8, 8, 8, 3)


def test_packets_without_times(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    path = make_clip(tmp_path / "raw.h264", gop=20, options={"bf": "2"})
    with av.open(str(path)) as container:
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        assert all(packet.pts is None for packet in container.demux(video=0))
    clip = read_video(path, Sampling.every_nth(1))
    np.testing.assert_array_equal(clip.frames.pixels, np.stack(decoded))
    np.testing.assert_allclose(clip.frames.timestamps_s, np.arange(75) / 25)


def test_the_video_is_found_behind_other_streams(
    clip_path: Callable[[str], Path], make_clip: Callable[..., Path], tmp_path: Path
) -> None:
    source = make_clip(tmp_path / "video.mp4", frames=50)
    path = tmp_path / "both.mkv"
    sound = write_sound(tmp_path / "sound.m4a", cover=False)
    with av.open(str(source)) as a, av.open(str(sound)) as b, av.open(str(path), "w") as new:
        streams = {
            0: new.add_stream_from_template(b.streams.audio[0]),
            1: new.add_stream_from_template(a.streams.video[0]),
        }
        for number, container in enumerate((b, a)):
            for packet in container.demux():
                if packet.size:
                    packet.stream = streams[number]
                    new.mux(packet)
    expected = read_video(source, Sampling.fps(5)).frames
    found = read_media(path, Sampling.fps(5)).frames
    np.testing.assert_array_equal(found.pixels, expected.pixels)
    np.testing.assert_allclose(found.timestamps_s, expected.timestamps_s)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads the peak of its memory in /proc")
def test_memory_does_not_grow_with_the_clip(make_clip: Callable[..., Path], tmp_path: Path) -> None:
    """600 further frames of 1280 x 720 are 830 MB as YUV, 1.7 GB as RGB; thumbnails of them take a part of that.

    What the decoder itself holds, 300 MB, is there after the shorter clip. The peak is read from /proc: that of
    `getrusage` begins with the size of the process that started this one.
    """
    plain = [np.full((720, 1280, 3), value, np.uint8) for value in (40, 90)]
    paths = [
        make_clip(
            tmp_path / f"{frames}.mp4",
            frames=frames,
            size=(720, 1280),
            options={"preset": "ultrafast", "bf": "0"},
            image=lambda number: plain[number % 2],
        )
        for frames in (300, 900)
    ]
    code = """
import sys
from pathlib import Path
from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video
def peak(): return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
peaks = []
for path in sys.argv[1:]:
    frames = read_video(Path(path), Sampling.every_nth(1), transform=lambda image: image[::90, ::90]).frames
    peaks.append(peak())
print(len(frames.pixels), peaks[1] - peaks[0])
"""
    command = [sys.executable, "-c", code, *map(str, paths)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    count, growth = map(int, out.split())
    assert count == 900
    assert growth << 10 < 400 << 20
