"""The comparisons that come with the project: read, checked against their rows, small, and without foreign pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import zoo
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
