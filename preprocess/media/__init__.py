"""Files to frames: which frames (`sampling`), videos, images, the model's own resizing (`transforms`), and fetching.

with local_file(raw, "videos/video7010.mp4") as path:
    clip = read_media(path, Sampling.fps(1), transform=resize_crop(encoder.preprocessing))
clip.frames.pixels.shape  # (10, 224, 224, 3)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from preprocess.media.sampling import Sampling
from preprocess.samples import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from preprocess.media.video import Clip, Transform


def read_media(
    path: Path,
    sampling: Sampling,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    transform: Transform | None = None,
) -> Clip:
    """Reads a video or an image, as the suffix says; an image is one frame at time 0, whatever the sampling.

    Args, returns and errors are those of `read_video`.
    """
    path = Path(path)
    if path.suffix.lower() in IMAGE_SUFFIXES:
        from preprocess.media.images import read_image

        return read_image(path, transform=transform)
    from preprocess.media.video import read_video

    return read_video(path, sampling, start_s=start_s, end_s=end_s, transform=transform)
