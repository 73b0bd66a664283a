"""Figures, bundles and manifests of visualisations, and the same pictures made from them again."""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pypdf import PdfReader

from models import zoo
from models.registry import Model
from tests.conftest import TinyModel
from xai import reproduction
from xai.comparison import Picture, picture_from_scene
from xai.feature_visualization import Settings
from xai.figure_visualization import (
    MOST_PANELS,
    InversionRow,
    Panel,
    PanelStyle,
    inversion_figure,
    objective_words,
    visualizations_figure,
)
from xai.figures import render
from xai.manifests import ManifestError
from xai.visualization_export import (
    as_json,
    bundle,
    figure,
    in_turns,
    manifest,
    read_manifest,
    reproduce,
    square,
)
from xai.visualization_store import Kept, Store, stored

pytestmark = pytest.mark.usefixtures("one_thread")
SETTINGS = Settings(steps=3, strip=3, batch=2)
OBJECTIVES = ["channel:layer1:0", "channel:layer1:1", "class:2", "unit:layer1:3:0,1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("visualizations")


@pytest.fixture(scope="module", autouse=True)
def _own_models(tiny_model: TinyModel, folder: Path) -> Any:
    """Two untrained networks on disk, as `zoo.load` finds them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XAI_MODELS", str(folder))
        for name in ("resnet18_cifar", "alexnet"):
            model = tiny_model(name, 16)
            zoo.save(model.network, model.card, folder, "float32")
        yield


@pytest.fixture(scope="module")
def models(_own_models: None) -> list[Model]:
    return [zoo.load(f"untrained-{name}") for name in ("resnet18_cifar", "alexnet")]


@pytest.fixture(scope="module")
def pictures(models: list[Model], folder: Path) -> tuple[Kept, ...]:
    return stored(models[0], OBJECTIVES, SETTINGS, store=Store(folder / "store"))


@pytest.fixture(scope="module")
def files(pictures: tuple[Kept, ...]) -> dict[str, bytes]:
    return bundle(pictures)


def arrays(files: dict[str, bytes]) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(files["visualization.npz"]), allow_pickle=False) as found:
        return dict(found)


def test_the_bundle_holds_every_format_and_width(files: dict[str, bytes]) -> None:
    stems, kinds = ("figure", "figure-one-column"), (".pdf", ".svg", ".png", "-600dpi.png")
    assert set(files) == {s + k for s in stems for k in kinds} | {"visualization.npz", "manifest.json"}
    for stem, width in zip(stems, (7.0, 3.35), strict=True):
        page = PdfReader(io.BytesIO(files[f"{stem}.pdf"])).pages[0]
        assert float(page.mediabox.width) / 72 == pytest.approx(width, abs=0.01)
        with Image.open(io.BytesIO(files[f"{stem}-600dpi.png"])) as picture:
            assert picture.width == pytest.approx(600 * width, abs=1)


def test_the_figure_says_what_is_seen(files: dict[str, bytes], pictures: tuple[Kept, ...]) -> None:
    text = " ".join(PdfReader(io.BytesIO(files["figure.pdf"])).pages[0].extract_text().split())
    words = [
        "channel 0 of layer1",
        "class class 2",
        "unit 3 of layer1 at row 0, column 1",
        "step 0",
        "step 3",
    ]
    words += [
        "untrained-resnet18_cifar: mean activation",
        "untrained-resnet18_cifar: logit",
        "untrained-resnet18_cifar: activation",
        "16×16 px, drawn with hard pixels",
        "3 steps",
        "seed 0",
        "on cpu",
    ]
    assert [word for word in words if word not in text] == []
    assert f"activation {pictures[0].value:.3g}".replace("-", "−") in text


def test_raw_arrays_are_the_pictures(files: dict[str, bytes], pictures: tuple[Kept, ...]) -> None:
    found, listed = arrays(files), json.loads(files["manifest.json"])["pictures"]
    assert len(found) == 2 * len(pictures)
    for entry, kept in zip(listed, pictures, strict=True):
        np.testing.assert_array_equal(found[f"{entry['arrays']}/image"], kept.image.numpy())
        np.testing.assert_array_equal(found[f"{entry['arrays']}/strip"], kept.strip.numpy())


def test_a_figure_shows_the_very_pixels(pictures: tuple[Kept, ...]) -> None:
    """At 300 dpi, a picture of 16 px on 1.5 in is 450 px wide: 28 px for each of its own."""
    colours = torch.zeros(3, 2, 2)
    colours[0, 0, 0] = colours[1, 0, 1] = colours[2, 1, 0] = 1
    panel = Panel("title", "words", colours, colours[None], (1,))
    figure = visualizations_figure([panel])
    with Image.open(io.BytesIO(render(figure, "png", 100))) as picture:
        shown = np.asarray(picture.convert("RGB"))
    left, top = (round(100 * inches) for inches in (0.04, 0.05 + 0.17 + 0.085))
    centres = [(top + 37, left + 37), (top + 37, left + 112), (top + 112, left + 37), (top + 112, left + 112)]
    assert [shown[place].tolist() for place in centres] == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [0, 0, 0]]


def test_the_manifest_gives_the_same_pictures_and_figure(files: dict[str, bytes]) -> None:
    again = reproduction.reproduce_files(files["manifest.json"], None)
    assert again["figure.png"] == files["figure.png"]
    assert again["manifest.json"] == files["manifest.json"]
    found, before = arrays(again), arrays(files)
    assert found.keys() == before.keys()
    for name, values in before.items():
        np.testing.assert_array_equal(found[name], values)


def test_one_picture_of_many_comes_again_as_it_was(pictures: tuple[Kept, ...]) -> None:
    """Even though it was made beside another."""
    (again,), _style, _image = reproduce(as_json(manifest(pictures[1:2], PanelStyle())), None)
    assert torch.equal(again.image, pictures[1].image)
    assert again.facts == pictures[1].facts


def test_two_networks_beside_each_other(models: list[Model], folder: Path) -> None:
    store, wanted = Store(folder / "store"), ["class:0", "class:1"]
    both = in_turns(*(stored(model, wanted, SETTINGS, store=store) for model in models))
    assert [kept.facts["model"]["name"] for kept in both] == [model.name for model in models] * 2
    again, style, _image = reproduce(as_json(manifest(both, PanelStyle(smooth=True))), None)
    assert style == PanelStyle(smooth=True)
    assert all(torch.equal(one.image, other.image) for one, other in zip(both, again, strict=True))


@pytest.fixture(scope="module")
def caricature(models: list[Model], folder: Path) -> tuple[tuple[Kept, ...], Picture]:
    scene = picture_from_scene("test", 4)
    image = square(scene, 16)
    store = Store(folder / "store")
    return stored(models[0], ["caricature:layer2"], SETTINGS, image=image, store=store), scene


def test_a_caricature_comes_again_from_its_image(caricature: tuple[tuple[Kept, ...], Picture]) -> None:
    pictures, scene = caricature
    text = PdfReader(io.BytesIO(render(figure(pictures, image=scene), "pdf"))).pages[0].extract_text()
    assert "the image itself" in text
    assert "caricature at layer2" in text
    again, _style, image = reproduce(as_json(manifest(pictures, PanelStyle(), scene)), None)
    assert torch.equal(again[0].image, pictures[0].image)
    assert image is not None
    assert image.sha256 == scene.sha256


def _edited(content: bytes, *path: str | int, value: Any) -> bytes:
    found = json.loads(content)
    place = found
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return json.dumps(found).encode()


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("pictures", 0, "model", "sha256"), "0" * 64, "checkpoint untrained-resnet18_cifar is not the one"),
        (("pictures", 0, "model", "card_sha256"), "0" * 64, "other classes or another input"),
        (("pictures", 0, "settings", "steps"), "many", "not one that this program wrote"),
        (("pictures", 0, "settings", "speed"), 1, "not one that this program wrote"),
        (("pictures", 0, "row"), 7, "not one that this program wrote"),
        (("pictures", 0, "row"), math.inf, "not one that this program wrote"),
        (("pictures", 0, "row"), 0.5, "not one that this program wrote"),
        (("pictures", 0, "row"), False, "not one that this program wrote"),
        (("pictures", 0, "settings", "steps"), 5.5, "not one that this program wrote"),
        (("pictures", 0, "settings", "steps"), True, "not one that this program wrote"),
        (("pictures", 0, "settings", "seed"), math.inf, "not one that this program wrote"),
        (("pictures", 0, "settings", "seed"), [1], "not one that this program wrote"),
        (("pictures", 0, "settings", "colours"), ["x"], "not one that this program wrote"),
        (("pictures", 0, "settings", "colours"), "mauve", "can't be made again"),
        (("pictures", 0, "settings", "contrast"), math.nan, "not one that this program wrote"),
        (("pictures", 0, "settings", "learning_rate"), 10**400, "not one that this program wrote"),
        (("style", "smooth"), "x", "not one that this program wrote"),
        (("style", "steps"), 1, "not one that this program wrote"),
        (("pictures", 0, "objective"), "channel:layer1:5", "not one that this program wrote"),
        (("pictures", 0, "batch"), ["channel:layer1:0", "channel:layer9:1"], "can't be made again"),
        (("pictures",), [], "of another version"),
        (("style", "width"), "wide", "not one that this program wrote"),
        (("image",), {"name": 1}, "not one that this program wrote"),
    ],
)
def test_a_tampered_manifest_is_refused(
    files: dict[str, bytes], path: tuple[str | int, ...], value: Any, words: str
) -> None:
    with pytest.raises(ManifestError, match=words):
        reproduce(_edited(files["manifest.json"], *path, value=value), None)


def test_more_than_the_memory_holds_is_refused_before_anything_is_made(files: dict[str, bytes]) -> None:
    many = _edited(files["manifest.json"], "pictures", 0, "batch", value=["channel:layer1:0"] * 3_000)
    many = _edited(many, "pictures", 0, "settings", "size", value=1024)
    with pytest.raises(ManifestError, match="3,000 pictures of 1024 px with 3 steps each were asked for"):
        reproduce(many, None)


def test_another_image_than_the_caricatures_is_refused(
    caricature: tuple[tuple[Kept, ...], Picture], tmp_path: Path
) -> None:
    content = as_json(manifest(caricature[0], PanelStyle(), caricature[1]))
    with pytest.raises(ManifestError, match="sha256 differs"):
        reproduce(_edited(content, "image", "source", value="cue10:test/5"), None)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"format": "xai-visualization-1"}', b"\xff"])
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestError, match="not one that this program wrote"):
        read_manifest(content)


@pytest.mark.parametrize("width", ["two-column", "one-column"])
@pytest.mark.parametrize("count", [1, 2, 3, 9, MOST_PANELS])
def test_nothing_is_cut_off(count: int, width: str) -> None:
    """Everything that is drawn lies within the figure, also with long words."""
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    words = "a-network-of-a-rather-long-name-with-a-note: value 1.23e+04. It was silent at first and started again."
    panel = Panel(
        "channel 4095 of features.denseblock4.denselayer16.conv2", words, image, image[None], (100_000,)
    )
    figure = visualizations_figure([panel] * count, PanelStyle(width), "Notes of a figure. " * 12)
    _within(figure)


def test_few_pictures_without_steps_fill_the_width() -> None:
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    panel = Panel("a", "b", image, image[:0][None], ())
    for count in (2, 3):
        figure = visualizations_figure([panel] * count, PanelStyle(steps=False))
        right = max(axes.get_position().x1 for axes in figure.axes)
        assert right > 0.7, count


def test_too_many_pictures_are_refused() -> None:
    image = torch.zeros(3, 8, 8)
    with pytest.raises(ValueError, match=f"0 pictures were given; a figure takes 1 to {MOST_PANELS}"):
        visualizations_figure([])
    with pytest.raises(ValueError, match=f"{MOST_PANELS + 1} pictures were given"):
        visualizations_figure([Panel("", "", image, image[None])] * (MOST_PANELS + 1))


def test_an_inversion_has_its_four_pictures_beside_each_other() -> None:
    image = torch.rand(3, 8, 8, generator=torch.Generator().manual_seed(0))
    names = ("clean", "inverted, relative L2 0.12", "degraded", "inverted, relative L2 1.23")
    row = InversionRow("layer3 of a network", tuple((name, image) for name in names))
    for width in ("two-column", "one-column"):
        figure = inversion_figure([row, row], PanelStyle(width), "Notes.")
        _within(figure)
        text = PdfReader(io.BytesIO(render(figure, "pdf"))).pages[0].extract_text()
        assert all(name.split(",")[0] in text for name in names)


def _within(figure: Any) -> None:
    figure.canvas.draw()
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [text.get_window_extent() for text in figure.texts if text.get_text()]
    boxes += [axes.get_tightbbox() for axes in figure.axes]
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    titles = [axes.title.get_window_extent() for axes in figure.axes if axes.get_title()]
    assert not any(one.overlaps(other) for place, one in enumerate(titles) for other in titles[:place])
    drawn = [axes.get_window_extent() for axes in figure.axes]
    for text in figure.texts:
        box = text.get_window_extent()
        assert not any(box.overlaps(other.shrunk(0.98, 0.98)) for other in drawn + titles), text.get_text()


@pytest.mark.parametrize(
    ("objective", "words"),
    [
        ("channel:layer3:17", "channel 17 of layer3"),
        ("channel:relu#2:4", "channel 4 of relu#2"),
        ("unit:features.3:4:1,2", "unit 4 of features.3 at row 1, column 2"),
        ("class:great white shark", "class great white shark"),
        ("mix:layer3:1+2*0.5", "channels 1+2*0.5 of layer3"),
        ("direction:layer3:1,0,2", "a direction in layer3"),
        ("caricature:layer3:2@0123456789ab", "caricature at layer3"),
        ("my own", "my own"),
    ],
)
def test_objectives_in_plain_words(objective: str, words: str) -> None:
    assert objective_words(objective) == words
