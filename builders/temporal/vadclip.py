"""VadCLIP: a `.npy` per video, and a list of paths and classes per split.

    features/<video>__0.npy    float32 (rows, D)
    train.csv                  path,label
                               features/Abuse001_x264__0.npy,Abuse

`__0` is the number of the crop; a dataset has one, the center. Paths are relative to the export, where VadCLIP is to
be started. Its class of videos without an anomaly is `Normal`. Its evaluation takes a row for 16 frames of the video,
which `--sampling every_nth=16` gives; training knows no times. Videos without a label are not listed.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from builders.temporal.records import Rows, VideoRows, write_npy, write_whole
from preprocess.errors import UserError
from preprocess.samples import JSON, Split

FRAMES_PER_ROW = 16


@dataclass(slots=True)
class VadClipLayout:
    """Its files.

    Attributes:
        to: Folder of the export.
        rows: How the rows of the dataset lie in time.
    """

    to: Path
    rows: Rows
    _lists: dict[Split, list[tuple[str, str]]] = field(default_factory=dict)
    _unlabeled: int = 0

    def add(self, video: VideoRows) -> None:
        """Writes the features of a video, and lists them."""
        path = f"features/{video.name}__0.npy"
        write_npy(self.to / path, video.vectors.astype(np.float32))
        if video.label is None:
            self._unlabeled += 1
        else:
            self._lists.setdefault(video.split, []).append((path, video.label))

    def finish(self) -> JSON:
        """Writes the lists.

        Raises:
            UserError: No video has a label.
        """
        if not self._lists:
            raise UserError("no video has a label, which VadCLIP trains on", "Build from raw data with labels.")
        for split, listed in self._lists.items():
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows([("path", "label"), *listed])
            write_whole(self.to / f"{split}.csv", text.getvalue().encode())
        frames = None if self.rows.every_nth is None else self.rows.every_nth * self.rows.stride
        return {
            "frames_per_row": frames,
            "frames_per_row_of_project": FRAMES_PER_ROW,
            "lists": {split: f"{split}.csv" for split in self._lists},
            "not_listed_without_label": self._unlabeled,
            "normalized": False,
        }


def vadclip(to: Path, rows: Rows, clip_s: float | None) -> VadClipLayout:
    """The layout that `src/utils/dataset.py` reads."""
    if clip_s is not None:
        raise UserError("--clip-length is not used by vadclip", "Omit it: every row is a feature.")
    return VadClipLayout(to, rows)
