"""The parts of a card: its tables, its sentences of counted things, the tree of its files.

split_table(facts)    [("split", "on the Hub", "samples", …), ("train", "train", 6510, …), …]
gaps_sentence(facts)  "3 of 6,513 samples (0.046 %) could not be used."
"""

from __future__ import annotations

import dataclasses
from itertools import islice
from typing import Any

from builders.card_yaml import HUB_SPLITS
from dataset_cards import markup, words
from dataset_cards.facts import REJECTS, Facts, rows
from dataset_cards.markup import Markdown, Table
from dataset_cards.statistics import SplitStatistics, summary
from preprocess.errors import REASONS
from preprocess.samples import SPLITS, Split, canonical_json

ASSETS = "assets"
SHARDS_SHOWN = 3


def statistics_table(total: SplitStatistics) -> Table:
    """Frames, seconds, captions and words, five numbers each."""
    found = {
        "frames per sample": total.frames_per_sample,
        "seconds per sample": total.known_durations_s,
        "captions per sample": total.captions_per_sample,
        "words per caption": total.words,
    }
    table: Table = [("", "minimum", "median", "mean", "95 %", "maximum")]
    for name, values in found.items():
        if five := summary(values):
            table.append((name, *map(words.number, dataclasses.astuple(five))))
    return table


def provenance(facts: Facts) -> Table:
    """What made the vectors, line by line; the checksum of all shards last."""
    manifest = facts.manifest
    parts = {"encoder": manifest["encoder"], "sampling": manifest["sampling"]}
    parts |= {"preprocessing": manifest["preprocessing"], "version of": manifest["versions"]}
    flat = {f"{part} {name.replace('_', ' ')}": value for part, of in parts.items() for name, value in of.items()}
    flat["shards sha256"] = facts.sha256
    lines = [(name, markup.cell(_shown(value))) for name, value in flat.items() if value is not None]
    return [("setting", "value"), *lines]


def remotes(facts: Facts) -> Table:
    """Where the raw files come from; empty where the recipe names none."""
    lines = [(markup.cell(remote.path), markup.web_link(remote.url)) for remote in facts.spec.remotes]
    return [("file", "from"), *lines] if lines else []


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return (
            " × ".join(map(_shown, value)) if all(isinstance(v, int) for v in value) else ", ".join(map(_shown, value))
        )
    return value if isinstance(value, str) else canonical_json(value)


def dataset_tree(facts: Facts) -> str:
    """The files in the folder; of many tars the first ones and the last."""
    shards = list(facts.shards)
    shown = shards if len(shards) <= SHARDS_SHOWN + 1 else [*shards[: SHARDS_SHOWN - 1], None, shards[-1]]
    entries: list[tuple[str, list[str]]] = []
    for i, shard in enumerate(shown):
        if shard is None:
            entries.append(("…", []))
        else:
            ids = [row[0] for row in islice(rows(facts.layout.dataset / shard.file), 2 if i == 0 else 1)]
            entries.append((shard.file, ids))
    rejects = [REJECTS] if facts.rejects else []
    folders = [f"{name}/" for name in (ASSETS, "preview") if (facts.layout.dataset / name).is_dir()]
    others = ["README.md", "splits.csv", "sizes.json", "manifest.json", *rejects, *folders]
    return words.tree(facts.layout.hub_name, entries, others)


def fields(facts: Facts) -> Table:
    """Name, type and meaning of everything in a sample; types as they occur, in all samples."""
    encoder = facts.manifest["encoder"]
    text = words.text_meaning(facts.manifest["caption_mode"])
    own = [(f"json.{name}", kind, words.field_meaning(name)) for name, kind in facts.statistics.fields.items()]
    lines = [
        ("npy", f"{encoder['dtype']} (n_frames, {encoder['dim']})", "the embeddings, one row per frame"),
        ("txt", "string", text),
        *own,
    ]
    return [
        ("field", "type", "meaning"),
        *((markup.cell(name), kind, Markdown(meaning)) for name, kind, meaning in lines),
    ]


def split_table(facts: Facts) -> Table:
    """One row per split that has samples or lost some."""
    table: Table = [("split", "on the Hub", "samples", "frames", "tars", "missing", "rejected")]
    for split in SPLITS:
        mine = facts.statistics.splits.get(split)
        lost = lost_in(facts, split)
        if mine or lost:
            tars = sum(shard.split == split for shard in facts.shards)
            rejected = sum(n for reason, n in lost.items() if reason != "missing")
            counts = (mine.samples, mine.frames) if mine else (0, 0)
            table.append((split, HUB_SPLITS[split], *counts, tars, lost.get("missing", 0), rejected))
    return table


def lost_in(facts: Facts, split: Split) -> dict[str, int]:
    """Samples of a split that are not in the shards, by reason; `missing` is the first of them."""
    counts = facts.manifest["splits"].get(split)
    lost = {"missing": counts["missing"], **counts["rejected"]} if counts else {}
    return {reason: n for reason, n in lost.items() if n}


def reject_table(facts: Facts) -> Table:
    """Reasons down, splits across; empty where nothing was lost."""
    lost = {split: counts for split in SPLITS if (counts := lost_in(facts, split))}
    lines = [
        (reason.replace("_", " "), *(counts.get(reason, 0) for counts in lost.values()))
        for reason in REASONS
        if any(reason in counts for counts in lost.values())
    ]
    return [("reason", *lost), *lines] if lines else []


def gaps_sentence(facts: Facts) -> Markdown:
    """How many of the annotated samples are here."""
    lost = sum(sum(lost_in(facts, split).values()) for split in SPLITS)
    inputs = sum(counts["inputs"] for counts in facts.manifest["splits"].values())
    total = facts.statistics.total
    if lost:
        sentence = f"{lost:,} of {words.count(inputs, 'sample')} ({100 * lost / inputs:.2g} %) could not be used."
    else:
        sentence = f"Nothing is left out: {words.count(inputs, 'sample')} went in, and all are here."
    if total.truncated:
        verb = "comes from a file" if total.truncated == 1 else "come from files"
        sentence += f" {words.count(total.truncated, 'sample')} {verb} that broke off: what was there is embedded."
    return Markdown(sentence)


def label_sentence(total: SplitStatistics) -> Markdown:
    """How many classes there are and how even they are; empty where there are none."""
    if not total.labels:
        return Markdown()
    counts = sorted(total.labels.values())
    spread = f"{counts[0]:,}" if counts[0] == counts[-1] else f"{counts[0]:,} to {counts[-1]:,}"
    unlabelled = total.samples - sum(counts)
    rest = f"; {words.count(unlabelled, 'sample has', 'samples have')} no label" if unlabelled else ""
    return Markdown(f"{words.count(len(counts), 'class', 'classes')} with {spread} samples each{rest}.")


def licence_sentence(facts: Facts) -> Markdown:
    """What the licence of the source means for whoever uses the embeddings."""
    spec = facts.spec
    at = Markdown(f" (see {markup.web_link(spec.homepage)})") if spec.homepage else ""
    if spec.license in ("other", "unknown"):
        terms = f"The source has no licence that the Hub has a name for; its own terms hold{at}."
    else:
        terms = f"The source is published under {markup.code(spec.license)}{at}."
    shown = ", but for the frames on the contact sheets in `preview`" if facts.preview else ""
    return Markdown(
        f"{terms} The embeddings, captions and labels are derived from it, so those terms go on to hold for whoever "
        f"uses them. The videos and images themselves are not part of this dataset{shown}."
    )
