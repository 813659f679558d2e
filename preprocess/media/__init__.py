"""Files to frames: sampling, video and image decoding, the model's own resizing (`transforms`), and downloading.

with local_file(raw, "videos/video7010.mp4") as path:
    clip = read_media(path, Sampling.fps(1), transform=resize_crop(encoder.preprocessing))
clip.frames.pixels.shape  # (10, 224, 224, 3)

Every reader iterates over one `FrameStream` (`iter_frames`); whoever needs frames one at a time does the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from preprocess.media.sampling import Sampling
from preprocess.samples import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from preprocess.media.frames import DecodedMedia, FrameStream, Transform
    from preprocess.media.local import LocalMedia


def iter_frames(
    path: LocalMedia,
    sampling: Sampling,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    own_times: bool = False,
) -> FrameStream:
    """Streams the sampled frames of a video or image, one at a time; memory does not grow with the length of a video.

    The suffix decides whether a file is an image; an image is one frame at time 0, whatever the sampling and window.

    Args:
        path: A local file, or a part of one.
        sampling: Which frames.
        start_s: Start of the window in seconds from the first frame, None for the beginning.
        end_s: End of the window, exclusive; None for the end of the file.
        own_times: The window names frames, and every row is at the time of its frame; see `sampling.wanted`.

    Returns:
        An iterable of `FrameRows`, one per distinct frame, and of `Restart`, after which everything before is void. The
        file is opened and decoded while iterating.

    Raises (while iterating):
        MediaError: `missing`, `unreadable`, `no_video_stream`, `truncated` (no frame at all), `empty_window`,
            `too_large`.
    """
    if path.suffix.lower() in IMAGE_SUFFIXES:
        from preprocess.media.images import ImageFrames

        return ImageFrames(path)
    from preprocess.media.video import VideoFrames

    return VideoFrames(path, sampling, start_s=start_s, end_s=end_s, own_times=own_times)


def read_media(
    path: Path,
    sampling: Sampling,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    transform: Transform | None = None,
) -> DecodedMedia:
    """Reads a video or image; an image is one frame at time 0, whatever the sampling.

    Args, returns and errors are those of `read_video`.
    """
    from preprocess.media.frames import as_decoded

    (media,) = read_media_views(path, sampling, (transform or as_decoded,), start_s=start_s, end_s=end_s)
    return media


def read_media_views(
    path: Path,
    sampling: Sampling,
    transforms: Sequence[Transform],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
) -> tuple[DecodedMedia, ...]:
    """Reads a video or image once and prepares it for several encoders.

    Args:
        path: A local file.
        sampling: Which frames.
        transforms: Each is applied once to every decoded frame.
        start_s: Start of the window in seconds from the first frame, None for the beginning.
        end_s: End of the window, exclusive; None for the end of the file.

    Returns:
        One result per transform, in their order; they differ in their pixels only.

    Raises:
        MediaError: As `iter_frames`; `unreadable` if the frame size of a video changes.
    """
    from preprocess.media.frames import collect_media

    return collect_media(iter_frames(Path(path), sampling, start_s=start_s, end_s=end_s), transforms)
