"""Prose goes where its headings say; the prose in the repository has headings that the card knows."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataset_cards import prose
from dataset_cards.card import render
from dataset_cards.card_inputs import read_card_inputs
from tests.cards.small import SPEC, pack, samples

TEXT = """# A title

<!-- a note to editors -->
First *paragraph*.

## Source Data

From there.

```
## not a heading
```

## licence

Theirs.

## How it was labeled

By hand.
"""


def test_sections_find_their_places() -> None:
    found = prose.parse_prose(TEXT)
    assert found.summary == "First *paragraph*."
    assert found.source_data == "From there.\n\n```\n## not a heading\n```"
    assert found.license == "Theirs."
    assert found.more == (("How it was labeled", "By hand."),)
    assert (found.known_gaps, found.evaluation) == ("", "")


def test_they_are_on_the_page_as_written(out: Path) -> None:
    page = render(read_card_inputs(SPEC, pack(out, samples()), prose=prose.parse_prose(TEXT)))
    order = [
        "### Dataset Summary\n\nFirst *paragraph*.",
        "### Source Data\n\nFrom there.",
        "## How it was labeled\n\nBy",
        "## Licensing Information\n\nTheirs.",
    ]
    places = [page.index(part) for part in order]
    assert places == sorted(places)
    assert "[How it was labeled](#how-it-was-labeled)" in page
    assert "A title" not in page
    assert "editors" not in page


def test_no_prose_is_no_error() -> None:
    assert prose.read_prose("no_such_dataset") == prose.Prose()


@pytest.mark.parametrize("path", sorted(prose.FOLDER.glob("*.md")), ids=lambda path: path.stem)
def test_the_prose_of_the_repository(path: Path) -> None:
    found = prose.read_prose(path.stem)
    assert len(found.summary) > 100, "begins with a summary"
    assert all(not text.startswith("#") for _, text in found.more)
