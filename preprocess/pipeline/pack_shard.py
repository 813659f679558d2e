"""Writing one shard, and the note beside it that says what it was made from.

A note is in `work/<hub_name>/shards/ds_00000.tar.json`:

    {"digest": "5f0c…", "stamp": [113551360, 1753190000000000000],
     "report": {"file": "ds_00000.tar", "split": "train", "samples": 10000, "frames": 99120, "bytes": 113551360,
                "sha256": "9b1d…"}}

`digest` covers everything the tar is made from: ids, samples, settings, size and modification time of the triples'
files (or their checksums, in parts). A shard with the same digest and an untouched tar is neither read nor written.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from preprocess.errors import DamagedFileError, SettingsError
from preprocess.formats import members
from preprocess.formats.shards import TripleBytes, write_shard
from preprocess.formats.triples import CAPTION_INDEX, META_KEYS, caption_text, npy_array, parse_json, triple_meta
from preprocess.pipeline.pack_plan import Item, Job, Jobs, PackSettings, job_digest
from preprocess.samples import ShardReport, canonical_json
from preprocess.storage import Stamp, file_names, fingerprint, fingerprints, read_ranges, remove, write_atomic

_ENCODE_AGAIN = "Delete it and run encode again."


def kept_shards(settings: PackSettings, jobs: Jobs) -> dict[str, ShardReport]:
    """The reports of the shards that need not be packed again, by file name."""
    tars, noted = fingerprints(settings.out), frozenset(file_names(settings.states))
    numbers = [i for i, tar in enumerate(jobs.tars) if tar.file in tars and f"{tar.file}.json" in noted]
    states = read_ranges([(state_file(settings, jobs.tars[number].file), 0, None) for number in numbers])
    kept = {}
    for number, state in zip(numbers, states, strict=True):
        file, note = jobs.tars[number].file, parse_note(state)
        if note and note.stamp == tars[file] and note.digest == job_digest(settings, jobs[number]):
            kept[file] = note.report
    return kept


class Note(NamedTuple):
    """What is known of a tar that was packed or compared here; see the module."""

    digest: str
    stamp: Stamp
    report: ShardReport


def parse_note(data: bytes) -> Note | None:
    """A note from its bytes; None where it is torn, or of an older version."""
    try:
        state = json.loads(data)
        return Note(state["digest"], tuple(state["stamp"]), ShardReport(**state["report"]))
    except (ValueError, TypeError, KeyError):
        return None


def write_note(settings: PackSettings, digest: str, report: ShardReport) -> None:
    """Notes what the tar of a report, as it is now, is made from."""
    note = {
        "digest": digest,
        "stamp": fingerprint(settings.out / report.file),
        "report": dataclasses.asdict(report),
    }
    write_atomic(state_file(settings, report.file), canonical_json(note).encode())


def state_file(settings: PackSettings, file: str) -> Path:
    """Where the note of a shard is."""
    return settings.states / f"{file}.json"


def pack_shard(settings: PackSettings, job: Job) -> ShardReport:
    """Writes one tar, then the note that it is written. Run twice, it gives the same bytes."""
    remove(state_file(settings, job.shard.file))  # first: a note must never outlive the tar that it is about
    stored = settings.processed.read(job.shard.split, [item.place for item in job.items])
    parts = (triple_parts(settings, item, data) for item, data in zip(job.items, stored, strict=True))
    report = write_shard(settings.out, job.shard, parts)
    write_note(settings, job_digest(settings, job), report)
    return report


def triple_parts(settings: PackSettings, item: Item, stored: Mapping[str, bytes]) -> TripleBytes:
    """Makes of a triple what goes into a tar: text and metadata from the sample, all else as stored.

    Args:
        stored: Bytes of the members, by extension, as `Processed.read` gives them.

    Raises:
        DamagedFileError: The triple is not what encoding writes.
        SettingsError: It was made with another model, or of another part of the video than the sample now says.
    """
    sample = item.sample
    names = {e: settings.processed.describe(sample.split, item.place, e) for e in members.extensions()}
    npy_file, json_file, npy = names["npy"], names["json"], stored["npy"]
    vectors = npy_array(npy, npy_file)
    if vectors.shape[1:] != (settings.dim,) or vectors.dtype != settings.dtype or not vectors.flags.c_contiguous:
        raise SettingsError(
            f"{npy_file} is {vectors.dtype} {vectors.shape}, encoding.json says {settings.dtype} (T, {settings.dim})",
            _ENCODE_AGAIN,
        )
    old = parse_json(stored["json"], json_file)
    try:
        clips = old.get("spans"), old.get("padded_frames", 0)
        meta = triple_meta(sample, len(vectors), old["timestamps"], old["duration"], old["truncated"], *clips)
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
    more = members.MEMBERS[3:]
    for member in more:
        member.read(stored[member.extension], names[member.extension])
    extra = tuple(stored[member.extension] for member in more)
    return TripleBytes(npy, text.encode(), whole.encode(), len(vectors), extra)
