"""Decodes one sample, or says why it cannot be decoded: the one place where a fault of a file becomes a `Reject`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from preprocess.errors import MediaError, UserError
from preprocess.media import iter_frames
from preprocess.media.fetch import local_file
from preprocess.media.frames import Allocate, collect_media
from preprocess.media.sampling import Sampling
from preprocess.media.stamps import media_stamp
from preprocess.samples import Reject, Sample, Stage
from preprocess.storage import Stamp

if TYPE_CHECKING:
    from preprocess.media.frames import DecodedMedia, FrameStream, Transform

Result = TypeVar("Result")


def read_sample(sample: Sample, raw: str, sampling: Sampling, transform: Transform) -> DecodedMedia | Reject:
    """Decodes the part of the sample's file that is used.

    Args:
        sample: What to decode.
        raw: The raw folder, as a path or URL.
        sampling: Which frames.
        transform: Applied to each frame as it is decoded.
    """
    views = read_sample_views(sample, raw, sampling, (transform,))
    return views if isinstance(views, Reject) else views[0]


def read_sample_views(
    sample: Sample,
    raw: str,
    sampling: Sampling,
    transforms: Sequence[Transform],
    stamp: Stamp | None = None,
    allocate: Allocate = np.empty,
) -> tuple[DecodedMedia, ...] | Reject:
    """As `read_sample`, for several encoders: decodes once and returns one result per transform, in their order.

    `stamp` is that of the media, where it is known already; else one request asks for it. `allocate` is that of
    `preprocess.media.frames.collect`.
    """
    # From before reading: a file that is replaced meanwhile counts as changed.
    stamp = stamp or media_stamp(raw, sample.media)
    views = stream_sample(sample, raw, sampling, lambda stream: collect_media(stream, transforms, allocate))
    return views if isinstance(views, Reject) else tuple(dataclasses.replace(view, stamp=stamp) for view in views)


def stream_sample(
    sample: Sample, raw: str, sampling: Sampling, consume: Callable[[FrameStream], Result]
) -> Result | Reject:
    """Passes the frames of the sample to `consume` one at a time, and returns its result.

    Args:
        sample: What to decode.
        raw: The raw folder, as a path or URL.
        sampling: Which frames.
        consume: Iterates over the stream. Its errors, too, cost only this sample, except `UserError` and `OSError`.
    """
    try:
        window = {"start_s": sample.start_s, "end_s": sample.end_s}
        with local_file(raw, sample.media, keep=any(time is not None for time in window.values())) as path:
            return consume(iter_frames(path, sampling, **window, own_times=sample.own_times))
    except MediaError as error:
        stage: Stage = "find" if error.reason in ("missing", "download_failed") else "decode"
        return Reject(sample.key, sample.split, stage, error.reason, str(error))
    except (UserError, OSError):
        raise  # a full disk or a lost mount concerns every sample
    except MemoryError:
        return Reject(sample.key, sample.split, "decode", "out_of_memory", "not enough memory for the decoded frames")
    except Exception as error:  # a fault in a decoder library must not end a run over 500,000 videos
        return Reject(sample.key, sample.split, "decode", "decoder_crashed", f"{type(error).__name__}: {error}")
