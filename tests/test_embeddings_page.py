"""The Embeddings page, run by Streamlit and used in a browser with a real lasso."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from data import cue10
from models import zoo
from tests.app_server import CHROMIUM_FLAGS, choose_page, chromium, running_app
from tests.embedding_helpers import embedding
from tests.page_helpers import healthy, visit, words
from xai import embedding_store
from xai.embedding import Embedding
from xai.ui import dataset_images, embedding_data, embedding_selected, explaining, job_panel, scatter
from xai.ui.job import Report

SHIPPED = [name for name, card in zoo.cards().items() if card.dataset == "cue10" and zoo.is_shipped(name)]
pytestmark = pytest.mark.skipif(len(SHIPPED) < 2, reason="no two networks of cue10 ship with this checkout")
A, B = "alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0"
LINK = {"a": A, "b": B, "method": "pca", "embed_degradation": "none"}


@pytest.fixture(autouse=True)
def _few_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, and no more scenes than a page needs."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(cue10.SPLITS, "test", 100)
    stores = (job_panel.place_of, dataset_images.memo, explaining.results)
    for store in stores:
        store.clear()
    yield
    if job := embedding_data.PANEL.place().job:
        job.cancel()
        job.wait(120)
    for store in stores:
        store.clear()


def embeddings(**link: str) -> AppTest:
    return visit("embeddings", **{**LINK, **link})


def test_two_networks_on_scenes_with_their_numbers() -> None:
    app = embeddings()
    assert healthy(app), words(app)
    said = words(app)
    assert "A and B share" in said
    assert "n = 100)** of each image's 10 nearest neighbours (by chance 10 %)" in said
    assert "PCA: the two directions in which the features vary most" in said
    assert "Silhouette: 1 for a class that lies together" in said
    assert f"A: {A}" in said


def test_a_degradation_brings_the_slider_and_what_it_does() -> None:
    app = embeddings(embed_degradation="gaussian_noise", b="", colour="transition")
    assert healthy(app), words(app)
    said = words(app)
    assert "Under degradation" in said
    assert "Degraded images are placed into the map of the clean ones" in said
    assert app.selectbox(key="colour").value == "transition"
    assert dict(app.query_params)["colour"] == "transition"


def test_a_poor_picture_or_too_few_images_are_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cue10.SPLITS, "test", 30)
    app = embeddings(b="")
    assert healthy(app)
    assert "A: The sample is small: 30 images for 10 neighbours" in words(app)


def test_a_search_selects_images_or_says_that_there_are_none() -> None:
    app = embeddings(b="")
    app.text_input(key="search").set_value("no such id").run()
    assert healthy(app)
    assert "No id and no class of 100 images holds 'no such id'" in words(app)


def test_search_and_severity_are_part_of_the_link_and_outlast_a_visit_elsewhere() -> None:
    app = embeddings(b="", embed_degradation="gaussian_noise", embed_severity="3", search="0007")
    assert healthy(app)
    assert "The link asked for" not in words(app)
    app.switch_page("xai/ui/pages/models.py").run()
    app.switch_page("xai/ui/pages/embeddings.py").run()
    assert healthy(app)
    assert app.text_input(key="search").value == "0007"
    assert (dict(app.query_params)["search"], dict(app.query_params)["embed_severity"]) == ("0007", "3")
    assert "The link asked for" in words(embeddings(embed_degradation="jpeg_compression", embed_severity="9"))


def test_networks_outlast_a_visit_to_a_page_that_begins_with_them() -> None:
    app = embeddings(b="")
    app.switch_page("xai/ui/pages/explain.py").run()
    assert app.selectbox(key="a").value == A
    app.switch_page("xai/ui/pages/embeddings.py").run()
    assert (app.selectbox(key="a").value, app.selectbox(key="b").value) == (A, "")
    app.selectbox(key="a").set_value(B).run()
    assert dict(app.query_params)["a"] == B
    app.switch_page("xai/ui/pages/explain.py").run()
    assert app.selectbox(key="a").value == B
    app.selectbox(key="a").set_value("resnet18-cue10-s0").run()
    app.switch_page("xai/ui/pages/embeddings.py").run()
    assert app.selectbox(key="a").value == "resnet18-cue10-s0", "chosen on another page since"


def test_a_selection_outlasts_a_visit_elsewhere_but_not_other_images() -> None:
    found = embedding()

    def page() -> None:
        import streamlit as st

        from xai.ui import embedding_kept, state

        state.start(st.session_state["page"])
        found = st.session_state["found"]
        begun = embedding_kept.start(found)
        assert embedding_kept.start(found) is begun
        st.write(f"{begun.rows} {begun.step} {begun.nonce} {begun.hidden or ''}")
        if "next" in st.session_state:
            embedding_kept.keep(found, *st.session_state["next"])

    app = AppTest.from_function(page)

    def shown(name: str, one: Embedding, *after: object) -> str:
        app.session_state["page"], app.session_state["found"], app.session_state["next"] = name, one, after
        app.run()
        assert not app.exception
        return str(app.markdown[0].value)

    assert shown("embeddings", found, (3, 5), 2, "seen") == "() 0"
    assert shown("embeddings", found, (3, 5), 2, "seen") == "() 0", "as long as the plots are on the page"
    assert shown("others", found, (3, 5), 2, "seen") == "(3, 5) 2 seen"
    clean = replace(found, request=replace(found.request, degradation="none", severities=()))
    assert shown("clean", clean, (3, 5), 0, "seen") == "(3, 5) 0 seen"
    others = replace(found, ids=tuple(f"other/{row}" for row in range(60)))
    assert shown("others", others, (), 2, "", ("cat",)) == "() 2", "the severity holds for other images too"
    assert shown("clean", clean, (), 0, "") == "() 0  ('cat',)", "and so does what is hidden"


@pytest.mark.parametrize(
    "link", [{"method": "magic"}, {"embed_count": "12"}, {"layout": "../x"}, {"embed_layer_a": "../../etc"}]
)
def test_links_that_ask_for_what_is_not_offered_are_told(link: dict[str, str]) -> None:
    app = embeddings(**link)
    assert not app.exception
    assert "The link asked for what is not offered here" in words(app)


def test_no_more_images_are_offered_than_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cue10.SPLITS, "test", 600)
    app = embeddings(b="", embed_count="2000")
    assert healthy(app), words(app)
    assert app.selectbox(key="embed_count").options == ["all", "500"]
    assert app.selectbox(key="embed_count").value == "all"
    assert "The link asked for" not in words(app)


def test_many_images_are_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_data, "AT_ONCE", 50)
    app = embeddings(b="")
    assert "has not been made yet" in words(app)
    app.button(key="start maps").click().run()
    job = embedding_data.PANEL.place().job
    assert job is not None
    job.wait(120)
    assert job.error is None
    app.run()
    assert healthy(app)
    assert "Silhouette" in words(app)


@pytest.fixture
def another() -> Iterator[Callable[[], None]]:
    """A job makes the maps of another request, until this is called."""
    end = threading.Event()

    def work(report: Report, _cancelled: Any) -> None:
        report(1, 4, "its features")
        end.wait(60)
        raise ValueError("the disk is full.")

    job = embedding_data.PANEL.place().start("Maps of another", work, "another")

    def stop() -> None:
        end.set()
        job.wait(60)

    yield stop
    stop()


def test_while_another_map_is_made_small_ones_are_drawn_and_large_ones_wait(
    another: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = embeddings(b="")
    assert healthy(app)
    assert "Silhouette" in words(app)
    explaining.results.clear()
    monkeypatch.setattr(embedding_data, "AT_ONCE", 50)
    app = embeddings(b="", method="umap")
    assert healthy(app)
    assert "The UMAP map of 100 images of cue10 test by alexnet-cue10-s0 has not been made yet" in words(app)
    assert "That is another visitor's. What you start waits in line for its turn." in words(app)
    (bar,) = app.get("progress")
    assert "Maps of another" in bar.proto.text
    assert app.button(key="start maps")
    another()
    app.run()
    assert not app.error, "what failed was another's"
    assert app.button(key="start maps")


def test_what_failed_is_said_where_it_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedding_data, "AT_ONCE", 50)
    go, wait = threading.Event(), embedding_store.stored

    def stored(*_: Any, **__: Any) -> None:
        go.wait(60)
        raise ValueError("the disk is full.")

    monkeypatch.setattr(embedding_store, "stored", stored)
    app = embeddings(b="")
    app.button(key="start maps").click().run()
    job = embedding_data.PANEL.place().job
    assert job is not None
    go.set()
    job.wait(60)
    app.run()
    assert [error.value.replace("\\", "") for error in app.error] == [f"{job.title}: the disk is full."]
    monkeypatch.setattr(embedding_store, "stored", wait)
    app.radio(key="method").set_value("tsne").run()
    assert not app.error


def test_maps_are_read_again_without_the_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert healthy(embeddings())
    explaining.results.clear()
    monkeypatch.setattr(embedding_store, "stored", None)  # nothing may be computed
    assert healthy(embeddings())


def test_what_the_browser_sends_is_not_trusted() -> None:
    assert scatter._rows([3, 1, 1, -1, 99, "2", 2.0, True, None], 5) == (1, 3)
    assert scatter._rows("12", 5) == scatter._rows({"a": 1}, 5) == ()
    assert scatter._hidden(["dog", "<b>", 1, "cat"], ["cat", "dog"]) == ("cat", "dog")
    assert scatter._hidden("cat", ["cat"]) == scatter._hidden(None, ["cat"]) == ()
    assert [scatter._step(given, 3) for given in (2, 3, -1, "1", None, True)] == [2, 0, 0, 0, 0, 0]


def test_packed_points_are_little_endian_numbers() -> None:
    import base64

    points = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)
    step = scatter.Step(
        points, np.array([1, 0]), None, np.zeros((2, 3)), np.array([[1.0, 0, 0]] * 2), "words"
    )
    packed = step.packed()
    assert np.frombuffer(base64.b64decode(packed["x"]), "<f4").tolist() == [1.5, 0.25]
    assert np.frombuffer(base64.b64decode(packed["y"]), "<f4").tolist() == [-2.0, 4.0]
    assert np.frombuffer(base64.b64decode(packed["group"]), "<u2").tolist() == [1, 0]
    assert np.frombuffer(base64.b64decode(packed["share"]), "u1").tolist() == [255, 0, 0] * 2


def test_a_selection_as_a_table_and_its_way_to_explain() -> None:
    found = embedding()
    rows = embedding_selected.image_rows(found, np.array([2, 0]), 0)
    assert [row["id"] for row in rows] == [found.ids[2], found.ids[0]]
    assert rows[0]["A_x"] == pytest.approx(float(found.maps[0].coordinates[2, 0]))
    assert rows[0]["A_predicted"] == found.classes[found.maps[0].answers.predicted[2]]
    step = len(found.request.severities)
    opened = embedding_selected.opening(found, found.ids[1], step)
    assert opened["a"] == [found.request.models[0]]
    assert opened["severity"] == [f"{found.request.severities[-1]:g}"]
    assert embedding_selected.opening(found, found.ids[1], 0)["degradation"] == ["none"]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A visitor on the page, with the maps of 500 scenes drawn."""
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    link = "&".join(f"{key}={value}" for key, value in {**LINK, "embed_count": "500"}.items())
    with (
        running_app(tmp_path_factory.mktemp("embeddings") / "log.txt") as server,
        playwright.sync_playwright() as made,
    ):
        browser = made.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        opened = browser.new_page(viewport={"width": 1400, "height": 1000})
        opened.set_default_timeout(60_000)
        opened.goto(f"{server.url}/embeddings?{link}")
        opened.locator(".plot .gl-canvas").first.wait_for(state="attached")
        yield opened
        browser.close()


@pytest.mark.browser
def test_a_search_shows_its_image_again_and_again_and_a_resized_plot_keeps_its_height(page: Any) -> None:
    name = page.evaluate("document.querySelector('.xai-scatter').plots.data.ids[7]")
    for _ in range(2):
        page.get_by_label("Find in id or class", exact=True).fill(name)
        page.get_by_label("Find in id or class", exact=True).press("Enter")
        page.get_by_role("heading", name="1 image selected").wait_for()
        page.set_viewport_size({"width": 1380, "height": 1000})
        page.wait_for_timeout(500)
        page.get_by_text("Clear the selection").click()
        page.get_by_role("heading", name="1 image selected").wait_for(state="hidden")
        page.get_by_label("Find in id or class", exact=True).fill("")
        page.get_by_label("Find in id or class", exact=True).press("Enter")
        page.wait_for_timeout(500)
    assert all(
        box > 400
        for box in page.evaluate("[...document.querySelectorAll('.plot')].map((p) => p.clientHeight)")
    )
    page.set_viewport_size({"width": 1400, "height": 1000})


@pytest.mark.browser
def test_a_lasso_marks_the_same_images_in_both_maps_and_one_opens_in_explain(page: Any) -> None:
    box = page.locator(".plot").first.bounding_box()
    left, top = box["x"] + 0.25 * box["width"], box["y"] + 0.2 * box["height"]
    right, bottom = left + 0.5 * box["width"], top + 0.6 * box["height"]
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in ((right, top), (right, bottom), (left, bottom), (left, top + 3)):
        page.mouse.move(x, y, steps=8)
    page.mouse.up()
    page.wait_for_function("/\\d+ of 500 images selected/.test(document.querySelector('.count').textContent)")
    marked = page.evaluate(
        """[...document.querySelectorAll('.plot')].map((plot) => plot.data
            .flatMap((trace) => (trace.selectedpoints ?? []).map((place) => trace.customdata[place]))
            .sort((a, b) => a - b))"""
    )
    assert len(marked) == 2
    assert marked[0] == marked[1]
    count = len(marked[0])
    assert 0 < count < 500
    heading = "1 image selected" if count == 1 else f"{count} images selected"
    page.get_by_role("heading", name=heading).wait_for()
    card = page.locator("ul[aria-label$='selected images'] a").first
    name = card.locator(".id").inner_text()
    rows = page.evaluate("document.querySelector('.xai-scatter').plots.data.ids")
    assert rows.index(name) in marked[0]
    card.click()
    page.get_by_role("heading", name="Explain a decision").wait_for()
    page.wait_for_function(f"location.search.includes('scene={int(name.rpartition('/')[2])}')")


@pytest.mark.browser
def test_selection_and_severity_are_there_again_after_a_visit_to_explain(page: Any) -> None:
    tab = page.context.browser.new_page(viewport={"width": 1400, "height": 1000})
    tab.set_default_timeout(60_000)
    link = {**LINK, "b": "", "embed_degradation": "jpeg_compression", "embed_count": "500"}
    asked = "&".join(f"{key}={value}" for key, value in link.items())
    tab.goto(f"{page.evaluate('location.origin')}/embeddings?{asked}")
    tab.locator(".plot .gl-canvas").first.wait_for(state="attached")
    tab.get_by_role("slider", name="Severity").fill("2")
    tab.get_by_label("Find in id or class", exact=True).fill("0000")
    tab.get_by_label("Find in id or class", exact=True).press("Enter")
    tab.get_by_role("heading", name="images selected").wait_for()
    tab.wait_for_function("location.search.includes('embed_severity=3')")
    tab.locator(".legend button").nth(1).focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelector('.count').textContent.includes('switched off')")
    said = tab.locator(".count").inner_text()
    choose_page(tab, "Explain")
    tab.get_by_role("heading", name="Explain a decision").wait_for()
    choose_page(tab, "Embeddings")
    tab.locator(".plot .gl-canvas").first.wait_for(state="attached")
    tab.wait_for_function("document.querySelector('.count')?.textContent.includes('selected')")
    assert tab.locator(".count").inner_text() == said
    pressed = [button.get_attribute("aria-pressed") for button in tab.locator(".legend button").all()]
    assert pressed == ["true", "false", *["true"] * 8]
    assert tab.locator(".xai-scatter output").inner_text().endswith("severity 3")
    assert tab.get_by_role("slider", name="Severity").input_value() == "2"
    tab.get_by_role("heading", name="images selected").wait_for()
    tab.close()
