"""ActionFormer: a `.npy` per video, the annotations as ActivityNet's JSON, and the `dataset` part of its configuration.

    features/<video>.npy    (rows, D)
    annotations.json        {"database": {"v_uqiMw7tQ1Cc": {"subset": "validation", "duration": 55.15, "fps": 1.0,
                             "annotations": [{"segment": [0.28, 55.15], "label": "moment", "label_id": 0}]}}}
    dataset.yaml            feat_stride: 1, num_frames: 1, default_fps: 1.0, input_dim: 512, …

ActionFormer counts `feat_stride` and `num_frames` in frames at `fps`: here, of the sampled frames. A row of an encoder
of frames has stride 1 and 1 frame. The segments are the windows of timed captions; their class is the label of the
video, or `moment` where it has none. Rows are not normalized, as none of its features are.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from builders.temporal.records import SPLIT_NAMES, Rows, VideoRows, write_npy, write_whole
from preprocess.errors import UserError
from preprocess.formats.layout import json_bytes
from preprocess.samples import JSON

NO_CLASS = "moment"
MAX_ROWS = 2304
"""`max_seq_len` of the configuration for THUMOS14; at test time, longer videos are padded by the model."""


@dataclass(slots=True)
class ActionFormerLayout:
    """Its files.

    Attributes:
        to: Folder of the export.
        rows: How the rows of the dataset lie in time.
    """

    to: Path
    rows: Rows
    _videos: dict[str, JSON] = field(default_factory=dict)
    _dim: int = 0

    def add(self, video: VideoRows) -> None:
        """Writes the features of a video, and keeps its segments."""
        write_npy(self.to / "features" / f"{video.name}.npy", video.vectors)
        self._dim = video.vectors.shape[1]
        label = NO_CLASS if video.label is None else video.label
        windows = sorted({window for moment in video.moments for window in moment.windows})
        self._videos[video.name] = {
            "subset": SPLIT_NAMES[video.split],
            "duration": video.duration_s,
            "fps": video.sampled_fps,
            "annotations": [{"segment": list(window), "label": label} for window in windows],
        }

    def finish(self) -> JSON:
        """Writes the annotations and the configuration."""
        segments = [one for video in self._videos.values() for one in video["annotations"]]
        classes = {label: number for number, label in enumerate(sorted({one["label"] for one in segments}))}
        for one in segments:
            one["label_id"] = classes[one["label"]]
        write_whole(self.to / "annotations.json", json_bytes({"database": self._videos}))
        settings: dict[str, Any] = {
            "json_file": "annotations.json",
            "feat_folder": "features",
            "file_prefix": None,
            "file_ext": ".npy",
            "num_classes": max(1, len(classes)),
            "input_dim": self._dim,
            "feat_stride": self.rows.stride,
            "num_frames": self.rows.frames,
            "default_fps": self.rows.sampled_fps,
            "max_seq_len": MAX_ROWS,
            "trunc_thresh": 0.5,
            "crop_ratio": [0.9, 1.0],
        }
        splits = {video["subset"] for video in self._videos.values()}
        config: JSON = {
            "dataset_name": "thumos",
            "train_split": ["training"],
            "val_split": ["validation" if "validation" in splits else "test"],
            "dataset": settings,
        }
        write_whole(self.to / "dataset.yaml", yaml.safe_dump(config, sort_keys=False).encode())
        return {**settings, "classes": list(classes), "segments": len(segments), "normalized": False}


def actionformer(to: Path, rows: Rows, clip_s: float | None) -> ActionFormerLayout:
    """The layout that `libs/datasets/thumos14.py` and `anet.py` read."""
    if clip_s is not None:
        raise UserError("--clip-length is not used by actionformer", "Omit it: every row is a feature.")
    return ActionFormerLayout(to, rows)
