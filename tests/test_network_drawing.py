"""The drawing of a network: what is drawn of a layer, and picking one with mouse and keyboard in a browser."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.app_server import CHROMIUM_FLAGS, ROOT, chromium, running_app
from xai.ui.network_drawing import MOST_AT_ONCE, groups

APP = """
import sys
sys.path.insert(0, {root!r})
import streamlit as st
from tests.test_network_drawing import Info, deep, small
from xai.ui.network_drawing import pick_layer

layers = deep() if st.query_params.get("net") == "deep" else small()
chosen = st.session_state.setdefault("chosen", layers[1].name)
picked = pick_layer(layers, chosen, "drawing", "Layers of <b>net</b>")
if picked:
    st.session_state["chosen"] = picked
    st.session_state["picks"] = st.session_state.get("picks", 0) + 1
st.text(f"chosen: {{st.session_state['chosen']}}, picks: {{st.session_state.get('picks', 0)}}")
if st.button("back to the second"):
    st.session_state["chosen"] = layers[1].name
    st.rerun()
"""


@dataclass(frozen=True)
class Info:
    """A layer as the drawing needs it."""

    name: str
    kind: str = "Conv2d"
    channels: int = 64
    grid: tuple[int, int] = (8, 8)
    calls: int = 1
    note: str = ""


def small() -> list[Info]:
    return [
        Info("normalize", "Normalize", 3, (32, 32)),
        Info("features.0"),
        Info("features.<i>1</i>", "ReLU", calls=2),
        Info("features", "Sequential"),
        Info("pair", "Two", 0, (0, 0), 1, "its output is no map"),
        Info("fc", "Linear", 10, (1, 1)),
    ]


def deep() -> list[Info]:
    """Two stages of five blocks of four layers."""
    found = [Info("conv1")]
    for stage in ("layer1", "layer2"):
        for block in range(5):
            found += [Info(f"{stage}.{block}.{part}") for part in ("conv1", "bn1", "down.0", "relu")]
            found.append(Info(f"{stage}.{block}", "Block"))
        found.append(Info(stage, "Sequential"))
    return [*found, Info("fc", "Linear", 10, (1, 1))]


def test_groups_of_a_small_network() -> None:
    found = groups(small())
    assert [
        (group["name"], [cell["short"] for cell in group["layers"]], group["hidden"]) for group in found
    ] == [
        ("", ["normalize"], 0),
        ("features", ["0", "<i>1</i>", "features"], 0),
        ("", ["pair", "fc"], 0),
    ]
    assert len({group["key"] for group in found}) == 3
    cells = {cell["name"]: cell for group in found for cell in group["layers"]}
    assert cells["normalize"]["size"] == "32×32×3"
    assert cells["features.<i>1</i>"]["title"] == "features.<i>1</i>, ReLU, 8×8×64, runs 2 times"
    assert cells["pair"]["title"] == "pair, Two, can't be shown: its output is no map"
    assert [name for name, cell in cells.items() if cell["disabled"]] == ["pair"]


def test_height_is_the_grid_and_width_the_channels() -> None:
    """Doubling adds the same length, but for the 1 that a grid of 1 begins with; the widest fits its column."""
    (group,) = groups([Info("a", channels=2**k - 1, grid=(2**k - 1, 2**k - 1)) for k in range(1, 13)])
    widths, heights = ([cell[side] for cell in group["layers"]] for side in ("width", "height"))
    assert {round(b - a, 1) for a, b in itertools.pairwise(heights)} == {7.0}
    assert widths == sorted(widths)
    assert widths[-1] - widths[0] == pytest.approx(4.5 * 11, abs=1)
    assert widths[-1] < 76


def test_a_deep_network_shows_blocks_and_the_chosen_layer() -> None:
    assert len(deep()) > MOST_AT_ONCE
    found = groups(deep(), "layer2.3.conv1")
    shown = [cell["name"] for group in found for cell in group["layers"] if not cell["inside"]]
    assert shown == [
        "conv1",
        *(f"layer1.{block}" for block in range(5)),
        "layer1",
        *(f"layer2.{block}" for block in range(3)),
        "layer2.3.conv1",
        "layer2.3",
        "layer2.4",
        "layer2",
        "fc",
    ]
    assert [group["hidden"] for group in found] == [0, 20, 19, 0]


Open = Callable[..., Any]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """Opens the drawing of a network in a window of a width."""
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("drawing")
    (folder / "app.py").write_text(APP.format(root=str(ROOT)))
    with running_app(folder / "log.txt", folder=folder) as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))

        def visit(net: str, width: int = 1400) -> Any:
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.set_default_timeout(30_000)
            page.goto(f"{server.url}/?net={net}")
            page.locator(".layer").first.wait_for()
            return page

        yield visit
        browser.close()


def pressed(page: Any) -> list[str]:
    return [
        each.get_attribute("title").split(",")[0]
        for each in page.locator(".layer[aria-pressed='true']").all()
    ]


@pytest.mark.browser
def test_a_click_picks_once(opened: Open) -> None:
    page = opened("small")
    assert pressed(page) == ["features.0"]
    assert page.get_by_role("toolbar", name="Layers of <b>net</b>").count() == 1
    page.get_by_role("button", name="features.<i>1</i>, ReLU").click()
    page.get_by_text("chosen: features.<i>1</i>, picks: 1").wait_for()
    page.locator(".layer[aria-pressed='true']", has_text="<i>1</i>").wait_for()
    assert pressed(page) == ["features.<i>1</i>"]
    assert page.locator(".net i i").count() == 0  # names are text
    page.get_by_role("button", name="pair, Two").click(force=True)  # can't be picked
    page.get_by_role("button", name="back to the second").click()
    page.get_by_text("chosen: features.0, picks: 1").wait_for()
    page.locator(".layer[aria-pressed='true'][title^='features.0']").wait_for()
    assert pressed(page) == ["features.0"]
    grey = page.locator(".layer[aria-disabled='true']")
    assert grey.get_attribute("title") == "pair, Two, can't be shown: its output is no map"


@pytest.mark.browser
def test_the_keyboard_picks_and_stays_where_it_is(opened: Open) -> None:
    page = opened("small")
    page.locator(".layer[aria-pressed='true']").focus()
    for key in (
        "ArrowRight",
        "ArrowRight",
        "End",
        "ArrowRight",
        "ArrowLeft",
        "Home",
        "ArrowDown",
        "ArrowRight",
    ):
        page.keyboard.press(key)
    page.keyboard.press("Enter")
    page.get_by_text("chosen: features.<i>1</i>, picks: 1").wait_for()
    page.locator(".layer[aria-pressed='true']", has_text="<i>1</i>").wait_for()
    page.keyboard.press("ArrowRight")  # the focus is still there
    page.keyboard.press("Space")
    page.get_by_text("chosen: features, picks: 2").wait_for()
    assert page.locator(".net button[tabindex='0']").count() == 1  # one stop for the Tab key


@pytest.mark.browser
def test_a_stage_opens_in_a_narrow_window(opened: Open) -> None:
    page = opened("deep", 500)
    inside = page.get_by_role("button", name="layer2.0.bn1, Conv2d")
    assert inside.count() == 0
    page.get_by_role("button", name="layer2: the 20 layers inside its blocks").focus()
    page.keyboard.press("Enter")
    inside.wait_for()
    assert page.get_by_role("button", name="layer1.0.bn1").count() == 0
    inside.click()
    page.get_by_text("chosen: layer2.0.bn1, picks: 1").wait_for()
    page.locator(".layer[aria-pressed='true'][title^='layer2.0.bn1']").wait_for()
    assert page.get_by_role("button", name="layer2.4.relu").count() == 1  # the stage stays open
    scrolls, beyond = page.locator(".net").evaluate(
        "net => [net.scrollHeight > net.clientHeight, "
        "net.scrollWidth - net.clientWidth + document.documentElement.scrollWidth - window.innerWidth]"
    )
    assert scrolls
    assert beyond == 0
    page.get_by_role("button", name="layer2: the 19 layers inside its blocks").click()
    page.get_by_role("button", name="layer2.4.relu").wait_for(state="detached")
    assert inside.count() == 1  # what is chosen is drawn
