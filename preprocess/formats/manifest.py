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

A dataset that was appended to also has `generations`; see `preprocess.formats.generations`. No clock times and no host
paths: the same input gives the same bytes.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal, cast

from typing_extensions import TypedDict  # pydantic needs this one before Python 3.12

from preprocess.errors import REASONS, DamagedFileError, Reason, UserError
from preprocess.formats.generations import HasGenerations, wrong_generations
from preprocess.formats.splits import TarName
from preprocess.formats.triples import CAPTION_INDEX, CLIP_KEYS, META_KEYS, OVERRIDABLE_KEYS
from preprocess.samples import JSON, SPLITS, CaptionMode, Reject, Sample, ShardReport, Split
from preprocess.validation import Count, Must, own_file, parse_json, read_regular

MANIFEST_FILE = "manifest.json"
FORMAT_VERSION: Final = 1
ENCODING_KEYS = ("encoder", "sampling", "preprocessing", "versions")
"""Fields taken from `processed/encoding.json`."""

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


def _names_vectors(encoder: JSON) -> bool:
    dim = encoder.get("dim")
    return type(dim) is int and 0 <= dim < 2**31 and encoder.get("dtype") in ("float16", "float32")


class SplitCounts(TypedDict):
    """One split. `inputs` = samples that were to be encoded = packed + `missing` + rejected.

    `samples` counts triples in the shards, which are as many as were packed, or more with the caption mode `each`.
    """

    inputs: Count
    samples: Count
    frames: Count
    missing: Count
    rejected: dict[Reason, Count]


class ShardEntry(TypedDict):
    """One shard, as `ShardReport`."""

    file: TarName
    split: Split
    samples: Count
    frames: Count
    bytes: Count
    sha256: Annotated[str, Must(re.compile(r"[0-9a-f]{64}").fullmatch, "64 hexadecimal digits")]


class Order(TypedDict):
    """How the samples of a split are ordered and cut into tars."""

    shuffle: bool
    seed: int
    per_shard: Count


class OptionalFields(HasGenerations, total=False):
    """What some manifests have: what was appended, and where the samples of a filtered dataset were taken from."""

    filtered_from: JSON


class Manifest(OptionalFields):
    """The whole file."""

    dataset: str
    format_version: Literal[1]  # FORMAT_VERSION
    encoder: Annotated[JSON, Must(_names_vectors, "an object with a dim and a dtype, float16 or float32")]
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


def meta_types(samples: Iterable[Sample], caption_mode: CaptionMode, *, clips: bool = False) -> dict[str, str]:
    """Every key of the `.json` files, in their order, with its JSON type.

    `null` beside another type is not shown; `mixed` means several types, `null` that there is never a value. `clips`
    says that the encoder encodes clips of frames, which adds `CLIP_KEYS`.
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
    if clips:
        types |= dict(zip(CLIP_KEYS, ({"array"}, {"number"}), strict=True))
    for key in sorted(seen):
        derived = types.get(key, set()) if key in OVERRIDABLE_KEYS and times_set[key] < count else set()
        types[key] = seen[key] | derived
    return {key: _one(kinds - {"null"}) for key, kinds in types.items()}


def merge_types(before: Mapping[str, str], now: Mapping[str, str]) -> dict[str, str]:
    """`meta_types` of two lists of samples as that of both, with the keys of the first."""
    return {key: _one({kind, now.get(key, "null")} - {"null"}) for key, kind in before.items()}


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
        UserError: The file does not exist.
        DamagedFileError: As `validate`.
    """
    return validate(_load(path), path)


def read_appended(path: Path) -> Manifest | None:
    """As `read`, where the dataset was appended to; None, without validation, where it was packed at once."""
    value = _load(path)
    return None if isinstance(value, dict) and "generations" not in value else validate(value, path)


def _load(path: Path) -> object:
    try:
        data = read_regular(path, _REMEDY)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist", "Pack the dataset first; its manifest is written last.") from None
    try:
        return parse_json(data)
    except ValueError as error:
        raise DamagedFileError(path, "", f"not JSON ({error})", _REMEDY) from None


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
    manifest = own_file(value, Manifest, name, _REMEDY)
    for where, problem in (*_repeated_files(manifest), *_wrong_sums(manifest), *_wrong_generations(manifest)):
        raise DamagedFileError(name, where, problem, _REMEDY)
    return cast(Manifest, value)


def _wrong_generations(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """As `generations.wrong_generations`; nothing where the dataset was packed at once."""
    if "generations" not in manifest:
        return iter(())
    each = manifest["caption_mode"] == "each"
    return wrong_generations(manifest["generations"], manifest["shards"], one_to_one=not each)


def _repeated_files(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Place and problem of every shard whose name is that of an earlier one."""
    seen: set[str] = set()
    for i, shard in enumerate(manifest["shards"]):
        if shard["file"] in seen:
            yield f"shards[{i}].file", f"{shard['file']!r} is listed twice"
        seen.add(shard["file"])


def _wrong_sums(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Place and problem of every count that does not follow from the shards and the other counts."""
    totals = {split: Counter[str]() for split in SPLITS}
    for shard in manifest["shards"]:
        totals[shard["split"]].update(samples=shard["samples"], frames=shard["frames"])
    for split, counts in manifest["splits"].items():
        samples, frames = totals[split]["samples"], totals[split]["frames"]
        if counts["samples"] != samples:
            yield f"splits.{split}.samples", f"should be {samples} (sum of the shards), is {counts['samples']}"
        if counts["frames"] != frames:
            yield f"splits.{split}.frames", f"should be {frames} (sum of the shards), is {counts['frames']}"
        packed = counts["inputs"] - counts["missing"] - sum(counts["rejected"].values())
        each = manifest["caption_mode"] == "each"
        if not (0 <= packed <= samples if each else packed == samples):
            yield f"splits.{split}.inputs", f"should be samples + missing + rejected, is {counts['inputs']}"
    for split in SPLITS:
        if totals[split]["samples"] and split not in manifest["splits"]:
            yield "splits", f"should list {split!r}, which has shards"
