"""The Features and Channel pages, run by Streamlit and used in a browser."""

from __future__ import annotations

import io
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from data import cue10
from models import zoo
from tests.app_server import CHROMIUM_FLAGS, chromium, running_app
from tests.page_helpers import healthy, pictures, visit, words
from xai.evaluation import Cancelled
from xai.ui import channel_jobs, dataset_images, explaining, job_panel

SHIPPED = [name for name, card in zoo.cards().items() if card.dataset == "cue10" and zoo.is_shipped(name)]
pytestmark = pytest.mark.skipif(len(SHIPPED) < 2, reason="no two networks of cue10 ship with this checkout")
A, B = "alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0"
SECONDS = 120
AT_REST = "[data-testid='stApp'][data-test-script-state='notRunning']"


@pytest.fixture(autouse=True)
def _few_scenes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A cache of its own, and no more scenes than a page needs."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(cue10.SPLITS, "test", 100)
    stores = (job_panel.place_of, dataset_images.memo, explaining.results)
    for store in stores:
        store.clear()
    yield
    if job := channel_jobs.PANEL.place().job:
        job.cancel()
        job.wait(SECONDS)
    for store in stores:
        store.clear()


def features(**link: str) -> AppTest:
    return visit("features", **link)


def channel(**link: str) -> AppTest:
    return visit("channel", **{"channel_images": "100", **link})


# Features


def test_the_first_visit_shows_channels_of_both_networks_on_one_grid() -> None:
    app = features()
    assert healthy(app), words(app)
    said = words(app)
    assert "features.11, after ReLU: 8 × 8 × 256" in said
    assert "layer4, after ReLU: 8 × 8 × 128" in said
    seen = pictures(app)
    assert seen[:2] == ["cue10 test 3, clean", "cue10 test 3, degraded"]
    assert "PSNR" in said
    assert [alt for alt in seen if alt.startswith("Colours: activation from 0 to")]
    assert [
        a for a in seen if a.startswith(f"Channels of features.11 of {A}, layer4 of {B} for cue10 test 3")
    ]
    assert any("How much each layer changes" in alt for alt in pictures(app))
    assert any("Filters of features.0" in alt for alt in pictures(app))


def test_a_link_chooses_layer_order_and_page() -> None:
    app = features(feature_layer="features.4", order="change", first="2", shown="24", b="")
    assert healthy(app)
    assert "features.4, after ReLU: 16 × 16 × 192" in words(app)
    assert app.selectbox(key="order").value == "change"
    assert app.number_input(key="first").value == 2
    assert dict(app.query_params)["feature_layer"] == "features.4"


def test_a_network_that_cannot_name_what_it_sees_is_warned_about() -> None:
    strange = next((name for name, card in zoo.cards().items() if "cifar10" in card.dataset), None)
    if strange is None:
        pytest.skip("no network of another dataset ships with this checkout")
    app = features(a=strange, b="")
    assert healthy(app)
    assert f"A ({strange}) was trained on" in words(app)
    assert "was trained on" not in words(features(b=""))


@pytest.mark.parametrize("layer", ["classifier.2", "classifier.6"])
def test_vectors_are_grids_of_one_cell(layer: str) -> None:
    app = features(feature_layer=layer, b="", degradation="none")
    assert healthy(app)
    assert "gives one value per channel, shown as a 1x1 grid" in words(app)
    assert "Choose a degradation" in words(app)


def test_what_a_link_asks_and_is_not_there_is_said() -> None:
    app = features(feature_layer="features.99", order="loudness", nonsense="1")
    assert healthy(app)
    assert "not offered here (Layer of A, Order of channels, 1 unknown entry)" in words(app)


def test_layers_are_measured_over_images_by_a_job() -> None:
    app = features(drift_of="images", channel_images="100", b="", scale="paper-relative")
    button(app, "Measure the layers").click().run()
    finish(app)
    assert any(alt.startswith("How much each layer changes") for alt in pictures(app))
    assert "n 100" in words(app)


def test_one_network_is_not_told_to_be_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("xai.ui.channel_data.dataset_images.names", dict)
    app = features(a=B, b="", degradation="gaussian_noise", severity="3", drift_of="images")
    assert "No dataset on this machine has images of 64 × 64 px" in words(app)
    assert "Both networks" not in words(app)


@pytest.mark.parametrize(
    ("label", "alt"),
    [
        ("Invert the layer", "The picture, and what was made"),
        ("Make a caricature", "The picture, and caricatures"),
    ],
)
def test_what_survives_in_a_layer_is_made_by_a_job(label: str, alt: str) -> None:
    app = features(feature_layer="features.1", b="", inversion_steps="100")
    button(app, label).click().run()
    finish(app)
    assert [each for each in pictures(app) if each.startswith(alt)], words(app)


# Channel


def test_a_channel_shows_its_images_and_classes() -> None:
    app = channel(feature_layer="features.4", channel="7")
    assert healthy(app), words(app)
    said = words(app)
    assert "channel 7 of features.4" in said
    assert "sees 25 × 25 of the 64 × 64 px" in said  # 5; 2 steps of 2 px by pooling: 9; 4 steps of 4 px: 25
    assert "100 images of cue10 test" in said
    assert [alt for alt in pictures(app) if alt.startswith("Classes that channel 7")]


def test_a_unit_and_a_class() -> None:
    unit = channel(what="unit", feature_layer="features.4", cell_row="0", cell_column="15")
    assert healthy(unit)
    assert "at row 0, column 15" in words(unit)
    about = [alt for alt in pictures(unit) if "channel 0" in alt]
    assert about  # figures of images and classes are of the whole channel, and say so
    assert not [alt for alt in about if "row" in alt]
    named = channel(what="class", **{"class": cue10.CLASSES[3]})
    assert healthy(named)
    assert f"class {cue10.CLASSES[3]}" in words(named)
    assert "A class speaks for itself" in words(named)
    assert "zero everywhere" not in words(named)
    alike = channel(what="class", channel_part="counterpart", **{"class": cue10.CLASSES[3]})
    assert healthy(alike)
    assert "class of B" in words(alike)
    assert f"Open class {cue10.CLASSES[3]} of B" in [each.label.replace("\\", "") for each in alike.button]


def test_all_figures_of_a_channel_can_be_taken_home_with_their_numbers() -> None:
    for part in ("classes", "severity", "counterpart"):
        app = channel(channel_part=part)
        labels = [each.proto.label for each in app.get("download_button")]
        assert labels.count("Numbers (.csv)") == labels.count("Manifest (.json)") == 2, (
            part
        )  # and the top images


def test_a_link_that_asks_too_much_is_told_above_everything() -> None:
    app = features(order="loudness", b="")
    kinds = [element.type for element in _flat(app.main)]
    assert "not offered here" in words(app)
    assert kinds.index("warning") < kinds.index("selectbox")


def test_without_a_degradation_nothing_stands_around_it() -> None:
    app = features(degradation="none", scale="paper-relative", b="")
    assert healthy(app)
    assert not [each for each in app.selectbox if each.key == "scale"]
    assert "not offered here" not in words(app)
    app.selectbox(key="degradation").set_value("jpeg_compression").run()
    assert app.selectbox(key="scale").value == "paper-relative"


def test_a_job_stands_in_the_place_of_its_button_and_says_what_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started = threading.Event()

    def wait(*given: Any, **_: object) -> None:
        cancelled = given[6]
        started.set()
        while not cancelled():
            time.sleep(0.01)
        raise Cancelled

    monkeypatch.setattr("xai.contact_sheet.make", wait)
    app = channel(channel_part="sheet")
    button(app, "Make the contact sheet").click().run()
    assert started.wait(SECONDS)
    assert not [each for each in app.button if "Make the contact sheet" in each.label]
    job = channel_jobs.PANEL.place().job
    assert job is not None
    assert job.unit == "channels"
    assert button(app, "Make the picture").disabled
    job.cancel()
    job.wait(SECONDS)
    assert "Cancelled. The pictures of 0 of 16 channels are kept" in words(app.run())
    assert "Cancelled" not in words(channel(channel_part="sheet"))  # another visitor, who did not see it


@pytest.mark.parametrize(
    ("part", "start"),
    [("severity", "Response of channel 0"), ("counterpart", "Correlations of matched channels")],
)
def test_parts_that_are_computed_at_once(part: str, start: str) -> None:
    app = channel(channel_part=part)
    assert healthy(app), words(app)
    assert [alt for alt in pictures(app) if alt.startswith(start)]


def test_a_counterpart_of_a_network_with_itself_is_the_channel() -> None:
    app = channel(channel_part="counterpart", a=B, b="", feature_layer="layer3")
    assert "Choose network B on the left" in words(app)


def test_a_picture_is_made_by_a_job_and_kept() -> None:
    app = channel(feature_layer="features.1", channel="2", steps="64")
    button(app, "Make the picture").click().run()
    finish(app)
    assert pictures(app)[0].startswith("Visualisation of channel 2 of features.1")
    job_panel.place_of.clear()
    explaining.results.clear()  # as if the server had been started anew
    again = channel(feature_layer="features.1", channel="2", steps="64")
    assert pictures(again)[0].startswith("Visualisation of channel 2 of features.1")
    assert not [each for each in again.button if "Make the picture" in each.label]


def test_a_job_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ValueError("the disk is full.")

    app = channel(channel_part="layers")
    monkeypatch.setattr("xai.cka.cka_matrices", fail)
    button(app, "Compare the layers").click().run()
    job = channel_jobs.PANEL.place().job
    assert job is not None
    job.wait(SECONDS)
    assert "the disk is full." in words(app.run())


def _flat(block: Any) -> Iterator[Any]:
    """The elements of a page in the order in which they are seen."""
    for child in block.children.values():
        yield from _flat(child) if hasattr(child, "children") else [child]


def finish(app: AppTest) -> None:
    """Wait for the job and draw the page again."""
    job = channel_jobs.PANEL.place().job
    assert job is not None
    job.wait(SECONDS)
    assert job.error is None
    app.run()


INSIDE = """() => [...document.querySelectorAll("*")].flatMap(e => e.shadowRoot ? [e.shadowRoot] : [])
    .concat(document).flatMap(root => [...root.querySelectorAll(".pictures span")]).map(span => {
        const own = span.getBoundingClientRect(), card = span.closest("a").getBoundingClientRect()
        return [own.width, own.height, own.left >= card.left && own.right <= card.right]
    })"""


def button(app: AppTest, label: str) -> Any:
    (found,) = [each for each in app.button if label in each.label]
    return found


@pytest.mark.browser
def test_pick_a_layer_open_a_channel_make_its_picture_and_take_it_home(tmp_path: Path) -> None:
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    with running_app(tmp_path / "log.txt") as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        page = browser.new_page(viewport={"width": 1400, "height": 1200}, accept_downloads=True)
        page.set_default_timeout(90_000)
        page.goto(f"{server.url}/features?steps=64&channel_images=100")
        page.locator("ul[aria-label^='Channels of features.11'] a").first.wait_for()
        for width in (700, 1400):  # a map is square, and whole
            page.set_viewport_size({"width": width, "height": 1200})
            page.wait_for_timeout(1_000)
            maps = page.evaluate(INSIDE)
            assert len(maps) == 2 * 16 * 3
            assert all(wide == high == 64 and inside for wide, high, inside in maps), maps
        page.get_by_text("Pick a layer on a drawing").click()
        page.locator("button[data-key='layer features.4']").first.click()
        opened = page.locator("ul[aria-label^='Channels of features.4'] a").first
        opened.wait_for()
        number = int(opened.inner_text().split()[1])
        opened.click()
        page.wait_for_url("**/channel**")
        page.get_by_text(f"channel {number} of features.4", exact=True).wait_for()
        page.get_by_role("button", name="Make the picture", exact=True).click()
        page.locator(f"img[alt^='Visualisation of channel {number} of features.4']").wait_for()
        page.wait_for_selector(AT_REST)  # a button that is being drawn anew gives nothing
        with page.expect_download() as manifest:
            page.get_by_role("button", name="Manifest (.json)").first.click()
        said = json.loads(Path(manifest.value.path()).read_text())
        assert said["pictures"][0]["objective"] == f"channel:features.4:{number}"
        page.wait_for_selector(AT_REST)
        with page.expect_download() as figure:
            page.get_by_role("button", name="PDF").first.click()
        assert io.BytesIO(Path(figure.value.path()).read_bytes()).read(5) == b"%PDF-"
        assert page.get_by_test_id("stException").count() == 0
        browser.close()
