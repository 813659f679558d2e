"""What a manifest says about a dataset, as a table for the terminal.

CLIP-Shapes: tiny-clip (fp32), float16 (n_frames, 512)

split  inputs  written  missing  rejected  frames  shards     size
train      64       64        0         0     257       1   392 kB
…

Shared by `python -m preprocess report` and `python -m builders stats`.
"""

from __future__ import annotations

from collections import Counter

from preprocess.console import human_bytes, printable, table
from preprocess.formats.generations import replaced_rows
from preprocess.formats.manifest import Manifest
from preprocess.samples import SPLITS

_HEAD = ("split", "inputs", "written", "missing", "rejected", "frames", "shards", "size")


def describe(manifest: Manifest) -> str:
    """Dataset and encoder, one row per split, and the total if there are several."""
    encoder = manifest["encoder"]
    head = [f"{encoder.get('unit', 'frame')}s" if name == "frames" else name for name in _HEAD]
    title = (
        f"{manifest['dataset']}: {encoder.get('model')} ({encoder.get('precision')}), "
        f"{encoder.get('dtype')} (n_frames, {encoder['dim']})"
    )
    counts: dict[str, tuple[int, ...]] = {}
    for split in SPLITS:
        if (s := manifest["splits"].get(split)) is not None:
            sizes = [shard["bytes"] for shard in manifest["shards"] if shard["split"] == split]
            rejected = sum(s["rejected"].values())
            counts[split] = (s["inputs"], s["samples"], s["missing"], rejected, s["frames"], len(sizes), sum(sizes))
    if len(counts) > 1:
        counts["total"] = tuple(map(sum, zip(*counts.values(), strict=True)))
    rows = [(name, *numbers[:-1], human_bytes(numbers[-1])) for name, numbers in counts.items()]
    if generations := manifest.get("generations"):
        title += f"; generations: {len(generations)}, replaced rows: {len(replaced_rows(manifest)):,}"
    return f"{printable(title)}\n\n{table([head, *rows], right=frozenset(range(1, len(_HEAD))))}"


def reasons(manifest: Manifest) -> dict[str, int]:
    """Samples that are in no shard, by reason, over all splits, the most frequent first; `missing` is one of them."""
    counts: Counter[str] = Counter()
    for split in manifest["splits"].values():
        counts.update(split["rejected"])
        counts["missing"] += split["missing"]
    return {reason: count for reason, count in counts.most_common() if count}
