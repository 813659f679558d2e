"""The `preview` config of a packed dataset: a contact sheet of some samples of each split, for the Hub's viewer.

    data/CLIP-Shapes/preview/train_00000.tar     vid_00012.jpg, vid_00012.txt, …
    data/work/CLIP-Shapes/preview/               one .jpg a sheet, kept for the next run

A sheet shows frames of the source, and embeddings are published where frames must not be. So the rule: sheets are made
where the licence of the videos or images themselves (`DatasetSpec.media_license`; `license` is often that of the
annotations alone) is known and allows everyone to pass them on. Public domain, Creative Commons (non-commercial and
share-alike too: nothing is sold, and the card names the licence) and free software licences do. `unknown`, `other` and
no-derivatives (a sheet is a derivative) do not: there a person who has the rights says so (`--allow-frames`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.console import progress
from preprocess.errors import UserError
from preprocess.exports.contact_sheet import MAX_TILES, clock, contact_sheet, tile
from preprocess.formats.atomic import write_atomic
from preprocess.formats.layout import Layout
from preprocess.formats.manifest import Manifest
from preprocess.formats.preview import Sheet, write_preview
from preprocess.formats.shards import SEED
from preprocess.media.sampling import Sampling
from preprocess.pipeline import plan
from preprocess.pipeline.books import Books
from preprocess.pipeline.executors import LocalExecutor, Watch
from preprocess.pipeline.machine import memory_share, usable_cores
from preprocess.pipeline.packed import PackedTriple, choose
from preprocess.pipeline.read import read_sample
from preprocess.samples import SPLITS, DatasetSpec, Reject, Sample, ShardReport, Split, canonical_json, is_url

_FREE_LICENSES = """
    cc0-1.0 pddl unlicense wtfpl
    cc-by-2.0 cc-by-2.5 cc-by-3.0 cc-by-4.0 cc-by-sa-3.0 cc-by-sa-4.0
    cc-by-nc-2.0 cc-by-nc-3.0 cc-by-nc-4.0 cc-by-nc-sa-2.0 cc-by-nc-sa-3.0 cc-by-nc-sa-4.0
    cdla-permissive-1.0 cdla-permissive-2.0 cdla-sharing-1.0 gfdl
    apache-2.0 mit bsd-2-clause bsd-3-clause isc zlib
"""
FREE_LICENSES = frozenset(_FREE_LICENSES.split())
"""Licences, by their ids on the Hub, under which everyone may pass on what they cover, changed or not."""

SAMPLING = Sampling.segment(MAX_TILES)  # the middles of equal parts: no frame of a fade from black
_VERSION = 1  # raise it when sheets are to look different, so that those of earlier runs are not taken


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What a person may choose about a run; only `samples` changes what is made.

    Attributes:
        samples: Sheets for each split, at most.
        workers: Processes; default: one a core.
        time_limit_s: For one video.
        memory_limit: Bytes for one worker; default: its share of 80 % of the machine's memory.
    """

    samples: int = 100
    workers: int | None = None
    time_limit_s: float = 600.0
    memory_limit: int | None = None


@dataclass(frozen=True, slots=True)
class PreviewReport:
    """What a run did: the tars there are now, sheets drawn and kept from earlier, samples that gave none."""

    tars: tuple[ShardReport, ...]
    drawn: int
    kept: int
    rejects: tuple[Reject, ...]


def check_licence(spec: DatasetSpec, allow_frames: bool = False) -> None:
    """Raises UserError where frames may not be passed on, by the rule above."""
    if not allow_frames and spec.media_license not in FREE_LICENSES:
        raise UserError(
            f"frames of {spec.name!r} may not be passed on by everyone: the licence of its videos or images is "
            f"{spec.media_license!r}",
            "If you have the rights to publish frames, say --allow-frames.",
        )


def make_preview(
    manifest: Manifest,
    samples: Sequence[Sample],
    raw: str,
    layout: Layout,
    options: RunOptions,
    seed: int = SEED,
) -> PreviewReport:
    """Draws the sheets that are not there yet and packs them; the same samples and media give the same bytes.

    Args:
        manifest: Of the packed dataset.
        samples: Of the dataset, as its recipe lists them; those shown are chosen among the ones in the tars.
        raw: What their media paths are relative to.
        layout: Where the dataset lies.
        seed: Of the choice.

    Raises:
        UserError: No sample gives a sheet.
    """
    by_key = {sample.key: sample for sample in samples}
    cache = layout.work / "preview"
    cache.mkdir(parents=True, exist_ok=True)
    shown: dict[Split, list[PackedTriple]] = {}
    files: dict[str, Path] = {}
    rejects: list[Reject] = []
    for split in SPLITS:
        tars = [shard["file"] for shard in manifest["shards"] if shard["split"] == split]
        shown[split] = choose(layout.dataset, tars, options.samples, seed, one_per_sample=True)
        for key in (one.meta["key"] for one in shown[split]):
            if key in by_key:
                files[key] = cache / f"{_digest(by_key[key], raw)}.jpg"
            else:
                rejects.append(Reject(key, split, "find", "missing", "the raw data has no such sample"))
    _tidy(cache, files)
    todo = [by_key[key] for key, file in files.items() if not file.is_file()]
    rejects += _draw_all(todo, Drawing(raw, files), options)
    sheets = {
        split: [
            Sheet(one.id, file, one.txt) for one in found if (file := files.get(one.meta["key"])) and file.is_file()
        ]
        for split, found in shown.items()
    }
    if not any(sheets.values()):
        raise UserError(
            f"none of {sum(map(len, shown.values())):,} samples gives a contact sheet, {rejects[0].key!r} because: "
            f"{rejects[0].message}",
            "Check RAW: it must hold what the tars were made from.",
        )
    drawn = sum(file.is_file() for file in (files[sample.key] for sample in todo))
    return PreviewReport(tuple(write_preview(layout.dataset, sheets)), drawn, len(files) - len(todo), tuple(rejects))


def _digest(sample: Sample, raw: str) -> str:
    """Stands for all that a sheet is drawn from."""
    stamp: list[int] = []
    if not is_url(sample.media) and (file := Path(raw, sample.media)).is_file():
        stamp = [file.stat().st_size, file.stat().st_mtime_ns]
    row = [_VERSION, sample.key, sample.media, sample.start_s, sample.end_s, *stamp]
    return hashlib.sha256(canonical_json(row).encode()).hexdigest()[:32]


def _tidy(cache: Path, files: Mapping[str, Path]) -> None:
    """Removes sheets that are no longer asked for, and what a killed run left."""
    for path in set(cache.iterdir()) - set(files.values()):
        path.unlink()


def _draw_all(todo: Sequence[Sample], drawing: Drawing, options: RunOptions) -> Iterator[Reject]:
    """Draws the sheets in worker processes; yields the samples that gave none."""
    workers = options.workers or usable_cores()
    memory = options.memory_limit or memory_share(workers)
    executor = LocalExecutor(workers, options.time_limit_s, memory, (__name__,))
    books = Books()
    with progress(len(todo), " sheets", "preview") as bar:
        for report in books.keep(executor.run(plan.chunks(todo, size=1), drawing, books.lose)):
            bar.update()
            if isinstance(report, Reject):
                yield report


@dataclass(frozen=True, slots=True)
class Drawn:
    """A sheet that is on disk."""

    key: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What a worker does with the samples of a chunk."""

    raw: str
    files: Mapping[str, Path]

    def __call__(self, chunk: plan.Chunk, watch: Watch) -> Iterator[Drawn | Reject]:
        """Yields what became of each sample; `watch` is told which one is worked on."""
        for sample in chunk.samples:
            watch(sample.key)
            sheet = draw(sample, self.raw)
            watch(None)
            if isinstance(sheet, Reject):
                yield sheet
            else:
                write_atomic(self.files[sample.key], sheet)
                yield Drawn(sample.key)


def draw(sample: Sample, raw: str) -> bytes | Reject:
    """The contact sheet of one sample as a JPEG file, or the reason why there is none."""
    clip = read_sample(sample, raw, SAMPLING, tile)
    if isinstance(clip, Reject):
        return clip
    is_image = clip.duration_s == 0 and len(clip.frames.pixels) == 1
    labels = [""] if is_image else [clock(seconds) for seconds in clip.frames.timestamps_s]
    return contact_sheet(clip.frames.pixels, labels)
