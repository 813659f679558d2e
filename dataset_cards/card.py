"""The card: README.md of a dataset, rendered from what its files say. The same files give the same bytes.

    ---
    license: other
    configs: …
    ---
    # Dataset Card for CLIP-MSRVTT
    ## Table of Contents
    - [Dataset Description](#dataset-description)
    …

Values are escaped for Markdown where the template puts them in, unless they are `Markdown` already; a name that the
template does not find is an error, never an empty place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from builders.card_yaml import HUB_SPLITS, card_data, check_front_matter, front_matter
from dataset_cards import markup, parts, results, words
from dataset_cards.evaluation.features import unit
from dataset_cards.facts import REJECTS, Facts, spread_rows
from dataset_cards.figures import (
    MAP_SAMPLES,
    NAMES,
    Figure,
    captions_figure,
    classes_figure,
    frames_figure,
    map_figure,
    strip_figure,
)
from dataset_cards.loading import snippets
from dataset_cards.markup import Markdown
from preprocess.errors import UserError
from preprocess.formats.atomic import write_if_changed
from preprocess.samples import JSON, SPLITS

TEMPLATE = "template.md.jinja"
TOC = "<!-- table of contents -->"


def write_card(facts: Facts) -> Path:
    """Writes README.md and its figures.

    Nothing that is unchanged is touched, and files of an earlier card that it no longer shows are removed.

    Raises:
        UserError: The front matter is not what the Hub takes (an unknown licence or task id, for instance).
    """
    readme = facts.layout.dataset / "README.md"
    assets = facts.layout.dataset / parts.ASSETS
    figures = draw(facts)
    assets.mkdir(exist_ok=True)
    for figure in figures:
        write_if_changed(assets / figure.name, figure.png)
    for name in set(NAMES) - {figure.name for figure in figures}:
        assets.joinpath(name).unlink(missing_ok=True)
    write_if_changed(readme, render(facts, figures).encode())
    return readme


def draw(facts: Facts) -> list[Figure]:
    """The figures that the data are enough for."""
    total = facts.statistics.total
    figures = [frames_figure(total), classes_figure(total) if total.labels else captions_figure(total)]
    spread = list(spread_rows(facts.layout.dataset, facts.shards, MAP_SAMPLES))
    spread = [(split, row) for split, row in spread if len(row[1])]
    if len(spread) >= 3:
        directions = np.stack([unit(unit(row[1].astype(np.float32)).mean(axis=0)) for _, row in spread])
        labels = [row[3].get("label") for _, row in spread]
        figures.append(map_figure(directions, [split for split, _ in spread], labels))
    if strip := (facts.evaluation or {}).get("zero_shot", {}).get("strip"):
        figures.append(strip_figure(strip))
    return figures


def render(facts: Facts, figures: Sequence[Figure] = ()) -> str:
    """The whole README.md.

    Raises:
        UserError: As `write_card`.
    """
    body = environment().get_template(TEMPLATE).render(context(facts, figures))
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    return _front_matter(facts) + "\n" + body.replace(TOC, markup.table_of_contents(body), 1)


def environment() -> jinja2.Environment:
    """Jinja with this project's rules: nothing undefined, everything escaped that is not `Markdown`."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(  # noqa: S701 - what is escaped here is Markdown, by `finalize`
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=markup.shown,
    )
    env.filters |= {
        "code": markup.code,
        "web_link": markup.web_link,
        "block": lambda text, language="": markup.fence(text, language),
        "bytes": words.size,
        "table": markup.table,
    }
    return env


def context(facts: Facts, figures: Sequence[Figure] = ()) -> JSON:
    """All names that the template knows."""
    manifest, statistics, spec = facts.manifest, facts.statistics, facts.spec
    encoder = manifest["encoder"]
    total = statistics.total
    hub_splits = [HUB_SPLITS[split] for split in SPLITS if split in statistics.splits]
    first = facts.shards[0]
    return {
        "spec": spec,
        "hub_name": facts.layout.hub_name,
        "toc_mark": Markdown(TOC),
        "encoder": encoder,
        "dim": encoder["dim"],
        "preprocessing": manifest["preprocessing"],
        "prose": facts.prose,
        "total": total,
        "shards": facts.shards,
        "size": sum(shard.bytes for shard in facts.shards),
        "raw_bytes": facts.raw_bytes,
        "statistics_table": parts.statistics_table(total),
        "sampling_sentence": Markdown(words.sampling_rule(manifest["sampling"])),
        "provenance": parts.provenance(facts),
        "tree": parts.dataset_tree(facts),
        "instance": {"file": first.file, "split": first.split, "text": words.instance(facts.instance)},
        "fields": parts.fields(facts),
        "split_table": parts.split_table(facts),
        "label_sentence": parts.label_sentence(total),
        "gaps_sentence": parts.gaps_sentence(facts),
        "reject_table": parts.reject_table(facts),
        "rejects_file": Markdown(f"[`{REJECTS}`]({REJECTS})") if facts.rejects else None,
        "load": snippets(facts.layout.hub_name, facts.repository, facts.shards, hub_splits),
        "sheets": sum(shard.samples for shard in facts.preview),
        "remotes": parts.remotes(facts),
        "licence_sentence": parts.licence_sentence(facts),
        "figures": figures,
        "leakage": results.audit(facts.evaluation or {}),
        "evaluation": results.sections(facts.evaluation or {}),
        "model": encoder["model"],
    }


def _front_matter(facts: Facts) -> str:
    encoder = facts.manifest["encoder"]
    data = card_data(
        facts.spec,
        facts.shards,
        dim=encoder["dim"],
        dtype=encoder["dtype"],
        preview=facts.preview,
        pretty_name=facts.layout.hub_name,
    )
    problems: Sequence[str] = check_front_matter(data)
    if problems:
        raise UserError(
            f"the card's front matter would be refused: {'; '.join(problems)}",
            f"Mend SPEC in preprocess/recipes/{facts.spec.name}.py.",
        )
    return front_matter(data)
