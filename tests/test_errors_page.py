"""The Errors page: every part chooses images, the link says what was chosen, and an image opens in Explain."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from data import cue10
from data.datasets import DatasetError, ImageSet
from models import zoo
from tests import board_helpers
from tests.answer_helpers import answers
from tests.app_server import CHROMIUM_FLAGS, ROOT, chromium, running_app
from tests.page_helpers import healthy, visit, words
from xai import result_folders, results
from xai.predictions import Predictions
from xai.results import UNTOUCHED
from xai.ui import dataset_images, error_links, links, result_data
from xai.ui.error_data import Chosen

pytestmark = pytest.mark.usefixtures("one_thread")
NOISE = board_helpers.relative("gaussian_noise", 3)
IMAGES = 120


def right_of(right: int, confidence: float = 0.75) -> Predictions:
    return board_helpers.right_of(right, IMAGES, confidence=confidence)


ANSWERED = {
    ("one", UNTOUCHED): right_of(100),
    ("one", NOISE): right_of(60),
    ("two", UNTOUCHED): right_of(90),
    ("two", NOISE): right_of(80),
    ("three", UNTOUCHED): right_of(119),
}


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of results of made-up networks, and no others."""
    monkeypatch.setenv("XAI_RESULTS", str(board_helpers.store(tmp_path, ANSWERED)))
    monkeypatch.setattr(results, "SHIPPED", tmp_path / "nothing")
    return tmp_path


def started(**link: str) -> AppTest:
    """The page as a visitor meets it who comes from the first page."""
    return visit("errors", **{"errors_a": "one", "errors_b": "two", "condition": NOISE_KEY, **link})


NOISE_KEY = "paper-relative:gaussian_noise 3"


@pytest.mark.usefixtures("stored")
def test_classes_and_their_images() -> None:
    app = started()
    assert healthy(app), words(app)
    frame = app.dataframe[0].value
    assert frame["class"].tolist() == list(board_helpers.CLASSES)
    # of every fourth image, the first 60 are right under noise: 15 of 30 for each class
    assert frame["A degraded %"].tolist() == [50.0] * 4
    assert frame["A less B"].tolist() == [-16.67] * 4
    assert "60 of 120 images (50.0 %): A wrong." in words(app)
    assert "Cards without pictures" in words(app)
    app.selectbox(key="true").set_value("dog").run()
    assert "15 of 120 images (12.5 %): A wrong, true class dog." in words(app)
    assert dict(app.query_params)["true"] == "dog"
    app.selectbox(key="kind").set_value("b_only").run()
    assert "5 of 120 images (4.2 %): B right, A wrong, true class dog." in words(app)
    app.text_input(key="find").set_value("test/00061").run()
    assert "1 of 120 images" in words(app)
    app.text_input(key="find").set_value("no such image").run()
    assert "No image of 120" in words(app)
    assert healthy(app)


@pytest.mark.usefixtures("stored")
def test_pages_start_anew_for_other_images() -> None:
    app = started(kind="all", page="2")
    assert app.number_input(key="page").value == 2
    app.number_input(key="page").set_value(3).run()
    assert app.number_input(key="page").value == 3
    assert dict(app.query_params)["page"] == "3"
    app.selectbox(key="order").set_value("confidence").run()
    assert app.number_input(key="page").value == 1


@pytest.mark.usefixtures("stored")
def test_confusions_of_a_reader() -> None:
    app = started(table="confusions", of="b_clean")
    assert healthy(app), words(app)
    assert len(app.dataframe) == 2
    pairs = app.dataframe[1].value
    assert pairs["images"].sum() == 30
    assert pairs["of"].tolist() == [30] * 4
    app.radio(key="cells").set_value("shares").run()
    assert app.dataframe[0].value.iloc[0]["cat"] == pytest.approx(76.67)
    app.selectbox(key="said").set_value("ship").run()
    assert "answered ship by B (two), clean" in words(app)
    assert healthy(app)


@pytest.mark.usefixtures("stored")
def test_transitions_need_two_networks_and_a_degradation() -> None:
    app = started(table="transitions", kind="t1101")
    assert healthy(app), words(app)
    assert "A (one) loses 40 images (33.3 %)" in words(app)
    assert app.dataframe[0].value.iloc[0, 1:].tolist() == [60, 0, 20, 10]
    assert "20 of 120 images (16.7 %): clean: both right; degraded: only B right." in words(app)
    app.selectbox(key="errors_b").set_value("").run()
    assert "Choose a second network" in words(app)
    app.selectbox(key="errors_b").set_value("three").run()
    assert healthy(app)
    assert app.selectbox(key="condition").options == ["Clean"]


@pytest.mark.usefixtures("stored")
def test_a_link_that_asks_for_what_is_not_there() -> None:
    app = started(errors_a="nobody", kind="t9999", table="nothing")
    assert healthy(app)
    assert "The link asked for what is not here" in words(app)


def test_without_answers_the_page_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_RESULTS", str(tmp_path))
    monkeypatch.setattr(results, "SHIPPED", tmp_path / "nothing")
    app = started()
    assert healthy(app)
    assert "No answers are stored yet" in words(app)


def chosen(folder: Path, dataset: str, condition: results.Condition) -> Chosen:
    (board,) = result_folders.open_results(
        [board_helpers.store(folder, ANSWERED, dataset=dataset)]
    ).boards.values()
    return Chosen(board, "one", "two", condition)


def test_the_link_to_explain(tmp_path: Path) -> None:
    link = error_links.explain(chosen(tmp_path / "a", "cifar10-jpeg", NOISE), "test/cat/0007")
    assert parse_qs(links.address({**link, "b": ["x y&z"]}).removeprefix("./?")) == {
        "source": ["dataset"],
        "images": ["cifar10-jpeg"],
        "images_split": ["test"],
        "image": ["test/cat/0007"],
        "a": ["one"],
        "b": ["x y&z"],
        "degradation": ["gaussian_noise"],
        "scale": ["paper-relative"],
        "severity": ["3"],
        "seed": ["0"],
    }
    scene = error_links.explain(chosen(tmp_path / "b", "cue10", UNTOUCHED), "cue10/test/00012")
    assert (scene["source"], scene["scene"], scene["degradation"]) == (["scene"], ["12"], ["none"])
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    folder = chosen(tmp_path / "c", f"folder:{pictures}", UNTOUCHED)
    assert error_links.explain(folder, "cat/1.png")["images"][0].startswith("folder-pictures-")
    pictures.rmdir()
    assert error_links.explain(folder, "cat/1.png")["images"] == [""]


@pytest.fixture
def four_images(monkeypatch: pytest.MonkeyPatch) -> ImageSet:
    """Four drawn scenes, which stand for the test split of cifar10-jpeg."""
    images, _masks, labels, _textures = cue10.draw("test", 0, 4)
    ids = tuple(f"test/scene/{k}" for k in range(4))
    data = ImageSet("cifar10-jpeg", "test", images, labels, cue10.CLASSES, ids)

    def opened(name: str, split: str) -> ImageSet:
        if (name, split) == ("cifar10-jpeg", "test"):
            return data
        raise DatasetError(f"{name} is not here.")

    dataset_images.memo.clear()  # type: ignore[attr-defined]
    monkeypatch.setattr(dataset_images, "opened", opened)
    return data


def explained(**link: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in {"source": "dataset", "images": "cifar10-jpeg", **link}.items():
        app.query_params[key] = value
    return app.run()


def test_explain_opens_an_image_of_a_dataset(four_images: ImageSet) -> None:
    app = explained(image="test/scene/2", degradation="motion_blur", scale="cifar-c", severity="5", seed="3")
    assert healthy(app), words(app)
    assert "cifar10-jpeg test/scene/2" in words(app)
    label = four_images.classes[int(four_images.labels[2])]
    assert f"true class: {label}" in app.selectbox(key="target").options
    assert dict(app.query_params)["image"] == "test/scene/2"
    app.text_input(key="image cifar10-jpeg/test").set_value("../../etc/passwd").run()
    assert not app.exception
    assert "has no image" in words(app)


@pytest.mark.usefixtures("four_images", "stored")
@pytest.mark.parametrize("name", ["folder:/etc", "folder-etc-00000000", "../x"])
def test_a_link_opens_no_folder(name: str) -> None:
    app = explained(images=name)
    assert healthy(app)
    assert "The link asked for what is not offered here (Dataset" in words(app)


def test_a_folder_is_offered_where_stored_answers_name_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    board_helpers.store(tmp_path / "results", ANSWERED, dataset=f"folder:{pictures}")
    monkeypatch.setenv("XAI_RESULTS", str(tmp_path / "results"))
    offered = dataset_images.names()
    (stem,) = (stem for stem, name in offered.items() if name == f"folder:{pictures}")
    assert "/" not in stem
    assert set(offered.values()) > {"cifar10", "cue10"}


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The page in a browser, on made-up answers of two networks that can explain."""
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    sync_api = pytest.importorskip("playwright.sync_api")
    names = [name for name, card in zoo.cards().items() if card.dataset == "cue10" and zoo.is_shipped(name)][
        :2
    ]
    if len(names) < 2:
        pytest.skip("two networks of cue10 don't ship with this checkout")
    labels = np.arange(60) % 10
    folder = tmp_path / "results"
    for place, name in enumerate(names):
        for number, condition in enumerate((UNTOUCHED, NOISE)):
            predicted = np.where(np.arange(60) % 7 < 5 - place - number, labels, (labels + 1) % 10)
            rows = answers(labels, predicted, 10, 0.8)
            ids = tuple(f"cue10/test/{k:05d}" for k in range(60))
            _store(folder, name, condition, replace(rows, ids=ids), monkeypatch)
    monkeypatch.setenv("XAI_RESULTS", str(folder))
    (setting,) = result_folders.open_results([folder]).boards  # beside those that came with the project
    with running_app(tmp_path / "log.txt") as server, sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        opened = browser.new_page(viewport={"width": 1400, "height": 1000})
        opened.set_default_timeout(60_000)
        opened.goto(
            f"{server.url}/errors?setting={result_data.key_of(setting)}&kind=all"
            f"&condition={NOISE_KEY.replace(' ', '%20')}&errors_b={names[1]}"
        )
        opened.locator("ul[aria-label^='Images, page'] a").first.wait_for()
        yield opened
        browser.close()


def _store(
    folder: Path, name: str, condition: results.Condition, rows: Predictions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Store answers of a network under its own weights' name."""
    sha256 = zoo.cards()[name].sha256
    made = board_helpers.cell_of
    with monkeypatch.context() as patch:
        patch.setattr(board_helpers, "cell_of", lambda *args: replace(made(*args), model_sha256=sha256))
        board_helpers.store(folder, {(name, condition): rows}, cue10.CLASSES, "cue10")


@pytest.mark.browser
def test_a_click_on_the_table_and_on_an_image(page: Any) -> None:
    place = page.get_by_test_id("stDataFrame").first.bounding_box()
    page.mouse.click(place["x"] + 40, place["y"] + 35 * 2.5)  # the second class
    page.get_by_text(f"true class {cue10.CLASSES[1]}").wait_for()
    page.wait_for_url("**true=triangle**")
    first = page.locator("ul[aria-label^='Images, page'] li:first-child a")
    first.filter(has_text=cue10.CLASSES[1]).wait_for()  # the cards follow the address
    card = first.first
    words_of_card = card.inner_text()
    number = int(re.findall(r"cue10/test/(\d+)", words_of_card)[0])
    card.press("Enter")  # what a keyboard does
    page.locator("img[alt^='Figure for']").first.wait_for()
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()
    found = parse_qs(page.url.partition("?")[2])
    assert int(found.get("scene", ["3"])[0]) == number
    assert (found["scale"], found["severity"]) == (["paper-relative"], ["3"])
    assert page.get_by_test_id("stException").count() == 0
    assert page.get_by_text("is not offered here").count() == 0
