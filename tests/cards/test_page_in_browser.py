"""The page in a real browser: the text of a point of the map is seen on hover and on a tap, whole and on the screen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dataset_cards.card import write_card
from dataset_cards.card_inputs import read_card_inputs
from dataset_cards.page import write_page
from dataset_cards.prose import Prose
from dataset_cards.tooltips import read_tooltips
from tests.browser import browser as chromium
from tests.cards.small import SPEC, pack, samples


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_the_text_of_a_point_is_seen(browser: Any, tmp_path: Path, scheme: str, width: int) -> None:
    layout = pack(tmp_path, samples())
    write_card(read_card_inputs(SPEC, layout, prose=Prose()))
    phone = width < 640
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 850}, has_touch=phone, is_mobile=phone
    )
    page = context.new_page()
    page.goto(write_page(layout).as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == width
    spots = page.locator(".points i")
    points = read_tooltips(layout)["map.png"]
    assert spots.count() == len(points)
    for i, (x, y, text) in enumerate(points):
        spot, shown = spots.nth(i), spots.nth(i).locator("b")
        assert not shown.is_visible()
        spot.scroll_into_view_if_needed()
        at, picture = spot.bounding_box(), page.locator(".points img").bounding_box()
        assert at["x"] + at["width"] / 2 == pytest.approx(picture["x"] + x * picture["width"], abs=1)
        assert at["y"] + at["height"] / 2 == pytest.approx(picture["y"] + y * picture["height"], abs=1)
        if phone:
            spot.tap()
        else:
            spot.hover()
        assert shown.inner_text() == text
        assert page.locator(".points b:visible").count() == 1
        box = shown.bounding_box()
        assert 0 <= box["x"] < box["x"] + box["width"] <= width
        assert 0 <= box["y"] < box["y"] + box["height"] <= 850
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        assert shown.evaluate(
            "(text, [x, y]) => {"
            "text.style.pointerEvents = 'auto'; const top = document.elementFromPoint(x, y);"
            "text.style.pointerEvents = ''; return top === text }",
            middle,
        ), "nothing covers it"
    context.close()
