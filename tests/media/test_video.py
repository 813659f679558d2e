"""`read_video` against a full sequential decode, frame by frame, over files that go wrong elsewhere."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from preprocess.errors import MediaError
from preprocess.media import decode, h264_order, packets
from preprocess.media.container import open_video
from preprocess.media.frames import DecodedMedia
from preprocess.media.sampling import Sampling
from preprocess.media.video import read_video

Window = tuple[float | None, float | None]

BY_SPANS = [
    "h264 gop 250",
    "h264 gop 250 B-frames",
    "h264 gop 12 B-frames",
    "h264 open gop",
    "h264 open gop in mkv",
    "h264 mpeg-ts, offset start",
    "h264 edit list",
    "h264 fragmented",
    "h264 variable frame rate",
    "h264 in avi, no B-frames",
    "h264 in avi, B-frames",
    "h264 in avi, open gop",
    "h264 in avi, pyramid",
    "h264 in avi, interlaced",
    "h264 in avi, matrices, 4:4:4",
    "hevc 10 bit, open gop",
    "vp9, hidden frames",
    "av1",
    "av1 in webm, screen content, 10 bit",
    "av1, low delay",
    "mpeg4 avi",
    "mpeg4 avi, B-frames",
    "mpeg4 avi, packed B-frames",
    "mpeg4 avi, left-out frames",
    "mpeg2 ts",
    "mpeg2 program stream",
    "mjpeg avi",
    "one frame",
]
WHOLE = [
    "mp4 without a list of keyframes",
    "h264 intra refresh",
    "h264 ts from the middle of a gop",
    "hevc from an open gop (RASL)",
    "hevc from an open gop (RASL), mp4",
]
SAMPLINGS = [
    Sampling.fps(1),
    Sampling.fps(7.3),
    Sampling.fps(60),
    Sampling.every_nth(1),
    Sampling.every_nth(7),
    Sampling.num_frames(5),
    Sampling.segment(4),
]
WINDOWS: list[Window] = [(None, None), (0.5, None), (None, 1.1), (0.51, 1.37)]


def rows(sampling: Sampling, shown: Any, window: Window, end_s: float) -> list[tuple[float, int]]:
    """Time and frame number of each row, by looking at every frame; `end_s` is where the last frame ends."""
    start, end = window[0] or 0.0, min(math.inf if window[1] is None else window[1], end_s)
    inside = [i for i, time in enumerate(shown.times_s) if start - 1e-9 <= time < end - 1e-9]
    n, value = len(inside), int(sampling.value)
    if sampling.kind == "fps":
        times = [start + k / sampling.value for k in range(math.ceil(end_s * sampling.value) + 1)]
        times = [time for time in times if time < end - 1e-9][: 1 if len(shown.times_s) == 1 else None]
        return [(time, shown.on_screen(time)) for time in times]
    if sampling.kind == "every_nth":
        chosen = inside[::value]
    elif sampling.kind == "num_frames":
        chosen = [inside[i * n // value] for i in range(value)]
    else:
        chosen = [inside[math.floor((i + 0.5) * n / value)] for i in range(value)]
    return [(shown.times_s[i], i) for i in dict.fromkeys(chosen)]


def assert_same(clip: DecodedMedia, expected: list[tuple[float, int]], shown: Any) -> None:
    np.testing.assert_allclose(clip.frames.timestamps_s, [time for time, _ in expected], atol=1e-9)
    wrong = [row for row, (_, i) in enumerate(expected) if not np.array_equal(clip.frames.pixels[row], shown.pixels[i])]
    assert not wrong, f"rows {wrong} of {len(expected)} differ"


@pytest.fixture
def spans_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes decoding everything an error, so that spans alone must do."""

    def refuse(self: object) -> None:
        raise AssertionError("the file was decoded whole")

    monkeypatch.setattr(decode.WholeDecode, "__init__", refuse)


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("name", BY_SPANS)
@pytest.mark.usefixtures("spans_only")
def test_spans_give_the_frames_of_a_full_decode(
    name: str, window: Window, clip_path: Callable[[str], Path], reference: Callable[[str], Any]
) -> None:
    shown = reference(name)
    if window[0] and name == "one frame":
        with pytest.raises(MediaError, match=r"lasts 0\.040 s"):
            read_video(clip_path(name), Sampling.fps(1), start_s=window[0], end_s=window[1])
        return
    for sampling in SAMPLINGS:
        clip = read_video(clip_path(name), sampling, start_s=window[0], end_s=window[1])
        assert_same(clip, rows(sampling, shown, window, clip.duration_s), shown)
        assert not clip.truncated


@pytest.mark.parametrize("window", WINDOWS, ids=str)
@pytest.mark.parametrize("name", WHOLE)
def test_files_that_need_it_are_decoded_whole(
    name: str, window: Window, clip_path: Callable[[str], Path], reference: Callable[[str], Any]
) -> None:
    shown = reference(name)
    for sampling in SAMPLINGS:
        clip = read_video(clip_path(name), sampling, start_s=window[0], end_s=window[1])
        assert_same(clip, rows(sampling, shown, window, clip.duration_s), shown)
        assert not clip.truncated


@pytest.mark.parametrize("name", ["h264 open gop", "h264 ts from the middle of a gop", "mpeg4 avi, packed B-frames"])
def test_files_too_large_to_hold_are_read_again(
    name: str,
    clip_path: Callable[[str], Path],
    reference: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packets, "HELD_BYTES", 10_000)
    with open_video(clip_path(name)) as (container, stream):
        assert packets.read_index(container, stream, clip_path(name)).held is None
    shown = reference(name)
    for sampling in SAMPLINGS:
        clip = read_video(clip_path(name), sampling)
        assert_same(clip, rows(sampling, shown, (None, None), clip.duration_s), shown)


def test_clips_are_what_their_names_say(clip_path: Callable[[str], Path]) -> None:
    """The awkward files are awkward: otherwise the tests above would prove nothing."""

    def index(name: str) -> packets.PacketIndex:
        with open_video(clip_path(name)) as (container, stream):
            return packets.read_index(container, stream, clip_path(name))

    assert index("h264 gop 250").keys.sum() == 1
    assert np.any(np.diff(index("h264 gop 250 B-frames").pts) < 0)
    assert index("h264 gop 12 B-frames").keys.sum() == 7
    for name in ("h264 open gop", "h264 open gop in mkv", "hevc 10 bit, open gop"):
        opened = index(name)
        keys = np.flatnonzero(opened.keys)
        assert len(keys) > 2
        assert all(opened.pts[key + 1] < opened.pts[key] for key in keys[1:]), name
    assert index("h264 mpeg-ts, offset start").pts.min() > 9 * 90_000
    assert (~index("h264 edit list").shown).sum() > 20
    assert len(set(np.diff(index("h264 variable frame rate").display_pts()))) > 4
    with av.open(str(clip_path("mpeg4 avi, packed B-frames"))) as container:
        pictures = [bytes(packet).count(b"\x00\x00\x01\xb6") for packet in container.demux(video=0) if packet.size]
    assert pictures.count(2) > 10
    for name in BY_SPANS:
        opened = index(name)
        assert opened.from_headers == (name.startswith("h264 in avi") and "no B" not in name), name
        assert opened.unreferred.any() == (name.startswith("av1")), name
        if opened.from_headers:
            assert (np.diff(opened.pts) < 0).any(), name
    assert index("mp4 without a list of keyframes").keys.all()
    assert not index("h264 ts from the middle of a gop").keys[0]
    assert not index("hevc from an open gop (RASL)").clean_start
    assert len(index("one frame").pts) == 1


@pytest.mark.parametrize(
    "places", [None, "reversed", "swapped"], ids=["that do not tell", "that contradict", "of two frames swapped"]
)
def test_headers_that_mislead_lose_no_frame(
    places: str | None,
    clip_path: Callable[[str], Path],
    reference: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the decoder says counts; so it is for H.264 in AVI whose headers are of a kind that is not read."""
    true_places = h264_order.DisplayOrder.places

    def misleading(self: h264_order.DisplayOrder) -> Any:
        found = true_places(self)
        assert found is not None
        found[1:] = found[:0:-1] if places == "reversed" else found[[3, 2, 1, *range(4, len(found))]]
        return found

    monkeypatch.setattr(h264_order.DisplayOrder, "places", misleading if places else lambda self: None)
    name = "h264 in avi, B-frames"
    shown = reference(name)
    for sampling in SAMPLINGS if places != "swapped" else [Sampling.every_nth(1)]:
        clip = read_video(clip_path(name), sampling)
        assert_same(clip, rows(sampling, shown, (None, None), clip.duration_s), shown)


def test_duration_and_origin(clip_path: Callable[[str], Path]) -> None:
    assert read_video(clip_path("h264 mpeg-ts, offset start"), Sampling.fps(1)).duration_s == pytest.approx(3.0)
    assert read_video(clip_path("h264 edit list"), Sampling.fps(1)).duration_s == pytest.approx(3.0 - 1.12)
    assert read_video(clip_path("one frame"), Sampling.fps(1)).duration_s == pytest.approx(0.04)
    clip = read_video(clip_path("h264 gop 250"), Sampling.fps(1))
    assert clip.frames.timestamps_s.tolist() == [0.0, 1.0, 2.0]
    assert clip.frames.pixels.shape == (3, 64, 96, 3)


def test_only_spans_are_decoded(clip_path: Callable[[str], Path]) -> None:
    path = clip_path("h264 gop 12 B-frames")
    with open_video(path) as (container, stream):
        index = packets.read_index(container, stream, path)
    display = index.display_pts()
    needed, is_target = packets.mark(index, display[[0, 25, 50]])
    assert is_target.sum() == 3
    # Frame 25 is the second of its GOP, frame 50 the third: with what they refer to, a few packets each.
    assert needed.sum() < 15
    assert needed[0]
    needed, _ = packets.mark(index, display)
    assert needed.all()


def test_each_frame_comes_out_of_its_own_span(clip_path: Callable[[str], Path]) -> None:
    """Asked for alone, every frame is decoded from the keyframe before it, without frames to which no other refers."""
    path = clip_path("h264 gop 12 B-frames")
    with open_video(path) as (container, stream):
        index = packets.read_index(container, stream, path)
    display, packets_of_spans, frames_of_spans = index.display_pts(), 0, 0
    for n in range(len(display)):
        with open_video(path) as (_, stream):
            source = packets.packets_again(path, index)
            found = [pts for pts, _ in decode.decode_spans(stream.codec_context, source, index, display[[n]], path)]
        assert display[n] in found
        assert min(found) == display[n - n % 12], "from its keyframe on"
        packets_of_spans += int(packets.mark(index, display[[n]])[0].sum())
        frames_of_spans += len(found)
    assert frames_of_spans < 0.8 * packets_of_spans


def test_a_leading_picture_needs_the_gop_before(clip_path: Callable[[str], Path]) -> None:
    path = clip_path("hevc 10 bit, open gop")
    with open_video(path) as (container, stream):
        index = packets.read_index(container, stream, path)
    key = int(np.flatnonzero(index.keys)[1])
    needed, _ = packets.mark(index, index.pts[[key]])
    assert np.flatnonzero(needed).tolist() == [key]
    needed, _ = packets.mark(index, index.pts[[key, key + 1]])
    assert np.flatnonzero(needed).tolist() == list(range(key + 2))


def test_transform_is_applied_to_each_frame_once(clip_path: Callable[[str], Path]) -> None:
    calls = []

    def halve(image: Any) -> Any:
        calls.append(image.shape)
        return image[::2, ::2]

    path = clip_path("h264 gop 12 B-frames")
    full = read_video(path, Sampling.fps(50))
    half = read_video(path, Sampling.fps(50), transform=halve)
    assert calls == [(64, 96, 3)] * 75
    np.testing.assert_array_equal(half.frames.pixels, full.frames.pixels[:, ::2, ::2])
    assert half.frames.pixels.flags.c_contiguous
