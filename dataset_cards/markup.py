r"""Escaping of untrusted text for a Markdown page: text, code, links, tables; and the anchors of headings.

An untrusted caption, and its escaped form in a table cell:

    a *red* | circle <b>moving</b>   →   a \*red\* \| circle &lt;b&gt;moving&lt;/b&gt;

YAML is written by `builders.card_yaml` with the YAML library, never from strings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from urllib.parse import quote, urlsplit

# Characters with a meaning inside a line, in Markdown and the Hub's extensions of it: tables,
# ~~strike~~, $math$, :emoji:, @name.
_INLINE = re.compile(r"[\\`*_\[\]|~$#:@]")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}
_LINE_START = re.compile(r"^(?:([-+=])|(\d{1,9})([.)])(?=\s|$))")
_WWW = re.compile(r"\b(www)\.", re.IGNORECASE)
# Control characters, and marks that change the direction of the text around them.
_INVISIBLE = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
_BACKTICKS = re.compile(r"`+")
_HEADING = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})(.*)$")
_SLUG_DROPPED = re.compile(r"[^\w\- ]")
_NUMBER = re.compile(r"-?[\d,.]+%?|")
_SCHEMES = frozenset({"http", "https"})


class Markdown(str):
    """Text that is already Markdown: the template inserts it as it is, and escapes every other value."""

    __slots__ = ()


Table = list[tuple[object, ...]]
"""Rows of cells; the first is the header."""


class Heading(NamedTuple):
    """One heading of a page: its level (1 to 6), its text as Markdown, and its anchor on the Hub."""

    level: int
    text: str
    anchor: str


def one_line(text: str) -> str:
    """The text on one line: whitespace collapsed, invisible characters and lone surrogates removed."""
    printable = text.encode("utf-8", "replace").decode("utf-8")
    return " ".join(_INVISIBLE.sub("", " ".join(printable.split())).split())


def md(text: object) -> Markdown:
    r"""Plain text as inline Markdown that renders as exactly that text: no markup, HTML, link or cell border.

    Examples:
        >>> md("1. <script> & [x](http://y)")
        '1\\. &lt;script&gt; &amp; \\[x\\](http\\://y)'
    """
    line = _INLINE.sub(lambda m: "\\" + m[0], one_line(str(text)))
    line = re.sub("[&<>]", lambda m: _ENTITIES[m[0]], line)
    line = _WWW.sub(r"\1\\.", line)
    return Markdown(_LINE_START.sub(lambda m: f"\\{m[1]}" if m[1] else f"{m[2]}\\{m[3]}", line))


def code(text: object) -> Markdown:
    r"""A code span.

    Its delimiter is longer than any run of backticks inside (CommonMark 0.31, 6.1).

    Examples:
        >>> code("a`b")
        '``a`b``'
    """
    line = one_line(str(text))
    ticks = "`" * (_longest_run(line) + 1)
    pad = " " if line.startswith("`") or line.endswith("`") else ""
    return Markdown(f"{ticks}{pad}{line}{pad}{ticks}" if line else "")


def cell(text: object) -> Markdown:
    """A code span for a table cell: cell borders inside it are escaped, as GFM requires only there."""
    return Markdown(code(text).replace("|", r"\|"))


def fence(text: str, language: str = "") -> Markdown:
    """A fenced code block; its fence is longer than any run of backticks in the text."""
    ticks = "`" * max(3, _longest_run(text) + 1)
    body = _INVISIBLE.sub("", text.encode("utf-8", "replace").decode("utf-8")).rstrip("\n")
    return Markdown(f"{ticks}{language}\n{body}\n{ticks}")


def link(text: object, url: str) -> Markdown:
    """A link; only the text if the address is not http(s), so that `javascript:` never gets onto the page."""
    return Markdown(f"[{md(text)}]({_href(url)})") if _is_web(url) else md(text)


def shown(value: object) -> Markdown:
    """Any value as Markdown: Markdown as it is, integers with thousands separators, the rest escaped."""
    if isinstance(value, Markdown):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return Markdown(f"{value:,}")
    return md(value)


def table(rows: Table) -> Markdown:
    """A table whose first row is its header; columns of numbers are right-aligned.

    Examples:
        >>> print(table([("split", "samples"), ("train", 1200)]))
        | split | samples |
        |---|---:|
        | train | 1,200 |
    """
    cells = [[shown(value) for value in row] for row in rows]
    numeric = numeric_columns(cells)
    rule = ["---:" if i in numeric else "---" for i in range(len(cells[0]))]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return Markdown("\n".join([lines[0], "|" + "|".join(rule) + "|", *lines[1:]]))


def numeric_columns(cells: Sequence[Sequence[str]]) -> frozenset[int]:
    """The columns of a table whose cells below the header are numbers, percentages or empty.

    Examples:
        >>> numeric_columns([["split", "top-1"], ["val", "93.8%"], ["test", ""]])
        frozenset({1})
    """
    columns = enumerate(zip(*cells[1:], strict=True))
    return frozenset(i for i, column in columns if all(map(_NUMBER.fullmatch, column)))


def web_link(url: str) -> Markdown:
    """A link whose text is its address without the scheme."""
    return link(url.strip().partition("://")[2].rstrip("/") or url, url)


def _is_web(url: str) -> bool:
    parts = urlsplit(url.strip())
    return parts.scheme.lower() in _SCHEMES and bool(parts.netloc)


def _href(url: str) -> str:
    # Everything that could end the address, or its table cell, is percent-encoded.
    return quote(url.strip(), safe="/:?#@!&=+,;%~-._")


def _longest_run(text: str) -> int:
    return max((len(run) for run in _BACKTICKS.findall(text)), default=0)


def slug(text: str) -> str:
    """The anchor of a heading before duplicates are numbered, as on GitHub and the Hub (`github-slugger`).

    Examples:
        >>> slug("Zero-shot: top-1 & top-5")
        'zero-shot-top-1--top-5'
    """
    return _SLUG_DROPPED.sub("", text.lower()).replace(" ", "-")


def headings(markdown: str) -> list[Heading]:
    """All `#` headings of a page outside code blocks, with their anchors; repeated anchors get `-1`, `-2`, …"""
    found: list[Heading] = []
    seen: dict[str, int] = {}
    for _, level, text in _heading_lines(markdown.splitlines()):
        base = slug(_plain(text))
        anchor = base
        while anchor in seen:
            seen[base] += 1
            anchor = f"{base}-{seen[base]}"
        seen[anchor] = 0
        found.append(Heading(level, text, anchor))
    return found


def sections(markdown: str, level: int) -> list[tuple[str, str]]:
    """Title and text of each section with a heading of this level; text before the first one has an empty title."""
    lines = markdown.splitlines()
    starts = [(-1, ""), *((number, text) for number, depth, text in _heading_lines(lines) if depth == level)]
    ends = [number for number, _ in starts[1:]] + [len(lines)]
    cut = [(title, "\n".join(lines[at + 1 : end]).strip()) for (at, title), end in zip(starts, ends, strict=True)]
    return cut if cut[0][1] else cut[1:]


def _heading_lines(lines: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Line number, level and text of each heading."""
    closing = ""
    for number, line in enumerate(lines):
        mark = _FENCE.match(line)
        if closing:
            if mark and mark[1].startswith(closing) and not mark[2].strip():
                closing = ""
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            closing = mark[1]
        elif heading := _HEADING.match(line):
            yield number, len(heading[1]), heading[2]


def _plain(text: str) -> str:
    """The text of a heading without markup: code spans, emphasis, links, escapes."""
    text = re.sub(r"(?<!\\)\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\\)[`*]", "", text)
    text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def table_of_contents(markdown: str, levels: range = range(2, 4)) -> str:
    """Nested links to the headings of the given levels."""
    rows = [h for h in headings(markdown) if h.level in levels]
    return "\n".join(f"{'  ' * (h.level - levels.start)}- [{md(_plain(h.text))}](#{h.anchor})" for h in rows)
