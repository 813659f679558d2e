"""What a manifest says of a dataset, as a table for people.

CLIP-Shapes: tiny-clip, float16 (n_frames, 512)
split  samples  frames  missing  rejected  tars  MB
train       64     768        0         0     1   2
…
"""

from __future__ import annotations

from collections.abc import Sequence

from preprocess.console import table
from preprocess.formats.manifest import Manifest
from preprocess.samples import SPLITS

_HEAD = ("split", "samples", "frames", "missing", "rejected", "tars", "MB")


def describe(manifest: Manifest) -> str:
    """Dataset, encoder, and a line per split and for all of them."""
    encoder = manifest["encoder"]
    lines = [_line(manifest, [split], split) for split in SPLITS if split in manifest["splits"]]
    if len(lines) > 1:
        lines.append(_line(manifest, list(manifest["splits"]), "all"))
    title = f"{manifest['dataset']}: {encoder.get('model')}, {encoder.get('dtype')} (n_frames, {encoder['dim']})"
    return f"{title}\n{table([_HEAD, *lines], right=frozenset(range(1, len(_HEAD))))}"


def _line(manifest: Manifest, splits: Sequence[str], name: str) -> tuple[object, ...]:
    counts = [of_split for split, of_split in manifest["splits"].items() if split in splits]
    shards = [shard for shard in manifest["shards"] if shard["split"] in splits]
    return (
        name,
        sum(of_split["samples"] for of_split in counts),
        sum(of_split["frames"] for of_split in counts),
        sum(of_split["missing"] for of_split in counts),
        sum(sum(of_split["rejected"].values()) for of_split in counts),
        len(shards),
        round(sum(shard["bytes"] for shard in shards) / 1e6),
    )
