"""Packing: the processed dataset becomes shards, `splits.csv`, `sizes.json`, `rejects.jsonl` and `manifest.json`.

What has been packed already is remembered per shard, in `work/<hub_name>/shards/ds_00000.tar.json`:

    {"digest": "5f0c…", "mtime_ns": 1753190000000000000,
     "report": {"file": "ds_00000.tar", "split": "train", "samples": 10000, "frames": 99120, "bytes": 113551360,
                "sha256": "9b1d…"}}

`digest` stands for everything the tar is made from: ids, samples, settings, size and time of the triples' files. A
shard whose digest is the same and whose tar is untouched is neither read nor written again.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from preprocess.console import progress
from preprocess.errors import DamagedFileError, SettingsError, UnknownNameError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.atomic import remove_temporary, write_atomic, write_if_changed
from preprocess.formats.layout import Layout, note_report
from preprocess.formats.manifest import FORMAT_VERSION, MANIFEST_FILE, Manifest
from preprocess.formats.preview import remove_preview
from preprocess.formats.shards import PER_SHARD, SEED, SHARD_NAME, Parts, Shard, plan_shards, write_shard
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE, sizes_json, splits_csv
from preprocess.formats.triples import (
    CAPTION_INDEX,
    META_KEYS,
    caption_text,
    npy_array,
    own_meta_keys,
    parse_json,
    triple_meta,
)
from preprocess.pipeline.executors import die_with_parent
from preprocess.pipeline.work import read_encoding, read_samples, sort_out
from preprocess.samples import (
    CAPTION_MODES,
    SPLITS,
    CaptionMode,
    DatasetSpec,
    Reject,
    Sample,
    ShardReport,
    Split,
    canonical_json,
)

REJECTS_FILE = "rejects.jsonl"
_ENCODE_AGAIN = "Delete it and run encode again."


@dataclass(frozen=True, slots=True)
class PackReport:
    """What packing did: the manifest it ended with, shards written now, shards kept from earlier, wall time."""

    manifest: Manifest
    written: int
    kept: int
    seconds: float


class Item(NamedTuple):
    """What becomes one triple of a shard: a sample, and which of its captions (None: by the caption mode)."""

    sample: Sample
    caption: int | None


@dataclass(frozen=True, slots=True)
class Settings:
    """What all shards of one run share; goes to the worker processes."""

    processed: Path
    states: Path
    out: Path
    caption_mode: CaptionMode
    meta_keys: tuple[str, ...]
    dim: int
    dtype: str


class Job(NamedTuple):
    """One shard to be, with what goes into it and the digest of all that."""

    shard: Shard
    items: tuple[Item, ...]
    digest: str


def pack_dataset(
    layout: Layout,
    spec: DatasetSpec,
    *,
    caption_mode: str | None = None,
    per_shard: int = PER_SHARD,
    seed: int = SEED,
    shuffle: bool = True,
    workers: int = 1,
) -> PackReport:
    """Packs what encoding left in the work folder into the folder of the dataset, ready to push.

    Captions, label and the recipe's metadata are taken from `samples.jsonl`, what was measured from the triples; so
    another caption mode needs no encoding. The bytes depend neither on `workers` nor on interruptions.

    Args:
        layout: Where everything lies; other files in the dataset's folder are left alone.
        spec: Gives the caption mode where none is named.
        caption_mode: How several captions become one text: `first`, `concat`, `join` or `each`.
        per_shard: Samples per tar.
        seed: Seed of the order inside a split.
        shuffle: Whether to mix a split, or to keep it in the order of its keys.
        workers: Processes; 1 packs in this one.

    Raises:
        UserError: Samples are neither encoded nor rejected, none is encoded, or a file is damaged.
    """
    started = time.perf_counter()
    encoding = read_encoding(layout.encoding)
    samples = read_samples(layout.samples)
    packed, rejects = sort_out(samples, layout)
    settings = Settings(
        processed=layout.processed,
        states=layout.work / "shards",
        out=layout.dataset,
        caption_mode=_known(caption_mode or spec.caption_mode),
        meta_keys=own_meta_keys(samples),
        dim=encoding["encoder"]["dim"],
        dtype=encoding["encoder"]["dtype"],
    )
    jobs = plan_jobs(packed, settings, per_shard=per_shard, seed=seed, shuffle=shuffle)

    for folder in (settings.out, settings.states):
        folder.mkdir(parents=True, exist_ok=True)
        remove_temporary(folder)
    reports = {job.shard.file: report for job in jobs if (report := _kept(settings, job))}
    todo = [job for job in jobs if job.shard.file not in reports]
    _clear(settings, {job.shard.file for job in jobs}, changes=bool(todo))
    kept = len(reports)
    for report in _run(settings, todo, workers):
        reports[report.file] = report

    manifest = manifests.build(
        dataset=layout.hub_name,
        encoding=encoding,
        caption_mode=settings.caption_mode,
        order={"shuffle": shuffle, "seed": seed, "per_shard": per_shard},
        meta_keys=manifests.meta_types(samples, settings.caption_mode),
        inputs=Counter(sample.split for sample in samples),
        rejects=rejects,
        shards=[reports[job.shard.file] for job in jobs],
    )
    _write_lists(settings.out, manifest, rejects)
    result = PackReport(manifest, len(todo), kept, round(time.perf_counter() - started, 3))
    if todo:
        note_report(layout, "shards", {"written": result.written, "kept": result.kept, "seconds": result.seconds})
    return result


def _known(mode: str) -> CaptionMode:
    for known in CAPTION_MODES:
        if mode == known:
            return known
    raise UnknownNameError("caption mode", mode, CAPTION_MODES)


# --- what is to be done -----------------------------------------------------------------------------------------------


def plan_jobs(samples: Sequence[Sample], settings: Settings, *, per_shard: int, seed: int, shuffle: bool) -> list[Job]:
    """Plans the shards and takes the digest of what goes into each.

    Raises:
        DamagedFileError: A triple has lost its `.npy`.
    """
    items: dict[str, Item] = {}
    names: dict[Split, list[str]] = {split: [] for split in SPLITS}
    for sample in samples:
        for name, item in _expanded(sample, settings.caption_mode):
            items[name] = item
            names[sample.split].append(name)
    jobs = []
    for shard in plan_shards(names, per_shard=per_shard, seed=seed, shuffle=shuffle):
        chosen = tuple(items[name] for name in shard.names)
        jobs.append(Job(shard, chosen, _digest(settings, shard, chosen)))
    return jobs


def _expanded(sample: Sample, mode: CaptionMode) -> Iterator[tuple[str, Item]]:
    """One item per sample, or one per caption. A key has no `:`, so the names stay unique."""
    if mode != "each":
        yield sample.key, Item(sample, None)
        return
    for index in range(len(sample.captions)):
        yield f"{sample.key}:{index:05d}", Item(sample, index)


def _digest(settings: Settings, shard: Shard, items: Sequence[Item]) -> str:
    shared = [FORMAT_VERSION, settings.caption_mode, settings.meta_keys, settings.dim, settings.dtype, shard.split]
    digest = hashlib.sha256(canonical_json(shared).encode())
    base = settings.processed / shard.split
    for id_, item in zip(shard.ids, items, strict=True):
        row = [id_, item.caption, item.sample.to_json()]
        for suffix in ("npy", "json"):
            path = f"{base}/{item.sample.key}.{suffix}"
            try:
                stat = os.stat(path)  # noqa: PTH116 - twice per sample, and Path.stat is slower
            except FileNotFoundError:
                raise DamagedFileError(path, "", "is missing, half a triple is left", _ENCODE_AGAIN) from None
            row += [stat.st_size, stat.st_mtime_ns]
        digest.update(canonical_json(row).encode())
    return digest.hexdigest()


def _kept(settings: Settings, job: Job) -> ShardReport | None:
    """The report of a shard that need not be packed again, else None."""
    try:
        state = json.loads(_state_file(settings, job.shard.file).read_bytes())
        tar = (settings.out / job.shard.file).stat()
    except (FileNotFoundError, ValueError):
        return None
    report = ShardReport(**state["report"])
    same = (state["digest"], report.bytes, state["mtime_ns"]) == (job.digest, tar.st_size, tar.st_mtime_ns)
    return report if same else None


def _state_file(settings: Settings, file: str) -> Path:
    return settings.states / f"{file}.json"


# --- doing it ---------------------------------------------------------------------------------------------------------


def _clear(settings: Settings, planned: set[str], changes: bool) -> None:
    """Removes the lists and the preview, if they are not going to be true, then tars and states of an earlier plan."""
    tars = [path for path in settings.out.iterdir() if SHARD_NAME.fullmatch(path.name) and path.name not in planned]
    if changes or tars:
        for name in (MANIFEST_FILE, SIZES_FILE, SPLITS_FILE):
            (settings.out / name).unlink(missing_ok=True)
        remove_preview(settings.out)
    for path in tars:
        path.unlink()
    for path in settings.states.glob("ds_*.tar.json"):
        if path.stem not in planned:
            path.unlink()


def _run(settings: Settings, jobs: Sequence[Job], workers: int) -> Iterator[ShardReport]:
    """Packs the shards, in this process or in several; yields reports as they come."""
    with progress(sum(len(job.items) for job in jobs), " samples", "pack") as bar:
        for report in _reports(settings, jobs, min(workers, len(jobs))):
            bar.update(report.samples)
            yield report


def _reports(settings: Settings, jobs: Sequence[Job], workers: int) -> Iterator[ShardReport]:
    if workers <= 1:
        for job in jobs:
            yield pack_shard(settings, job)
        return
    # Spawned, not forked: torch may have threads by now, and a forked copy of a held lock stays held.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker) as pool:
        futures = [pool.submit(pack_shard, settings, job) for job in jobs]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool:
            raise UserError(
                f"a packing process died (killed, or out of memory) with {workers} at work",
                "Run the same command again, with fewer workers if it happens again: finished shards are kept.",
            ) from None
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _start_worker() -> None:
    """Ctrl-C is the parent's to handle; a parent that is killed takes its workers along."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()


def pack_shard(settings: Settings, job: Job) -> ShardReport:
    """Writes one tar, then the note that it is written. Run twice, it gives the same bytes."""
    state = _state_file(settings, job.shard.file)
    state.unlink(missing_ok=True)  # first: a note must never outlive the tar that it is about
    report = write_shard(settings.out, job.shard, (triple_parts(settings, item) for item in job.items))
    mtime_ns = (settings.out / job.shard.file).stat().st_mtime_ns
    note = {"digest": job.digest, "mtime_ns": mtime_ns, "report": dataclasses.asdict(report)}
    write_atomic(state, canonical_json(note).encode())
    return report


def triple_parts(settings: Settings, item: Item) -> Parts:
    """Reads a triple and makes of it what goes into a tar: the vectors as they are, text and metadata made anew.

    Raises:
        DamagedFileError: The triple is not what encoding writes.
        SettingsError: It was made with another model, or of another part of the video than the sample now says.
    """
    sample = item.sample
    stem = f"{settings.processed}/{sample.split}/{sample.key}"
    npy_file, json_file = f"{stem}.npy", f"{stem}.json"
    npy = _read(npy_file)
    vectors = npy_array(npy, npy_file)
    if vectors.shape[1:] != (settings.dim,) or vectors.dtype != settings.dtype or not vectors.flags.c_contiguous:
        raise SettingsError(
            f"{npy_file} is {vectors.dtype} {vectors.shape}, encoding.json says {settings.dtype} (T, {settings.dim})",
            _ENCODE_AGAIN,
        )
    old = parse_json(_read(json_file), json_file)
    try:
        meta = triple_meta(sample, len(vectors), old["timestamps"], old["duration"], old["truncated"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedFileError(json_file, "", str(error), _ENCODE_AGAIN) from None
    for key in ("source", "start_time", "end_time"):
        if key not in sample.meta and old.get(key) != meta[key]:
            raise SettingsError(
                f"{json_file} was made with {key} {old.get(key)!r}, the sample now says {meta[key]!r}", _ENCODE_AGAIN
            )
    text = caption_text(sample.captions, settings.caption_mode)
    keys: tuple[str, ...] = (*META_KEYS, *settings.meta_keys)
    if item.caption is not None:
        text = sample.captions[item.caption]
        meta[CAPTION_INDEX] = item.caption
        keys = (*META_KEYS, CAPTION_INDEX, *settings.meta_keys)
    whole = canonical_json({key: meta.get(key) for key in keys})
    return Parts(npy, text.encode(), whole.encode(), len(vectors))


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 - twice per sample, and pathlib is slower
        return file.read()


def _write_lists(out: Path, manifest: Manifest, rejects: Sequence[Reject]) -> None:
    """Writes what says that the shards are complete: the manifest comes last."""
    write_if_changed(out / SPLITS_FILE, splits_csv({shard["file"]: shard["split"] for shard in manifest["shards"]}))
    write_if_changed(out / SIZES_FILE, sizes_json({shard["file"]: shard["samples"] for shard in manifest["shards"]}))
    if rejects:
        lines = "".join(canonical_json(reject.to_json()) + "\n" for reject in rejects)
        write_if_changed(out / REJECTS_FILE, lines.encode())
    else:
        (out / REJECTS_FILE).unlink(missing_ok=True)
    write_if_changed(out / MANIFEST_FILE, manifests.manifest_json(manifest))
