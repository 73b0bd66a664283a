"""The Robustness page: every part draws, its choices are a link, and what is missing is said."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests import page_helpers
from tests.app_server import CHROMIUM_FLAGS, TOO_WIDE, Server, chromium, running_app
from tests.board_helpers import DATASET, cifar_c, relative, right_of, store
from tests.page_helpers import pictures, visit, words
from xai import results
from xai.results import UNTOUCHED, Condition, Setting
from xai.ui.result_data import key_of
from xai.ui.robustness_page import VIEWS

A, B = "alexnet-made_up-s0", "resnet18_cifar-made_up-s0"
"""Of no network on any machine, so that no weights can differ from those that answered."""
ONE_SCALE = "vgg-made_up-s0"
"""A network that was asked on one scale only."""
MADE_UP = key_of(Setting(DATASET, "test", 0, "fp32", 0, "0123456789abcdef" * 4))
NOISE = [relative("gaussian_noise", level) for level in (1, 2, 3)]
MOTION = [relative("motion_blur", level) for level in (1, 2)]
FOG = [cifar_c("fog", level) for level in (1, 2)]


def fill(folder: Path) -> Path:
    """Two networks and a second seed on two scales, with a remedy."""
    answered = {}
    for model, right in ((A, 30), (B, 36), (A.replace("s0", "s1"), 31)):
        for place, condition in enumerate([UNTOUCHED, *NOISE, *MOTION, *FOG]):
            answered[model, condition] = right_of(right - 2 * place)
    for condition in (UNTOUCHED, NOISE[0]):
        answered[ONE_SCALE, condition] = right_of(30)
    for condition in (relative("gaussian_noise", 2, "nlm.v1"), Condition("clean", "", 0.0, "nlm.v1")):
        answered[A, condition] = right_of(28)
    return store(folder, answered)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of stored answers."""
    return fill(tmp_path_factory.mktemp("results"))


@pytest.fixture(autouse=True)
def _only_these(filled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No other answers are on this machine."""
    monkeypatch.setenv("XAI_RESULTS", str(filled))
    monkeypatch.setattr(results, "SHIPPED", tmp_path / "nothing")


def started(**link: str) -> AppTest:
    """The page as a visitor meets it who comes with a link."""
    return visit("robustness", **link)


def healthy(app: AppTest) -> bool:
    return page_helpers.healthy(app) and not app.warning


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("part", [view for view in VIEWS if view != "paper"])
def test_every_part_has_a_figure_a_table_and_a_manifest(part: str) -> None:
    app = started(part=part)
    assert healthy(app)
    assert len(app.image) == 1
    assert len(app.dataframe) >= 1
    buttons: list[Any] = list(app.get("download_button"))
    assert [button.label for button in buttons].count("Manifest (.json)") == 1
    assert dict(app.query_params) == ({} if part == "curves" else {"part": part})
    assert app.multiselect(key=f"networks {shown(app)}").value == [A, B]


def shown(app: AppTest) -> str:
    """The board's name in a link."""
    return str(app.selectbox(key="setting").value)


def test_curves_show_only_one_scale_and_say_what_does_nothing() -> None:
    app = started()
    assert "Gaussian noise" in app.dataframe[0].value["degradation"].tolist()
    assert "At this image size these do nothing" in words(app)
    assert "Motion blur, low" in words(app)
    app.selectbox(key="scale").set_value("cifar-c").run()
    assert healthy(app)
    assert set(app.dataframe[0].value["degradation"]) == {"Fog"}
    assert "do nothing" not in words(app)
    assert dict(app.query_params)["scale"] == "cifar-c"


@pytest.mark.parametrize("link", [{"part": part} for part in VIEWS if part != "paper"] + [{"by_class": "on"}])
def test_networks_without_answers_on_the_scale_are_named(link: dict[str, str]) -> None:
    said = "On this scale no answers to degraded images are stored of"
    app = started(scale="cifar-c", networks=ONE_SCALE, **link)
    assert not app.exception
    assert [element.value.replace("\\", "") for element in app.info] == [f"{said} {ONE_SCALE}."]
    assert not app.dataframe
    app.multiselect(key=f"networks {shown(app)}").set_value([A, ONE_SCALE]).run()
    assert not app.exception
    assert f"{said} {ONE_SCALE}." in words(app)


def test_classes_that_die_first() -> None:
    app = started(by_class="on", degradation="motion_blur")
    assert healthy(app)
    assert set(app.dataframe[0].value["class"]) == {"cat", "dog", "ship", "frog"}
    assert "Which classes die first" in words(app)


def test_differences_and_their_null() -> None:
    app = started(part="grid", cells="difference")
    assert healthy(app)
    assert len(app.image) == 2
    assert len(app.dataframe) == 3
    app.session_state["shared_errors"] = True
    app.run()
    first, _, seeds, shared = (frame.value for frame in app.dataframe)
    assert set(first["A"]) == {A}
    assert seeds["most between two seeds"].iloc[0] == pytest.approx(100 / 40)
    assert shared["seeds"].iloc[0] == f"{A} and {A.replace('s0', 's1')}"
    assert "On clean images: resnet18_cifar-made_up is 13.75 points above" in words(app)
    app.multiselect(key=f"networks {shown(app)}").set_value([A]).run()
    assert "A difference needs a second network" in words(app)
    assert not app.exception


def test_the_reference_can_be_chosen() -> None:
    app = started(part="mce", reference=B)
    assert healthy(app)
    frame = app.dataframe[0].value
    errors = dict(zip(frame["network"], frame["mCE %"], strict=True))
    assert errors[B] == 100
    assert errors[A] > 100
    assert f"of {B}" in words(app) or B in pictures(app)[0]


def test_calibration_beside_another_condition() -> None:
    app = started(part="calibration", beside="gaussian_noise 3", k="2")
    assert healthy(app)
    assert set(app.dataframe[0].value["condition"]) == {"Clean", "Gaussian noise, high"}
    assert "top-2 %" in app.dataframe[1].value
    assert "which are not stored for: Gaussian noise, high" in words(app)


def test_the_papers_grid_of_images_that_ours_did_not_see() -> None:
    app = started(part="paper")
    assert healthy(app)
    assert len(app.dataframe[0].value) == 13
    assert "ResNet-50: not trained here." in words(app)


def test_a_foreign_choice_in_a_link_is_said() -> None:
    app = started(part="calibration", beside="<script>")
    assert not app.exception
    assert "The link asked for what is not here (Beside clean)" in words(app)


def test_nothing_stored_and_only_clean_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XAI_RESULTS", str(tmp_path / "empty"))
    app = started()
    assert healthy(app)
    assert "No answers are stored yet" in words(app)
    monkeypatch.setenv("XAI_RESULTS", str(store(tmp_path / "clean", {(A, UNTOUCHED): right_of(30)})))
    for part in ("curves", "grid", "mce", "calibration", "remedies"):
        app = started(part=part)
        assert healthy(app)
        assert "only answers to clean images are stored" in words(app)


def test_remedies_that_were_never_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = {(A, condition): right_of(20) for condition in (UNTOUCHED, *NOISE)}
    monkeypatch.setenv("XAI_RESULTS", str(store(tmp_path / "without", answered)))
    app = started(part="remedies")
    assert healthy(app)
    assert "no answers to repaired images are stored" in words(app)
    assert "--remedies" in app.code[0].value


def test_remedies_of_other_images_are_one_click_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = store(tmp_path / "two", {(A, condition): right_of(20) for condition in (UNTOUCHED, *NOISE)})
    repaired = {(A, condition): right_of(25) for condition in (UNTOUCHED, NOISE[1])}
    repaired[A, relative("gaussian_noise", 2, "nlm.v1")] = right_of(28)
    store(folder, repaired, dataset="cue10")
    monkeypatch.setenv("XAI_RESULTS", str(folder))
    app = started(part="remedies")
    (button,) = [button for button in app.button if button.label.startswith("Show cue10")]
    button.click().run()
    assert healthy(app)
    assert "What each remedy wins back" in words(app)


def test_a_damaged_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fill(tmp_path / "damaged")
    path = next((folder / "cifar10-jpeg" / B).glob("gaussian_noise*-2-*.parquet"))
    content = bytearray(path.read_bytes())
    content[len(content) // 8] ^= 0xFF
    path.write_bytes(bytes(content))
    monkeypatch.setenv("XAI_RESULTS", str(folder))
    for part in ("curves", "grid", "mce"):
        app = started(part=part)
        assert healthy(app)
        assert path.name in words(app)


@pytest.fixture(scope="module")
def server(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The running app over the made-up answers."""
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    pytest.importorskip("playwright.sync_api")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_RESULTS", str(filled))
        with running_app(tmp_path_factory.mktemp("app") / "log.txt") as found:
            yield found


@pytest.fixture(scope="module")
def page(server: Server) -> Iterator[Any]:
    """A page in a headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        opened = launched.new_page(viewport={"width": 1400, "height": 1000}, accept_downloads=True)
        opened.set_default_timeout(60_000)
        yield opened
        launched.close()


def at_rest(page: Any, server: Server, link: str = "") -> None:
    """Open the made-up board, whatever else is stored on this machine, and wait until all is drawn."""
    page.goto(f"{server.url}/robustness?setting={MADE_UP}&{link}")
    page.get_by_role("button", name="Manifest (.json)").wait_for()
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()


def taken(page: Any, label: str) -> bytes:
    """What the first download button of that name gives."""
    with page.expect_download() as waiting:
        page.get_by_role("button", name=label, exact=True).first.click()
    return Path(waiting.value.path()).read_bytes()


@pytest.mark.browser
def test_table_figure_and_manifest_are_taken_home(page: Any, server: Server) -> None:
    from pypdf import PdfReader

    at_rest(page, server, "part=grid")
    lines = taken(page, "CSV").decode().splitlines()
    assert lines[0].startswith("condition,network,accuracy %")
    assert lines[1].startswith(f"Clean,{A},75.0,")
    assert b"\\toprule" in taken(page, "LaTeX")
    said = PdfReader(io.BytesIO(taken(page, "PDF"))).pages[0].extract_text()
    assert "Gaussian noise, high" in said
    assert B in said
    manifest = json.loads(taken(page, "Manifest (.json)"))
    assert manifest["choices"] == {"networks": [A, B], "scale": "paper-relative", "shown": "accuracy"}
    assert len(manifest["cells"]) == 2 * 6


@pytest.mark.browser
@pytest.mark.parametrize("part", ["grid", "mce", "calibration"])
def test_parts_fit_a_narrow_window_and_name_their_controls(page: Any, server: Server, part: str) -> None:
    page.set_viewport_size({"width": 420, "height": 900})
    at_rest(page, server, f"part={part}")
    assert page.get_by_test_id("stException").count() == 0
    assert page.evaluate(TOO_WIDE) == []
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("input, [role=slider], button, [role=combobox], textarea")]
            .filter(e => e.offsetParent !== null)
            .filter(e => !(e.getAttribute("aria-label") || e.getAttribute("aria-labelledby") || e.title
                || e.labels && e.labels.length || e.textContent.trim() || e.closest("label")))
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert nameless == []
    page.set_viewport_size({"width": 1400, "height": 1000})
