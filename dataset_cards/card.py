"""The card: README.md of a dataset, rendered from its files. The same files give the same bytes.

    ---
    license: other
    configs: …
    ---
    # Dataset Card for CLIP-MSRVTT
    ![Map of the Embeddings](assets/map.png)
    - [Dataset Description](#dataset-description)
    …

The template escapes values for Markdown, unless they are `Markdown` already. An undefined name in the template is an
error, not an empty string.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import jinja2
import numpy as np

from builders.card_yaml import card_data, check_front_matter, front_matter
from builders.contents import ASSETS_FOLDER, FIGURES
from builders.features import min_datasets
from builders.loading import LOCAL, snippets
from dataset_cards import markup, results, tables, words
from dataset_cards.card_inputs import REJECTS, CardInputs, spread_rows
from dataset_cards.encoding import encoding_sentence
from dataset_cards.evaluation.features import unit
from dataset_cards.figures import (
    Figure,
    captions_figure,
    classes_figure,
    frames_figure,
    map_figure,
    shorten,
    strip_figure,
)
from dataset_cards.markup import Markdown
from dataset_cards.thumbnails import strip_thumbnails
from dataset_cards.tooltips import write_tooltips
from preprocess.console import human_bytes
from preprocess.errors import UserError
from preprocess.formats.generations import replaced_rows
from preprocess.samples import JSON
from preprocess.storage import file_names, make_folder, remove, write_if_changed

TEMPLATE = "template.md.jinja"
TOC = "<!-- table of contents -->"
MAP_SAMPLES = 3000
"""Number of samples on the map, at most."""


def write_card(inputs: CardInputs) -> Path:
    """Writes README.md and its figures.

    Unchanged files are not written again; figures of an earlier card that this one does not show are removed.

    Raises:
        UserError: The Hub would not accept the front matter (an unknown license or task id, for instance).
    """
    readme = inputs.layout.dataset / "README.md"
    assets = inputs.layout.dataset / ASSETS_FOLDER
    figures = draw(inputs)
    make_folder(assets)
    for figure in figures:
        write_if_changed(assets / figure.name, figure.png)
    for name in set(FIGURES).intersection(file_names(assets)) - {figure.name for figure in figures}:
        remove(assets / name)
    write_tooltips(inputs.layout, figures)
    write_if_changed(readme, render(inputs, figures).encode())
    return readme


def draw(inputs: CardInputs) -> list[Figure]:
    """The figures for which there is enough data, the map first."""
    total, unit = inputs.statistics.total, inputs.manifest["encoder"].get("unit", "frame")
    found: list[Figure | None] = [_map(inputs), None if total.is_images else frames_figure(total, unit)]
    found.append(classes_figure(total) if total.labels else captions_figure(total))
    found.append(None if total.is_images else _strip(inputs))
    return [figure for figure in found if figure is not None]


def _map(inputs: CardInputs) -> Figure | None:
    """The map of the samples; None for fewer than three."""
    directions, labels, texts, titles = [], [], [], []
    for split, (id_, vectors, text, meta) in spread_rows(
        inputs.layout.dataset, inputs.shards, MAP_SAMPLES, replaced_rows(inputs.manifest)
    ):
        if not len(vectors):
            continue
        directions.append(unit(unit(vectors.astype(np.float32)).mean(axis=0)))  # `vectors` would keep its tar open
        labels.append(None if (label := meta.get("label")) is None else str(label))
        texts.append(text)
        titles.append(f"{id_} ({split}): {shorten(text, 120)}")
    if len(directions) < 3:
        return None
    return map_figure(np.stack(directions), labels, texts, titles, inputs.statistics.total.thing)


def _strip(inputs: CardInputs) -> Figure | None:
    """One video over time, by timed captions or else by labels; None without either, or if it is a single row."""
    evaluation = inputs.evaluation or {}
    for task in ("moments", "zero_shot"):
        strip = evaluation.get(task, {}).get("strip")
        if strip and "bounds" in strip and len(strip["timestamps"]) > 1:
            return strip_figure(strip, strip_thumbnails(inputs, strip))
    return None


def render(inputs: CardInputs, figures: Sequence[Figure] = ()) -> str:
    """The whole README.md.

    Raises:
        UserError: As `write_card`.
    """
    body = environment().get_template(TEMPLATE).render(context(inputs, figures))
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    return _front_matter(inputs) + "\n" + body.replace(TOC, markup.table_of_contents(body), 1)


def environment() -> jinja2.Environment:
    """Jinja with strict names; everything is escaped that is not `Markdown`."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    env = jinja2.Environment(  # noqa: S701 - `finalize` escapes for Markdown
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
        "bytes": human_bytes,
        "table": markup.table,
    }
    return env


def context(inputs: CardInputs, figures: Sequence[Figure] = ()) -> JSON:
    """All names that the template uses."""
    manifest, statistics, spec = inputs.manifest, inputs.statistics, inputs.spec
    encoder = manifest["encoder"]
    total, unit = statistics.total, encoder.get("unit", "frame")
    first = inputs.shards[0]
    return {
        "spec": spec,
        "hub_name": inputs.layout.hub_name,
        "toc_mark": Markdown(TOC),
        "encoder": encoder,
        "dim": encoder["dim"],
        "encoding_sentence": encoding_sentence(
            encoder, manifest["preprocessing"], "image" if total.is_images else "frame"
        ),
        "prose": inputs.prose,
        "total": total,
        "shards": inputs.shards,
        "size": sum(shard.bytes for shard in inputs.shards),
        "raw_bytes": inputs.raw_bytes,
        "size_sentence": tables.size_sentence(inputs),
        "statistics_table": tables.statistics_table(total, unit),
        "thing": total.thing,
        "images": total.is_images,
        "unit": unit,
        "sampling_sentence": Markdown("" if total.is_images else words.sampling_rule(manifest["sampling"], unit)),
        "provenance": tables.provenance(inputs),
        "tree": tables.dataset_tree(inputs),
        "instance": {"file": first.file, "split": first.split, "text": words.instance(inputs.instance)},
        "fields": tables.fields(inputs),
        "split_table": tables.split_table(inputs),
        "label_sentence": tables.label_sentence(total),
        "replaced_sentence": tables.replaced_sentence(inputs),
        "gaps_sentence": tables.gaps_sentence(inputs),
        "reject_table": tables.reject_table(inputs),
        "rejects_file": Markdown(f"[`{REJECTS}`]({REJECTS})") if inputs.rejects else None,
        "load": snippets(inputs.repository or f"{LOCAL}{inputs.layout.hub_name}", inputs.shards),
        "min_datasets": min_datasets(statistics.types),
        "sheets": sum(shard.samples for shard in inputs.preview),
        "remotes": tables.remotes(inputs),
        "license_sentence": tables.license_sentence(inputs, any(figure.shows_frames for figure in figures)),
        "first_figure": figures[0] if figures else None,
        "figures": figures[1:],
        "leakage": results.audit(inputs.evaluation or {}),
        "evaluation": results.sections(inputs.evaluation or {}),
        "model": encoder["model"],
        "text_tower": bool({"zero_shot", "retrieval", "moments"} & (inputs.evaluation or {}).keys()),
    }


def tags(encoder: JSON, *, images: bool) -> list[str]:
    """The free tags of the page: format, kind of media, family of the model.

    Args:
        encoder: `encoder` of the manifest; older manifests have no field `family`.
        images: Whether every sample is an image.

    Examples:
        >>> tags({"family": "siglip"}, images=False)
        ['webdataset', 'video', 'siglip', 'embeddings', 'video-embeddings']
    """
    media = "image" if images else "video"
    return ["webdataset", media, encoder.get("family", "clip"), "embeddings", f"{media}-embeddings"]


def _front_matter(inputs: CardInputs) -> str:
    encoder = inputs.manifest["encoder"]
    data = card_data(
        inputs.spec,
        inputs.shards,
        dim=encoder["dim"],
        dtype=encoder["dtype"],
        types=inputs.statistics.types,
        preview=inputs.preview,
        pretty_name=inputs.layout.hub_name,
        tags=tags(encoder, images=inputs.statistics.total.is_images),
    )
    problems: Sequence[str] = check_front_matter(data)
    if problems:
        raise UserError(
            f"the Hub would not accept the card's front matter: {'; '.join(problems)}",
            f"Fix SPEC in preprocess/recipes/{inputs.spec.name}.py.",
        )
    return front_matter(data)
