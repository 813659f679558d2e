"""Writes the features of a packed dataset for a project that trains temporal models.

    python -m builders features data/CLIP-ActivityNet --layout moment-detr --out features/activitynet

`source.json` in the export says the model, the sampling, the stride, and what the files are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from builders.export_folder import export_folder
from builders.packed import PackedDataset, PackedSample
from builders.temporal.actionformer import actionformer
from builders.temporal.moment_retrieval import lighthouse, moment_detr
from builders.temporal.records import FeatureLayout, Rows, VideoRows, timed_captions
from builders.temporal.vadclip import vadclip
from preprocess.console import progress
from preprocess.errors import UnknownNameError, UserError
from preprocess.formats.manifest import Manifest
from preprocess.samples import JSON
from preprocess.video_names import video_names

LAYOUTS: Mapping[str, Callable[[Path, Rows, float | None], FeatureLayout]] = {
    "moment-detr": moment_detr,
    "lighthouse": lighthouse,
    "actionformer": actionformer,
    "vadclip": vadclip,
}
"""Name of each layout to what makes it: from the folder of the export, the rows, and `--clip-length`."""


@dataclass(frozen=True, slots=True)
class FeaturesReport:
    """Videos written, those left out because they have no row, and the content of the side file."""

    videos: int
    empty: int
    source: JSON


def write_features(address: str, layout: str, out: Path, clip_s: float | None = None) -> FeaturesReport:
    """Writes the features of every current sample.

    Args:
        address: A folder, or `hf://datasets/<org>/<name>`.
        layout: A key of `LAYOUTS`.
        out: Local folder; appears when it is complete.
        clip_s: Seconds of a clip, for layouts with one row per clip; that of the project if None.

    Raises:
        UserError: There is no such dataset or layout, its rows do not have a constant stride, or a tar is damaged.
    """
    if layout not in LAYOUTS:
        raise UnknownNameError("layout", layout, LAYOUTS)
    dataset = PackedDataset.open(address)
    rows = rows_of(dataset.manifest)
    names = video_names(_ids(dataset))
    videos = empty = 0
    with export_folder(out) as (folder, source), progress(len(names), " videos", layout) as bar:
        files = LAYOUTS[layout](folder, rows, clip_s)
        for split in dataset.splits:
            for shard in dataset.shards(split):
                for sample in dataset.samples(shard):
                    if len(sample.times_s):
                        files.add(_video(sample, names[sample.key], rows))
                    videos, empty = videos + bool(len(sample.times_s)), empty + (not len(sample.times_s))
                    bar.update()
        source |= {"format": layout, **dataset.origin(), **_in_words(rows), **files.finish(), "videos": videos}
    return FeaturesReport(videos, empty, source)


def rows_of(manifest: Manifest) -> Rows:
    """How the rows of a dataset lie in time.

    Raises:
        UserError: Their distance depends on the length of the video.
    """
    kind, value = manifest["sampling"].get("kind"), manifest["sampling"].get("value")
    if kind not in ("fps", "every_nth") or not isinstance(value, int | float) or not value > 0:
        cause = f"rows sampled by {kind}={value} have no constant stride"
        raise UserError(cause, 'Build the dataset with FPS=… or ARGS="--sampling every_nth=16".')
    encoder = manifest["encoder"]
    stride, frames = int(encoder.get("clip_stride", 1)), int(encoder.get("clip_frames", 1))
    if kind == "fps":
        return Rows(float(value), None, stride, frames)
    return Rows(None, int(value), stride, frames)


def _ids(dataset: PackedDataset) -> dict[str, str]:
    """Key of each current sample to the id of its source."""
    samples = (s for split in dataset.splits for shard in dataset.shards(split) for s in dataset.samples(shard))
    return {sample.key: str(sample.meta.get("videoID", sample.key)) for sample in samples}


def _video(sample: PackedSample, name: str, rows: Rows) -> VideoRows:
    origin = float(sample.times_s[0])
    times = sample.times_s - origin
    duration = float(sample.meta.get("duration") or 0.0)
    spans = sample.meta.get("spans")
    middles = times if spans is None else np.asarray(spans, np.float64).reshape(-1, 2).mean(axis=1) - origin
    if rows.sampled_fps is not None:
        fps = rows.sampled_fps
    elif len(times) > 1:
        fps = rows.stride * (len(times) - 1) / float(times[-1])
    else:
        fps = 1.0
    return VideoRows(
        name=name,
        split=sample.split,
        vectors=sample.vectors,
        times_s=times,
        middles_s=middles,
        sampled_fps=round(fps, 6),
        duration_s=duration,
        label=sample.label,
        moments=timed_captions(sample.meta, origin, duration, sample.where),
    )


def _in_words(rows: Rows) -> JSON:
    return {
        "sampled_fps": rows.sampled_fps,
        "every_nth_frame": rows.every_nth,
        "stride_sampled_frames": rows.stride,
        "frames_per_feature": rows.frames,
        "seconds_per_row": rows.seconds,
    }
