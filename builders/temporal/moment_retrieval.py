"""Moment-DETR and Lighthouse: one row per clip, named as their configurations ask, and queries as JSON lines.

    moment-detr    clip_features/<video>.npz                   "features" (clips, D), --v_feat_dirs clip_features
                   subs_train/<split>.jsonl                    --train_path, --eval_path
    lighthouse     features/activitynet/clip/<video>.npz       "features" (clips, D)
                   data/activitynet/activitynet_<split>_release.jsonl

    {"qid": 0, "query": "A weight lifting tutorial is given.", "vid": "v_uqiMw7tQ1Cc", "duration": 55.15,
     "relevant_windows": [[0.28, 55.15]]}

Both loaders normalize the rows themselves. Human saliency scores exist for QVHighlights only; without them,
Moment-DETR reads a file of queries whose path has `subs_train`, and Lighthouse one of its dataset `activitynet`: both
then take the clips of the first window as relevant. The features of the queries come from the projects' text encoders.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from builders.temporal.clips import clip_rows
from builders.temporal.records import Rows, VideoRows, write_npz, write_whole
from preprocess.errors import UserError
from preprocess.samples import JSON, Split

CLIP_S = 2.0
"""Seconds of a clip of QVHighlights, ActivityNet and TACoS in both projects."""


@dataclass(slots=True)
class MomentRetrievalLayout:
    """The files of one of the two projects.

    Attributes:
        to: Folder of the export.
        features: Folder of the features below it.
        queries: Path of the queries of a split below it, with `{split}`.
        clip_s: Seconds of a clip.
    """

    to: Path
    features: str
    queries: str
    clip_s: float
    _lines: dict[Split, list[str]] = field(default_factory=dict)
    _written: int = 0

    def add(self, video: VideoRows) -> None:
        """Writes the features of a video, and keeps its queries."""
        step = float(max((video.times_s[1:] - video.times_s[:-1]).tolist(), default=0.0))
        if step > self.clip_s + 1e-6:
            cause = f"{video.name}: rows are {step:g} s apart, more than the clips of {self.clip_s:g} s"
            raise UserError(cause, f"Use --clip-length {step:g}, or build with FPS={1 / self.clip_s:g}.")
        rows = clip_rows(video.middles_s, self.clip_s)
        write_npz(self.to / self.features / f"{video.name}.npz", features=video.vectors[rows])
        lines = self._lines.setdefault(video.split, [])
        for moment in video.moments:
            query: JSON = {
                "qid": self._written,
                "query": moment.caption,
                "vid": video.name,
                "duration": video.duration_s,
                "relevant_windows": [list(window) for window in moment.windows],
            }
            lines.append(json.dumps(query))
            self._written += 1

    def finish(self) -> JSON:
        """Writes the queries of each split that has any."""
        files = {split: self.queries.format(split=split) for split, lines in self._lines.items() if lines}
        for split, file in files.items():
            write_whole(self.to / file, "".join(f"{line}\n" for line in self._lines[split]).encode())
        return {
            "clip_length_s": self.clip_s,
            "array": "features",
            "features": self.features,
            "queries": files,
            "query_features": None,
            "normalized": False,
            "normalized_by_loader": True,
        }


def moment_detr(to: Path, rows: Rows, clip_s: float | None) -> MomentRetrievalLayout:
    """The layout that `moment_detr/start_end_dataset.py` reads."""
    return MomentRetrievalLayout(to, "clip_features", "subs_train/{split}.jsonl", clip_s or CLIP_S)


def lighthouse(to: Path, rows: Rows, clip_s: float | None) -> MomentRetrievalLayout:
    """The layout that Lighthouse's `training/train.py` reads as its dataset `activitynet`, with features `clip`."""
    queries = "data/activitynet/activitynet_{split}_release.jsonl"
    return MomentRetrievalLayout(to, "features/activitynet/clip", queries, clip_s or CLIP_S)
