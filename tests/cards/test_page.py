"""The page embeds the card's figures and has its anchors; the example notices changes, and only those that matter."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from dataset_cards.card import write_card
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.page import can_open, write_page
from dataset_cards.prose import Prose
from preprocess.errors import UserError
from preprocess.formats.layout import Layout
from preprocess.formats.tar import end_of_archive, member
from preprocess.samples import Reject
from tests.cards import example
from tests.cards.small import SPEC, pack, samples


@pytest.fixture
def layout(out: Path) -> Layout:
    packed = pack(out, samples(), rejects=[Reject("clip_001", "train", "decode", "unreadable", "no container")])
    write_card(read_card_inputs(SPEC, packed, prose=Prose()))
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
    assert example.compare(layout.dataset, tmp_path / "kept") == ["there is no example of CLIP-Test"]
    written = example.keep(layout.dataset, tmp_path / "kept")
    assert sorted(p.name for p in written) == ["README.md", "classes.png", "frames.png", "map.png"]
    assert example.compare(layout.dataset, tmp_path / "kept") == []


def test_the_example_sees_a_change(layout: Layout, tmp_path: Path) -> None:
    example.keep(layout.dataset, tmp_path / "kept")
    readme = layout.dataset / "README.md"
    text = readme.read_text()
    digest = re.search(r"[0-9a-f]{64}", text)
    assert digest
    for fresh, changed in {
        text.replace(digest[0], "0" * 64): False,
        text.replace("`18.1.0`", "`19.0.0`"): False,
        text.replace("| train | train | 7 |", "| train | train | 9 |"): True,
        text.replace("`cc-by-4.0`", "`mit`"): True,
        text.replace("### Missing and Rejected Samples\n", ""): True,
    }.items():
        assert fresh != text
        readme.write_text(fresh)
        assert bool(example.compare(layout.dataset, tmp_path / "kept")) is changed
    readme.write_text(text)
    figure = layout.dataset / "assets/frames.png"
    figure.write_bytes((layout.dataset / "assets/map.png").read_bytes())
    assert any(
        problem.startswith("assets/frames.png") for problem in example.compare(layout.dataset, tmp_path / "kept")
    )
    figure.unlink()
    assert "assets/frames.png: only in the example" in example.compare(layout.dataset, tmp_path / "kept")
    example.keep(layout.dataset, tmp_path / "kept")
    assert example.compare(layout.dataset, tmp_path / "kept") == []


def test_points_of_the_map_have_titles(layout: Layout) -> None:
    page = write_page(layout).read_text()
    titles = re.findall(r"<b>(vid_[0-9]{5}) \((\w+)\): ([^<]*)</b>", page)
    assert len(titles) == 13
    assert {split for _, split, _ in titles} == {"train", "val", "test"}
    assert all("number" in text or "words" in text for *_, text in titles)
    assert page.count('<span class="points"') == 1


def test_a_hostile_caption_stays_text_in_a_tooltip(layout: Layout) -> None:
    tooltips = layout.work / "tooltips.json"
    tooltips.write_text(json.dumps({"map.png": [[0.1, 0.2, "</b><script>alert(1)</script>"]]}))
    assert "<script" not in write_page(layout).read_text()


def test_contact_sheets_are_on_the_page(layout: Layout) -> None:
    tar = layout.dataset / "preview" / "train_00000.tar"
    tar.parent.mkdir()
    picture = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(picture, "JPEG")
    parts = [("vid_00000.jpg", picture.getvalue()), ("vid_00000.txt", b"a <b> & c")]
    body = b"".join(member(name, data) for name, data in parts)
    tar.write_bytes(body + end_of_archive(len(body)))
    page = write_page(layout).read_text()
    assert "data:image/jpeg;base64," + base64.b64encode(picture.getvalue()).decode() in page
    assert "<code>vid_00000</code> a &lt;b&gt; &amp; c" in page


@pytest.mark.parametrize(
    ("platform", "environment", "opens"),
    [
        ("linux", {}, False),
        ("linux", {"DISPLAY": ":0"}, True),
        ("linux", {"WAYLAND_DISPLAY": "w"}, True),
        ("darwin", {}, True),
    ],
)
def test_a_browser_is_started_only_with_a_screen(
    monkeypatch: pytest.MonkeyPatch, platform: str, environment: dict[str, str], opens: bool
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert can_open() is opens
