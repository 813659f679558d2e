"""The hand-written part of a card: `dataset_cards/<name>.md`, plain Markdown whose `##` headings say where text goes.

    A thousand clips of cooking, each with twenty sentences.

    ## Licence

    The clips remain their uploaders'.

What stands before the first `##` is the summary. `Source Data`, `Known Gaps`, `Evaluation` (shown where there is one)
and `Licence` have their place in the card; a section under any other heading becomes a section of its own.
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
    "source data": "source_data",
    "source": "source_data",
    "known gaps": "known_gaps",
    "evaluation": "evaluation",
    "licence": "licence",
    "license": "licence",
    "licensing information": "licence",
}


@dataclass(frozen=True, slots=True)
class Prose:
    """Sections of Markdown, taken as they are; empty where the file has none."""

    summary: Markdown = NOTHING
    source_data: Markdown = NOTHING
    known_gaps: Markdown = NOTHING
    evaluation: Markdown = NOTHING
    licence: Markdown = NOTHING
    more: tuple[tuple[Markdown, Markdown], ...] = ()


def parse_prose(markdown: str) -> Prose:
    """Sorts the sections of a file into their places; comments (`<!-- … -->`) and a `#` title are left out."""
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
    """The prose of a dataset, or none: a card can do without."""
    path = folder / f"{name}.md"
    return parse_prose(path.read_text(encoding="utf-8")) if path.is_file() else Prose()
