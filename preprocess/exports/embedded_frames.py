"""Some of the frames that were embedded of a sample: what contact sheets and the figures of cards show.

A video of 26 rows at `fps=1`, at most 12 frames: those of the rows 0, 3, 6, … 24. They are decoded alone, where the
sampling can express this choice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from preprocess.media.sampling import MAX_COUNT, Sampling
from preprocess.pipeline.read_sample import read_sample
from preprocess.samples import JSON, Frames, Reject, Sample

if TYPE_CHECKING:
    from preprocess.media.frames import DecodedMedia, Transform


def embedded_frames(
    sample: Sample, raw: str, sampling: Sampling, n_frames: int, most: int, transform: Transform
) -> DecodedMedia | Reject:
    """Decodes every s-th of the frames that `sampling` takes, with the smallest s that gives at most `most`.

    Args:
        sample: What to decode.
        raw: The raw folder, as a path or URL.
        sampling: As the sample was embedded.
        n_frames: How many frames that gave.
        most: Maximum number of frames, at least 1.
        transform: Applied to each frame as it is decoded.
    """
    step = max(1, -(-n_frames // most))
    coarse, rest = thinned(sampling, step)
    media = read_sample(sample, raw, coarse, transform)
    if isinstance(media, Reject) or rest == 1:
        return media
    frames = Frames(media.frames.pixels[::rest], media.frames.timestamps_s[::rest])
    return type(media)(frames, media.duration_s, media.truncated)


def thinned(sampling: Sampling, step: int) -> tuple[Sampling, int]:
    """A sampling that takes fewer frames, and the step that remains to be applied to its rows.

    Together they give the rows 0, `step`, 2 · `step`, … of `sampling`.

    Examples:
        >>> thinned(Sampling.fps(1), 4)
        (Sampling(kind='fps', value=0.25), 1)
        >>> thinned(Sampling.num_frames(64), 4)
        (Sampling(kind='num_frames', value=64), 4)
    """
    if sampling.kind == "fps":
        return Sampling.fps(sampling.value / step), 1
    if sampling.kind == "every_nth" and sampling.value * step <= MAX_COUNT:
        return Sampling.every_nth(int(sampling.value) * step), 1
    return sampling, step


def n_sampled(meta: JSON, encoder: JSON) -> int:
    """How many frames of a sample were decoded for its rows.

    Args:
        meta: The `.json` of the sample.
        encoder: `encoder` of the manifest.

    Returns:
        `n_frames`; for encoders of clips the number of frames that its clips cover, without padding.
    """
    rows: int = meta["n_frames"]
    if encoder.get("unit") != "clip" or not rows:
        return rows
    covered: int = (rows - 1) * encoder["clip_stride"] + encoder["clip_frames"] - meta.get("padded_frames", 0)
    return covered
