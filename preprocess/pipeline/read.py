"""One sample to its frames, or to the reason why not: the one place where a fault of a file becomes a Reject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.errors import MediaError, UserError
from preprocess.media import read_media
from preprocess.media.fetch import local_file
from preprocess.media.sampling import Sampling
from preprocess.samples import Reject, Sample, Stage

if TYPE_CHECKING:
    from preprocess.media.video import Clip, Transform


def read_sample(sample: Sample, raw: str, sampling: Sampling, transform: Transform) -> Clip | Reject:
    """Decodes the part of the sample's file that is to be used.

    Args:
        raw: The raw folder, as a path or URL.
        sampling: Which frames.
        transform: Applied to each frame as it is decoded.
    """
    try:
        with local_file(raw, sample.media) as path:
            return read_media(path, sampling, start_s=sample.start_s, end_s=sample.end_s, transform=transform)
    except MediaError as error:
        stage: Stage = "find" if error.reason in ("missing", "download_failed") else "decode"
        return Reject(sample.key, sample.split, stage, error.reason, str(error))
    except (UserError, OSError):
        raise  # a full disk or a lost mount concerns every sample
    except MemoryError:
        return Reject(sample.key, sample.split, "decode", "out_of_memory", "no memory for the decoded frames")
    except Exception as error:  # a fault in a decoder library must not end a run over 500,000 videos
        return Reject(sample.key, sample.split, "decode", "decoder_crashed", f"{type(error).__name__}: {error}")
