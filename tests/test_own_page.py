"""The page "Your own": a network and pictures come in, hostile ones are refused in a sentence, nothing is lost."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest

from data import uploads
from data.datasets import ImageSet, dataset, load_dataset
from models import nearest, zoo
from models.cards import Card
from models.registry import build
from tests.app_server import CHROMIUM_FLAGS, chromium, running_app
from tests.page_helpers import healthy, visit, words
from xai import own_removal
from xai.ui import dataset_images, explaining, own_check_view, own_shelf
from xai.ui.own_shelf import Shelf

CLASSES = dataset("cue10").classes
PATIENCE = 60_000
"""Milliseconds; a loaded machine imports slowly."""


@pytest.fixture(autouse=True)
def _places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Networks and uploads of its own, and two architectures to look among, which takes no time."""
    monkeypatch.setenv("XAI_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XAI_RESULTS", str(tmp_path / "results"))
    monkeypatch.setattr(uploads, "folder", lambda: tmp_path / "uploads")
    monkeypatch.setattr(uploads, "_holders", Counter())
    monkeypatch.setattr(nearest, "_shortlist", lambda _scores: ["resnet18_cifar", "resnet18"])
    stores = (explaining.cards, explaining.results, dataset_images.memo)
    for store in stores:
        store.clear()
    yield
    for store in stores:
        store.clear()


def weights(prefix: str = "module.", classes: int = 10) -> dict[str, torch.Tensor]:
    """A tiny network's weights as others have them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build("resnet18_cifar", classes, width=8)
    state = {key: value for key, value in network.state_dict().items() if "normalize" not in key}
    return {
        prefix + key: value.half() if value.is_floating_point() else value for key, value in state.items()
    }


def saved(content: object) -> bytes:
    """A file that torch.save wrote."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def checkpoint() -> bytes:
    """A checkpoint in the form in which training scripts leave it."""
    average = {key: value for key, value in weights("").items()}
    return saved({"epoch": 3, "state_dict": weights(), "ema": average, "optimizer": {"lr": 0.1}})


@pytest.fixture(scope="module")
def scenes() -> ImageSet:
    """Forty drawn scenes."""
    found = load_dataset("cue10", "test")
    return found.take(torch.arange(40))


def zipped(files: dict[str, bytes]) -> bytes:
    """A ZIP of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pictures(
    scenes: ImageSet, name: Any = lambda index: f"my-{CLASSES[index].partition('/')[0]}"
) -> dict[str, bytes]:
    """Files of pictures, one folder for each class, named by the class's number."""
    found = {}
    for row, (pixels, label) in enumerate(zip(scenes.images, scenes.labels.tolist(), strict=True)):
        buffer = io.BytesIO()
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(buffer, "PNG")
        found[f"scenes/{name(label)}/{row}.png"] = buffer.getvalue()
    return found


def give(app: AppTest, name: str, content: bytes) -> AppTest:
    """The page once a file was chosen."""
    app.file_uploader[0].set_value((name, content, "application/octet-stream"))
    return app.run()


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


def with_network(checkpoint: bytes) -> AppTest:
    return give(visit("own"), "mine.pth", checkpoint)


def with_pictures(content: bytes) -> AppTest:
    return give(visit("own", own="images"), "scenes.zip", content)


def test_nothing_is_there_at_first_and_the_page_says_what_to_do() -> None:
    app = visit("own")
    assert healthy(app)
    assert "Choose a file of weights above" in words(app)
    app.radio(key="own").set_value("images").run()
    assert healthy(app)
    assert "Choose a ZIP above" in words(app)
    assert not app.button


def test_the_report_says_what_is_in_the_file_and_every_control_what_it_is_for(checkpoint: bytes) -> None:
    app = with_network(checkpoint)
    assert healthy(app), words(app)
    said = words(app)
    assert "Left aside: epoch, optimizer." in said
    assert "| its entry 'state_dict' |" in said
    assert "resnet18_cifar (width 8) | 100 %" in said
    assert "The prefix 'module.' was taken off the names." in said
    assert "all 102 weights agree" in app.success[0].value.replace("\\", "")
    assert "| layer4 | Sequential |" in said
    assert app.text_input[0].value == "mine"
    elements = (*app.selectbox, *app.radio, *app.number_input, *app.text_input, *app.file_uploader)
    assert len(elements) >= 8
    assert [element.label for element in elements if not element.help] == []
    app.selectbox(key="own_entry").set_value("ema").run()
    assert healthy(app)
    assert "prefix" not in words(app)


def test_the_wrong_architecture_is_refused_with_every_key(checkpoint: bytes) -> None:
    app = with_network(checkpoint)
    app.radio(key="own_where").set_value("ours").run()
    app.selectbox(key="own_architecture ours").set_value("alexnet").run()
    assert not app.exception
    assert "alexnet" in words(app)
    assert "does not fit" in words(app)
    fit = nearest.compare(weights(), "alexnet")
    for words_of, names in {
        "missing from the file": fit.missing,
        "not in the architecture": fit.unexpected,
    }.items():
        assert names
        (title,) = [each.label for each in app.expander if each.label.endswith(words_of)]
        assert title.startswith(f"{len(names):,} weights ")
        assert [*names] in [list(frame.value["name"]) for frame in app.dataframe]
    assert "Keep this network" not in [button.label for button in app.button]
    assert "Choose another architecture" in words(app)


def named(app: AppTest) -> AppTest:
    """The page with the classes of the drawn scenes and their size."""
    app.selectbox(key="own_classes_from").set_value("dataset").run()
    return app.selectbox(key="own_classes_dataset").set_value("cue10").run()


def test_a_network_is_checked_kept_listed_and_removed(checkpoint: bytes) -> None:
    app = named(with_network(checkpoint))
    assert healthy(app), words(app)
    assert app.number_input[0].value == 64
    assert "Not checked yet" in words(app)
    app.number_input(key="own_check_count").set_value(20).run()
    app = press(app, "Run the first check")
    app.session_state[own_check_view.PLACE].job.wait(120)
    app.run()
    assert healthy(app), words(app)
    said = words(app)
    assert "| as chosen | 20 |" in said
    assert "Not checked yet" not in said
    app.selectbox(key="own_normalization").set_value("half").run()
    assert "Not checked yet" in words(app)  # it was of another way to feed the network
    app.selectbox(key="own_normalization").set_value("as published").run()
    assert "Not checked yet" not in words(app)
    app = press(app, "Keep this network")
    assert healthy(app), words(app)
    assert "mine is listed on every page." in app.success[-1].value.replace("\\", "")
    assert zoo.cards()["mine"].classes == CLASSES
    assert "mine" in app.switch_page("xai/ui/pages/explain.py").run().selectbox(key="a").options
    app.switch_page("xai/ui/pages/own.py").run()
    assert "mine is listed" in " ".join(each.value for each in app.success).replace("\\", "")
    remove = next(button for button in app.button if button.label == "Remove it")
    assert remove.disabled
    app.checkbox(key="own_remove_sure mine").check().run()
    app = press(app, "Remove it")
    assert healthy(app), words(app)
    assert "mine" not in zoo.cards()


def test_one_bad_word_is_one_sentence_and_what_was_typed_stays(checkpoint: bytes) -> None:
    app = with_network(checkpoint)
    app.selectbox(key="own_classes_from").set_value("typed").run()
    app.text_area(key="own_typed").set_value("one\ntwo\ntwo").run()
    assert not app.exception
    assert [each.value.replace("\\", "") for each in app.error] == [
        "the class 'two' was named twice; every class needs a name of its own."
    ]
    app.text_area(key="own_typed").set_value("one\ntwo").run()
    assert "tells 10 classes apart, but 2 class names" in words(app)
    app.switch_page("xai/ui/pages/about.py").run()
    app.switch_page("xai/ui/pages/own.py").run()
    assert app.text_area(key="own_typed").value == "one\ntwo"
    app.text_area(key="own_typed").set_value("\n".join("abcdefghij")).run()
    assert healthy(app), words(app)
    app.selectbox(key="own_normalization").set_value("typed").run()
    app.text_input(key="own_mean").set_value("0.5 0.5").run()
    assert "the mean is '0.5 0.5'; allowed are three numbers" in words(app)


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (pytest.fail, ("a file that was uploaded was run",))


HOSTILE = {
    "pickle": lambda: pickle.dumps(_Evil()),
    "torch": lambda: saved({"state_dict": weights(), "more": _Evil()}),
    "torch of before": lambda: b"\x80\x02cos\nsystem\nX\x04\x00\x00\x00true\x85R.",
    "text": lambda: b"no weights",
    "cut short": lambda: saved(weights())[:2000],
    "safetensors": lambda: (2**60).to_bytes(8, "little") + b'{"a":',
}


def test_a_hostile_checkpoint_is_one_sentence_and_the_one_before_stays(checkpoint: bytes) -> None:
    app = with_network(checkpoint)
    for kind, content in HOSTILE.items():
        give(app, "evil.pt", content())
        assert not app.exception, kind
        assert [each.value[:9] for each in app.error] == [r"evil\.pt "], kind
        assert "mine.pth: torch" in words(app)
        shelf = app.session_state[own_shelf.SHELF]
        assert [path.name for path in shelf.file.path.parent.iterdir()] == [shelf.file.token]


def test_a_network_stays_when_the_browser_empties_the_widget_to_send_the_next_file(checkpoint: bytes) -> None:
    app = with_network(checkpoint)
    app.file_uploader[0].set_value([])
    app.run()
    assert "mine.pth: torch" in words(app)
    press(app, "Forget mine\\.pth")
    assert "Choose a file of weights" in words(app)


def _trained(name: str) -> Card:
    return Card(
        name, "resnet18_cifar", "cue10", CLASSES, 64, 0, "cpu", {"name": "plain"}, options={"width": 8}
    )


def test_a_network_of_the_project_or_trained_here_is_never_replaced_or_removed(
    checkpoint: bytes, tmp_path: Path
) -> None:
    app = with_network(checkpoint)
    shipped = next(name for name in zoo.cards() if zoo.is_shipped(name))
    app.text_input[0].set_value(shipped).run()
    assert "comes with the project" in words(app)
    assert "Keep this network" not in [button.label for button in app.button]
    with pytest.raises(own_removal.RemovalError, match="left alone"):
        own_removal.remove(shipped)
    assert zoo.is_shipped(shipped)
    trained = zoo.save(build("resnet18_cifar", 10, width=8), _trained("trained"), tmp_path / "models")
    explaining.cards.clear()
    assert own_removal.removable() == {}
    app.text_input[0].set_value(trained.name).run()
    assert "there is a network trained already" in words(app)
    assert "Keep this network" not in [button.label for button in app.button]


def test_a_zip_is_looked_through_and_its_names_are_mapped(scenes: ImageSet) -> None:
    files = pictures(scenes) | {
        "scenes/readme.txt": b"hello",
        "scenes/my-disc/broken.png": b"\x89PNG\r\n\x1a\nno",
    }
    app = with_pictures(zipped(files))
    assert healthy(app), words(app)
    said = words(app)
    assert "scenes.zip: 10 classes; " in said
    assert "drawn from hashes" in said
    (left,) = [expander.label for expander in app.expander if expander.label.startswith("Left out")]
    assert "2 files or folders" in left
    assert "0 of 10 classes were found" in said
    model = "resnet18_cifar-w16-cue10-s0"
    app.selectbox(key="own_classes_of").set_value(model).run()
    (name,) = app.session_state[own_shelf.SHELF].archives
    for known in CLASSES[:3]:
        app.selectbox(key=f"own_class {name} {model} my-{known.partition('/')[0]}").set_value(known).run()
    app = press(app, "Use these names")
    assert healthy(app), words(app)
    mapped = app.session_state["own_archive"]
    assert mapped != name
    assert set(dataset(mapped).classes) == set(CLASSES[:3])
    assert "3 classes of a network, from 3 of 10 folders; " in words(app)
    checked = app.session_state[own_shelf.SHELF].archives[mapped].checked
    assert (
        sum(checked.totals.values())
        == len(load_dataset(mapped, "all"))
        < sum(map(sum, checked.counts.values()))
    )
    images = load_dataset(mapped, "all")
    for row, image_id in enumerate(images.ids):
        assert images.classes[images.labels[row]].startswith(image_id.split("/")[0].removeprefix("my-"))


def test_a_proposed_name_is_preselected(scenes: ImageSet) -> None:
    app = with_pictures(
        zipped(pictures(scenes, lambda index: f"{CLASSES[index].upper()}X".replace("/", " ")))
    )
    model = "resnet18_cifar-w16-cue10-s0"
    app.selectbox(key="own_classes_of").set_value(model).run()
    (name,) = app.session_state[own_shelf.SHELF].archives
    for known in CLASSES:
        box = app.selectbox(key=f"own_class {name} {model} {known.replace('/', ' ').upper()}X")
        assert box.value == known
    assert "10 more have a similar one" in words(app)


HOSTILE_ZIPS = {
    "is no ZIP archive": b"no archive",
    "has a path with an empty part, . or ..": zipped({"../../evil/a.png": b"x"}),
    "has an absolute path": zipped({"/etc/passwd": b"x"}),
    "holds no picture": zipped({"a/b.txt": b"x", "c/d.txt": b"y"}),
}


def test_a_hostile_zip_is_one_sentence_and_the_pictures_before_stay(scenes: ImageSet, tmp_path: Path) -> None:
    app = with_pictures(zipped(pictures(scenes)))
    before = sorted(tmp_path.rglob("*"))
    for sentence, content in HOSTILE_ZIPS.items():
        give(app, "evil.zip", content)
        assert not app.exception, sentence
        assert len(app.error) == 1, sentence
        assert sentence in words(app)
        assert "scenes.zip: 10 classes" in words(app)
        assert sorted(tmp_path.rglob("*")) == before


def test_pictures_of_one_class_are_no_dataset_and_do_not_stay(scenes: ImageSet, tmp_path: Path) -> None:
    app = with_pictures(zipped(pictures(scenes, lambda _index: "one")))
    assert not app.exception
    (refused,) = app.error
    assert refused.value.replace("\\", "").startswith(
        "scenes.zip has 1 sub-folder with files, one for each class"
    )
    assert not [*(tmp_path / "uploads").iterdir()]


def test_uploads_are_offered_to_their_visitor_alone(scenes: ImageSet) -> None:
    app = with_pictures(zipped(pictures(scenes)))
    (name,) = app.session_state[own_shelf.SHELF].archives
    stem = uploads.file_stem(name)
    link = {"source": "dataset", "images": stem, "images_split": "all"}
    other = visit("explain", **link)
    assert not any("upload" in each for each in other.selectbox(key="images").options)
    app.switch_page("xai/ui/pages/explain.py").run()
    app.radio(key="source").set_value("dataset").run()
    assert "scenes.zip (64 px, uploaded)" in app.selectbox(key="images").options
    app.selectbox(key="images").set_value(stem).run()
    assert healthy(app), words(app)
    app.switch_page("xai/ui/pages/robustness.py").run()
    assert "scenes.zip (64 px, uploaded)" in app.selectbox(key="sweep_dataset").options
    assert own_shelf.is_anothers(name)
    app.switch_page("xai/ui/pages/own.py").run()
    press(app, "Forget scenes\\.zip")
    assert not uploads.folder().joinpath(name.partition(":")[2]).exists()


def shelved(content: bytes) -> Shelf:
    shelf = Shelf()
    shelf.put_file(io.BytesIO(content), "a.pth", len(content))
    return shelf


def test_a_lost_visitor_s_files_go_and_those_of_one_who_comes_back_stay(
    checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(own_shelf, "GRACE", 0.0)
    gone = shelved(checkpoint)
    path = gone.file.path if gone.file else Path()
    assert path.is_file()
    gone.leave()
    assert gone._going is not None
    gone._going.join(30)
    assert not path.parent.exists()
    assert gone.file is None
    monkeypatch.setattr(own_shelf, "GRACE", 3600.0)
    back = shelved(checkpoint)
    back.leave()
    timer = back._going
    back.stay()
    assert timer is not None
    timer.join(30)
    assert back.file is not None
    assert back.file.path.is_file()
    back.drop()


def test_files_of_all_visitors_together_are_bounded(
    checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shelved(checkpoint)
    monkeypatch.setattr(own_shelf, "_shelves", {first})
    monkeypatch.setattr(own_shelf, "MOST_BYTES", len(checkpoint) + 1)
    with pytest.raises(own_shelf.ShelfError, match="there is no room"):
        shelved(checkpoint)
    first.forget_file()
    shelved(checkpoint).drop()


@pytest.mark.browser
def test_a_visitor_brings_a_network_and_pictures_and_takes_a_figure_home(
    checkpoint: bytes, scenes: ImageSet, tmp_path: Path
) -> None:
    if chromium() is None:
        pytest.skip("no chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with running_app(tmp_path / "log.txt") as server, playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium(), args=list(CHROMIUM_FLAGS))
        page = browser.new_context(accept_downloads=True).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(f"{server.url}/own")
        _bring_network(page, checkpoint)
        _bring_pictures(page, zipped(pictures(scenes, lambda index: f"{CLASSES[index]}x".replace("/", "-"))))
        page.get_by_role("button", name="Explain the first picture").click()
        page.locator("img[alt^='Figure for']").first.wait_for()
        assert page.get_by_test_id("stException").count() == 0
        with page.expect_download() as waiting:
            page.get_by_role("button", name="PDF", exact=True).click()
        assert Path(waiting.value.path()).read_bytes().startswith(b"%PDF")
        browser.close()


def _bring_network(page: Any, checkpoint: bytes) -> None:
    page.locator("input[type='file']").set_input_files(_payload("tiny.pth", checkpoint))
    page.get_by_role("combobox", name="Names of the 10 classes").click()
    page.get_by_role("option", name="Those of a dataset").click()
    page.get_by_text("In this order: disc/plain").wait_for()
    _at_rest(page)
    page.get_by_role("button", name="Keep this network").click()
    page.get_by_text("tiny is listed on every page.").wait_for()


def _at_rest(page: Any) -> None:
    """Wait until what is shown is what was chosen: widgets of the run before are gone then."""
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for()


def _bring_pictures(page: Any, content: bytes) -> None:
    page.get_by_text("Images", exact=True).first.click()
    page.get_by_text("Choose a ZIP above").wait_for()
    _at_rest(page)
    page.locator("input[type='file']").set_input_files(_payload("scenes.zip", content))
    page.get_by_text("10 more have a similar one").wait_for()
    _at_rest(page)
    page.get_by_role("button", name="Use these names").click()
    page.get_by_text("have the class names of a network already").wait_for()


def _payload(name: str, content: bytes) -> dict[str, Any]:
    return {"name": name, "mimeType": "application/octet-stream", "buffer": content}
