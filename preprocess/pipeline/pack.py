"""Packing: the processed dataset becomes shards, `splits.csv`, `sizes.json`, `rejects.jsonl` and `manifest.json`.

Shards that are complete already are kept; see `preprocess.pipeline.pack_shard`. An append leaves all shards as they
are and writes what is new or has changed into further ones; see `preprocess.pipeline.append`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from preprocess.errors import UnknownNameError, UserError
from preprocess.formats import manifest as manifests
from preprocess.formats.layout import REJECTS_FILE, Layout, json_bytes, note_report
from preprocess.formats.manifest import MANIFEST_FILE, Manifest, Order
from preprocess.formats.preview import remove_preview
from preprocess.formats.processed import Processed
from preprocess.formats.shards import PER_SHARD, SEED, SHARD_NAME
from preprocess.formats.splits import SIZES_FILE, SPLITS_FILE, sizes_json, splits_csv
from preprocess.formats.triples import CLIP_KEYS, own_meta_keys
from preprocess.pipeline.append import Appended, add_generation, plan_generation
from preprocess.pipeline.base import base_of, check_settings, compare_base, own_keys, packed_order
from preprocess.pipeline.encode_output import listed_samples, read_encoding, sort_out
from preprocess.pipeline.pack_plan import Job, Jobs, PackItems, PackSettings, plan_jobs
from preprocess.pipeline.pack_shard import kept_shards, pack_shard
from preprocess.pipeline.replay import plan_replay
from preprocess.runtime.options import ONE_WORKER, RunOptions
from preprocess.runtime.protocol import Watch
from preprocess.runtime.runner import Task, run_items
from preprocess.samples import (
    CAPTION_MODES,
    SPLITS,
    CaptionMode,
    DatasetSpec,
    Reject,
    ShardReport,
    Split,
    canonical_json,
)
from preprocess.storage import (
    file_names,
    make_folder,
    remove,
    remove_temporary,
    write_if_changed,
)


@dataclass(frozen=True, slots=True)
class PackReport:
    """What packing did.

    Attributes:
        manifest: The manifest it ended with.
        written: Shards written now.
        kept: Shards kept from earlier.
        seconds: Wall time.
        appended: What was added, if it was an append.
    """

    manifest: Manifest
    written: int
    kept: int
    seconds: float
    appended: Appended | None = None


def pack_dataset(
    layout: Layout,
    spec: DatasetSpec,
    *,
    caption_mode: str | None = None,
    per_shard: int = PER_SHARD,
    seed: int = SEED,
    shuffle: bool = True,
    append: bool | None = None,
    like: Layout | None = None,
    run: RunOptions = ONE_WORKER,
) -> PackReport:
    """Packs what encoding left in the work folder into the folder of the dataset, ready to push.

    Captions, label and the recipe's metadata are taken from `samples.jsonl`, what was measured from the triples; so
    another caption mode needs no encoding. The bytes depend neither on `run` nor on interruptions.

    Args:
        layout: Paths of the dataset; other files in the dataset's folder are left alone.
        spec: Gives the caption mode where none is named.
        caption_mode: How several captions become one text: `first`, `concat`, `join` or `each`. None for that of the
            dataset that is appended to, else of the spec.
        per_shard: Samples per tar.
        seed: Seed of the order inside a split.
        shuffle: Whether to mix a split, or to keep it in the order of its keys.
        append: Whether to keep the shards that were packed before, and to write new and changed samples into further
            ones. None if the output was appended to before. An output that was never packed is packed as a whole.
        like: Another output of the dataset that was appended to. An output that is packed for the first time gets its
            tars, ids and generations if it has the same samples; see `preprocess.pipeline.replay`.
        run: Worker processes (one local one is this process), or where else shards are packed, one a task.

    Raises:
        SettingsError: Something is to be appended to a dataset of other settings.
        UserError: Samples are neither encoded nor rejected, none is encoded, or a file is damaged.
    """
    started = time.perf_counter()
    encoding = read_encoding(layout.encoding)
    samples = listed_samples(layout.samples)
    packed, places, rejects = sort_out(samples, layout)
    clips = encoding["encoder"].get("unit") == "clip"
    meta_keys = (*(CLIP_KEYS if clips else ()), *own_meta_keys(samples))
    before = base_of(layout, append)
    mode = _known(caption_mode or (before["caption_mode"] if before else spec.caption_mode))
    order: Order = {"shuffle": shuffle, "seed": seed, "per_shard": per_shard}
    types = manifests.meta_types(samples, mode, clips=clips)
    if before:
        shared = {name: encoding[name] for name in ("encoder", "sampling", "preprocessing")}
        check_settings(before, {**shared, "caption_mode": mode, "order": order}, meta_keys)
        meta_keys, types = own_keys(before), manifests.merge_types(before["meta_keys"], types)
    settings = PackSettings(
        processed=Processed(layout.processed),
        states=layout.work / "shards",
        out=layout.dataset,
        caption_mode=mode,
        meta_keys=meta_keys,
        dim=encoding["encoder"]["dim"],
        dtype=encoding["encoder"]["dtype"],
    )
    items = PackItems(packed, places, mode)
    for folder in (settings.out, settings.states):
        make_folder(folder)
        remove_temporary(folder)
    base = compare_base(before, settings, items) if before else None
    first = append is not False and packed_order(layout) is None
    replay = plan_replay(like, settings, items, order) if like and first else None
    added = replay.jobs if replay else [plan_generation(base, items, order) if base else plan_jobs(items, **order)]
    jobs = Jobs(items, [tar for generation in added for tar in generation.tars])

    reports = kept_shards(settings, jobs)
    todo = jobs.only(frozenset(tar.file for tar in jobs.tars) - reports.keys())
    old = base.reports if base else []
    planned = {report.file for report in old} | {tar.file for tar in jobs.tars}
    _clear(layout, settings, None if base or replay else order, planned, bool(todo), before)
    kept = len(old) + len(reports)
    for report in _run(settings, todo, run):
        reports[report.file] = report

    if base:  # a sample that has a row is in the dataset, even if its file cannot be read any more
        there = base.keys
        rejects = [reject for reject in rejects if reject.key not in there]
    manifest = manifests.build(
        dataset=layout.hub_name,
        encoding=encoding if before is None else {**encoding, "versions": before["versions"]},
        caption_mode=mode,
        order=order,
        meta_keys=types,
        inputs=_inputs(before, added, rejects),
        rejects=rejects,
        shards=[*old, *(reports[tar.file] for tar in jobs.tars)],
    )
    if replay:
        manifest["generations"] = replay.generations
    appended = add_generation(manifest, base, jobs, encoding["versions"], items) if base else None
    _write_lists(settings.out, manifest, rejects)
    for path in (layout.base_manifest, layout.order):
        remove(path)
    result = PackReport(manifest, len(todo), kept, round(time.perf_counter() - started, 3), appended)
    if todo:
        note_report(layout, "shards", {"written": result.written, "kept": result.kept, "seconds": result.seconds})
    return result


def _inputs(before: Manifest | None, added: Sequence[Jobs], rejects: Sequence[Reject]) -> Counter[Split]:
    """Samples of each split that were to be encoded: those of the dataset before, those that are added, the rejects.

    A sample counts once in each generation that has rows of it.
    """
    inputs = Counter(reject.split for reject in rejects)
    for split, counts in before["splits"].items() if before else ():
        inputs[split] += counts["inputs"] - counts["missing"] - sum(counts["rejected"].values())
    for jobs in added:
        for split in SPLITS:
            inputs[split] += jobs.samples(split)
    return inputs


def _known(mode: str) -> CaptionMode:
    for known in CAPTION_MODES:
        if mode == known:
            return known
    raise UnknownNameError("caption mode", mode, CAPTION_MODES)


def _clear(
    layout: Layout, settings: PackSettings, order: Order | None, planned: set[str], changes: bool, base: Manifest | None
) -> None:
    """Removes the lists and the preview if they are about to be wrong, then tars and states of an earlier plan.

    The manifest of the base is written elsewhere first, else the order (None: that of the output that is replayed): an
    interrupted run is continued from it.
    """
    stale = [name for name in file_names(settings.out) if SHARD_NAME.fullmatch(name) and name not in planned]
    if order and (changes or stale):
        write_if_changed(layout.order, json_bytes({**order}))
    if base is None:
        remove(layout.base_manifest)
    if changes or stale:
        if base is not None:
            write_if_changed(layout.base_manifest, manifests.manifest_json(base))
        for name in (MANIFEST_FILE, SIZES_FILE, SPLITS_FILE):
            remove(settings.out / name)
        remove_preview(settings.out)
    for name in stale:
        remove(settings.out / name)
    for name in file_names(settings.states):
        if name.endswith(".tar.json") and name.removesuffix(".json") not in planned:
            remove(settings.states / name)


def _run(settings: PackSettings, jobs: Sequence[Job], run: RunOptions) -> Iterator[ShardReport]:
    """Packs the shards, one a task, in this process or in others; yields reports as they come.

    A shard that cannot be packed does not keep the others from being finished.

    Raises:
        UserError: Of the first shard that cannot be packed, after all others.
    """
    failed: list[Packed] = []
    for done in run_items(
        jobs,
        PackJobs(settings),
        run.for_tars(),
        per_task=1,
        description="pack",
        unit=" shards",
        counted="samples",
        direct=True,
    ):
        if isinstance(done, Reject):
            raise UserError(
                f"a packing process died twice on {done.key}: {done.message}",
                "Run the same command again, with fewer workers if it happens again: finished shards are kept.",
            )
        if isinstance(done.result, ShardReport):
            yield done.result
        else:
            failed.append(done)
    for folder in (settings.out, settings.states):
        remove_temporary(folder)  # of workers that were killed
    for done in sorted(failed, key=lambda one: one.key):
        assert isinstance(done.result, UserError)
        raise done.result


@dataclass(frozen=True, slots=True)
class Packed:
    """A shard that is written, or why it cannot be; its key is the name of the tar."""

    key: str
    result: ShardReport | UserError

    @property
    def samples(self) -> int:
        """For the progress bar."""
        return self.result.samples if isinstance(self.result, ShardReport) else 0


@dataclass(frozen=True, slots=True)
class PackJobs:
    """What a packing worker runs."""

    settings: PackSettings

    def __call__(self, task: Task[Job], watch: Watch) -> Iterator[Packed]:
        """Yields a report for each shard; a full disk ends the run."""
        for job in task.items:
            watch(job.key)
            try:
                result: ShardReport | UserError = pack_shard(self.settings, job)
            except UserError as error:
                result = error
            watch(None)
            yield Packed(job.key, result)


def _write_lists(out: Path, manifest: Manifest, rejects: Sequence[Reject]) -> None:
    """Writes the lists of shards; the manifest comes last and marks the dataset as complete."""
    write_if_changed(out / SPLITS_FILE, splits_csv({shard["file"]: shard["split"] for shard in manifest["shards"]}))
    write_if_changed(out / SIZES_FILE, sizes_json({shard["file"]: shard["samples"] for shard in manifest["shards"]}))
    if rejects:
        lines = "".join(canonical_json(reject.published()) + "\n" for reject in rejects)
        write_if_changed(out / REJECTS_FILE, lines.encode())
    else:
        remove(out / REJECTS_FILE)
    write_if_changed(out / MANIFEST_FILE, manifests.manifest_json(manifest))
