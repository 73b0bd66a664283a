"""The comparisons that come with the project: read, checked against their rows, small, and without foreign pictures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from models import zoo
from tests.app_server import CHROMIUM_FLAGS, chromium, running_app
from tests.page_helpers import healthy, visit, words
from xai.compare import kept, shipping, story_check
from xai.compare.sections import all_sections

FOLDERS = [where for where, _ in kept.shipped()]
pytestmark = pytest.mark.skipif(not FOLDERS, reason="no comparison ships with this checkout")


def test_all_that_is_planned_is_there_and_small_enough() -> None:
    assert {where.name for where in FOLDERS} == set(shipping.studies())
    files = [path for path in kept.SHIPPED.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= shipping.MOST_BYTES
    listed = json.loads((kept.SHIPPED / shipping.INDEX).read_text())
    assert {entry["folder"] for entry in listed} == set(shipping.studies())


@pytest.mark.parametrize("where", FOLDERS, ids=lambda path: path.name)
def test_every_number_is_that_of_the_rows(where: Path) -> None:
    assert story_check.check(where) == ""


@pytest.mark.parametrize("where", FOLDERS, ids=lambda path: path.name)
def test_they_are_of_the_weights_that_ship_and_every_question_was_asked(where: Path) -> None:
    facts = kept.read_facts(where)
    assert facts is not None
    cards = zoo.cards()
    assert [one.sha256 for one in facts.networks] == [cards[one.name].sha256 for one in facts.networks]
    assert facts.images == 2_000
    found = kept.find(facts.study, cards)
    assert found is not None
    assert {*found.found, *found.skipped} == {each.name for each in all_sections()}
    assert not found.failed


@pytest.mark.parametrize("where", FOLDERS, ids=lambda path: path.name)
def test_pictures_are_of_drawn_scenes_alone(where: Path) -> None:
    shown = {each.name for each in all_sections() if each.pictures}
    figures = {path.stem for path in (where / "figures").iterdir()}
    plain = {"flips-flip-points", "examples-examples"}
    pictures = {name for name in figures - plain if name.split("-")[0] in shown}
    assert bool(pictures) is where.name.endswith("cue10")


def test_the_page_opens_with_one_at_once() -> None:
    app = visit("compare")
    assert healthy(app), words(app)
    said = words(app)
    assert "This comparison has not been made yet" not in said
    assert "2,000 images of cifar10-jpeg test" in said
    assert "Validity." in said


def test_the_readme_quotes_them() -> None:
    """Numbers of the README's results are those of the shipped reports."""
    readme = " ".join((Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8").split())
    for name in shipping.studies():
        assert f"data/reports/{name}" in readme


@pytest.mark.browser
@pytest.mark.skipif(chromium() is None, reason="no Chromium on this machine")
def test_a_shipped_comparison_is_read_and_looked_at_closely_in_a_browser(tmp_path: Path) -> None:
    """Verdicts, another question, its figure and filmstrip, and an example that opens in Explain with both networks."""
    playwright = pytest.importorskip("playwright.sync_api")
    link = "a=alexnet-cue10-s0&b=resnet18_cifar-w16-cue10-s0"
    with running_app(tmp_path / "log.txt") as server, playwright.sync_playwright() as made:
        browser = made.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 1100})
        page.set_default_timeout(90_000)
        page.goto(f"{server.url}/compare?{link}")
        page.get_by_text("Each network by itself, and what can't be said").wait_for()
        page.locator("label").filter(has_text="Flip points").click()
        page.get_by_text("How far can an image be degraded before the answer flips").wait_for()
        page.get_by_alt_text("3 images just before and just after their flip", exact=False).wait_for()
        page.locator("label").filter(has_text="Examples").click()
        page.get_by_alt_text("6 examples (random)", exact=False).wait_for()
        with page.expect_popup() as opened:
            page.get_by_text("Open in Explain:").locator("a").first.click()
        explain = opened.value
        explain.get_by_text("alexnet-cue10-s0 says").first.wait_for(timeout=90_000)
        assert "degradation=gaussian_blur" in explain.url
        browser.close()


@pytest.mark.parametrize("limit", [None, 5_000])
def test_all_images_of_a_split_are_found_however_they_are_asked_for(limit: int | None) -> None:
    (facts,) = (facts for where, facts in kept.shipped() if where.name.endswith("-resnet18-cue10"))
    assert kept.find(replace(facts.study, limit=limit), zoo.cards()) is not None
    assert kept.find(replace(facts.study, limit=1_999), zoo.cards()) is None
