"""`evaluation.json` as sections of the card: title, what was done, a table with chance beside the numbers.

| split | samples | scored by | top-1 | top-5 | mean |
| test | 16 | frames | 93.8 % | 100.0 % | 96.9 % |
| | | chance | 4.2 % | 20.8 % | 12.5 % |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataset_cards import markup, words
from dataset_cards.evaluation.linear_probe import MAX_ITER, C
from dataset_cards.markup import Markdown, Table
from preprocess.samples import JSON

CAPTION_WIDTH = 60
PAIRS_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Section:
    """One evaluation, ready for the page."""

    title: str
    text: Markdown
    table: Table


@dataclass(frozen=True, slots=True)
class Audit:
    """The leakage audit: what was compared, how much was found, and the most similar pairs."""

    text: Markdown
    table: Table
    worst: Table


def sections(evaluation: JSON) -> list[Section]:
    """The sections of what was run, in the order of the card; what was not run has none."""
    makers: dict[str, Callable[[JSON, JSON], Section]] = {
        "zero_shot": zero_shot,
        "linear_probe": linear_probe,
        "retrieval": retrieval,
    }
    return [make(evaluation[name], evaluation) for name, make in makers.items() if name in evaluation]


def zero_shot(result: JSON, evaluation: JSON) -> Section:
    """Top-1 and top-5 per split, by frames and pooled."""
    prompts = evaluation["settings"]["templates"]
    table: Table = [("split", "samples", "scored by", "top-1", "top-5", "mean")]
    for split, numbers in result["splits"].items():
        for name, way in {"frame": "frames", "pooled": "mean vector"}.items():
            table.append((split, numbers["samples"], way, *_accuracy(numbers[name])))
    table.append(("", "", "chance", *_accuracy(_chance(result["classes"]))))
    text = Markdown(
        f"Each of the {words.count(result['classes'], 'label')} is put into {words.count(len(prompts), 'prompt')} "
        f"(such as {markup.code(prompts[len(prompts) > 1])}) and encoded by the text tower. *Frames*: the softmax over "
        f"labels of each frame at the model's own scale ({words.number(result['scale'])}), averaged over the frames. "
        "*Mean vector*: the cosine of the mean of the frames' directions. *Mean* is that of top-1 and top-5."
    )
    return Section("Zero-shot Evaluation", text, table)


def linear_probe(result: JSON, evaluation: JSON) -> Section:
    """Top-1 and top-5 per split."""
    table: Table = [("split", "samples", "top-1", "top-5", "mean")]
    table += [(split, n["samples"], *_accuracy(n)) for split, n in result["splits"].items()]
    table.append(("chance", "", *_accuracy(_chance(result["classes"]))))
    text = Markdown(
        f"Multinomial logistic regression (C = {C}, at most {MAX_ITER:,} iterations, seed "
        f"{evaluation['settings']['seed']}) on the mean vector of each video, learnt on "
        f"{words.count(result['train_samples'], 'sample')} of train with "
        f"{words.count(result['classes'], 'class', 'classes')}."
    )
    return Section("Linear-probe Evaluation", text, table)


def retrieval(result: JSON, evaluation: JSON) -> Section:
    """Recalls and ranks per split, both ways."""
    at = map(Markdown, ("R@1", "R@5", "R@10"))
    chance = Markdown("R@1 by chance")
    table: Table = [("split", "from", "queries", "candidates", *at, "median rank", "mean rank", chance)]
    for split, n in result["splits"].items():
        for name, way, queries in (
            ("text_to_video", "text to video", n["captions"]),
            ("video_to_text", "video to text", n["videos"]),
        ):
            found = n[name]
            ranks = [Markdown(words.number(round(found[k], 1))) for k in ("median_rank", "mean_rank")]
            recalls = [_percent(found[f"R@{k}"]) for k in (1, 5, 10)]
            table.append((split, way, queries, n["videos"], *recalls, *ranks, _percent(1 / n["videos"])))
    text = Markdown(
        "Videos and captions of a split are sorted by the cosine of the caption and the mean of the frames' "
        "directions. Each caption is a query of its own; of several captions of one video the best speaks for it. "
        "Equal scores share their place."
    )
    return Section("Retrieval", text, table)


def audit(evaluation: JSON) -> Audit | None:
    """The leakage audit, where it was run."""
    if "leakage" not in evaluation:
        return None
    result = evaluation["leakage"]
    pairs = result["pairs"]
    table: Table = [("videos of", "compared with", "videos", "near-duplicates", "median similarity")]
    for pair in pairs:
        count = pair["near_duplicates"]
        table.append((pair["split"], pair["other"], pair["videos"], count, _cosine(pair["median_similarity"])))
    found = [(pair, one) for pair in pairs for one in pair["worst"]]
    worst: Table = [("video", "of", "its neighbour", "of", "similarity")]
    for pair, one in sorted(found, key=lambda f: -f[1]["similarity"])[:PAIRS_SHOWN]:
        mine, other = _named(one["key"], one["caption"]), _named(one["other_key"], one["other_caption"])
        worst.append((mine, pair["split"], other, pair["other"], _cosine(one["similarity"])))
    text = Markdown(
        "For each video its nearest neighbour in another split, by the cosine of their mean directions. From "
        f"{words.number(result['near_duplicate'])} on two videos count as near-duplicates: the same video, a copy, or "
        "what the model does not tell apart. The median says how near the neighbour of any video is."
    )
    return Audit(text, table, worst if len(worst) > 1 else [])


def _chance(classes: int) -> JSON:
    top1, top5 = 1 / classes, min(5, classes) / classes
    return {"top1": top1, "top5": top5, "mean": (top1 + top5) / 2}


def _accuracy(numbers: JSON) -> tuple[Markdown, ...]:
    return tuple(_percent(numbers[name]) for name in ("top1", "top5", "mean"))


def _percent(share: float) -> Markdown:
    return Markdown(f"{100 * share:.1f} %")


def _cosine(value: float) -> Markdown:
    return Markdown(f"{value:.4f}")


def _named(key: str, caption: str) -> Markdown:
    """A key, and the caption behind it unless it says the same."""
    short = caption if len(caption) <= CAPTION_WIDTH else caption[:CAPTION_WIDTH] + "…"
    return Markdown(f"{markup.cell(key)} {markup.md(short)}".strip())
