"""The main job in a real browser: upload a photograph, move the slider, take the figure home, share the link."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models import zoo
from tests.app_server import CHROMIUM_FLAGS, TOO_WIDE, Server, choose_page, chromium, running_app

pytestmark = pytest.mark.browser
PATIENCE = 60_000
"""Milliseconds; a loaded machine imports slowly."""
FAILURES = ("stException", "stAlertContentError")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running app."""
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    pytest.importorskip("playwright.sync_api")
    if not any(zoo.is_shipped(name) for name in zoo.cards()):
        pytest.skip("no network ships with this checkout")
    with running_app(tmp_path_factory.mktemp("app") / "log.txt") as found:
        yield found


@pytest.fixture(scope="module")
def browser(server: Server) -> Iterator[Any]:
    """One headless Chromium for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Any, server: Server) -> Iterator[Any]:
    """A new visitor on the Explain page, with the figure drawn."""
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    opened.goto(server.url)
    picture(opened)
    yield opened
    context.close()


@pytest.fixture(scope="module")
def photograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real photograph, a cat, as a JPEG file."""
    from PIL import Image
    from skimage.data import chelsea

    path = tmp_path_factory.mktemp("photographs") / "cat.jpg"
    Image.fromarray(chelsea()).save(path, quality=90)
    return path


def figures(page: Any) -> Any:
    """The figures on the page (each has a description that begins so)."""
    return page.locator("img[alt^='Figure for']")


def picture(page: Any, name: str = "") -> str:
    """Address of the figure of the picture `name`, once it is drawn and the page is at rest."""
    image = page.locator(f"img[alt^='Figure for {name}']").first
    image.wait_for()
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()
    return str(image.get_attribute("src"))


def wait_for_another(page: Any, before: str) -> str:
    """Address of the figure once it is not `before`."""
    page.wait_for_function(
        "before => { const i = document.querySelector(\"img[alt^='Figure for']\"); return i && i.src !== before }",
        arg=str(page.evaluate("a => new URL(a, location.href).href", before)),
    )
    return picture(page)


def press(page: Any, label: str, key: str, times: int = 1) -> None:
    """Move the slider `label` with the keyboard."""
    slider = page.get_by_role("slider", name=label)
    slider.focus()
    for _ in range(times):
        slider.press(key)


def value(page: Any, label: str) -> float:
    """Where the slider `label` stands."""
    return float(page.get_by_role("slider", name=label).input_value())


def upload(page: Any, *files: Any) -> None:
    """Choose uploads as the source and give it files."""
    page.get_by_text("Upload", exact=True).first.click()
    page.locator("input[type='file']").set_input_files(list(files))


def payload(name: str, content: bytes | Path) -> dict[str, Any]:
    """A file to upload under any name."""
    data = content.read_bytes() if isinstance(content, Path) else content
    return {"name": name, "mimeType": "image/png", "buffer": data}


def download(page: Any, label: str) -> bytes:
    """What the download button `label` gives."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=label, exact=True).click()
    return Path(waiting.value.path()).read_bytes()


def assert_no_failure(page: Any) -> None:
    """Neither a traceback nor a sentence of failure."""
    for name in FAILURES:
        assert page.get_by_test_id(name).count() == 0


def test_upload_degrade_and_take_the_pdf_home(page: Any, photograph: Path) -> None:
    from pypdf import PdfReader

    upload(page, photograph)
    before = picture(page, "cat.jpg")
    press(page, "Severity", "ArrowRight", 3)
    wait_for_another(page, before)
    assert value(page, "Severity") == 3.75
    assert_no_failure(page)
    reader = PdfReader(io.BytesIO(download(page, "PDF")))
    assert len(reader.pages) == 1
    assert float(reader.pages[0].mediabox.width) == pytest.approx(7 * 72)
    words = reader.pages[0].extract_text()
    assert "cat.jpg" in words
    assert "Grad-CAM" in words
    assert any(name in words for name in zoo.cards())


def test_the_other_files_are_what_they_say(page: Any) -> None:
    import json

    import numpy as np
    from PIL import Image

    assert b"<text" in download(page, "SVG")
    assert Image.open(io.BytesIO(download(page, "PNG, 300 dpi"))).width == 2100
    assert Image.open(io.BytesIO(download(page, "PNG, 600 dpi"))).width == 4200
    arrays = np.load(io.BytesIO(download(page, "Raw maps (.npz)")))
    assert all(np.isfinite(arrays[name]).all() for name in arrays)
    manifest = json.loads(download(page, "Manifest (.json)"))
    assert set(manifest["request"]["models"]) == {name.split("/")[0] for name in arrays}


def test_a_hostile_upload_is_one_sentence_and_the_other_goes_on(page: Any, photograph: Path) -> None:
    upload(
        page, payload("<img src=x>.png", b"#!/bin/sh\necho not a picture\n"), payload("cat.jpg", photograph)
    )
    picture(page, "cat.jpg")
    assert_no_failure(page)
    refusals = page.get_by_text("is not a picture in one of the formats")
    assert refusals.count() == 1
    assert page.locator("img[src='x']").count() == 0


def test_many_pictures_become_one_zip(page: Any, photograph: Path) -> None:
    import zipfile

    upload(page, payload("cat.jpg", photograph), payload("cat.jpg", photograph))
    picture(page, "cat.jpg")
    page.get_by_role("button", name="Make a ZIP of all 2 pictures").click()
    names = zipfile.ZipFile(io.BytesIO(download(page, "Download the ZIP"))).namelist()
    assert {name.split("/")[0] for name in names} == {"cat", "cat-2"}
    assert {"cat/figure.pdf", "cat/manifest.json", "cat/heatmaps.npz"} <= set(names)


def test_a_link_restores_the_choices_for_another_visitor(page: Any, browser: Any) -> None:
    before = picture(page)
    press(page, "Severity", "ArrowLeft", 4)
    wait_for_another(page, before)
    press(page, "Opacity of the heatmap", "ArrowLeft", 2)
    page.wait_for_url("**opacity=0.45**")
    other = browser.new_context().new_page()
    other.set_default_timeout(PATIENCE)
    other.goto(page.url)
    picture(other)
    assert value(other, "Severity") == 2
    assert value(other, "Opacity of the heatmap") == 0.45
    other.context.close()


def test_a_slow_method_says_how_far_it_is_and_can_be_cancelled(page: Any, server: Server) -> None:
    page.goto(f"{server.url}/?methods=gradcam&methods=rise&scene=11&degradation=motion_blur&severity=3")
    page.get_by_text("about", exact=False).filter(has_text="RISE:").first.wait_for()
    page.get_by_role("button", name="Cancel").click()
    again = page.get_by_role("button", name="Compute it after all")
    again.wait_for()
    page.get_by_text("RISE: cancelled").wait_for()
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()
    assert figures(page).count() == 0
    again.click()
    picture(page)
    assert not again.count()
    assert_no_failure(page)


def test_another_choice_ends_a_slow_method(page: Any, server: Server) -> None:
    page.goto(f"{server.url}/?methods=rise&scene=12&degradation=motion_blur&severity=3")
    page.get_by_text("RISE:").first.wait_for()
    press(page, "Severity", "ArrowRight", 2)
    picture(page)
    assert value(page, "Severity") == 3.5
    assert_no_failure(page)


def test_choices_survive_another_page(page: Any) -> None:
    before = picture(page)
    press(page, "Severity", "ArrowRight", 2)
    wait_for_another(page, before)
    choose_page(page, "About")
    page.get_by_role("heading", name="About").wait_for()
    choose_page(page, "Explain")
    picture(page)
    assert value(page, "Severity") == 3.5


def test_choices_survive_pages_that_have_the_same_widgets(page: Any, server: Server) -> None:
    """Explain, Features and Channel draw the same networks, picture and layer with widgets of their own."""
    chosen = (
        "a=resnet18_cifar-w16-cue10-s0&b=alexnet-cue10-s0&feature_layer=layer2&split=train&scene=7&severity=2"
    )
    page.goto(f"{server.url}/features?{chosen}")
    page.get_by_role("heading", name="Feature maps").first.wait_for()
    for name, heading in (
        ("Channel", "One channel"),
        ("Explain", "Explain a decision"),
        ("Features", "Feature maps"),
    ):
        choose_page(page, name)
        page.get_by_role("heading", name=heading).first.wait_for()
        page.wait_for_selector("[data-testid='stApp'][data-test-script-state='notRunning']")
    page.wait_for_function("location.search.includes('feature_layer=layer2')")
    asked = dict(part.split("=") for part in chosen.split("&") if not part.startswith("a="))
    shown = dict(part.split("=") for part in page.evaluate("location.search")[1:].split("&"))
    assert {key: shown.get(key) for key in asked} == asked
    assert_no_failure(page)


def networks(page: Any) -> None:
    """Go to the Networks page and wait until it is at rest."""
    choose_page(page, "Networks")
    page.get_by_text("Seeds of this training").wait_for()
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()


def test_a_row_of_the_table_of_networks_shows_its_network(page: Any) -> None:
    from pypdf import PdfReader

    networks(page)
    name = list(zoo.records())[1]
    place = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(place["x"] + 17, place["y"] + 35 * 2.5)  # the box before the second row
    page.get_by_role("heading", name=name, exact=True).wait_for()
    page.wait_for_url(f"**network={name}**")
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()
    assert_no_failure(page)
    assert page.locator("img[alt^='Stages: input']").count() == 1
    with page.expect_download() as waiting:
        page.get_by_role("button", name="PDF", exact=True).nth(1).click()
    words = PdfReader(waiting.value.path()).pages[0].extract_text()
    assert waiting.value.suggested_filename == f"{name}-stages-figure.pdf"
    assert "tapped by default" in words


def test_the_networks_page_fits_a_narrow_window(page: Any) -> None:
    networks(page)
    page.set_viewport_size({"width": 420, "height": 900})
    page.get_by_role("button", name="Measure latency here").scroll_into_view_if_needed()
    assert page.evaluate("document.documentElement.scrollWidth") <= 420
    assert page.evaluate(TOO_WIDE) == []


def test_a_wide_figure_moves_sideways_on_a_phone_instead_of_shrinking(page: Any) -> None:
    figure = figures(page).first
    assert figure.evaluate("i => i.getBoundingClientRect().width") > 700
    page.set_viewport_size({"width": 380, "height": 800})
    page.wait_for_function(
        "document.querySelector(\"img[alt^='Figure for']\").getBoundingClientRect().left < 40"
    )
    shown, natural = figure.evaluate("i => [i.getBoundingClientRect().width, i.naturalWidth]")
    assert shown / natural > 0.55, "its letters can be read"
    inside, whole = figure.evaluate("i => [i.parentElement.clientWidth, i.parentElement.scrollWidth]")
    assert inside < 380 < whole
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    figure.evaluate("i => { i.parentElement.scrollLeft = 10000 }")
    assert figure.evaluate("i => i.getBoundingClientRect().right") < 380


@pytest.mark.parametrize("name", ["Explain", "Networks"])
def test_every_control_has_a_name(page: Any, name: str) -> None:
    """What a screen reader says of each input, slider, button and list box in the page and its sidebar."""
    if name == "Networks":
        networks(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, [role=slider], button, [role=combobox], textarea")]
            .filter(e => e.offsetParent !== null && e.type !== "file")
            .filter(e => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.title
                || e.labels && e.labels.length || e.innerText.trim() || e.closest("label")))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
