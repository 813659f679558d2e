"""A card as a web page, to view before it is pushed: `data/work/<hub_name>/page.html`, with all figures inside.

It resembles the page on the Hub, in light and dark; headings have the same anchors. Contact sheets follow the card.
"""

from __future__ import annotations

import base64
import html
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from dataset_cards.markup import headings
from dataset_cards.tooltips import STYLE, overlay, read_tooltips
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.formats.preview import preview_tars
from preprocess.formats.tar import iter_members
from preprocess.storage import write_if_changed

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE = "page.html"
SHEETS_SHOWN = 12

_STYLE = (
    """\
:root { color-scheme: light dark; --ground: #fff; --text: #1f2937; --soft: #f3f4f6; --line: #e5e7eb; --link: #2563eb; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0b0f19; --text: #d1d5db; --soft: #151c2b; --line: #2b3446; --link: #7aa5ff; }
}
body { background: var(--ground); color: var(--text); max-width: 56rem; margin: 2rem auto; padding: 0 1.5rem;
  font: 16px/1.6 "Source Sans 3", "Source Sans Pro", system-ui, sans-serif; overflow-wrap: break-word; }
h1, h2, h3 { line-height: 1.25; margin: 2em 0 .6em; } h2 { border-bottom: 1px solid var(--line); }
a { color: var(--link); } img { max-width: 100%; }
p > img, .points { min-width: 34rem; } p:has(> img, > .points) { overflow-x: auto; }
code { background: var(--soft); padding: .1em .3em; border-radius: 4px; font-size: .875em; }
pre { background: var(--soft); padding: 1em; border-radius: 8px; overflow-x: auto; } pre code { padding: 0; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9em; overflow-wrap: normal; }
th, td { border: 1px solid var(--line); padding: .3em .7em; }
td code { overflow-wrap: anywhere; } td:first-child code { white-space: nowrap; overflow-wrap: normal; }
th[style*="right"], td[style*="right"] { white-space: nowrap; }
.sheets { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(24rem, 100%), 1fr)); gap: 1.5em; }
figure { margin: 0; } figcaption { font-size: .9em; }
"""
    + STYLE
)


def write_page(layout: Layout) -> Path:
    """Renders README.md and the contact sheets.

    Raises:
        UserError: The card does not exist yet, or the renderer is not installed.
    """
    readme = layout.dataset / "README.md"
    if not readme.is_file():
        raise UserError(f"{readme} does not exist", "Write the card first: make card DATASET=…")
    page = layout.work / PAGE
    layout.work.mkdir(parents=True, exist_ok=True)
    text = render_page(readme.read_text(encoding="utf-8"), layout.dataset, page.parent, read_tooltips(layout))
    write_if_changed(page, text.encode())
    return page


def render_page(
    readme: str, folder: Path, page_folder: Path, points: Mapping[str, Sequence[Sequence[Any]]] = MappingProxyType({})
) -> str:
    """The card as HTML.

    Args:
        readme: The whole README.md.
        folder: The dataset's; its figures are embedded in the page, links to other files lead there.
        page_folder: Where the page will be.
        points: Points of the figures with a text each, as in `tooltips`.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise UserError("markdown-it-py is not installed", "Run: pip install -r requirements.txt") from error

    front, body = split_front_matter(readme)
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(body)
    titles = [token for token in tokens if token.type == "heading_open"]
    for token, heading in zip(titles, headings(body), strict=True):
        token.attrSet("id", heading.anchor)
    to_folder = os.path.relpath(folder, page_folder)
    for token in tokens:
        for child in token.children or []:
            _point_link(child, to_folder)

    def image(html_renderer: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:
        name = _embed(tokens[index], folder)
        shown = str(html_renderer.image(tokens, index, options, env))
        return overlay(shown, points[name]) if name in points else shown

    renderer.add_render_rule("image", image)
    content = str(renderer.renderer.render(tokens, renderer.options, {}))
    title = html.escape(headings(body)[0].text)
    meta = f"<details><summary>Front matter</summary><pre><code>{html.escape(front)}</code></pre></details>"
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>\n'
        f"<style>\n{_STYLE}</style></head>\n<body>\n{meta}\n{content}{''.join(_sheets(folder))}</body>\n</html>\n"
    )


def split_front_matter(readme: str) -> tuple[str, str]:
    """The YAML between the first two `---`, and what follows; no YAML if the page does not begin with `---`."""
    if not readme.startswith("---\n") or "\n---\n" not in readme[4:]:
        return "", readme
    front, _, body = readme[4:].partition("\n---\n")
    return front, body


def can_open() -> bool:
    """Whether there is a screen to open a page on."""
    return sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _sheets(folder: Path) -> Iterator[str]:
    """The first contact sheets of each split, with their captions."""
    first = [(path, split) for path, split in preview_tars(folder) if path.name.endswith("_00000.tar")]
    if first:
        yield '<h2 id="contact-sheets">Contact Sheets</h2>\n<p>Embedded frames of some samples, with their times.</p>\n'
    for path, split in first:
        yield f'<h3 id="contact-sheets-{split}">{split}</h3>\n<div class="sheets">\n'
        for name, data, *_ in islice(iter_members(path), 2 * SHEETS_SHOWN):
            id_, _, extension = name.partition(".")
            if extension == "jpg":
                yield f'<figure><img alt="{html.escape(id_)}" src="{_data(bytes(data), "jpeg")}">'
            elif extension == "txt":
                text = html.escape(str(data, "utf-8", "replace"))
                yield f"<figcaption><code>{html.escape(id_)}</code> {text}</figcaption></figure>\n"
        yield "</div>\n"


def _embed(token: Token, folder: Path) -> str:
    """Puts a figure of the dataset into the page; returns its name."""
    file = (folder / unquote(str(token.attrs["src"]))).resolve()
    if file.is_relative_to(folder.resolve()) and file.is_file():
        token.attrSet("src", _data(file.read_bytes(), "png"))
    return file.name


def _point_link(token: Token, to_folder: str) -> None:
    """Makes a link to a file of the dataset lead there from the page."""
    if token.type == "link_open":
        target = str(token.attrs["href"])
        if "://" not in target and not target.startswith("#"):
            token.attrSet("href", f"{to_folder}/{target}")


def _data(image: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"
