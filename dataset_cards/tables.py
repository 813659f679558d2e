"""The computed parts of a card: tables, sentences with counts, the tree of files.

split_table(inputs)    [("split", "on the Hub", "samples", …), ("train", "train", 6510, …), …]
gaps_sentence(inputs)  "3 of 6,513 samples (0.046%) could not be used."
"""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any

from numpy.typing import NDArray

from builders.card_yaml import HUB_SPLITS
from builders.contents import ASSETS_FOLDER
from dataset_cards import markup, words
from dataset_cards.card_inputs import REJECTS, CardInputs, rows
from dataset_cards.markup import Markdown, Table
from dataset_cards.statistics import SplitStatistics, summary
from preprocess.console import human_bytes
from preprocess.errors import REASONS
from preprocess.formats.generations import replaced_rows
from preprocess.formats.preview import PREVIEW_FOLDER
from preprocess.samples import SPLITS, Split, canonical_json

SHARDS_SHOWN = 3


def statistics_table(total: SplitStatistics, unit: str = "frame") -> Table:
    """Five numbers of each distribution: rows and seconds (not of images), captions and words.

    Args:
        total: All splits together.
        unit: What a row encodes, a frame or a clip.
    """
    found: dict[str, NDArray[Any]] = {
        "captions per sample": total.captions_per_sample,
        "words per caption": total.words,
    }
    if not total.is_images:
        found = {
            f"{unit}s per sample": total.frames_per_sample,
            "seconds per sample": total.known_durations_s,
            **found,
        }
    table: Table = [("", "minimum", "median", "mean", "95th percentile", "maximum")]
    for name, values in found.items():
        if five := summary(values):
            table.append((name, *map(words.number, dataclasses.astuple(five))))
    return table


def size_sentence(inputs: CardInputs) -> Markdown:
    """The size of the embeddings compared with that of the source files; empty if the latter is unknown."""
    if not inputs.raw_bytes:
        return Markdown()
    size = sum(shard.bytes for shard in inputs.shards)
    factor = words.times(max(size / inputs.raw_bytes, inputs.raw_bytes / size))
    relation = f"{factor} the size of" if size >= inputs.raw_bytes else f"{factor} smaller than"
    return Markdown(
        f"The source files take {human_bytes(inputs.raw_bytes)}; the embeddings are {relation} the "
        f"{inputs.statistics.total.thing}s."
    )


def provenance(inputs: CardInputs) -> Table:
    """How the vectors were computed, one setting per row; the checksum of all shards comes last."""
    manifest = inputs.manifest
    parts = {"encoder": manifest["encoder"], "sampling": manifest["sampling"]}
    if inputs.statistics.total.is_images:
        del parts["sampling"]
    parts |= {"preprocessing": manifest["preprocessing"], "version of": manifest["versions"]}
    flat = {f"{part} {name.replace('_', ' ')}": value for part, of in parts.items() for name, value in of.items()}
    for name, value in inputs.manifest.get("filtered_from", {}).items():
        flat[f"filtered from {name}"] = value
    flat["shards sha256"] = inputs.sha256
    lines = [(name, markup.cell(_shown(value))) for name, value in flat.items() if value is not None]
    return [("setting", "value"), *lines]


def remotes(inputs: CardInputs) -> Table:
    """Addresses of the raw files; empty if the recipe has none."""
    lines = [(markup.cell(remote.path), markup.web_link(remote.url)) for remote in inputs.spec.remotes]
    return [("file", "source"), *lines] if lines else []


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return (
            " × ".join(map(_shown, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(_shown, value))
        )
    return value if isinstance(value, str) else canonical_json(value)


def dataset_tree(inputs: CardInputs) -> str:
    """The files in the folder; if there are many tars, the first ones and the last."""
    shards = list(inputs.shards)
    shown = shards if len(shards) <= SHARDS_SHOWN + 1 else [*shards[: SHARDS_SHOWN - 1], None, shards[-1]]
    entries: list[tuple[str, list[str]]] = []
    for i, shard in enumerate(shown):
        if shard is None:
            entries.append(("…", []))
        else:
            ids = [row[0] for row in islice(rows(inputs.layout.dataset / shard.file), 2 if i == 0 else 1)]
            entries.append((shard.file, ids))
    rejects = [REJECTS] if inputs.rejects else []
    folders = [f"{name}/" for name in (ASSETS_FOLDER, PREVIEW_FOLDER) if (inputs.layout.dataset / name).is_dir()]
    others = ["README.md", "splits.csv", "sizes.json", "manifest.json", *rejects, *folders]
    return words.tree(inputs.layout.hub_name, entries, others)


def fields(inputs: CardInputs) -> Table:
    """Name, type and meaning of everything in a sample; types as they occur in the samples."""
    encoder, images = inputs.manifest["encoder"], inputs.statistics.total.is_images
    text = words.text_meaning(inputs.manifest["caption_mode"])
    own = [(f"json.{name}", str(kind), words.field_meaning(name)) for name, kind in inputs.statistics.types.items()]
    lines = [
        (
            "npy",
            f"{encoder['dtype']} ({'1' if images else 'n_frames'}, {encoder['dim']})",
            "the embedding of the image" if images else f"the embeddings, one row per {encoder.get('unit', 'frame')}",
        ),
        ("txt", "string", text),
        *own,
    ]
    return [
        ("field", "type", "meaning"),
        *((markup.cell(name), kind, Markdown(meaning)) for name, kind, meaning in lines),
    ]


def split_table(inputs: CardInputs) -> Table:
    """One row per split that has samples in the shards, or missing or rejected ones."""
    images, unit = inputs.statistics.total.is_images, inputs.manifest["encoder"].get("unit", "frame")
    counted = ("samples",) if images else ("samples", f"{unit}s")
    table: Table = [("split", "name on the Hub", *counted, "tars", "missing", "rejected")]
    for split in SPLITS:
        mine = inputs.statistics.splits.get(split)
        lost = lost_in(inputs, split)
        if mine or lost:
            tars = sum(shard.split == split for shard in inputs.shards)
            rejected = sum(n for reason, n in lost.items() if reason != "missing")
            counts = ((mine.samples, mine.frames) if mine else (0, 0))[: len(counted)]
            table.append((split, HUB_SPLITS[split], *counts, tars, lost.get("missing", 0), rejected))
    return table


def lost_in(inputs: CardInputs, split: Split) -> dict[str, int]:
    """Samples of a split that are not in the shards, by reason; `missing` comes first."""
    counts = inputs.manifest["splits"].get(split)
    lost = {"missing": counts["missing"], **counts["rejected"]} if counts else {}
    return {reason: n for reason, n in lost.items() if n}


def reject_table(inputs: CardInputs) -> Table:
    """One row per reason, one column per split; empty if every sample is in the shards."""
    lost = {split: counts for split in SPLITS if (counts := lost_in(inputs, split))}
    lines = [
        (reason.replace("_", " "), *(counts.get(reason, 0) for counts in lost.values()))
        for reason in REASONS
        if any(reason in counts for counts in lost.values())
    ]
    return [("reason", *lost), *lines] if lines else []


def gaps_sentence(inputs: CardInputs) -> Markdown:
    """How many of the annotated samples are in the dataset."""
    lost = sum(sum(lost_in(inputs, split).values()) for split in SPLITS)
    replaced = len(replaced_rows(inputs.manifest))
    annotated = sum(counts["inputs"] for counts in inputs.manifest["splits"].values()) - replaced
    total = inputs.statistics.total
    if replaced and inputs.manifest["caption_mode"] == "each":  # replaced rows are not as many samples
        sentence = f"{words.count(lost, 'sample')} could not be used." if lost else "No sample is missing."
    elif lost:
        sentence = f"{lost:,} of {words.count(annotated, 'sample')} ({100 * lost / annotated:.2g}%) could not be used."
    else:
        sentence = f"No sample is missing: all {annotated:,} annotated samples are included."
    if total.truncated:
        verb = "comes from a truncated file" if total.truncated == 1 else "come from truncated files"
        sentence += f" {words.count(total.truncated, 'sample')} {verb}; the part that could be decoded is embedded."
    return Markdown(sentence)


def replaced_sentence(inputs: CardInputs) -> Markdown:
    """How many rows a later append replaced; empty if there are none."""
    replaced = len(replaced_rows(inputs.manifest))
    if not replaced:
        return Markdown()
    samples = inputs.statistics.total.samples
    rows = words.count(replaced, "row is", "rows are")
    return Markdown(
        f"{rows} replaced by a later one of the same sample, which leaves {samples - replaced:,} of {samples:,} rows "
        "current: the sample changed after it was first packed. The evaluation in this card leaves replaced rows out."
    )


def label_sentence(total: SplitStatistics) -> Markdown:
    """The number and sizes of the classes; empty if there are none."""
    if not total.labels:
        return Markdown()
    counts = sorted(total.labels.values())
    spread = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    unlabeled = total.samples - sum(counts)
    rest = f"; {words.count(unlabeled, 'sample has', 'samples have')} no label" if unlabeled else ""
    samples = "sample" if counts[-1] == 1 else "samples"
    return Markdown(f"{words.count(len(counts), 'class', 'classes')} with {spread} {samples} each{rest}.")


def license_sentence(inputs: CardInputs, frames_in_figures: bool = False) -> Markdown:
    """What the license of the source means for the use of the embeddings.

    Args:
        inputs: Of the card.
        frames_in_figures: Whether a figure shows frames of the source.
    """
    spec = inputs.spec
    at = Markdown(f" (see {markup.web_link(spec.homepage)})") if spec.homepage else ""
    if spec.license in ("other", "unknown"):
        terms = f"The source has no license that the Hub has an id for; its own terms apply{at}."
    else:
        terms = f"The source is published under {markup.code(spec.license)}{at}."
    thing = inputs.statistics.total.thing
    places = ["on the contact sheets in `preview`"] * bool(inputs.preview) + ["in the figures"] * frames_in_figures
    shown = f", except for the frames {' and '.join(places)}" if places else ""
    return Markdown(
        f"{terms} The embeddings, captions and labels are derived from it, so those terms still apply to them. "
        f"The {thing}s themselves are not part of this dataset{shown}."
    )
