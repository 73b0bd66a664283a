"""Figures, bundles, manifests and their reproduction."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image
from pypdf import PdfReader

from models import zoo
from models.registry import Model
from xai import export, figure_parts, figures
from xai.comparison import Comparison, Request, compare, picture_from_image, picture_from_scene
from xai.export import bundle, folder_names, read_manifest, reproduce, zip_bundles
from xai.figure_layouts import Wide
from xai.figures import Style, comparison_figure, render
from xai.manifests import ManifestError

NAMES = ("alexnet-cue10-s0", "resnet18-cue10-s0")
REQUEST = Request(NAMES, ("gradcam", "integrated_gradients"), degradation="gaussian_blur", severity=2.0)


@pytest.fixture(scope="module")
def models() -> list[Model]:
    return [zoo.load(name) for name in NAMES]


@pytest.fixture(scope="module")
def comparison(models: list[Model]) -> Comparison:
    return compare(REQUEST, picture_from_scene("test", 4), models)


@pytest.fixture(scope="module")
def files(comparison: Comparison) -> dict[str, bytes]:
    return bundle(comparison, Style())


def test_the_bundle_holds_every_format_and_width(files: dict[str, bytes]) -> None:
    stems = ("figure", "figure-one-column")
    kinds = (".pdf", ".svg", ".png", "-600dpi.png")
    assert set(files) == {s + k for s in stems for k in kinds} | {"heatmaps.npz", "manifest.json"}


@pytest.mark.parametrize(("stem", "width"), [("figure", 7.0), ("figure-one-column", 3.35)])
def test_the_pdf_has_the_width_of_the_column_and_real_text(
    files: dict[str, bytes], stem: str, width: float
) -> None:
    reader = PdfReader(io.BytesIO(files[f"{stem}.pdf"]))
    assert len(reader.pages) == 1
    assert float(reader.pages[0].mediabox.width) / 72 == pytest.approx(width, abs=0.01)
    text = reader.pages[0].extract_text()
    assert "Grad-CAM" in text
    assert "clean" in text


def test_svg_keeps_text_as_text(files: dict[str, bytes]) -> None:
    assert b">Grad-CAM</text>" in files["figure.svg"]


@pytest.mark.parametrize(("name", "dpi"), [("figure.png", 300), ("figure-600dpi.png", 600)])
def test_png_resolution(files: dict[str, bytes], name: str, dpi: int) -> None:
    with Image.open(io.BytesIO(files[name])) as picture:
        assert picture.width == pytest.approx(7.0 * dpi, abs=1)
        assert picture.info["dpi"][0] == pytest.approx(dpi, abs=1)


def test_raw_arrays_are_the_maps(files: dict[str, bytes], comparison: Comparison) -> None:
    with np.load(io.BytesIO(files["heatmaps.npz"]), allow_pickle=False) as arrays:
        keys = {f"{n}/{m}/{c}" for n in NAMES for m in REQUEST.methods for c in ("clean", "degraded")}
        assert set(arrays) == keys
        expected = comparison.results[0].heatmaps["gradcam"]["degraded"].values[0].numpy()
        np.testing.assert_array_equal(arrays[f"{NAMES[0]}/gradcam/degraded"], expected)


def test_the_manifest_reproduces_the_same_bytes(files: dict[str, bytes]) -> None:
    again, style = reproduce(files["manifest.json"], None)
    figure = comparison_figure(again, style)
    assert render(figure, "png") == files["figure.png"]
    assert render(figure, "pdf") == files["figure.pdf"]


def _edited(files: dict[str, bytes], **changes: Any) -> bytes:
    content = json.loads(files["manifest.json"])
    for path, value in changes.items():
        *parents, last = path.split("__")
        place = content
        for part in parents:
            place = place[int(part) if part.isdigit() else part]
        place[last] = value
    return json.dumps(content).encode()


def test_a_tampered_checkpoint_is_refused(files: dict[str, bytes]) -> None:
    with pytest.raises(ManifestError, match="checkpoint alexnet-cue10-s0 is not the one"):
        reproduce(_edited(files, models__0__sha256="0" * 64), None)


def test_a_card_with_other_classes_is_refused(files: dict[str, bytes]) -> None:
    def load(name: str) -> Model:
        model = zoo.load(name)
        model.classes = (*model.classes[1:], model.classes[0])
        return model

    with pytest.raises(ManifestError, match="other classes"):
        reproduce(files["manifest.json"], None, load)


def test_the_order_of_the_models_is_the_requests(files: dict[str, bytes]) -> None:
    content = json.loads(files["manifest.json"])
    content["models"].reverse()
    again, _ = reproduce(json.dumps(content).encode(), None)
    assert [result.model for result in again.results] == list(NAMES)


def test_the_caption_tells_how_each_network_got_the_picture() -> None:
    pair = ("alexnet-cue10-s0", "alexnet-cifar10-jpeg-s0")  # 64 and 32 px
    request = Request(pair, degradation="gaussian_blur", severity=2.0, scale="paper-relative")
    found = compare(request, picture_from_scene("test", 4), [zoo.load(name) for name in pair])
    for width in figures.WIDTHS:
        texts = [text.get_text() for text in comparison_figure(found, Style(width=width)).findobj(Text)]
        caption = " ".join(next(text for text in texts if text.startswith("cue10 test 4")).split())
        assert "A: 64x64" in caption
        assert "sigma 0.857" in caption
        assert "B: 64x64 -> 32x32" in caption
        assert "sigma 0.429" in caption


@pytest.mark.parametrize(
    "change",
    [
        {"request__severity": "3"},
        {"request__severity": -1},
        {"request__resize": []},
        {"request__seed": 1.5},
        {"request__models": [["a"], "b"]},
        {"image__source": None},
        {"image": {}},
        {"models": [1, 2]},
        {"style__opacity": 7},
    ],
)
def test_an_edited_manifest_is_refused_in_one_sentence(
    files: dict[str, bytes], change: dict[str, Any]
) -> None:
    with pytest.raises(ManifestError, match="manifest is not one"):
        read_manifest(_edited(files, **change))


def test_a_bottomless_manifest_is_refused() -> None:
    with pytest.raises(ManifestError, match="manifest is not one"):
        read_manifest(b"[" * 200_000)


def test_another_picture_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    other = tmp_path / "other.png"
    Image.new("RGB", (64, 64), "red").save(other)
    with pytest.raises(ManifestError, match="sha256 differs"):
        reproduce(files["manifest.json"], other)
    with pytest.raises(ManifestError, match="give its file"):
        reproduce(_edited(files, image__source="upload"), None)


def test_an_uploaded_file_reproduces(models: list[Model], tmp_path: Path) -> None:
    from data.images import read_image

    path = tmp_path / "photo.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 90, 3), np.uint8)).save(path)
    picture = picture_from_image(read_image(path.read_bytes(), path.name))
    first = compare(REQUEST, picture, models)
    content = json.dumps(export.manifest(first, Style())).encode()
    again, _ = reproduce(content, path)
    maps = [c.results[1].heatmaps["gradcam"]["degraded"].values for c in (first, again)]
    assert (maps[0] == maps[1]).all()


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"not json", b'{"format": 1}', b"\xff\xfe", b'{"request": [], "style": {}}'],
)
def test_what_is_no_manifest_is_refused(content: bytes) -> None:
    with pytest.raises(ManifestError, match="manifest is not one"):
        read_manifest(content)


def test_folder_names_are_safe_and_distinct() -> None:
    names = folder_names(["../../etc/passwd", "a.png", "A.jpg", "..", "ü b.png", "", "x" * 300])
    assert len({name.lower() for name in names}) == len(names)
    assert all(name and "/" not in name and not name.startswith(".") and len(name) < 90 for name in names)


def test_many_pictures_make_one_zip() -> None:
    seen: list[int] = []
    content = zip_bundles([("one", {"a.txt": b"1"}), ("two", {"a.txt": b"2"})], seen.append)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["one/a.txt", "two/a.txt"]
        assert archive.testzip() is None
    assert seen == [1, 2]


def _overlaps(figure: Any) -> list[tuple[str, str]]:
    """Pairs of texts of a figure that lie over each other."""
    renderer = figure.canvas.get_renderer()
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text().strip()]
    boxes = [(t.get_text(), t.get_window_extent(renderer)) for t in texts]
    inked = [(words, box) for words, box in boxes if box.width > 0]
    return [
        (a, b)
        for i, (a, first) in enumerate(inked)
        for b, second in inked[i + 1 :]
        if min(first.x1, second.x1) - max(first.x0, second.x0) > 1.5
        and min(first.y1, second.y1) - max(first.y0, second.y0) > 1.5
    ]


@pytest.mark.parametrize("width", figures.WIDTHS)
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("degradation", ["none", "motion_blur"])
def test_nothing_is_cut_off_and_no_text_covers_another(
    models: list[Model], width: str, count: int, degradation: str
) -> None:
    request = Request(NAMES[:count], ("gradcam", "saliency"), degradation=degradation, severity=2.0)
    figure = comparison_figure(
        compare(request, picture_from_scene("test", 7), models[:count]), Style(width=width)
    )
    figure.canvas.draw()
    page, renderer = figure.bbox, figure.canvas.get_renderer()  # type: ignore[attr-defined]
    for text in figure.findobj(Text):
        box = text.get_window_extent(renderer)
        if text.get_text().strip() and text.get_visible() and box.width > 0:
            assert box.x0 >= -1, text.get_text()
            assert box.x1 <= page.x1 + 1, text.get_text()
            assert box.y0 >= -1, text.get_text()
            assert box.y1 <= page.y1 + 1, text.get_text()
    assert _overlaps(figure) == []


@pytest.mark.parametrize("peak", [1.8e-5, 0.0018, 0.0061, 0.3, 41_000.0])
def test_the_words_of_a_colour_bar_have_room_whatever_the_numbers(peak: float) -> None:
    with figures.drawing():
        sheet = figure_parts.Sheet(2.0, 1.2)
        drawn = figure_parts.show_map(
            sheet.axes(0.1, 0.1, 0.9, 0.9), torch.zeros(2, 2), "PuOr_r", -peak, peak
        )
        figure_parts.colour_bar(sheet, drawn, (1.04, 0.1, 0.07, 0.9), "evidence (to p99.5)")
        sheet.figure.canvas.draw()
    words = [text for text in sheet.figure.texts if text.get_text() == "evidence (to p99.5)"]
    label = words[0].get_window_extent()
    assert label.x1 / sheet.figure.dpi <= 1.11 + Wide.bar_label + Wide.gap / 2
    assert _overlaps(sheet.figure) == []


def test_long_numbers_beside_a_colour_bar_share_a_power_of_ten() -> None:
    assert figure_parts.tick_labels([-0.0015, 0, 0.0015]) == (["−1.5", "0", "1.5"], "×10⁻³")
    assert figure_parts.tick_labels([0, 12_000, 24_000]) == (["0", "1.2", "2.4"], "×10⁴")
    assert figure_parts.tick_labels([-0.006, 0, 0.006]) == (["−0.006", "0", "0.006"], "")
    assert figure_parts.tick_labels([0, 1e-5]) == (["0", "1"], "×10⁻⁵")


@pytest.mark.parametrize(
    "bad", [{"width": "poster"}, {"colours": "rainbow"}, {"diverging": "jet"}, {"opacity": 2.0}]
)
def test_bad_styles_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Style(**bad)


def test_an_unknown_format_is_refused(comparison: Comparison) -> None:
    with pytest.raises(ValueError, match="allowed are pdf, svg, png"):
        render(comparison_figure(comparison), "gif")
