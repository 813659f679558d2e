"""The table of a manifest, as `builders stats` and `preprocess report` print it."""

from __future__ import annotations

import json
from pathlib import Path

from preprocess.formats.manifest_table import describe, reasons
from tests.builders.conftest import write_dataset


def manifest_of(folder: Path) -> dict:
    return json.loads((write_dataset(folder / "CLIP-Shapes") / "manifest.json").read_bytes())


def test_each_split_and_the_total(tmp_path: Path):
    manifest = manifest_of(tmp_path)
    lines = [line.split() for line in describe(manifest).splitlines()]
    sizes = {split: sum(s["bytes"] for s in manifest["shards"] if s["split"] == split) for split in manifest["splits"]}
    assert " ".join(lines[0]) == "CLIP-Shapes: tiny-clip (fp32), float16 (n_frames, 16)"
    assert [line[:-2] for line in lines[3:]] == [
        ["train", "9", "8", "1", "0", "20", "2"],
        ["val", "3", "3", "0", "0", "9", "1"],
        ["test", "2", "2", "0", "0", "7", "1"],
        ["total", "14", "13", "1", "0", "36", "4"],
    ]
    assert [line[-2:] for line in lines[3:-1]] == [[f"{size / 1000:.1f}", "kB"] for size in sizes.values()]
    assert reasons(manifest) == {"missing": 1}


def test_a_hostile_name_does_not_drive_the_terminal(tmp_path: Path):
    manifest = manifest_of(tmp_path)
    manifest["dataset"] = "CLIP\x1b]0;x\x07\x9b2J"
    manifest["encoder"]["model"] = "a\nb"
    shown = describe(manifest)
    assert "\x1b" not in shown
    assert shown.splitlines()[0].startswith(r"CLIP\x1b]0;x\x07\x9b2J: a\nb ")
