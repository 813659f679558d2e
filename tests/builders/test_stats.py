"""The table of a manifest."""

from __future__ import annotations

import json
from typing import Any

from builders.stats import describe


def test_each_split_and_all_of_them(make_dataset: Any):
    manifest = json.loads((make_dataset() / "manifest.json").read_bytes())
    lines = [line.split() for line in describe(manifest).splitlines()]
    assert " ".join(lines[0]) == "CLIP-Shapes: tiny-clip, float16 (n_frames, 16)"
    assert lines[2:] == [
        ["train", "8", "20", "1", "0", "2", "0"],
        ["val", "3", "9", "0", "0", "1", "0"],
        ["test", "2", "7", "0", "0", "1", "0"],
        ["all", "13", "36", "1", "0", "4", "0"],
    ]
