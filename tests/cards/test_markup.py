"""Whatever a caption holds, the page shows that text and nothing else; every anchor is the one the page will have."""

from __future__ import annotations

import html
import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from dataset_cards import markup

MARKDOWN = MarkdownIt("commonmark").enable(["table", "strikethrough"])
NASTY = (
    "<script>alert(1)</script>",
    "![x](http://tracker/p.png) [y](javascript:alert(1)) http://a.b www.a.b me@x.org @team :smile: $x$",
    "a | b ~~c~~ *d* _e_ `f` \\g # h",
    "# heading",
    "- item",
    "1. item",
    "> quote",
    "=== ",
    "&copy; &#60;b&#62;",
    "line\nbreak\r\n\ttab\u2028next",
    "\u202eright to left\u202c",
    "\ud800 lone",
    "``two`` `one",
    "    indented",
)


def shown(markdown: str) -> str:
    """The text a reader sees; fails when any tag but the paragraph's own is there."""
    page = MARKDOWN.render(markdown).strip()
    inner = re.fullmatch(r"<p>(.*)</p>", page, re.DOTALL)
    assert inner, page
    assert "<" not in inner[1], page
    return html.unescape(inner[1])


@given(st.text(min_size=1))
@example("*a*")
@example("<b>")
@example("1) x")
@example("a\\")
def test_md_shows_the_text_itself(text: str) -> None:
    line = markup.one_line(text)
    if line:
        assert shown(markup.md(text)) == line


@pytest.mark.parametrize("text", NASTY)
def test_md_and_code_hold_in_a_table_cell(text: str) -> None:
    page = MARKDOWN.render(f"| a | b |\n|---|---|\n| {markup.md(text)} | {markup.cell(text)} |\n")
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    assert len(cells) == 2, page
    assert "<" not in cells[0]
    line = markup.one_line(text)
    assert html.unescape(cells[0]) == line
    assert html.unescape(re.sub("</?code>", "", cells[1])) == line


@given(st.text(min_size=1))
@example("`")
@example("a``b`c```")
def test_code_shows_the_text_itself(text: str) -> None:
    line = markup.one_line(text)
    if line:
        page = MARKDOWN.render("x" + markup.code(text)).strip()
        assert html.unescape(page) == f"<p>x<code>{line}</code></p>"


@given(st.text())
@example("```\n# no heading\n````")
def test_fence_cannot_be_left(text: str) -> None:
    tokens = MARKDOWN.parse(markup.fence(text, "text") + "\n\nafter\n")
    assert [t.type for t in tokens] == ["fence", "paragraph_open", "inline", "paragraph_close"]
    assert tokens[2].content == "after"


def test_no_autolink_no_mention_no_math() -> None:
    # These are extensions of the Hub that no offline renderer has; the character that starts each is escaped.
    escaped = markup.md("http://a.b www.a.b x@y.org :smile: $a$")
    assert escaped == r"http\://a.b www\.a.b x\@y.org \:smile\: \$a\$"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", "//evil", "", "ftp://x/y", "https:"])
def test_links_are_web_links_only(url: str) -> None:
    assert markup.link("a", url) == "a"


def test_link_cannot_be_left() -> None:
    tokens = MARKDOWN.parseInline(markup.link("a]b", "https://x.org/(y) z>|\"'"))[0].children
    assert tokens is not None
    assert [t.type for t in tokens][:2] == ["link_open", "text"]
    assert tokens[0].attrs["href"] == "https://x.org/%28y%29%20z%3E%7C%22%27"
    assert tokens[-1].type == "link_close"


def test_anchors_as_the_hub_makes_them() -> None:
    page = "# A B\n## Zero-shot: `x_y` & *z*\n```\n# no\n```\n## A B\n### a b\n~~~~\n```\n# no\n~~~~\n## Größe 1\n"
    assert [h.anchor for h in markup.headings(page)] == ["a-b", "zero-shot-x_y--z", "a-b-1", "a-b-2", "größe-1"]


def test_table_of_contents_is_nested_and_leaves_the_title_out() -> None:
    assert markup.table_of_contents("# T\n## A\n### B\n#### C\n## D\n") == "- [A](#a)\n  - [B](#b)\n- [D](#d)"
