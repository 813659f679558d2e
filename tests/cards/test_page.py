"""The page has the card's figures in it and its anchors; the example notices what changed, and only that."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from dataset_cards import example
from dataset_cards.card import write_card
from dataset_cards.facts import read_facts
from dataset_cards.page import write_page
from dataset_cards.prose import Prose
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.samples import Reject
from tests.cards.small import SPEC, pack, samples


@pytest.fixture
def layout(out: Path) -> Layout:
    packed = pack(out, samples(), rejects=[Reject("clip_001", "train", "decode", "unreadable", "no container")])
    write_card(read_facts(SPEC, packed, prose=Prose()))
    return packed


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.images: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.ids += [values["id"]] if values.get("id") else []
        self.links += [values["href"]] if tag == "a" else []
        self.images += [values["src"]] if tag == "img" else []


def test_the_page_is_whole(layout: Layout) -> None:
    path = write_page(layout)
    assert path == layout.work / "page.html"
    page = Page(path.read_text())
    assert len(page.ids) == len(set(page.ids)) > 15
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids)
    files = [link for link in page.links if not link.startswith(("#", "https://"))]
    assert files
    assert all((path.parent / link).is_file() for link in files)
    assert len(page.images) == 3
    assert all(src.startswith("data:image/png;base64,") for src in page.images)


def test_no_page_without_a_card(out: Path) -> None:
    with pytest.raises(UserError, match="Write the card first"):
        write_page(Layout(out, "CLIP-Test"))


def test_the_example_is_the_build(layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no example of CLIP-Test"):
        example.compare(layout, tmp_path / "kept")
    written = example.keep(layout, tmp_path / "kept")
    assert sorted(p.name for p in written) == ["README.md", "classes.png", "frames.png", "map.png"]
    assert example.compare(layout, tmp_path / "kept") == []


def test_the_example_sees_a_change(layout: Layout, tmp_path: Path) -> None:
    example.keep(layout, tmp_path / "kept")
    readme = layout.dataset / "README.md"
    text = readme.read_text()
    digest = re.search(r"[0-9a-f]{64}", text)
    assert digest
    for fresh, changed in {
        text.replace(digest[0], "0" * 64): False,
        text.replace("`18.1.0`", "`19.0.0`"): False,
        text.replace("| train | train | 7 |", "| train | train | 9 |"): True,
        text.replace("`cc-by-4.0`", "`mit`"): True,
        text.replace("## Known Gaps\n", ""): True,
    }.items():
        assert fresh != text
        readme.write_text(fresh)
        assert bool(example.compare(layout, tmp_path / "kept")) is changed
    readme.write_text(text)
    figure = layout.dataset / "assets/frames.png"
    figure.write_bytes((layout.dataset / "assets/map.png").read_bytes())
    assert any(problem.startswith("assets/frames.png") for problem in example.compare(layout, tmp_path / "kept"))
    figure.unlink()
    assert "assets/frames.png: only in the example" in example.compare(layout, tmp_path / "kept")
    example.keep(layout, tmp_path / "kept")
    assert example.compare(layout, tmp_path / "kept") == []
