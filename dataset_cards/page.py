"""A card as a web page, to be looked at before it is pushed: `data/work/<hub_name>/page.html`, figures inside.

It looks like a page of the Hub, light or dark as the system is; headings have the anchors that the Hub gives them.
"""

from __future__ import annotations

import base64
import html
import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from dataset_cards.markup import headings
from preprocess.errors import UserError
from preprocess.formats.atomic import write_if_changed
from preprocess.formats.layout import Layout

if TYPE_CHECKING:
    from markdown_it.token import Token

PAGE = "page.html"

_STYLE = """\
:root { color-scheme: light dark; --ground: #fff; --text: #1f2937; --soft: #f3f4f6; --line: #e5e7eb; --link: #2563eb; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #0b0f19; --text: #d1d5db; --soft: #151c2b; --line: #2b3446; --link: #7aa5ff; }
}
body { background: var(--ground); color: var(--text); max-width: 56rem; margin: 2rem auto; padding: 0 1.5rem;
  font: 16px/1.6 "Source Sans 3", "Source Sans Pro", system-ui, sans-serif; overflow-wrap: anywhere; }
h1, h2, h3 { line-height: 1.25; margin: 2em 0 .6em; } h2 { border-bottom: 1px solid var(--line); }
a { color: var(--link); } img { max-width: 100%; }
code { background: var(--soft); padding: .1em .3em; border-radius: 4px; font-size: .875em; }
pre { background: var(--soft); padding: 1em; border-radius: 8px; overflow-x: auto; } pre code { padding: 0; }
table { border-collapse: collapse; display: block; overflow-x: auto; font-size: .9em; }
th, td { border: 1px solid var(--line); padding: .3em .7em; }
"""


def write_page(layout: Layout) -> Path:
    """Renders README.md.

    Raises:
        UserError: There is no card yet, or the renderer is not installed.
    """
    readme = layout.dataset / "README.md"
    if not readme.is_file():
        raise UserError(f"{readme} is not there", "Write the card first: make card DATASET=…")
    page = layout.work / PAGE
    layout.work.mkdir(parents=True, exist_ok=True)
    write_if_changed(page, render_page(readme.read_text(encoding="utf-8"), layout.dataset, page.parent).encode())
    return page


def render_page(readme: str, folder: Path, page_folder: Path) -> str:
    """The card as HTML.

    Args:
        readme: The whole README.md.
        folder: Where it lies; its figures are put into the page, links to other files lead there.
        page_folder: Where the page will lie.
    """
    try:
        from markdown_it import MarkdownIt
    except ImportError as error:
        raise UserError("markdown-it-py is not installed", "Run: pip install -r requirements-dev.txt") from error

    front, body = split_front_matter(readme)
    renderer = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = renderer.parse(body)
    titles = [token for token in tokens if token.type == "heading_open"]
    for token, heading in zip(titles, headings(body), strict=True):
        token.attrSet("id", heading.anchor)
    to_folder = os.path.relpath(folder, page_folder)
    for token in tokens:
        for child in token.children or []:
            _point(child, folder, to_folder)
    title = html.escape(headings(body)[0].text)
    meta = f"<details><summary>Front matter</summary><pre><code>{html.escape(front)}</code></pre></details>"
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{title}</title>\n'
        f"<style>\n{_STYLE}</style></head>\n<body>\n{meta}\n{renderer.renderer.render(tokens, renderer.options, {})}"
        "</body>\n</html>\n"
    )


def split_front_matter(readme: str) -> tuple[str, str]:
    """The YAML between the first two `---`, and what follows; no YAML where the page does not begin with one."""
    if not readme.startswith("---\n") or "\n---\n" not in readme[4:]:
        return "", readme
    front, _, body = readme[4:].partition("\n---\n")
    return front, body


def _point(token: Token, folder: Path, to_folder: str) -> None:
    """Puts a figure into the page, and leads a link to a file of the dataset to where that is."""
    if token.type == "image":
        file = (folder / unquote(str(token.attrs["src"]))).resolve()
        if file.is_relative_to(folder.resolve()) and file.is_file():
            data = base64.b64encode(file.read_bytes()).decode()
            token.attrSet("src", f"data:image/png;base64,{data}")
    elif token.type == "link_open":
        target = str(token.attrs["href"])
        if "://" not in target and not target.startswith("#"):
            token.attrSet("href", f"{to_folder}/{target}")
