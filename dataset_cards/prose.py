"""The hand-written part of a card: `dataset_cards/<name>.md`, Markdown whose `##` headings say where text goes.

    A thousand clips of cooking, each with twenty sentences.

    ## License

    The rights in the clips remain with their uploaders.

Text before the first `##` is the summary. The headings of `_PLACES` have a fixed place in the card (that of the
evaluation is shown only if there is one); a section with any other heading becomes a separate section.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dataset_cards.markup import Markdown, sections

FOLDER = Path(__file__).parent
NOTHING = Markdown()

_PLACES = {
    "summary": "summary",
    "dataset summary": "summary",
    "uses": "uses",
    "direct use": "uses",
    "out-of-scope use": "out_of_scope",
    "source data": "source_data",
    "source": "source_data",
    "known gaps": "known_gaps",
    "missing and rejected samples": "known_gaps",
    "privacy": "privacy",
    "personal information": "privacy",
    "personal and sensitive information": "privacy",
    "limitations": "limitations",
    "bias, risks, and limitations": "limitations",
    "evaluation": "evaluation",
    "embedding quality": "evaluation",
    "license": "license",
    "licence": "license",
    "licensing information": "license",
    "contact": "contact",
}


@dataclass(frozen=True, slots=True)
class Prose:
    """Sections of Markdown, inserted as they are; empty if the file has none."""

    summary: Markdown = NOTHING
    uses: Markdown = NOTHING
    out_of_scope: Markdown = NOTHING
    source_data: Markdown = NOTHING
    known_gaps: Markdown = NOTHING
    privacy: Markdown = NOTHING
    limitations: Markdown = NOTHING
    evaluation: Markdown = NOTHING
    license: Markdown = NOTHING
    contact: Markdown = NOTHING
    more: tuple[tuple[Markdown, Markdown], ...] = ()


def parse_prose(markdown: str) -> Prose:
    """Assigns the sections of a file to their places; comments (`<!-- … -->`) and a `#` title are dropped."""
    text = re.sub(r"<!--.*?-->", "", markdown, flags=re.DOTALL).strip()
    text = re.sub(r"\A# .*\n?", "", text)
    placed: dict[str, Markdown] = {}
    more: list[tuple[Markdown, Markdown]] = []
    for title, body in sections(text, level=2):
        place = "summary" if not title else _PLACES.get(title.lower())
        if place is None:
            more.append((Markdown(title), Markdown(body)))
        else:
            placed[place] = Markdown("\n\n".join(filter(None, (placed.get(place), body))))
    return Prose(**placed, more=tuple(more))


def read_prose(name: str, folder: Path = FOLDER) -> Prose:
    """The prose of a dataset; empty if there is no such file."""
    path = folder / f"{name}.md"
    return parse_prose(path.read_text(encoding="utf-8")) if path.is_file() else Prose()
