"""Awkward videos, made by PyAV in a temporary folder, and the reference: every frame of a file, decoded in order."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
RATE = 25


def picture(number: int, height: int = 64, width: int = 96) -> Pixels:
    """Frame `number` of a test clip: texture that moves, so that every frame differs and depends on the ones before."""
    y, x = np.mgrid[:height, :width]
    waves = 128 + 60 * np.sin((x + 2 * number) / 5.0) + 50 * np.cos((y - number) / 7.0)
    image = np.stack([waves, np.roll(waves, 9, 0), (x * y + 3 * number) % 256], axis=-1)
    noise = np.random.default_rng(number).integers(0, 40, (height // 2, width // 2, 3))
    image[: height // 2, : width // 2] += noise
    return np.clip(image, 0, 255).astype(np.uint8)


def encode(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 75,
    size: tuple[int, int] = (64, 96),
    pix_fmt: str = "yuv420p",
    gop: int = 250,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    pts: Sequence[int] | None = None,
    matrix: Sequence[int] | None = None,
    tag: str | None = None,
    image: Callable[[int], Pixels] | None = None,
) -> Path:
    """Writes a clip of 25 frames per second, or with the given display times in units of 1 / 25 s."""
    image = image or (lambda number: picture(number, *size))
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=RATE, options={"threads": "1", **(options or {})})
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.gop_size = gop
        stream.codec_context.thread_count = 1
        if tag:
            stream.codec_context.codec_tag = tag
        if matrix is not None:
            stream.set_display_matrix(list(matrix))
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(image(number), format="rgb24")
            frame.pts = number if pts is None else pts[number]
            frame.time_base = Fraction(1, RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def remux(source: Path, path: Path, change: Callable[[list[av.Packet]], list[av.Packet]] | None = None) -> Path:
    """Copies the packets of a file into another container, after `change` had them all."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(video=0) if packet.size]
        for packet in change(packets) if change else packets:
            packet.stream = stream
            new.mux(packet)
    return path


@dataclass(frozen=True)
class FullDecode:
    """Every frame that decoding a file from first to last gives: seconds from the first, RGB."""

    times_s: list[float]
    pixels: list[Pixels]

    def on_screen(self, time_s: float) -> int:
        """Number of the frame on screen, found by looking at each."""
        found = 0
        for number, shown in enumerate(self.times_s):
            if shown <= time_s + 1e-9:
                found = number
        return found


def full_decode(path: Path) -> FullDecode:
    """Decodes as a plain loop over PyAV does, going on after errors."""
    shown: list[tuple[int, Pixels]] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # where data is damaged, slice threads conceal it each in its own way
        for packet in container.demux(stream):
            if not packet.size and packet.dts is not None:
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                continue
            shown += [(frame.pts, frame.to_ndarray(format="rgb24")) for frame in frames]
        base = stream.time_base
    times = [pts for pts, _ in shown]
    if any(after <= before for before, after in itertools.pairwise(times)):
        times.sort()  # AVI: frames come out in order, the times that FFmpeg guessed for them do not
    return FullDecode([float((pts - times[0]) * base) for pts in times], [pixels for _, pixels in shown])


OPEN_H264 = {"bf": "3", "x264-params": "open-gop=1:b-pyramid=normal:scenecut=0"}
OPEN_HEVC = {"x265-params": "log-level=none:open-gop=1:bframes=4:keyint=20:min-keyint=20:scenecut=0:pools=none"}
XVID_MARK = b"\x00\x00\x01\xb2DivX503b1393p"
EMPTY_VOP = b"\x00\x00\x01\xb6\x51\xcf"


def _hevc_open(path: Path) -> Path:
    return encode(path, "libx265", pix_fmt="yuv420p10le", options=OPEN_HEVC)


def _from_second_keyframe(old: list[av.Packet]) -> list[av.Packet]:
    keys = [number for number, packet in enumerate(old) if packet.is_keyframe]
    return old[keys[1] :]


def _shift(seconds: float) -> Callable[[list[av.Packet]], list[av.Packet]]:
    def change(old: list[av.Packet]) -> list[av.Packet]:
        for packet in old:
            ticks = round(seconds / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
        return old

    return change


def _all_keyframes(old: list[av.Packet]) -> list[av.Packet]:
    for packet in old:
        packet.is_keyframe = True
    return old


def _pack(old: list[av.Packet]) -> list[av.Packet]:
    """What DivX and Xvid do with B-pictures: the packets P B1 B2 become [P B1] [B2] [empty]."""
    new: list[av.Packet] = []
    for packet in old:
        data = bytes(packet)
        at = data.find(b"\x00\x00\x01\xb6")
        if data[at + 4] >> 6 == 2:
            before = bytes(new[-1])
            new[-1] = _with_data(new[-1], data if before == EMPTY_VOP else before + data)
            data = EMPTY_VOP
        elif packet.is_keyframe:
            data = data[:at] + XVID_MARK + data[at:]
        new.append(_with_data(packet, data))
    return new


def _with_data(packet: av.Packet, data: bytes) -> av.Packet:
    copy = av.Packet(data)
    copy.pts, copy.dts, copy.duration = packet.pts, packet.dts, packet.duration
    copy.time_base, copy.is_keyframe = packet.time_base, packet.is_keyframe
    return copy


# Irregular display times, in units of 1 / 25 s.
VFR = np.cumsum(np.random.default_rng(1).integers(1, 9, 75)).tolist()

CLIPS: dict[str, Callable[[Path], Path]] = {
    "h264 gop 250": lambda d: encode(d / "gop250.mp4", options={"bf": "0"}),
    "h264 gop 250 B-frames": lambda d: encode(d / "gop250b.mp4", options={"bf": "3"}),
    "h264 gop 12 B-frames": lambda d: encode(d / "gop12.mp4", gop=12, options={"bf": "3"}),
    "h264 open gop": lambda d: encode(d / "open.mp4", gop=20, options=OPEN_H264),
    "h264 open gop in mkv": lambda d: remux(encode(d / "open2.mp4", gop=20, options=OPEN_H264), d / "open.mkv"),
    "h264 mpeg-ts, offset start": lambda d: encode(
        d / "offset.ts", gop=30, container_options={"output_ts_offset": "10"}
    ),
    "h264 edit list": lambda d: remux(encode(d / "uncut.mp4"), d / "edit.mp4", _shift(-1.1)),
    "h264 fragmented": lambda d: encode(
        d / "frag.mp4", gop=12, container_options={"movflags": "frag_keyframe+empty_moov"}
    ),
    "h264 variable frame rate": lambda d: encode(d / "vfr.mp4", gop=30, pts=VFR),
    "h264 in avi, no B-frames": lambda d: encode(d / "h264.avi", gop=20, options={"bf": "0"}),
    "h264 in avi, B-frames": lambda d: encode(d / "h264b.avi", gop=20, options={"bf": "3"}),
    "h264 in avi, open gop": lambda d: encode(d / "h264o.avi", gop=20, options=OPEN_H264),
    "h264 in avi, pyramid": lambda d: encode(
        d / "h264p.avi", gop=40, options={"x264-params": "bframes=7:b-pyramid=normal:b-adapt=0:ref=6"}
    ),
    "h264 in avi, interlaced": lambda d: encode(d / "h264i.avi", gop=20, options={"x264-params": "tff=1:bframes=2"}),
    "h264 in avi, matrices, 4:4:4": lambda d: encode(
        d / "h264m.avi", gop=20, pix_fmt="yuv444p", options={"x264-params": "cqm=jvt:bframes=2"}
    ),
    "hevc 10 bit, open gop": lambda d: _hevc_open(d / "hevc.mp4"),
    "vp9, hidden frames": lambda d: encode(
        d / "vp9.webm", "libvpx-vp9", gop=30, options={"auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "8"}
    ),
    "av1": lambda d: encode(d / "av1.mp4", "libsvtav1", gop=30, options={"preset": "11", "svtav1-params": "lp=1"}),
    "av1 in webm, screen content, 10 bit": lambda d: encode(
        d / "av1.webm",
        "libsvtav1",
        gop=30,
        pix_fmt="yuv420p10le",
        options={"preset": "10", "svtav1-params": "lp=1:scm=1"},
    ),
    "av1, low delay": lambda d: encode(
        d / "av1low.mp4", "libsvtav1", gop=30, options={"preset": "10", "svtav1-params": "lp=1:pred-struct=1"}
    ),
    "mpeg4 avi": lambda d: encode(d / "xvid.avi", "mpeg4", gop=20),
    "mpeg4 avi, B-frames": lambda d: encode(d / "xvidb.avi", "mpeg4", gop=20, options={"bf": "2"}),
    "mpeg4 avi, packed B-frames": lambda d: remux(
        encode(d / "unpacked.avi", "mpeg4", gop=20, options={"bf": "2"}), d / "packed.avi", _pack
    ),
    "mpeg4 avi, left-out frames": lambda d: encode(
        d / "gaps.avi", "mpeg4", gop=20, pts=[2 * i if i > 30 else i for i in range(75)]
    ),
    "mpeg2 ts": lambda d: encode(d / "mpeg2.ts", "mpeg2video", gop=15, options={"bf": "2"}),
    "mpeg2 program stream": lambda d: encode(d / "mpeg2.mpg", "mpeg2video", gop=15, options={"bf": "2"}),
    "mjpeg avi": lambda d: encode(d / "mjpeg.avi", "mjpeg", pix_fmt="yuvj420p"),
    "one frame": lambda d: encode(d / "one.mp4", frames=1),
    # From here on packets do not tell enough: these are decoded whole.
    "mp4 without a list of keyframes": lambda d: remux(
        encode(d / "stss.mp4", "mpeg4", gop=20), d / "no_stss.mp4", _all_keyframes
    ),
    "h264 intra refresh": lambda d: encode(
        d / "refresh.mkv", gop=25, options={"x264-params": "intra-refresh=1:keyint=25:bframes=0"}
    ),
    "h264 ts from the middle of a gop": lambda d: remux(
        encode(d / "whole.ts", gop=30), d / "middle.ts", lambda old: old[7:]
    ),
    "hevc from an open gop (RASL)": lambda d: remux(_hevc_open(d / "hevc2.mp4"), d / "rasl.mkv", _from_second_keyframe),
    "hevc from an open gop (RASL), mp4": lambda d: remux(
        _hevc_open(d / "hevc3.mp4"), d / "rasl.mp4", _from_second_keyframe
    ),
}


@pytest.fixture(scope="session")
def media_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where clips are made once for all tests."""
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="session")
def clip_path(media_dir: Path) -> Callable[[str], Path]:
    """The path of a clip of `CLIPS`, made when first asked for."""

    @functools.cache
    def path_of(name: str) -> Path:
        return CLIPS[name](media_dir)

    return path_of


@pytest.fixture(scope="session")
def reference(clip_path: Callable[[str], Path]) -> Callable[[str], FullDecode]:
    """All frames of a clip of `CLIPS`."""
    return functools.cache(lambda name: full_decode(clip_path(name)))


@pytest.fixture(scope="session")
def all_frames() -> Callable[[Path], FullDecode]:
    """All frames of any file."""
    return full_decode


@pytest.fixture(scope="session")
def make_clip() -> Callable[..., Path]:
    """The function `encode` above."""
    return encode


@pytest.fixture(scope="session")
def copy_packets() -> Callable[..., Path]:
    """The function `remux` above."""
    return remux
