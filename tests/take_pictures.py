"""The pictures of the README's tour: `python -m tests.take_pictures` walks its steps in a real browser and writes
`docs/tour-*.png`, and `docs/overview.png` made of them.

Everything that shows is drawn (`cue10`): no picture of a dataset of others goes into the repository. The server lists
the networks and results that come with the project, and none of this machine's.
"""

from __future__ import annotations

import io
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

from PIL import Image, ImageChops

from tests.app_server import CHROMIUM_FLAGS, ROOT, choose_page, chromium, running_app
from tests.test_browser import picture, wait_for_another

DOCS = ROOT / "docs"
COLOURS = 256
"""Of each PNG: screens are flat, and a third of the bytes is enough."""
PATIENCE = 120_000
"""Milliseconds for any one thing to appear."""
SIDEBAR = 342
"""Pixels that the sidebar takes on the left."""
AT_REST = "[data-testid='stApp'][data-test-script-state='notRunning']"
FIGURE = "img[alt^='Figure for']"
GROWN = "img[alt^='Visualisation of channel']"
FILM = "img[alt*='just before and just after']"
CARDS = "ul:has(.id) li"
TILES: list[Image.Image] = []
"""Parts of pages that the first picture shows, in order."""


def main() -> int:
    """Walk the tour; 2 where there is no browser."""
    from playwright.sync_api import sync_playwright

    if chromium() is None:
        print("take_pictures needs a chromium on the PATH.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(XAI_MODELS=f"{folder}/models", XAI_RESULTS=f"{folder}/results")
        with running_app() as server, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
            walk(browser, server.url)
            browser.close()
    compose()
    return 0


def walk(browser: Any, url: str) -> None:
    """All steps in one visit, as the README tells them."""
    page = browser.new_page(viewport={"width": 1300, "height": 1000})
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.locator(FIGURE).wait_for()
    for step in STEPS:
        step(page)
        print(f"docs/{step.__name__.replace('_', '-')}.png", flush=True)


def rest(page: Any) -> None:
    """Wait until the page's script has ended and its pictures are there."""
    page.wait_for_timeout(700)
    page.locator(AT_REST).wait_for()
    page.wait_for_function("[...document.images].every((image) => image.complete)")
    page.wait_for_timeout(700)


def go(page: Any, name: str) -> None:
    """Choose a page in the sidebar."""
    choose_page(page, name)
    page.mouse.move(900, 5)
    rest(page)


def choose(page: Any, label: str, option: str) -> None:
    """Choose in a select box, by its words."""
    page.get_by_role("combobox", name=label).first.click()
    page.get_by_role("option", name=option).first.click()
    rest(page)


def pick(page: Any, words: str) -> None:
    """Choose a radio button."""
    page.locator("label").filter(has_text=words).first.click()
    rest(page)


def take(page: Any, name: str, top: float, bottom: float, left: float = SIDEBAR) -> None:
    """Write a part of the page, in pixels from its upper edge, as a PNG of few colours."""
    page.set_viewport_size({"width": 1300, "height": max(1000, int(bottom) + 20)})
    page.evaluate("document.querySelector('[data-testid=stMain]').scrollTo(0, 0)")
    rest(page)
    clip = {"x": left, "y": top, "width": 1300 - left, "height": bottom - top}
    write(Image.open(io.BytesIO(page.screenshot(clip=clip))), name)
    page.set_viewport_size({"width": 1300, "height": 1000})


def keep_tile(page: Any, selector: str) -> None:
    """Remember how one element looks."""
    page.locator(selector).first.scroll_into_view_if_needed()
    rest(page)
    TILES.append(Image.open(io.BytesIO(page.locator(selector).first.screenshot())).convert("RGB"))


def write(image: Image.Image, name: str) -> None:
    """A PNG with a palette."""
    few = image.convert("RGB").quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE)
    few.save(DOCS / f"{name}.png", optimize=True)


def end(page: Any, selector: str) -> float:
    """Lower edge of the first element found, in pixels from the upper edge of the page."""
    page.set_viewport_size({"width": 1300, "height": 4000})
    rest(page)
    box = page.locator(selector).first.bounding_box()
    return float(box["y"] + box["height"])


def tour_1_explain(page: Any) -> None:
    """The scene clean and blurred."""
    choose(page, "Degradation", "Gaussian blur")
    page.get_by_role("slider", name="Severity").press("End")
    page.get_by_text("degraded: bar/gradient").wait_for()
    rest(page)
    take(page, "tour-1-explain", 40, end(page, FIGURE) + 8, left=0)


def tour_2_warning(page: Any) -> None:
    """Two methods, of which one may be compared."""
    before = picture(page)
    page.get_by_role("combobox", name="Methods").click()
    page.keyboard.type("HiResCAM")
    page.keyboard.press("Enter")
    wait_for_another(page, before)
    page.keyboard.press("Escape")
    bottom = end(page, FIGURE)
    top = float(page.get_by_test_id("stAlert").first.bounding_box()["y"])
    take(page, "tour-2-warning", top - 10, bottom + 8)


def tour_3_channel(page: Any) -> None:
    """A channel of the last layer."""
    go(page, "Features")
    page.locator("ul[aria-label^='Channels of'] a").first.click()
    button = page.get_by_role("button", name="Make the picture")
    button.or_(page.locator(GROWN)).first.wait_for()
    if button.count():  # it was not made on this machine before
        button.click()
    page.locator(GROWN).wait_for()
    page.locator(CARDS).first.wait_for()
    page.mouse.move(900, 5)
    keep_tile(page, GROWN)
    take(page, "tour-3-channel", 40, end(page, CARDS) + 8)


def tour_4_compare(page: Any) -> None:
    """Verdicts, and the filmstrip of one."""
    go(page, "Compare")
    choose(page, "Network A", "alexnet-cue10-s0")
    choose(page, "Network B", "resnet18_cifar-w16-cue10-s0")
    page.get_by_text("Each network by itself, and what can't be said").wait_for()
    pick(page, "Flip points")
    page.locator(FILM).wait_for()
    keep_tile(page, FILM)
    take(page, "tour-4-compare", 40, 960)


def tour_5_embeddings(page: Any) -> None:
    """A lasso round one group of the first map."""
    go(page, "Embeddings")
    page.get_by_text("1,000 images; draw around").wait_for()
    rest(page)
    lasso(page)
    page.locator(CARDS).first.wait_for()
    keep_tile(page, ".xai-scatter")
    take(page, "tour-5-embeddings", 40, end(page, CARDS) + 8)


def lasso(page: Any) -> None:
    """Draw around points of the first map."""
    box = page.locator(".plot").first.bounding_box()
    left, top = box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"]
    right, bottom = left + 0.22 * box["width"], top + 0.2 * box["height"]
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 3)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    page.get_by_role("heading", name="images selected").wait_for()


def tour_6_errors(page: Any) -> None:
    """What became of right and wrong answers, and the images behind them."""
    go(page, "Errors")
    choose(page, "Images", "cue10 test, all images")
    pick(page, "Clean to degraded")
    take(page, "tour-6-errors", 40, end(page, CARDS) + 8)


def tour_7_take_home(page: Any) -> None:
    """The buttons under the figure."""
    go(page, "Explain")
    page.locator(FIGURE).wait_for()
    page.set_viewport_size({"width": 1300, "height": 4000})
    rest(page)
    top = page.get_by_role("heading", name="Take it home").bounding_box()["y"]
    take(page, "tour-7-take-home", top - 6, top + 150)


STEPS: Sequence[Callable[[Any], None]] = (
    tour_1_explain,
    tour_2_warning,
    tour_3_channel,
    tour_4_compare,
    tour_5_embeddings,
    tour_6_errors,
    tour_7_take_home,
)


def compose() -> None:
    """The README's first picture: the decision on the left; a channel, flips and all images on the right."""
    left = to_width(Image.open(DOCS / "tour-1-explain.png").convert("RGB"), 1000)
    right = [to_width(trimmed(tile), 500) for tile in TILES]
    height = max(left.height, sum(tile.height + 15 for tile in right))
    board = Image.new("RGB", (1540, height + 20), "white")
    board.paste(left, (10, 10))
    y = 10
    for tile in right:
        board.paste(tile, (1030, y))
        y += tile.height + 15
    write(board, "overview")


def trimmed(tile: Image.Image) -> Image.Image:
    """A picture without the white around it."""
    return tile.crop(ImageChops.difference(tile, Image.new("RGB", tile.size, "white")).getbbox())


def to_width(tile: Image.Image, width: int) -> Image.Image:
    """A picture of another size and the same shape."""
    return tile.resize((width, tile.height * width // tile.width), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    sys.exit(main())
