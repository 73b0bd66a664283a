"""Figures of feature maps, their bundles, and manifests that draw them again."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from pypdf import PdfReader

from models import zoo
from models.registry import Model
from tests.conftest import TinyModel
from tests.feature_helpers import Colours, wrap
from xai import export, feature_export, reproduction
from xai.cli import main
from xai.comparison import Picture, picture_from_scene
from xai.feature_drift import Drifting, DriftRow
from xai.feature_filters import first_filters
from xai.feature_maps import FeatureComparison, FeatureRequest, examine
from xai.figure_drift import drift_figure
from xai.figure_features import channels_figure, filters_figure
from xai.figures import Figure, Style
from xai.manifests import ManifestError

pytestmark = pytest.mark.usefixtures("one_thread")
NAMES = ("alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0")
REQUEST = FeatureRequest(
    NAMES, {NAMES[0]: "features.11"}, order="change", degradation="gaussian_noise", severity=3.0, count=5
)
STYLE = Style(width="one-column")


@pytest.fixture(scope="module")
def models() -> list[Model]:
    return [zoo.load(name) for name in NAMES]


@pytest.fixture(scope="module")
def comparison(models: list[Model]) -> FeatureComparison:
    return examine(REQUEST, picture_from_scene("test", 4), models)


@pytest.fixture(scope="module")
def drift(models: list[Model], comparison: FeatureComparison) -> tuple[DriftRow, ...]:
    return feature_export.drift_of(comparison, models, Drifting("gaussian_noise", (0.0, 3.0), "cifar-c"))


@pytest.fixture(scope="module", autouse=True)
def _coarse() -> Iterator[None]:
    """Coarse PNGs, which take a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export.figures, "render", _coarsely(export.figures.render))
        yield


def _coarsely(render: Callable[..., bytes]) -> Callable[..., bytes]:
    return lambda figure, kind, dpi=300, **options: render(figure, kind, min(dpi, 60), **options)


@pytest.fixture(scope="module")
def files(
    models: list[Model], comparison: FeatureComparison, drift: tuple[DriftRow, ...]
) -> dict[str, bytes]:
    filters = [first_filters(model) for model in models]
    return feature_export.bundle(comparison, STYLE, drift=drift, filters=filters, every_width=False)


def fits(figure: Figure) -> bool:
    """Whether everything that is drawn lies within the figure, in inches and but for rounding."""
    figure.set_dpi(300)  # as it is printed: letters are wider on a coarse grid
    box, (width, height) = figure.get_tightbbox(), figure.get_size_inches()
    return bool(min(box.x0, box.y0) > -0.005 and box.x1 < width + 0.005 and box.y1 < height + 0.005)


def words_of(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_the_bundle_holds_every_file(files: dict[str, bytes]) -> None:
    figures = {
        f"{s}{k}" for s in ("figure", "drift", "filters") for k in (".pdf", ".svg", ".png", "-600dpi.png")
    }
    tables = {"features.npz", "filters.npz", "channels.csv", "layers.csv", "manifest.json"}
    assert set(files) == figures | tables
    width = float(PdfReader(io.BytesIO(files["figure.pdf"])).pages[0].mediabox.width) / 72
    assert width == pytest.approx(3.35, abs=0.01)


def test_raw_maps_are_those_of_all_channels(files: dict[str, bytes], comparison: FeatureComparison) -> None:
    with np.load(io.BytesIO(files["features.npz"]), allow_pickle=False) as arrays:
        layers = dict(zip(NAMES, ("features.11", "layer4"), strict=True))
        assert set(arrays) == {f"{n}/{layers[n]}/{c}" for n in NAMES for c in ("clean", "degraded")}
        found = arrays[f"{NAMES[1]}/layer4/degraded"]
        np.testing.assert_array_equal(found, comparison.results[1].degraded.numpy())
        assert found.shape == (128, 8, 8)


def test_scores_are_one_row_per_channel(files: dict[str, bytes], comparison: FeatureComparison) -> None:
    rows = list(csv.DictReader(io.StringIO(files["channels.csv"].decode())))
    assert len(rows) == 256 + 128
    first, result = rows[0], comparison.results[0]
    assert int(first["channel"]) == result.order[0]
    assert float(first["change"]) == pytest.approx(float(result.scores["change"][result.order[0]]))
    assert [int(row["channel"]) for row in rows[:256] if row["shown"] == "1"] == list(result.shown)


def test_the_manifest_draws_the_same_again(files: dict[str, bytes]) -> None:
    """Through the registry that the command `reproduce` asks."""
    again = reproduction.reproduce_files(files["manifest.json"], None)
    assert again.keys() == files.keys()
    assert [name for name in files if again[name] != files[name]] == []


def test_a_manifest_of_others_is_refused(files: dict[str, bytes], tmp_path: Path) -> None:
    def refused(change: Any, words: str) -> None:
        content = json.loads(files["manifest.json"])
        change(content)
        with pytest.raises(ManifestError, match=words):
            reproduction.reproduce_files(json.dumps(content).encode(), None)

    refused(lambda content: content["models"][0].update(sha256="0"), "its sha256 differs")
    refused(lambda content: content["image"].update(sha256="0"), "its sha256 differs")
    refused(lambda content: content["request"].update(order="beauty"), "not one that this program wrote")
    refused(lambda content: content["models"].pop(), "another version")
    layers = {NAMES[0]: "features.11", "other": "conv1"}
    for part, key, value in (
        ("request", "layers", layers),
        *((part, key, math.inf) for part, key in (("request", "seed"), ("request", "count"), ("drift", "n"))),
        *(("drift", "n", n) for n in ("3", -5, 0, 1.0, True)),
        *(("drift", "seed", seed) for seed in (-1, 1.5, math.inf)),
        *(("drift", "severities", severities) for severities in (["3"], [math.inf], [-1.0], [])),
    ):
        refused(
            lambda content, part=part, key=key, value=value: content[part].update({key: value}),
            "not one that this program wrote",
        )
    refused(lambda content: content.update(format="xai-features-0"), "another version")
    refused(lambda content: content.pop("format"), "another version")
    with pytest.raises(ManifestError):
        reproduction.reproduce_files(b"[[", None)


def test_a_kind_of_manifest_is_registered_once() -> None:
    assert {"1", "xai-features-1"} <= set(reproduction.REPRODUCERS)
    with pytest.raises(ValueError, match="registered twice"):
        reproduction.register("1")


@pytest.mark.parametrize("width", ["two-column", "one-column"])
def test_nothing_is_cut_off_and_everything_is_named(
    comparison: FeatureComparison, drift: tuple[DriftRow, ...], models: list[Model], width: str
) -> None:
    style = Style(width=width)
    channels = channels_figure(comparison, style)
    words = words_of(channels)
    for result in comparison.results:
        assert f"#{result.shown[0]}" in words
        assert result.layer in words
    assert words.count("activation") == words.count("clean − degraded") == 2
    drawn = [channels, drift_figure(drift, style), drift_figure(drift[: len(drift) // 2], style)]
    drawn.append(filters_figure([first_filters(model) for model in models], style))
    for figure in drawn:
        assert fits(figure)


@pytest.mark.parametrize("layer", ["classifier.5", "features.0"])
def test_vectors_and_unfinished_pages_are_drawn(models: list[Model], layer: str) -> None:
    request = FeatureRequest(NAMES[:1], {NAMES[0]: layer}, order="maximum", count=7)
    figure = channels_figure(examine(request, picture_from_scene("test", 4), models[:1]))
    assert fits(figure)
    assert "degraded" not in words_of(figure)


def test_maps_without_a_number_or_a_difference_are_drawn() -> None:
    network = Colours()
    with torch.no_grad():
        network.conv.weight[:] = 0
        network.conv.bias[:] = torch.tensor([math.nan, 1.0, 1.0, 0.0])  # type: ignore[index]
    shown = Picture("black", torch.zeros(3, 8, 8, dtype=torch.uint8), "x")
    request = FeatureRequest(
        ("hand",), {"hand": "conv"}, degradation="brightness", severity=1.0, scale="cifar-c"
    )
    done = examine(request, shown, [wrap(network)])
    figure = channels_figure(done)
    assert fits(figure)
    assert "Grey cells are not finite." in words_of(figure).replace("\n", " ")
    assert "#3 dead" in words_of(figure)
    files = feature_export.bundle(done, every_width=False)
    json.loads(files["manifest.json"])


def test_each_network_has_its_column_with_its_main_layers_and_its_whole_seed(
    drift: tuple[DriftRow, ...],
) -> None:
    long = "resnet18_cifar-w16-a-very-long-recipe-of-a-training-cifar10-jpeg-s"
    renamed = [replace(row, model=f"{long}{NAMES.index(row.model)}") for row in drift]
    words = words_of(drift_figure(renamed, STYLE))
    assert "-jpeg-s0" in words
    assert "-jpeg-s1" in words
    for row in drift:
        assert (row.layer in words) == row.main, row.layer
    every = words_of(drift_figure(drift, STYLE, every_layer=True))
    assert "features.5" in every  # pooling
    assert "those that only pass on another's output are left out" in every.replace("\n", " ")


def test_the_command_writes_a_bundle(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["features", "cue10:test/4", "--model", NAMES[0], "--layer", "features.4", "--channels", "4"]
    assert main([*arguments, "--width", "one-column", "--out", str(tmp_path)]) == 0
    written = [line.removeprefix("wrote ") for line in capsys.readouterr().out.splitlines()]
    assert {Path(path).name for path in written} == {path.name for path in tmp_path.iterdir()}
    content = json.loads((tmp_path / "manifest.json").read_bytes())
    assert content["models"][0]["layer"]["shown"] == [0, 1, 2, 3]
    assert content["drift"] is None


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--degradation", "foo"], "'foo' is unknown"),
        (["--limit", "5"], "--limit 5 was given without --drift"),
        (
            ["--limit", "5", "--drift", "--degradation", "jpeg", "--severity", "1"],
            "--limit 5 was given without",
        ),
        (["--out", "{file}"], "is a file; a folder is needed"),
        (["--out", "{file}/below"], "is a file; a folder is needed"),
    ],
)
def test_slips_are_told_before_anything_is_computed(
    given: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(zoo, "load", lambda *_: pytest.fail("a network was loaded"))
    options = [text.format(file=tmp_path / "file") for text in given]
    command = ["features", "cue10:test/4", "--model", NAMES[0], "--out", str(tmp_path / "out"), *options]
    assert main(command) == 2
    said = capsys.readouterr().err
    assert words in said
    assert said.count("\n") == 1


def test_a_scene_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["features", "cue10:test/99999", "--model", NAMES[0], "--out", str(tmp_path)]) == 2
    assert "allowed are test/0 to test/1999" in capsys.readouterr().err


def test_deep_networks_and_their_many_layers_are_drawn(tiny_model: TinyModel) -> None:
    model = tiny_model("resnet101_cifar", 32)
    shown = Picture("noise", torch.randint(0, 255, (3, 32, 32), dtype=torch.uint8), "x")
    done = examine(FeatureRequest((model.name,)), shown, [model])
    rows = feature_export.drift_of(done, [model], Drifting("jpeg", (1.0,), "cifar-c"))
    assert len(rows) > 300
    assert fits(drift_figure(rows, STYLE))
