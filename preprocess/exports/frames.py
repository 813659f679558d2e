"""Frames as JPEG files, for any dataset, in the layout that AdaCLIP's `frame_extraction.py` makes:

    frames/msrvtt/
    ├── frames.json         what they were made with: dataset, rate, short side, quality
    ├── rejects.jsonl       videos that gave none, one a line
    └── video7010/
        ├── image_00001.jpg, image_00002.jpg, …    every frame, or as many a second as asked for

A folder appears by rename when its last frame is there, so a folder that is there is whole. Its name is that of the
video in the annotation files (`preprocess.exports.annotations`). Of a video only the part that the sample names is
taken (DiDeMo: the first 30 s); an image is a video of one frame.
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
from numpy.typing import NDArray
from PIL import Image

from preprocess.console import progress
from preprocess.errors import MediaError, SettingsError, UserError
from preprocess.exports.annotations import video_names
from preprocess.formats.atomic import TEMPORARY_PREFIX, TEMPORARY_SUFFIX, is_temporary
from preprocess.formats.layout import read_json, write_json
from preprocess.media.sampling import Sampling
from preprocess.pipeline import plan
from preprocess.pipeline.books import Books
from preprocess.pipeline.executors import LocalExecutor, Watch
from preprocess.pipeline.index import exclusive, still_rejected
from preprocess.pipeline.ledger import Ledger
from preprocess.pipeline.machine import memory_share, usable_cores
from preprocess.pipeline.read import read_sample
from preprocess.samples import JSON, Reject, Sample

SETTINGS_FILE = "frames.json"
REJECTS_FILE = "rejects.jsonl"
JPEG_MAX_SIDE = 65_500  # what libjpeg can write


@dataclass(frozen=True, slots=True)
class FrameSettings:
    """What frames are made with. The defaults are AdaCLIP's: every frame, in its own size, hardly compressed.

    Attributes:
        fps: Frames a second, by time; None for every frame.
        short_side: Pixels to which the shorter side is shrunk; None, or a smaller frame, stays as it is.
        quality: Of the JPEG, 1 to 100.
    """

    fps: float | None = None
    short_side: int | None = None
    quality: int = 95

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100 or (self.short_side is not None and self.short_side < 1):
            raise ValueError(f"quality is 1 to 100 and short_side at least 1, got {self.quality}, {self.short_side}")

    def sampling(self) -> Sampling:
        """Which frames these are."""
        return Sampling.every_nth(1) if self.fps is None else Sampling.fps(self.fps)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person may choose about a run; none of it changes a frame.

    Attributes:
        workers: Processes; default: one a core.
        time_limit_s: For one video.
        memory_limit: Bytes for one worker; default: its share of 80 % of the machine's memory.
        retry: Try rejected samples again.
    """

    workers: int | None = None
    time_limit_s: float = 3600.0
    memory_limit: int | None = None
    retry: bool = False


@dataclass(frozen=True, slots=True)
class Extracted:
    """A video whose frames are all in its temporary folder."""

    key: str
    frames: int
    bytes: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class FramesReport:
    """What a run did. `kept` counts folders of earlier runs; `truncated`, among the written, files that break off."""

    written: int
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
    settings: FrameSettings,
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
    _settle(out / SETTINGS_FILE, {"dataset": dataset, **dataclasses.asdict(settings)})
    names = video_names(samples)
    totals: Counter[str] = Counter()
    with exclusive(out, str(out)):
        write_json(out / SETTINGS_FILE, {"dataset": dataset, **dataclasses.asdict(settings)})
        _remove_temporary(out)
        ledger = Ledger(out / REJECTS_FILE)
        if options.retry:
            ledger.keep(())
        rejected = still_rejected(ledger, str(raw))
        done = {sample.key for sample in samples if (out / names[sample.key]).is_dir()}
        kept = len(done)
        todo = [sample for sample in samples if sample.key not in done and not rejected(sample)]
        with progress(len(todo), " videos", "frames") as bar:
            for report in _run(todo, Extraction(str(raw), out, settings), options):
                bar.update()
                if isinstance(report, Reject):
                    _remove(_temporary(out, report.key))
                    ledger.add(report)
                else:
                    _temporary(out, report.key).rename(out / names[report.key])
                    done.add(report.key)
                    totals.update(frames=report.frames, bytes=report.bytes, truncated=report.truncated)
        ledger.keep(sample.key for sample in samples if sample.key not in done)
    if not done:
        raise UserError(f"none of {len(samples):,} samples gives a frame", f"{out / REJECTS_FILE} says why.")
    return FramesReport(
        written=len(done) - kept,
        kept=kept,
        frames=totals["frames"],
        bytes=totals["bytes"],
        truncated=totals["truncated"],
        rejects=ledger.by_reason(),
        seconds=time.monotonic() - began,
    )


def _settle(file: Path, wanted: JSON) -> None:
    """Refuses to mix frames of two kinds; it only reads."""
    before = read_json(file)
    for name, value in wanted.items():
        if before and before.get(name) != value:
            raise SettingsError(
                f"{file.parent} was made with {name} = {before.get(name)!r}, not {value!r}",
                "Give these frames another --out, or remove that folder.",
            )


def _run(todo: Sequence[Sample], extraction: Extraction, options: RunOptions) -> Iterator[Extracted | Reject]:
    workers = options.workers or usable_cores()
    memory = options.memory_limit or memory_share(workers)
    executor = LocalExecutor(workers, options.time_limit_s, memory, (__name__,))
    books = Books()
    # One video a task: nothing is shared between videos, and the last ones are spread over all workers.
    return books.keep(executor.run(plan.chunks(todo, size=1), extraction, books.lose))


@dataclass(frozen=True, slots=True)
class Extraction:
    """What a worker does with the samples of a chunk."""

    raw: str
    out: Path
    settings: FrameSettings

    def __call__(self, chunk: plan.Chunk, watch: Watch) -> Iterator[Extracted | Reject]:
        """Yields what became of each sample; `watch` is told which one is worked on."""
        for sample in chunk.samples:
            watch(sample.key)
            report = extract(sample, self.raw, _temporary(self.out, sample.key), self.settings)
            watch(None)
            yield report


def extract(sample: Sample, raw: str, folder: Path, settings: FrameSettings) -> Extracted | Reject:
    """Decodes one sample and writes its frames into `folder`, which is made; memory holds one frame at a time.

    After a reject the folder may hold some frames.
    """
    _remove(folder)
    folder.mkdir()
    writer = _Writer(folder, settings.short_side, settings.quality)
    clip = read_sample(sample, raw, settings.sampling(), writer)
    if isinstance(clip, Reject):
        return clip
    rows = [writer.file(ticket) for ticket in clip.frames.pixels]
    for number, file in enumerate(rows):
        target = folder / f"image_{number + 1:05d}.jpg"
        if number + 1 < len(rows) and rows[number + 1] == file:  # on screen longer than one step of the rate
            shutil.copyfile(file, target)
        else:
            file.rename(target)
    for file in folder.glob(f"*{_Writer.SUFFIX}"):  # of a first try at decoding that broke off
        file.unlink()
    size = sum(path.stat().st_size for path in folder.iterdir())
    return Extracted(sample.key, len(rows), size, clip.truncated)


class _Writer:
    """A transform that puts a frame into a file and gives a ticket in its place, so that no clip is too long.

    Decoding decides late which frame is which row, and may begin anew; so files are numbered as they come, and the
    ticket, six bytes in the shape of an image, is that number.
    """

    SUFFIX = ".frame"

    def __init__(self, folder: Path, short_side: int | None, quality: int) -> None:
        self._folder = folder
        self._short_side = short_side
        self._quality = quality
        self._count = 0

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Writes uint8 `(H, W, 3)`; returns uint8 `(1, 2, 3)`."""
        ticket = np.frombuffer(self._count.to_bytes(6, "big"), np.uint8).reshape(1, 2, 3)
        height, width = pixels.shape[:2]
        if max(height, width) > JPEG_MAX_SIDE:
            raise MediaError("too_large", f"{width} x {height} pixels are more than a JPEG can have")
        image = Image.fromarray(np.ascontiguousarray(pixels))
        if self._short_side is not None and min(height, width) > self._short_side:
            shrink = self._short_side / min(height, width)
            image = image.resize((round(width * shrink), round(height * shrink)), Image.Resampling.BICUBIC)
        image.save(self.file(ticket), "JPEG", quality=self._quality)
        self._count += 1
        return ticket

    def file(self, ticket: NDArray[np.uint8]) -> Path:
        """Where the frame of a ticket lies."""
        return self._folder / f"{int.from_bytes(ticket.tobytes(), 'big')}{self.SUFFIX}"


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
