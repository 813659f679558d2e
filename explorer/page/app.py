"""The controls of the page: tabs, search box, filters. What they show is rendered by `explorer.page.views`."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from explorer.models import MAX_IMAGE_BYTES, QueryModel
from explorer.page.views import MAP_POINTS, Views
from preprocess.errors import UserError

if TYPE_CHECKING:
    import gradio

ALL = "all"
MOST_LABELS = 2000
"""With more labels than this the filter is a text box."""

HEAD = '<link rel="stylesheet" href="static/page.css"><script src="static/page.js" defer></script>'


def build_blocks(views: Views, models: QueryModel) -> gradio.Blocks:
    """The page as Gradio blocks.

    Args:
        views: Renders results of one dataset.
        models: Encodes queries.
    """
    import gradio as gr

    index, turns = views.index, count()
    labels = sorted({str(label) for label in index.columns["label"] if label is not None})
    splits = [split for split in ("train", "val", "test") if (index.columns["split"] == split).any()]
    name = index.manifest["dataset"]

    def search(text: str, image: str | None, split: str, label: str | None, k: float) -> str:
        """The content below the search box: results, or one line that says why there are none."""
        try:
            query = models.image(Path(image)) if image else models.text(text or "")
            hits = views.searcher.find(
                query,
                int(k),
                split=None if split in (ALL, None) else split,
                label=None if label in (ALL, None, "") else label,
            )
            html = views.hits(query, hits)
        except UserError as error:
            html = views.message(str(error))
        # The number makes equal answers differ: the script may have put other results in between.
        return f'<div class="own-results" data-turn="{next(turns)}">{html}</div>'

    blocks: gradio.Blocks
    with gr.Blocks(title=f"Explorer: {name}", analytics_enabled=False, fill_width=True) as blocks:
        gr.HTML(
            views.render("heading", name=name, samples=len(index), rows=len(index.vectors)),
            elem_id="heading",
            apply_default_css=False,
        )
        with gr.Tabs():
            with gr.Tab("Search"):
                with gr.Row(equal_height=True):
                    text = gr.Textbox(
                        show_label=False,
                        placeholder="Describe a moment, then press Enter",
                        elem_id="query",
                        scale=6,
                        autofocus=True,
                        max_lines=1,
                    )
                    button = gr.Button("Search", variant="primary", scale=1, min_width=90)
                with gr.Accordion("Filters and search by image", open=False), gr.Row():
                    split = gr.Dropdown([ALL, *splits], value=ALL, label="Split", min_width=120)
                    label: Any = (
                        gr.Dropdown([ALL, *labels], value=ALL, label="Label", min_width=160, visible=bool(labels))
                        if len(labels) <= MOST_LABELS
                        else gr.Textbox(label="Label", min_width=160)
                    )
                    k = gr.Slider(4, 60, value=12, step=4, label="Videos", min_width=160)
                    image = gr.File(label="Image", file_types=["image"], type="filepath", min_width=160, height=140)
                start = views.message(
                    "Type a sentence: the best moments of the dataset appear here. Press / to come back."
                )
                results = gr.HTML(f'<div class="own-results">{start}</div>', elem_id="results", apply_default_css=False)
                fields = [text, image, split, label, k]
                gr.on([text.submit, button.click, image.upload], search, fields, results, api_name="search")
            with gr.Tab("Map"):
                filled = int(np.count_nonzero(np.diff(index.first_rows)))
                gr.HTML(views.render("map", points=min(filled, MAP_POINTS)), apply_default_css=False)
            with gr.Tab("Near-duplicates"):
                with gr.Row(equal_height=True):
                    threshold = gr.Slider(0.8, 1.0, value=0.98, step=0.005, label="Cosine of at least")
                    find = gr.Button("Find pairs", scale=0, min_width=150)
                pairs = gr.HTML(apply_default_css=False)
                find.click(views.pairs, threshold, pairs, api_visibility="private")
            with gr.Tab("Selection"):
                shown = {"source": shown_source(index.source), "example": f"{name}-selection"}
                gr.HTML(views.render("selection", writable=views.writable, **shown), apply_default_css=False)
    return blocks


def shown_source(source: str) -> str:
    """The dataset's name as shown on a page that others see: no absolute path of this machine."""
    return source if "://" in source or not Path(source).is_absolute() else f"data/{Path(source).name}"


def appearance() -> dict[str, Any]:
    """Theme, styles and script: fonts of the system, nothing from other servers, light or dark as the system is."""
    import gradio as gr

    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    return {"theme": theme, "head": HEAD, "max_file_size": MAX_IMAGE_BYTES}
