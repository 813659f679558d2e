"""Exports frames as JPEG files, for any dataset, in the layout of AdaCLIP's `frame_extraction.py`:

    frames/msrvtt/
    ├── frames.json         settings: dataset, frames per second, short side, quality
    ├── rejects.jsonl       videos without any frame, one per line
    ├── journal.jsonl       size and modification time of each video; one that was replaced is exported again
    └── video7010/
        ├── image_00001.jpg, image_00002.jpg, …    every frame, or those sampled with --fps

A folder appears by rename after its last frame was written, so a folder that exists is complete. Its name is that of
the video in the annotation files (`preprocess.exports.annotations`). Only the part of a video that the sample selects
is exported (DiDeMo: the first 30 s); an image is a video of one frame.
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from preprocess.errors import MediaError, SettingsError, UserError
from preprocess.exports.annotations import video_names
from preprocess.formats.layout import JOURNAL_FILE, REJECTS_FILE, read_json, write_json
from preprocess.media.frames import FrameRows, FrameStream, Restart
from preprocess.media.sampling import Sampling
from preprocess.media.stamps import MediaStamps, media_stamp
from preprocess.pipeline.index import still_rejected
from preprocess.pipeline.journal import Journal
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.read_sample import stream_sample
from preprocess.run_files import exclusive
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.sample_numbers import SampleNumbers
from preprocess.sample_table import chosen
from preprocess.samples import JSON, Reject, Sample
from preprocess.storage import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, Stamp, is_temporary

SETTINGS_FILE = "frames.json"
JPEG_MAX_SIDE = 65_500  # what libjpeg can write


@dataclass(frozen=True, slots=True)
class FrameExportSettings:
    """Settings of the frame export. The defaults are AdaCLIP's: every frame in its own size, high quality.

    Attributes:
        fps: Frames per second, by time; None for every frame.
        short_side: Length in pixels to which the shorter side is reduced; None to keep the size. Smaller frames keep
            theirs.
        quality: Of the JPEG, 1 to 100.
    """

    fps: float | None = None
    short_side: int | None = None
    quality: int = 95

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100 or (self.short_side is not None and self.short_side < 1):
            raise ValueError(f"quality is 1 to 100 and short_side at least 1, got {self.quality}, {self.short_side}")
        self.sampling()  # validates fps

    def sampling(self) -> Sampling:
        """The sampling that selects the frames."""
        return Sampling.every_nth(1) if self.fps is None else Sampling.fps(self.fps)


@dataclass(frozen=True, slots=True)
class Extracted:
    """Report of a video whose frames are all written to its temporary folder."""

    key: str
    frames: int
    bytes: int
    truncated: bool
    stamp: Stamp | None = None


@dataclass(frozen=True, slots=True)
class FramesReport:
    """What a run did.

    Attributes:
        changed: Videos that were exported again because their raw files were replaced.
        kept: Folders of earlier runs.
        truncated: Among the written, files that break off.
    """

    written: int
    changed: int
    kept: int
    frames: int
    bytes: int
    truncated: int
    rejects: Mapping[str, int]
    seconds: float


def write_frames(
    dataset: str,
    samples: Sequence[Sample],
    raw: Path,
    out: Path,
    settings: FrameExportSettings,
    options: RunOptions,
) -> FramesReport:
    """Makes a folder of frames of every sample that has none yet, or a line of `rejects.jsonl`.

    Args:
        dataset: Name of the dataset, which two of must not mix in one folder.
        samples: Of one dataset, all splits.
        raw: What their media paths are relative to.
        out: Made where it is missing.

    Raises:
        SettingsError: The frames that are there were made with other settings.
        UserError: Another run is at work there, or no sample gives a frame.
    """
    began = time.monotonic()
    _check_settings(out / SETTINGS_FILE, {"dataset": dataset, **dataclasses.asdict(settings)})
    names = video_names(samples)
    totals: Counter[str] = Counter()
    with exclusive(out, str(out)):
        write_json(out / SETTINGS_FILE, {"dataset": dataset, **dataclasses.asdict(settings)})
        _remove_temporary(out)
        ledger = Ledger(out / REJECTS_FILE)
        numbers, stamps = SampleNumbers(samples), MediaStamps(str(raw), samples)
        journal = Journal(out / JOURNAL_FILE, out, numbers)
        changed = journal.changed(stamps)
        before = stamps.of(np.arange(len(samples)))  # a video that is replaced while it is exported has changed
        done = np.array([(out / names[sample.key]).is_dir() for sample in samples], np.bool_)
        stale = done & (changed | journal.lost)
        for sample in chosen(samples, stale):
            _remove(out / names[sample.key])
        done &= ~stale
        kept = int(done.sum())
        rejected = still_rejected(ledger, numbers, str(raw), options.retry) & ~changed
        todo = ~done & ~rejected
        with journal:
            for report in _run(chosen(samples, todo), Extraction(str(raw), out, settings), options):
                (number,) = numbers.of([report.key]).tolist()
                if isinstance(report, Reject):
                    _remove(_temporary(out, report.key))
                    ledger.add(report)
                    journal.add(number, report.key, before[number])
                else:
                    _temporary(out, report.key).rename(out / names[report.key])
                    done[number] = True
                    totals.update(frames=report.frames, bytes=report.bytes, truncated=report.truncated)
                    journal.add(number, report.key, report.stamp)
        ledger.keep(numbers.keys(np.flatnonzero(~done)))
        journal.keep(done | numbers.among(reject.key for reject in ledger), stamps)
    if not done.any():
        raise UserError(f"none of {len(samples):,} samples gives a frame", f"{out / REJECTS_FILE} says why.")
    return FramesReport(
        written=int(done.sum()) - kept,
        changed=int((todo & changed).sum()),
        kept=kept,
        frames=totals["frames"],
        bytes=totals["bytes"],
        truncated=totals["truncated"],
        rejects=ledger.by_reason(),
        seconds=time.monotonic() - began,
    )


def _check_settings(file: Path, wanted: JSON) -> None:
    """Refuses to mix frames of two kinds; it only reads."""
    before = read_json(file)
    for name, value in wanted.items():
        if before and before.get(name) != value:
            raise SettingsError(
                f"{file.parent} was made with {name} = {before.get(name)!r}, not {value!r}",
                "Give these frames another --out, or remove that folder.",
            )


def _run(todo: Sequence[Sample], extraction: Extraction, options: RunOptions) -> Iterator[Extracted | Reject]:
    # One video per task: nothing is shared between videos, and the last ones are spread over all workers.
    return run_items(
        todo,
        extraction,
        options,
        per_task=1,
        preload=(__name__,),
        description="frames",
        unit=" videos",
        counted="frames",
    )


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a worker does with the samples of a task."""

    raw: str
    out: Path
    settings: FrameExportSettings

    def __call__(self, task: Task[Sample], watch: Watch) -> Iterator[Extracted | Reject]:
        """Yields what became of each sample; `watch` is told which one is worked on."""
        for sample in task.items:
            watch(sample.key)
            report = extract(sample, self.raw, _temporary(self.out, sample.key), self.settings)
            watch(None)
            yield report


def extract(sample: Sample, raw: str, folder: Path, settings: FrameExportSettings) -> Extracted | Reject:
    """Decodes one sample and writes its frames into `folder`, which is created; memory holds one frame at a time.

    After a reject the folder may contain some frames.
    """

    stamp = media_stamp(raw, sample.media)

    def write(stream: FrameStream) -> Extracted:
        _empty(folder)
        for record in stream:
            if isinstance(record, Restart):
                _empty(folder)
            else:
                _write_rows(folder, record, settings)
        size = sum(path.stat().st_size for path in folder.iterdir())
        return Extracted(sample.key, stream.n_rows, size, stream.truncated, stamp)

    return stream_sample(sample, raw, settings.sampling(), write)


def _write_rows(folder: Path, record: FrameRows, settings: FrameExportSettings) -> None:
    """Encodes a frame once, as the file of its first row, and copies that for the other rows."""
    height, width = record.image.shape[:2]
    if max(height, width) > JPEG_MAX_SIDE:
        raise MediaError("too_large", f"a frame of {width} x {height} pixels is too large for a JPEG")
    image = Image.fromarray(np.ascontiguousarray(record.image))
    if settings.short_side is not None and min(height, width) > settings.short_side:
        shrink = settings.short_side / min(height, width)
        image = image.resize((round(width * shrink), round(height * shrink)), Image.Resampling.BICUBIC)
    first, *repeats = (folder / f"image_{row + 1:05d}.jpg" for row in record.rows)
    image.save(first, "JPEG", quality=settings.quality)
    for repeat in repeats:
        shutil.copyfile(first, repeat)


def _empty(folder: Path) -> None:
    """Makes `folder` an empty folder."""
    _remove(folder)
    folder.mkdir()


def _temporary(out: Path, key: str) -> Path:
    return out / f"{TEMPORARY_PREFIX}{key}{TEMPORARY_SUFFIX}"


def _remove_temporary(out: Path) -> None:
    """Removes what a killed run left."""
    for path in out.iterdir():
        if is_temporary(path.name) and path.is_dir():
            shutil.rmtree(path)


def _remove(folder: Path) -> None:
    if folder.is_dir():
        shutil.rmtree(folder)
