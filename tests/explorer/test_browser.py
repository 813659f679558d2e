"""The page in a real browser: type a sentence, click the moment, and the video plays from that second.

Needs Debian's Chromium and Playwright; where one does not exist, these tests say so and are skipped.
"""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from preprocess.formats.layout import Layout
from tests.browser import browser as chromium

pytest.importorskip("gradio", reason="Gradio is not installed: make dev")


@pytest.fixture(scope="module")
def address(scenes: Layout, root: Path) -> Iterator[str]:
    """The page, served by the command that `make explore` runs."""
    command = [sys.executable, "-m", "explorer", "page", str(scenes.dataset), "--port", "0"]
    server = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    url = server.stdout.readline().split()[0]
    for _ in range(120):
        try:
            urllib.request.urlopen(url, timeout=5).close()
            break
        except OSError:
            time.sleep(0.5)
    yield url
    server.terminate()
    server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as opened:
        yield opened


@pytest.fixture(params=[("light", 1280), ("dark", 1280), ("light", 390)], ids=["light", "dark", "phone"])
def page(request: pytest.FixtureRequest, browser: Any, address: str) -> Iterator[Any]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 850})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    elsewhere: set[str] = set()
    opened.on("request", lambda r: None if r.url.startswith((address, "data:", "blob:")) else elsewhere.add(r.url))
    opened.goto(address)
    opened.wait_for_selector("#query textarea, #query input")
    yield opened
    context.close()
    assert not problems
    assert not {url for url in elsewhere if "127.0.0.1" not in url}, "nothing comes from other servers"


def ask(page: Any, sentence: str) -> None:
    page.fill("#query textarea, #query input", sentence)
    page.keyboard.press("Enter")


def tab(page: Any, name: str) -> None:
    """Opens a tab; on a phone some are in a menu."""
    found = page.get_by_role("tab", name=name)
    if not found.is_visible():
        page.locator(".overflow-menu > button").first.click()
        page.locator(".overflow-dropdown").get_by_text(name).click()
    else:
        found.click()


def test_type_click_and_the_video_plays_from_that_second(page: Any) -> None:
    ask(page, "a red diamond moving left")
    page.wait_for_selector("#hits .hit")
    first = page.locator("#hits .hit").first
    assert first.get_attribute("data-key") == "scenes_112"
    picture = first.locator("img")
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=picture.element_handle())
    first.locator(".open").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("#sample-dialog video")
    page.wait_for_function("document.querySelector('#sample-dialog video').played.length > 0")
    assert abs(page.evaluate("document.querySelector('#sample-dialog video').played.start(0)") - 6) < 0.05
    page.wait_for_function("document.querySelector('#sample-dialog video').currentTime > 6.2")
    page.locator("#sample-dialog .captions button").first.click()
    page.wait_for_function("document.querySelector('#sample-dialog video').currentTime < 2.5")
    box = page.evaluate(
        "(() => { const b = document.querySelector('#sample-dialog').getBoundingClientRect();"
        " return [b.left, b.right, innerWidth, document.querySelector('#sample-dialog').scrollWidth, b.width]; })()"
    )
    assert box[0] >= 0
    assert box[1] <= box[2]
    assert box[3] <= box[4], "nothing is cut off at the side"
    page.keyboard.press("Escape")
    assert not page.evaluate("document.querySelector('#sample-dialog').open")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_more_like_this_selection_map_and_pairs(page: Any) -> None:
    ask(page, "a cyan square moving right")
    page.wait_for_selector('#hits .hit[data-key="scenes_117"]')
    page.locator("[data-tick]").first.check()
    page.locator("[data-like]").first.click()
    page.wait_for_function("!document.querySelector('#hits .hit[data-key=\"scenes_117\"]')")
    ask(page, "a yellow heart moving down")
    page.wait_for_selector('#hits .hit[data-key="scenes_115"]')
    tab(page, "Selection")
    page.wait_for_function("document.querySelector('#ticked').textContent === '1'")
    tab(page, "Near-duplicates")
    page.get_by_role("button", name="Find pairs").click()
    page.wait_for_selector("#pairs")
    tab(page, "Map")
    page.wait_for_selector("#map[data-ready]")
    page.wait_for_selector("#map-legend span")
    assert page.locator("#map-legend span").all_text_contents()[-1] == "no label"
    page.locator('#map-tools [data-by="split"]').click()
    assert page.locator("#map-legend span").all_text_contents() == ["test", "train", "val"]
    page.focus("#map")
    page.keyboard.press("n")
    assert " moving " in page.locator("#map-tip").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_selector("#sample-dialog h2")


def test_a_hostile_or_endless_query_is_text(page: Any) -> None:
    page.evaluate("window.hacked = 0")
    ask(page, "<img src=x onerror='window.hacked = 1'><script>window.hacked = 1</script>")
    page.wait_for_selector("#hits .hit")
    assert "<img src=x" in page.locator("#hits .note").inner_text()
    assert page.evaluate("window.hacked") == 0
    ask(page, "x" * 100_000)
    page.wait_for_selector("text=the query has 100,000 characters")
