"""Paths of everything of one dataset below the output folder.

data/CLIP-Shapes/                  ready to push: shards, splits.csv, manifest.json, README.md
data/work/CLIP-Shapes/             samples.jsonl, processed/, rejects.jsonl, journal.jsonl, source.json, …
data/work/CLIP-Shapes/slices/      while it is encoded in slices: a folder for each with all of these
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import DamagedFileError, UserError
from preprocess.formats.slices import Slice
from preprocess.samples import HUB_NAME, JSON
from preprocess.storage import read_if_there, write_atomic
from preprocess.validation import own_file, parse_json

WORK_FOLDER = "work"
"""Below the output folder: everything that is not pushed, a folder per dataset."""

SLICES_FOLDER = "slices"
"""Below the work folder of a dataset that is encoded in slices."""

REJECTS_FILE = "rejects.jsonl"
"""One reject a line, beside the intermediates and, where there are any, in the dataset."""

JOURNAL_FILE = "journal.jsonl"
"""What was made from which state of the raw data; beside the intermediates."""

_REMEDY = "Delete it, and run the step that writes it again."


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of one dataset.

    Attributes:
        out: The output folder, `data` by default, as `preprocess.storage.location` gives it.
        hub_name: Name of the dataset's folder and Hub repository.
        slice: The slice of the output whose work folder it is; None for the whole output.
    """

    out: Path
    hub_name: str
    slice: Slice | None = None

    def __str__(self) -> str:
        return f"slice {self.slice} of {self.hub_name}" if self.slice else self.hub_name

    def of_slice(self, part: Slice | None) -> Layout:
        """The same for one slice of the output; None for the whole output."""
        return dataclasses.replace(self, slice=part)

    @property
    def dataset(self) -> Path:
        """The folder that is pushed."""
        return self.out / self.hub_name

    @property
    def work(self) -> Path:
        """Everything that is not pushed."""
        whole = self.out / WORK_FOLDER / self.hub_name
        return whole / SLICES_FOLDER / self.slice.folder if self.slice else whole

    @property
    def slices(self) -> Path:
        """The folders of the slices of a whole output."""
        return self.work / SLICES_FOLDER

    @property
    def slice_note(self) -> Path:
        """What a slice is of, and whether it is finished."""
        return self.work / "slice.json"

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
        return self.work / REJECTS_FILE

    @property
    def journal(self) -> Path:
        """Which triples are complete, and which state of the media they were made from."""
        return self.work / JOURNAL_FILE

    @property
    def source(self) -> Path:
        """Raw data, model and kind of triples of this output (the only file with paths of this machine)."""
        return self.work / "source.json"

    @property
    def options(self) -> Path:
        """How the last build ran and how it was to be packed, for `retry`."""
        return self.work / "options.json"

    @property
    def base_manifest(self) -> Path:
        """The manifest that an append starts from, while the dataset has none."""
        return self.work / "base_manifest.json"

    @property
    def order(self) -> Path:
        """How the samples are being ordered and cut into tars, while the dataset has no manifest."""
        return self.work / "order.json"

    @property
    def report(self) -> Path:
        """Counts and seconds of each step of the build."""
        return self.work / "build_report.json"


def check_name(name: str) -> None:
    """Checks the name that a user gives to a dataset: it becomes a folder and a Hub repository.

    Raises:
        UserError: It cannot be either, or is the folder of intermediate files of all datasets.
    """
    if not HUB_NAME.fullmatch(name):
        raise UserError(f"{name[:100]!r} cannot be the name of a dataset", "Use letters, digits, '.', '_' and '-'.")
    if name.lower() == WORK_FOLDER:
        raise UserError(f"{name!r} is the folder of intermediate files", "Choose another name.")


def read_json(path: Path) -> JSON:
    """A JSON object from a file that this project writes; empty where there is no file yet.

    Raises:
        DamagedFileError: The file is something else.
    """
    content = read_if_there(path)
    if content is None:
        return {}
    try:
        value = parse_json(content)
    except ValueError as error:
        raise DamagedFileError(path, "", f"not JSON in UTF-8 ({error})", _REMEDY) from None
    return own_file(value, JSON, path, _REMEDY)


def json_bytes(value: JSON) -> bytes:
    """Indented JSON for files that people open."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def write_json(path: Path, value: JSON) -> None:
    """Writes an indented JSON object, complete or not at all."""
    write_atomic(path, json_bytes(value))


def note_report(layout: Layout, step: str, numbers: JSON) -> None:
    """Puts the numbers of one step into `build_report.json`, leaving the other steps as they are."""
    report = read_json(layout.report)
    if report.get(step) != numbers:
        write_json(layout.report, {**report, step: numbers})
