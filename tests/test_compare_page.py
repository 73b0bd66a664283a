"""The Compare page, run by Streamlit: what is known opens at once, what is not is measured by a job."""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from data import cue10
from models import zoo
from tests import story_helpers as helpers
from tests.page_helpers import healthy, visit, words
from tests.story_helpers import fake, put
from xai.compare import kept
from xai.compare.sections import Measured
from xai.compare.study import Study
from xai.ui import compare_data, compare_take_home, dataset_images, explaining, job_panel

A, B = helpers.NAMES
pytestmark = pytest.mark.skipif(
    not {A, B} <= zoo.cards().keys(), reason="no two networks of cue10 ship with this checkout"
)
LINK = {"a": A, "b": B, "compare_images": "cue10", "compare_count": "200"}


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, few scenes, and sections that cost nothing."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(cue10.SPLITS, "test", 40)
    monkeypatch.setattr(kept, "SHIPPED", tmp_path / "none")
    put(monkeypatch, fake("drift", True), fake("agreement", False), fake("errors", None))
    stores = (job_panel.place_of, dataset_images.memo, explaining.results, explaining.cards)
    for store in stores:
        store.clear()
    yield
    for panel in (compare_data.PANEL, compare_take_home.PANEL):
        if job := panel.place().job:
            job.cancel()
            job.wait(120)
    for store in stores:
        store.clear()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def finished(app: AppTest, panel: Any) -> AppTest:
    """The page once its job has ended."""
    job = panel.place().job
    assert job is not None
    job.wait(120)
    return app.run()


def test_nothing_is_known_at_first_and_a_job_measures_it() -> None:
    app = visit("compare", **LINK)
    assert healthy(app), words(app)
    assert "This comparison has not been made yet" in words(app)
    app = finished(press(app, "Make the comparison"), compare_data.PANEL)
    assert healthy(app), words(app)
    said = words(app)
    assert "has not been made" not in said
    assert said.index("What differs") < said.index("What was not found to differ")
    assert "40 images of cue10 test" in said
    assert f"A: {A}, features.11 (8 x 8)" in said.replace("\\", "")
    for name in ("drift", "agreement", "errors"):
        assert f"About {name}" in said
    assert "What of drift?" in said.replace("\\", "")
    assert "1 of 40 images have no value" in said.replace("\\", "")


def test_words_of_sections_are_shown_as_they_are() -> None:
    app = finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    said = [str(element.value) for element in (*app.markdown, *app.caption)]
    assert any("\\<script\\>" in each for each in said)
    assert not any("<script>" in each for each in said)


def test_what_was_measured_is_there_for_the_next_visitor_and_the_part_is_in_the_link() -> None:
    finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    explaining.results.clear()
    app = visit("compare", **LINK, compare_part="agreement")
    assert app.radio(key="compare_part").value == "agreement"
    assert "What of agreement?" in words(app).replace("\\", "")
    assert dict(app.query_params)["compare_part"] == "agreement"


def test_another_seed_or_degradation_is_another_comparison() -> None:
    finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    app = visit("compare", **LINK, compare_seed="1")
    assert "This comparison has not been made yet" in words(app)


def test_what_is_missing_is_measured_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    asked: list[str] = []

    def measure(bench: Any) -> Measured:
        asked.append("flips")
        return helpers.measure(bench)

    def never(_bench: Any) -> Measured:
        raise AssertionError("it was measured before")

    put(monkeypatch, fake("drift", True, measure=never), fake("flips", True, measure=measure))
    app = visit("compare", **LINK)
    assert "Not measured yet: about flips" in words(app)
    app = finished(press(app, "Measure what is missing"), compare_data.PANEL)
    assert healthy(app)
    assert asked == ["flips"]
    assert "Not measured yet" not in words(app)


def test_a_section_that_fails_says_why_and_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_bench: Any) -> Measured:
        raise ValueError("the layer is too small.")

    put(monkeypatch, fake("drift", True), fake("agreement", False, measure=fails))
    app = finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    assert not app.exception
    assert [error.value.replace("\\", "") for error in app.error] == [
        f"{A} against {B}, cue10: the layer is too small."
    ]
    assert "About drift" in words(app)
    assert "Not measured yet: about agreement" in words(app)


def test_a_cancelled_comparison_keeps_the_parts_that_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go = threading.Event(), threading.Event()

    def slow(bench: Any) -> Measured:
        begun.set()
        assert go.wait(60)
        return helpers.measure(bench)

    put(monkeypatch, fake("drift", True), fake("agreement", False, measure=slow))
    app = press(visit("compare", **LINK), "Make the comparison")
    assert begun.wait(60)
    app = press(app.run(), "Cancel the comparison")
    go.set()
    app = finished(app, compare_data.PANEL)
    assert healthy(app), words(app)
    assert "About drift" in words(app)
    assert "Not measured yet: about agreement" in words(app)


def test_another_comparison_at_work_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()

    def slow(bench: Any) -> Measured:
        assert go.wait(60)
        return helpers.measure(bench)

    put(monkeypatch, fake("drift", True, measure=slow))
    press(visit("compare", **LINK), "Make the comparison")
    app = visit("compare", **LINK, compare_seed="1")
    assert "What you start waits in line for its turn." in words(app)
    assert [button for button in app.button if button.label == "Make the comparison"]
    go.set()


def test_the_report_is_made_and_given_as_a_zip() -> None:
    app = finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    app = finished(press(app, "Make the report"), compare_take_home.PANEL)
    assert healthy(app), words(app)
    labels = [str(getattr(button, "label", "")) for button in app.get("download_button")]
    assert "Report (.zip)" in labels
    study = Study((A, B), "cue10", limit=200, scale="paper-relative")
    found = compare_data.compared(study)
    assert found is not None
    key = ("comparison report", compare_data.state_of(study), tuple(found.found), True)
    content = explaining.results().get(key)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
    assert names[0] == "report.html"
    assert {"report.tex", "methods.txt", "numbers.json", "manifest.json"} <= set(names)
    assert all(not name.startswith(("/", "..")) for name in names)


def test_rows_of_other_weights_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    finished(press(visit("compare", **LINK), "Make the comparison"), compare_data.PANEL)
    study = Study((A, B), "cue10", limit=200, scale="paper-relative")
    cards = zoo.cards()
    assert kept.find(study, cards) is not None
    changed = {**cards, A: replace(cards[A], sha256="0" * 64)}
    assert kept.find(study, changed) is None
