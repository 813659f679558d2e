"""The `preview` config of a packed dataset: contact sheets of some samples of each split, for the Hub's viewer.

    data/CLIP-Shapes/preview/train_00000.tar     vid_00012.jpg, vid_00012.txt, …
    data/work/CLIP-Shapes/preview/               one .jpg per sheet, kept for the next run

A sheet shows the frames that were embedded, at most twelve, evenly spaced, each with its time.

Frames are published only if `preprocess.licenses` permits it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.errors import UserError
from preprocess.exports.contact_sheet import MAX_TILES, contact_sheet, tile, tile_label
from preprocess.exports.embedded_frames import embedded_frames, n_sampled
from preprocess.formats.generations import replaced_rows
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import Manifest
from preprocess.formats.preview import Sheet, write_preview
from preprocess.formats.shards import SEED
from preprocess.media.sampling import Sampling
from preprocess.pipeline.packed_samples import PackedTriple, choose
from preprocess.references import file_of
from preprocess.runtime.options import RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import SPLITS, Reject, Sample, ShardReport, Split, canonical_json, is_url
from preprocess.storage import file_names, make_folder, remove, write_atomic

_VERSION = 2  # increase it if sheets should look different, so that those of earlier runs are not reused


@dataclass(frozen=True, slots=True)
class PreviewReport:
    """What a run did: the tars there are now, sheets drawn and kept from earlier, samples that gave none."""

    tars: tuple[ShardReport, ...]
    drawn: int
    kept: int
    rejects: tuple[Reject, ...]


def make_preview(
    manifest: Manifest,
    samples: Sequence[Sample],
    raw: str,
    layout: Layout,
    options: RunOptions,
    *,
    per_split: int = 100,
    seed: int = SEED,
) -> PreviewReport:
    """Draws the sheets that are not there yet and packs them; the same samples and media give the same bytes.

    Args:
        manifest: Of the packed dataset.
        samples: Of the dataset, as its recipe lists them; those shown are chosen among the ones in the tars.
        raw: What their media paths are relative to.
        layout: Of the dataset.
        options: Workers and limits.
        per_split: Sheets for each split, at most.
        seed: Of the choice.

    Raises:
        UserError: No sample gives a sheet.
    """
    by_key = {sample.key: sample for sample in samples}
    sampling = Sampling.from_json(manifest["sampling"])
    n_frames: dict[str, int] = {}
    cache = layout.work / "preview"
    make_folder(cache)
    shown: dict[Split, list[PackedTriple]] = {}
    files: dict[str, Path] = {}
    rejects: list[Reject] = []
    for split in SPLITS:
        tars = [shard["file"] for shard in manifest["shards"] if shard["split"] == split]
        shown[split] = choose(
            layout.dataset, tars, per_split, seed, one_per_sample=True, without=replaced_rows(manifest)
        )
        for one in shown[split]:
            key = one.meta["key"]
            if key in by_key:
                n_frames[key] = n_sampled(one.meta, manifest["encoder"])
                files[key] = cache / f"{_digest(by_key[key], raw, sampling, n_frames[key])}.jpg"
            else:
                rejects.append(Reject(key, split, "find", "missing", "the raw data has no such sample"))
    kept = _tidy(cache, {file.name for file in files.values()})
    todo = [by_key[key] for key, file in files.items() if file.name not in kept]
    rejects += _draw_all(todo, Drawing(raw, sampling, n_frames, files), options)
    there = frozenset(file_names(cache))
    sheets = {
        split: [
            Sheet(one.id, file, one.txt) for one in found if (file := files.get(one.meta["key"])) and file.name in there
        ]
        for split, found in shown.items()
    }
    if not any(sheets.values()):
        raise UserError(
            f"none of {sum(map(len, shown.values())):,} samples gives a contact sheet, {rejects[0].key!r} because: "
            f"{rejects[0].message}",
            "Check RAW: it must hold what the tars were made from.",
        )
    drawn = sum(files[sample.key].name in there for sample in todo)
    return PreviewReport(tuple(write_preview(layout.dataset, sheets)), drawn, len(files) - len(todo), tuple(rejects))


def _digest(sample: Sample, raw: str, sampling: Sampling, n_frames: int) -> str:
    """Identifies everything that a sheet depends on."""
    stamp: list[int] = []
    if not is_url(sample.media) and (file := Path(raw, file_of(sample.media))).is_file():
        stamp = [file.stat().st_size, file.stat().st_mtime_ns]
    row = [_VERSION, sample.key, sample.media, sample.start_s, sample.end_s, str(sampling), n_frames, *stamp]
    return hashlib.sha256(canonical_json(row).encode()).hexdigest()[:32]


def _tidy(cache: Path, wanted: set[str]) -> set[str]:
    """Removes sheets that are no longer asked for, and what a killed run left; returns the names that stay."""
    there = set(file_names(cache))
    for name in there - wanted:
        remove(cache / name)
    return there & wanted


def _draw_all(todo: Sequence[Sample], drawing: Drawing, options: RunOptions) -> Iterator[Reject]:
    """Draws the sheets in worker processes; yields the samples that gave none."""
    for report in run_items(
        todo, drawing, options, per_task=1, preload=(__name__,), description="preview", unit=" sheets"
    ):
        if isinstance(report, Reject):
            yield report


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sheet that is on disk."""

    key: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a worker does with the samples of a task."""

    raw: str
    sampling: Sampling
    n_frames: Mapping[str, int]
    files: Mapping[str, Path]

    def __call__(self, task: Task[Sample], watch: Watch) -> Iterator[Drawn | Reject]:
        """Yields what became of each sample; `watch` is told which one is worked on."""
        for sample in task.items:
            watch(sample.key)
            sheet = draw(sample, self.raw, self.sampling, self.n_frames[sample.key])
            watch(None)
            if isinstance(sheet, Reject):
                yield sheet
            else:
                write_atomic(self.files[sample.key], sheet)
                yield Drawn(sample.key)


def draw(sample: Sample, raw: str, sampling: Sampling, n_frames: int) -> bytes | Reject:
    """The contact sheet of one sample as a JPEG file, or the reason why there is none.

    Args:
        sample: What to decode.
        raw: The raw folder, as a path or URL.
        sampling: As the sample was embedded.
        n_frames: How many frames that gave.
    """
    clip = embedded_frames(sample, raw, sampling, n_frames, MAX_TILES, tile)
    if isinstance(clip, Reject):
        return clip
    is_image = clip.duration_s == 0 and len(clip.frames.pixels) == 1
    labels = [""] if is_image else [tile_label(seconds) for seconds in clip.frames.timestamps_s]
    return contact_sheet(np.asarray(clip.frames.pixels, np.uint8), labels)
