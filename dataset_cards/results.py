"""`evaluation.json` as sections of the card: title, method, and a table that includes chance level.

| split | samples | scored by | top-1 | top-5 | mean |
| test | 16 | frames | 93.8% | 100.0% | 96.9% |
| | | chance | 4.2% | 20.8% | 12.5% |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dataset_cards import markup, words
from dataset_cards.evaluation.linear_probe import MAX_ITER, C
from dataset_cards.evaluation.moment_retrieval import RECALL_AT, RECALL_IOU
from dataset_cards.markup import Markdown, Table
from preprocess import console
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
    """The leakage audit: method, counts, and the most similar pairs."""

    text: Markdown
    table: Table
    worst: Table


def sections(evaluation: JSON) -> list[Section]:
    """One section per evaluation that was run, in the order of the card."""
    makers: dict[str, Callable[[JSON, JSON], Section]] = {
        "zero_shot": zero_shot,
        "linear_probe": linear_probe,
        "retrieval": retrieval,
        "moments": moments,
    }
    return [make(evaluation[name], evaluation) for name, make in makers.items() if name in evaluation]


def zero_shot(result: JSON, evaluation: JSON) -> Section:
    """Top-1 and top-5 per split, by frames and pooled."""
    rows, thing = f"{_unit(evaluation)}s", _thing(evaluation)
    settings = evaluation["settings"]
    prompts = settings.get("image_templates" if thing == "image" else "templates", settings["templates"])
    table: Table = [("split", "samples", "scored by", "top-1", "top-5", "mean")]
    for split, numbers in result["splits"].items():
        for name, way in {"frame": rows, "pooled": _vector(evaluation)}.items():
            if thing == "image" and name == "frame":
                continue  # one row per image: both are the same
            table.append((split, numbers["samples"], way, *_accuracy(numbers[name])))
    table.append(("", "", "chance", *_accuracy(_chance(result["classes"]))))
    text = (
        f"Each of the {words.count(result['classes'], 'label')} is inserted into {words.count(len(prompts), 'prompt')} "
        f"(such as {markup.code(prompts[len(prompts) > 1])}) and encoded by the text tower. "
    )
    if thing == "image":
        text += "The label with the highest cosine similarity is the predicted one. "
    else:
        text += (
            f"*{rows.capitalize()}*: {_scores(result, _unit(evaluation))}, averaged over the {rows}. *Mean vector*: "
            f"the cosine similarity to the mean of the L2-normalized vectors of all {rows}. "
        )
    text = Markdown(text + "*Mean*: the mean of top-1 and top-5.")
    return Section("Zero-shot Evaluation", text, table)


def _scores(result: JSON, unit: str) -> str:
    """How cosine similarities became probabilities."""
    scale = f"at the model's own scale ({words.number(result['scale'])})"
    if result.get("probabilities", "softmax") == "softmax":
        return f"the softmax over labels of each {unit} {scale}"
    return f"the sigmoid of each {unit} and label {scale} and bias ({words.number(result.get('bias', 0.0))})"


def linear_probe(result: JSON, evaluation: JSON) -> Section:
    """Top-1 and top-5 per split."""
    table: Table = [("split", "samples", "top-1", "top-5", "mean")]
    table += [(split, n["samples"], *_accuracy(n)) for split, n in result["splits"].items()]
    table.append(("chance", "", *_accuracy(_chance(result["classes"]))))
    text = Markdown(
        f"Multinomial logistic regression (C = {C}, at most {MAX_ITER:,} iterations, seed "
        f"{evaluation['settings']['seed']}) on the {_vector(evaluation)} of each {_thing(evaluation)}, trained on "
        f"{words.count(result['train_samples'], 'sample')} of the train split with "
        f"{words.count(result['classes'], 'class', 'classes')}."
    )
    return Section("Linear-probe Evaluation", text, table)


def retrieval(result: JSON, evaluation: JSON) -> Section:
    """Recall and ranks per split, in both directions."""
    thing = _thing(evaluation)
    at = map(Markdown, ("R@1", "R@5", "R@10"))
    chance = Markdown("chance R@1")
    table: Table = [("split", "direction", "queries", "candidates", *at, "median rank", "mean rank", chance)]
    for split, n in result["splits"].items():
        for name, way, queries in (
            ("text_to_video", f"text to {thing}", n["captions"]),
            ("video_to_text", f"{thing} to text", n["videos"]),
        ):
            found = n[name]
            ranks = [Markdown(words.number(round(found[k], 1))) for k in ("median_rank", "mean_rank")]
            recalls = [_percent(found[f"R@{k}"]) for k in (1, 5, 10)]
            table.append((split, way, queries, n["videos"], *recalls, *ranks, _percent(1 / n["videos"])))
    text = Markdown(
        f"The candidates of a split are ranked by the cosine similarity of the caption's vector and the vector of the "
        f"{thing}{'' if thing == 'image' else f': the mean of the L2-normalized vectors of its {_unit(evaluation)}s'}. "
        f"Each caption is a separate query. From {thing} to text, the best-ranked caption of the {thing} counts. Tied "
        "candidates share their mean rank."
    )
    return Section("Retrieval", text, table)


def moments(result: JSON, evaluation: JSON) -> Section:
    """Recalls and mAP per split, next to those of random moments."""
    names = [(n, iou) for n in RECALL_AT for iou in map(str, RECALL_IOU)]
    table: Table = [("split", "queries", "videos", "from", *(Markdown(f"R@{n}, IoU {iou}") for n, iou in names), "mAP")]
    for split, found in result["splits"].items():
        for who, of in (("scores", found), ("chance", found["chance"])):
            recalls = [_percent(of[f"R@{n}"][iou]) for n, iou in names]
            first = (split, found["queries"], found["videos"]) if who == "scores" else ("", "", "")
            table.append((*first, who, *recalls, _percent(of["mAP"])))
    text = Markdown(
        "Each timed caption is searched for in its own video, without training: consecutive rows whose cosine "
        "similarity with the caption exceeds the background level of the video form a moment with a start and an end. "
        "*R@n, IoU m*: one of the first n moments overlaps the annotated one with an intersection over union of at "
        "least m. *mAP*: as defined by QVHighlights, over IoU 0.5 to 0.95. *Chance*: moments with random start and end."
    )
    return Section("Moment Retrieval", text, table)


def audit(evaluation: JSON) -> Audit | None:
    """The leakage audit; None if it was not run."""
    if "leakage" not in evaluation:
        return None
    result = evaluation["leakage"]
    pairs, thing = result["pairs"], _thing(evaluation)
    table: Table = [("split", "compared with", f"{thing}s", "near-duplicates", "median nearest-neighbor similarity")]
    for pair in pairs:
        count = pair["near_duplicates"]
        table.append((pair["split"], pair["other"], pair["videos"], count, _cosine(pair["median_similarity"])))
    found = [(pair, one) for pair in pairs for one in pair["worst"]]
    worst: Table = [(thing, "split", "nearest neighbor", "split", "cosine")]
    for pair, one in sorted(found, key=lambda f: -f[1]["similarity"])[:PAIRS_SHOWN]:
        mine, other = _named(one["key"], one["caption"]), _named(one["other_key"], one["other_caption"])
        worst.append((mine, pair["split"], other, pair["other"], _cosine(one["similarity"])))
    text = Markdown(
        f"The nearest neighbor of each {thing} in another split, by the cosine similarity of their "
        f"{_vector(evaluation)}s. Pairs with a cosine similarity of at least "
        f"{words.number(result['near_duplicate'])} count as near-duplicates: the same {thing}, a copy, or {thing}s "
        "that the model does not distinguish. The median shows how similar the nearest neighbor of a typical "
        f"{thing} is."
    )
    return Audit(text, table, worst if len(worst) > 1 else [])


def summary(name: str, evaluation: JSON) -> str:
    """The tables as plain text for the terminal.

    Args:
        name: The dataset.
        evaluation: Content of `evaluation.json`.
    """
    tables = [(section.title, section.table) for section in sections(evaluation)]
    if (found := audit(evaluation)) is not None:
        tables.append(("Near-duplicates across Splits", found.table))
    parts = []
    for title, table in tables:
        cells = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in table]
        parts.append(f"{title}\n{console.table(cells, markup.numeric_columns(cells))}")
    skipped = [f"{task} is skipped: {reason}" for task, reason in evaluation.get("skipped", {}).items()]
    return "\n\n".join([f"{name}, with {evaluation['model']}", *parts, *(["\n".join(skipped)] if skipped else [])])


def _thing(evaluation: JSON) -> str:
    """What a sample was made from; `video` in evaluations without this field."""
    return str(evaluation.get("thing", "video"))


def _vector(evaluation: JSON) -> str:
    """What stands for a sample: an image has one row, which is its own mean."""
    return "vector" if _thing(evaluation) == "image" else "mean vector"


def _unit(evaluation: JSON) -> str:
    """What a row encodes: a frame or a clip."""
    return str(evaluation.get("unit", "frame"))


def _chance(classes: int) -> JSON:
    top1, top5 = 1 / classes, min(5, classes) / classes
    return {"top1": top1, "top5": top5, "mean": (top1 + top5) / 2}


def _accuracy(numbers: JSON) -> tuple[Markdown, ...]:
    return tuple(_percent(numbers[name]) for name in ("top1", "top5", "mean"))


def _percent(share: float) -> Markdown:
    return Markdown(f"{100 * share:.1f}%")


def _cosine(value: float) -> Markdown:
    return Markdown(f"{value:.4f}")


def _named(key: str, caption: str) -> Markdown:
    """A key and its caption."""
    short = caption if len(caption) <= CAPTION_WIDTH else caption[:CAPTION_WIDTH] + "…"
    return Markdown(f"{markup.cell(key)} {markup.md(short)}".strip())
