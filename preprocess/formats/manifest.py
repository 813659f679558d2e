"""`manifest.json`: where a dataset comes from, how it was made, and the SHA-256 of every shard.

    {"dataset": "CLIP-MSRVTT", "format_version": 1,
     "encoder": {"model": "openai/clip-vit-base-patch32", "revision": "…", "weights_sha256": "…", "precision": "bf16",
                 "dtype": "float16", "dim": 512, "normalized": false},
     "sampling": {"kind": "fps", "value": 1}, "preprocessing": {…}, "versions": {"av": "18.1.0", …},
     "caption_mode": "first", "order": {"shuffle": true, "seed": 42, "per_shard": 10000},
     "meta_keys": {"key": "string", …, "category": "number"},
     "splits": {"train": {"inputs": 6513, "samples": 6510, "frames": 99120, "missing": 2,
                          "rejected": {"unreadable": 1}}, …},
     "shards": [{"file": "ds_00000.tar", "split": "train", "samples": 6510, "frames": 99120, "bytes": …,
                 "sha256": "…"}, …]}

No clock times and no host paths: the same input gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypedDict, cast

from preprocess.errors import REASONS, DamagedFileError, UserError
from preprocess.formats.shards import SHARD_NAME
from preprocess.formats.triples import CAPTION_INDEX, META_KEYS, OVERRIDABLE_KEYS
from preprocess.samples import CAPTION_MODES, JSON, SPLITS, CaptionMode, Reject, Sample, ShardReport, Split

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION = 1
ENCODING_KEYS = ("encoder", "sampling", "preprocessing", "versions")
"""What is taken over from `processed/encoding.json`."""

_FIXED_TYPES = dict.fromkeys(META_KEYS, "string") | {
    "start_time": "number",
    "end_time": "number",
    "duration": "number",
    "captions": "array",
    "n_frames": "number",
    "timestamps": "array",
    "truncated": "boolean",
}
_REMEDY = "Pack the dataset again."
_SHA256 = re.compile(r"[0-9a-f]{64}")


class SplitCounts(TypedDict):
    """One split. `inputs` = samples that were to be encoded = packed + `missing` + rejected.

    `samples` counts triples in the shards, which are as many as were packed, or more with the caption mode `each`.
    """

    inputs: int
    samples: int
    frames: int
    missing: int
    rejected: dict[str, int]


class ShardEntry(TypedDict):
    """One shard, as `ShardReport`."""

    file: str
    split: Split
    samples: int
    frames: int
    bytes: int
    sha256: str


class Order(TypedDict):
    """How the samples of a split are ordered and cut into tars."""

    shuffle: bool
    seed: int
    per_shard: int


class Manifest(TypedDict):
    """The whole file."""

    dataset: str
    format_version: int
    encoder: JSON
    sampling: JSON
    preprocessing: JSON
    versions: JSON
    caption_mode: CaptionMode
    order: Order
    meta_keys: dict[str, str]
    splits: dict[Split, SplitCounts]
    shards: list[ShardEntry]


# --- writing ----------------------------------------------------------------------------------------------------------


def build(
    *,
    dataset: str,
    encoding: JSON,
    caption_mode: CaptionMode,
    order: Order,
    meta_keys: Mapping[str, str],
    inputs: Mapping[Split, int],
    rejects: Iterable[Reject],
    shards: Sequence[ShardReport],
) -> Manifest:
    """Puts a manifest together.

    Args:
        dataset: Name of the Hub repository without its owner.
        encoding: The content of `processed/encoding.json`; `ENCODING_KEYS` of it are taken over.
        caption_mode: How captions became the `.txt`.
        order: Shuffle, seed, and samples in a full tar.
        meta_keys: What `meta_types` gives.
        inputs: Per split, how many samples were to be encoded.
        rejects: Those that are in no shard.
        shards: In the order of their names.
    """
    reasons = {split: Counter[str]() for split in SPLITS}
    for reject in rejects:
        reasons[reject.split][reject.reason] += 1
    return {
        "dataset": dataset,
        "format_version": FORMAT_VERSION,
        "encoder": encoding["encoder"],
        "sampling": encoding["sampling"],
        "preprocessing": encoding["preprocessing"],
        "versions": encoding["versions"],
        "caption_mode": caption_mode,
        "order": order,
        "meta_keys": dict(meta_keys),
        "splits": {
            split: {
                "inputs": inputs[split],
                "samples": sum(shard.samples for shard in shards if shard.split == split),
                "frames": sum(shard.frames for shard in shards if shard.split == split),
                "missing": reasons[split]["missing"],
                "rejected": {r: reasons[split][r] for r in REASONS if r != "missing" and reasons[split][r]},
            }
            for split in SPLITS
            if inputs.get(split)
        },
        "shards": [cast(ShardEntry, dataclasses.asdict(shard)) for shard in shards],
    }


def meta_types(samples: Iterable[Sample], caption_mode: CaptionMode) -> dict[str, str]:
    """Every key of the `.json` files, in their order, with its JSON type.

    `null` beside another type is not told; `mixed` means several types, `null` that there is never a value.
    """
    seen: dict[str, set[str]] = {}
    count = 0
    times_set: Counter[str] = Counter()
    for sample in samples:
        count += 1
        for key, value in sample.meta.items():
            times_set[key] += 1
            seen.setdefault(key, set()).add(_json_type(value))
    types = {key: {fixed} for key, fixed in _FIXED_TYPES.items()}
    if caption_mode == "each":
        types[CAPTION_INDEX] = {"number"}
    for key in sorted(seen):
        derived = types.get(key, set()) if key in OVERRIDABLE_KEYS and times_set[key] < count else set()
        types[key] = seen[key] | derived
    return {key: _one(kinds - {"null"}) for key, kinds in types.items()}


def _one(kinds: set[str]) -> str:
    return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "null"


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def manifest_json(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`."""
    return (json.dumps(manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


# --- reading ----------------------------------------------------------------------------------------------------------


def read(path: Path) -> Manifest:
    """Reads and validates a `manifest.json`.

    Raises:
        UserError: There is no such file.
        DamagedFileError: As `validate`.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path} is not there", "Pack the dataset first; its manifest is written last.") from None
    except ValueError as error:
        raise DamagedFileError(path, "", f"not JSON ({error})", _REMEDY) from None
    return validate(value, path)


def validate(value: object, name: object = MANIFEST_FILE) -> Manifest:
    """Checks that a manifest has every field, that its names are safe and that its numbers add up.

    Args:
        value: The parsed JSON.
        name: What to call the file in an error.

    Returns:
        The same value. The shards' names are safe to join to a folder: nothing but `ds_<digits>.tar`.

    Raises:
        DamagedFileError: Names the field and its value.
    """

    def need(condition: bool, where: str, expected: str, got: object) -> None:
        if not condition:
            raise DamagedFileError(name, where, f"should be {expected}, is {got!r:.100}", _REMEDY)

    if not isinstance(value, dict):
        raise DamagedFileError(name, "", f"should be an object, is {value!r:.100}", _REMEDY)
    for field in Manifest.__required_keys__:
        need(field in value, field, "there", None)
    need(value["format_version"] == FORMAT_VERSION, "format_version", str(FORMAT_VERSION), value["format_version"])
    need(isinstance(value["dataset"], str), "dataset", "a name", value["dataset"])
    need(value["caption_mode"] in CAPTION_MODES, "caption_mode", f"one of {CAPTION_MODES}", value["caption_mode"])
    for field in (*ENCODING_KEYS, "order", "meta_keys", "splits"):
        need(isinstance(value[field], dict), field, "an object", value[field])
    need(_is_count(value["order"].get("per_shard")), "order.per_shard", "a count", value["order"].get("per_shard"))
    need(_is_count(value["encoder"].get("dim")), "encoder.dim", "a number", value["encoder"].get("dim"))
    need(isinstance(value["shards"], list), "shards", "a list", value["shards"])

    samples: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    files = set()
    for i, shard in enumerate(value["shards"]):
        where = f"shards[{i}]"
        need(isinstance(shard, dict) and shard.keys() >= ShardEntry.__required_keys__, where, "a shard", shard)
        file = shard["file"]
        need(isinstance(file, str) and bool(SHARD_NAME.fullmatch(file)), f"{where}.file", "ds_<digits>.tar", file)
        need(file not in files, f"{where}.file", "unique", file)
        need(shard["split"] in SPLITS, f"{where}.split", f"one of {SPLITS}", shard["split"])
        for field in ("samples", "frames", "bytes"):
            need(_is_count(shard[field]), f"{where}.{field}", "a count", shard[field])
        sha256 = shard["sha256"]
        need(isinstance(sha256, str) and bool(_SHA256.fullmatch(sha256)), f"{where}.sha256", "64 hex digits", sha256)
        files.add(file)
        samples[shard["split"]] += shard["samples"]
        frames[shard["split"]] += shard["frames"]

    for split, counts in value["splits"].items():
        where = f"splits.{split}"
        need(split in SPLITS, where, f"one of {SPLITS}", split)
        need(isinstance(counts, dict) and counts.keys() >= SplitCounts.__required_keys__, where, "counts", counts)
        rejected = counts["rejected"]
        need(
            isinstance(rejected, dict) and rejected.keys() <= set(REASONS) and all(map(_is_count, rejected.values())),
            f"{where}.rejected",
            "a count per reason",
            rejected,
        )
        for field in ("inputs", "samples", "frames", "missing"):
            need(_is_count(counts[field]), f"{where}.{field}", "a count", counts[field])
        need(counts["samples"] == samples[split], f"{where}.samples", f"{samples[split]} (shards)", counts["samples"])
        need(counts["frames"] == frames[split], f"{where}.frames", f"{frames[split]} (shards)", counts["frames"])
        packed = counts["inputs"] - counts["missing"] - sum(rejected.values())
        adds_up = 0 <= packed <= samples[split] if value["caption_mode"] == "each" else packed == samples[split]
        need(adds_up, f"{where}.inputs", "samples + missing + rejected", counts["inputs"])
    need(samples.keys() <= value["splits"].keys(), "splits", f"all of {sorted(samples)}", list(value["splits"]))
    return cast(Manifest, value)


def _is_count(value: object) -> bool:
    return type(value) is int and value >= 0
