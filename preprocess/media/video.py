"""Videos to frames: only the packets that lead to a wanted frame are decoded; the result equals a full decode.

    >>> clip = read_video(Path("baby_reading.mp4"), Sampling.fps(1))
    >>> clip.frames.pixels.shape, clip.frames.timestamps_s
    ((10, 360, 640, 3), array([0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]))

The steps: read when each frame is shown (`packets`), choose frames (`sampling`), mark the spans from a keyframe through
each wanted frame, and decode these, skipping frames in between to which no other frame refers (`decode`). If the frames
contradict the packets (damage, missing times, a broadcast cut in the middle), the stream restarts: the file is decoded
from the first packet to the last, past errors, and the choice is made among the frames that come out.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from preprocess.errors import MediaError, Reason
from preprocess.media.container import open_video
from preprocess.media.decode import IndexMismatchError, WholeDecode, decode_spans, upright_rgb
from preprocess.media.frames import (
    DecodedMedia,
    FrameRows,
    FrameStream,
    Restart,
    Transform,
    as_decoded,
    check_size,
    collect_media,
)
from preprocess.media.local import LocalMedia
from preprocess.media.packets import PacketIndex, packets_again, read_index
from preprocess.media.sampling import Sampling, TooManyRowsError, wanted, wanted_frames

_WHOLE_DECODES = 2
"""The first may correct the choice of frames; a second that needs another correction reads a file that changes."""


class VideoFrames(FrameStream):
    """The sampled frames of a video file; arguments and errors are those of `iter_frames`."""

    def __init__(
        self,
        path: LocalMedia,
        sampling: Sampling,
        *,
        start_s: float | None = None,
        end_s: float | None = None,
        own_times: bool = False,
    ) -> None:
        self.path = path
        self._sampling = sampling
        self._start_s = start_s
        self._end_s = end_s
        self._choice = wanted_frames if own_times else wanted

    def __iter__(self) -> Iterator[FrameRows | Restart]:
        """Decodes the file from the beginning."""
        with open_video(self.path) as (container, stream):
            decoder = stream.codec_context
            check_size(decoder.width, decoder.height, self.path)
            index = read_index(container, stream, self.path)
            display_pts = index.display_pts()
            row_pts = self._choose(display_pts, index)
            if index.ordered and index.clean_start:
                with suppress(IndexMismatchError):
                    decoded = decode_spans(decoder, packets_again(self.path, index), index, row_pts, self.path)
                    yield from self._place(row_pts, decoded)
                    self.truncated = index.truncated
                    return
                yield Restart()

        index = index.by_count()
        for _ in range(_WHOLE_DECODES):
            whole = WholeDecode()
            with open_video(self.path) as (_, stream), suppress(IndexMismatchError):
                decoded = whole.decode(stream.codec_context, packets_again(self.path, index), index, self.path)
                yield from self._place(row_pts, decoded)
            # Even if every row came: where other frames came out than expected, other frames would have been chosen.
            seen_pts = whole.seen_pts()
            if np.array_equal(seen_pts, display_pts):
                self.truncated = index.truncated or whole.damaged
                return
            display_pts = seen_pts
            row_pts = self._choose(display_pts, index)
            yield Restart()
        raise MediaError(
            "unreadable", f"{self.path.name} decodes to different frames each time: is it still being written?"
        )

    def _choose(self, display_pts: NDArray[np.int64], index: PacketIndex) -> NDArray[np.int64]:
        """Chooses the frame of each row among those with the given display times; sets times and duration.

        Args:
            display_pts: int64 `(N,)`, sorted, in units of the time base.
            index: Of the file.

        Returns:
            int64 `(T,)`: display time of the frame that each row shows, not decreasing.
        """
        if len(display_pts) == 0:
            reason: Reason = "truncated" if index.truncated else "unreadable"
            raise MediaError(reason, f"{self.path.name} is damaged: none of {len(index.pts)} packets gives a frame")
        base = index.time_base
        # One division at the end gives the float nearest to the true time: frame 10 of a 30 fps video is at 10 / 30.
        pts_s = (display_pts - display_pts[0]) * base.numerator / base.denominator
        self.duration_s = float(pts_s[-1]) + float(index.last_duration * base)
        try:
            chosen, self.times_s = self._choice(self._sampling, pts_s, self.duration_s, self._start_s, self._end_s)
        except TooManyRowsError as error:
            raise MediaError("too_large", f"{self.path.name}: {error}") from error
        if len(chosen) == 0:
            raise MediaError(
                "empty_window",
                f"{self.path.name} lasts {self.duration_s:.3f} s: "
                f"no frame between {self._start_s or 0} s and {self._end_s} s",
            )
        return display_pts[chosen]

    def _place(self, row_pts: NDArray[np.int64], decoded: Iterable[tuple[int, VideoFrame]]) -> Iterator[FrameRows]:
        """Picks the wanted frames out of the decoded ones and assigns them to their rows.

        Raises:
            IndexMismatchError: Some wanted frames did not come out.
        """
        firsts = np.flatnonzero(np.diff(row_pts, prepend=row_pts[0] - 1))
        ends = np.append(firsts[1:], len(row_pts))
        targets = array("q", row_pts[firsts].tobytes())
        missing = np.ones(len(targets), np.bool_)
        to_rgb = VideoReformatter()
        for pts, frame in decoded:
            at = bisect_left(targets, pts)
            if at == len(targets) or targets[at] != pts or not missing[at]:
                continue
            missing[at] = False
            rows = range(int(firsts[at]), int(ends[at]))
            yield FrameRows(rows, self.times_s[rows.start : rows.stop], upright_rgb(frame, to_rgb, self.path))
        if missing.any():
            raise IndexMismatchError(f"{missing.sum()} frames did not come out")


def read_video(
    path: Path,
    sampling: Sampling,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    transform: Transform | None = None,
) -> DecodedMedia:
    """Decodes the frames selected by `sampling`; pixels equal those of a decode of the whole file.

    One FFmpeg thread. Memory holds the packets of a small file, one full-size frame, and the transformed rows.

    Args:
        path: A local video file.
        sampling: Which frames.
        start_s: Start of the window in seconds from the first frame, None for the beginning.
        end_s: End of the window, exclusive; None for the end of the file.
        transform: Applied to each frame as it is decoded (`resize_crop`); None keeps frames as they are.

    Returns:
        The frames; their times count from the first frame of the file, also with a window.

    Raises:
        MediaError: `missing`, `unreadable`, `no_video_stream`, `truncated` (no frame at all), `empty_window`,
            `too_large`.
    """
    stream = VideoFrames(Path(path), sampling, start_s=start_s, end_s=end_s)
    (media,) = collect_media(stream, (transform or as_decoded,))
    return media
