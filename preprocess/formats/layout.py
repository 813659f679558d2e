"""Where everything of one dataset lies below the output folder.

data/CLIP-Shapes/                  ready to push: shards, splits.csv, manifest.json, README.md
data/work/CLIP-Shapes/             samples.jsonl, processed/, rejects.jsonl, source.json, build_report.json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from preprocess.formats.atomic import write_atomic
from preprocess.samples import JSON


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one dataset.

    Attributes:
        out: The output folder, `data` by default.
        hub_name: Name of the dataset's folder and Hub repository.
    """

    out: Path
    hub_name: str

    @property
    def dataset(self) -> Path:
        """The folder that is pushed."""
        return self.out / self.hub_name

    @property
    def work(self) -> Path:
        """Everything that is not pushed."""
        return self.out / "work" / self.hub_name

    @property
    def samples(self) -> Path:
        """One sample a line, by split and key."""
        return self.work / "samples.jsonl"

    @property
    def processed(self) -> Path:
        """The triples, in `train`, `val` and `test`."""
        return self.work / "processed"

    @property
    def encoding(self) -> Path:
        """Encoder, sampling and preprocessing of the triples."""
        return self.processed / "encoding.json"

    @property
    def rejects(self) -> Path:
        """The ledger of rejects."""
        return self.work / "rejects.jsonl"

    @property
    def source(self) -> Path:
        """Which raw data and model this output belongs to (the only file with paths of this machine)."""
        return self.work / "source.json"

    @property
    def report(self) -> Path:
        """Counts and seconds of each step of the build."""
        return self.work / "build_report.json"


def read_json(path: Path) -> JSON:
    """A JSON object from a file; empty where there is no file yet."""
    if not path.is_file():
        return {}
    value: JSON = json.loads(path.read_text(encoding="utf-8"))
    return value


def json_bytes(value: JSON) -> bytes:
    """Indented JSON for files that people open."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: JSON) -> None:
    """Writes an indented JSON object, whole or not at all."""
    write_atomic(path, json_bytes(value))


def note_report(layout: Layout, step: str, numbers: JSON) -> None:
    """Puts the numbers of one step into `build_report.json`, leaving the other steps as they are."""
    report = read_json(layout.report)
    if report.get(step) != numbers:
        write_json(layout.report, {**report, step: numbers})
