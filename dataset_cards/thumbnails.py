"""Frames of the video that the figure "One Video over Time" shows, if they may be published.

They are decoded from the raw files once and kept in `data/work/<hub_name>/strip_frames.npz`, so that the card does not
change when the raw files are deleted.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from dataset_cards.figures import Thumbnail
from preprocess.formats.layout import Layout, read_json
from preprocess.licenses import permits_frames
from preprocess.samples import JSON, Reject, Sample, canonical_json
from preprocess.storage import write_atomic

if TYPE_CHECKING:
    from dataset_cards.card_inputs import CardInputs

FILE = "strip_frames.npz"
MOST = 24


def strip_thumbnails(inputs: CardInputs, strip: JSON) -> list[Thumbnail]:
    """The embedded frames of the strip's video, at most `MOST`, evenly spaced.

    Args:
        inputs: Of the card.
        strip: `zero_shot.strip` or `moments.strip` of `evaluation.json`.

    Returns:
        Empty if the raw file is unavailable, or if the license of the media does not permit everyone to publish frames
        and there are no contact sheets either, for which the user has to confirm having the rights.
    """
    if not permits_frames(inputs.spec) and not inputs.preview:
        return []
    kept = inputs.layout.work / FILE
    digest = hashlib.sha256(canonical_json([inputs.sha256, strip["key"], strip["timestamps"]]).encode()).hexdigest()
    try:
        with np.load(io.BytesIO(kept.read_bytes()), allow_pickle=False) as found:
            if str(found["digest"]) == digest:
                return [Thumbnail(float(t), image) for t, image in zip(found["times_s"], found["pixels"], strict=True)]
    except (OSError, ValueError, KeyError, BadZipFile):
        pass  # not there yet, or of an interrupted run
    thumbnails = _decode(inputs, strip)
    if thumbnails:
        _keep(kept, digest, thumbnails)
    return thumbnails


def _decode(inputs: CardInputs, strip: JSON) -> list[Thumbnail]:
    """Decodes in this process: a file that crashes the decoder has no embedding, and so is not in a strip."""
    from preprocess.exports.contact_sheet import tile
    from preprocess.exports.embedded_frames import embedded_frames, n_sampled
    from preprocess.media.sampling import Sampling

    sample = _find(inputs.layout, strip["key"])
    raw = read_json(inputs.layout.source).get("raw")
    if sample is None or raw is None:
        return []
    end_s, sampling = strip["bounds"][-1], Sampling.from_json(inputs.manifest["sampling"])
    if sampling.kind == "fps":  # the others choose among all frames of the window
        sample = dataclasses.replace(sample, end_s=end_s)
    n_frames = n_sampled({"n_frames": len(strip["timestamps"])}, inputs.manifest["encoder"])
    media = embedded_frames(sample, raw, sampling, n_frames, MOST, tile)
    if isinstance(media, Reject):
        return []
    times, pixels = media.frames.timestamps_s.tolist(), np.asarray(media.frames.pixels, np.uint8)
    return [Thumbnail(t, image) for t, image in zip(times, pixels, strict=True) if t < end_s]


def _find(layout: Layout, key: str) -> Sample | None:
    if layout.samples.is_file():
        with layout.samples.open("rb") as lines:
            for line in lines:
                if (row := json.loads(line))["key"] == key:
                    return Sample.from_json(row)
    return None


def _keep(path: Path, digest: str, thumbnails: list[Thumbnail]) -> None:
    data = io.BytesIO()
    np.savez(
        data,
        digest=np.array(digest),
        times_s=np.array([one.time_s for one in thumbnails]),
        pixels=np.stack([one.pixels for one in thumbnails]),
    )
    write_atomic(path, data.getvalue())
