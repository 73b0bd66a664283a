"""What a user takes home of an embedding, the figure, the command, and a manifest that makes it again."""

from __future__ import annotations

import io
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

from models.registry import Model
from tests.embedding_helpers import BAD, embedding
from xai import embedding_export as export
from xai import embedding_looks as looks
from xai import embedding_reproduction as again
from xai import embedding_words
from xai.attribution_types import ExplanationError
from xai.class_colours import CORRECTNESS, TRANSITIONS, class_looks
from xai.cli import main
from xai.embedding import Embedding
from xai.figure_embedding import MapStyle, embedding_figure
from xai.figure_embedding_parts import MOST_ARROWS, arrow_rows
from xai.figures import Figure, render
from xai.manifests import ManifestError
from xai.reproduction import REPRODUCERS, reproduce_files

PAIR = ("alexnet-cue10-s0", "resnet18_cifar-w16-cue10-s0")


@pytest.fixture(scope="module")
def found() -> Embedding:
    return embedding(warnings=[BAD])


@pytest.fixture(scope="module")
def files(found: Embedding) -> dict[str, bytes]:
    return export.bundle(found, MapStyle(arrows=True), every_width=False)


def test_a_bundle_has_every_file(files: dict[str, bytes]) -> None:
    assert set(files) == {
        "figure.pdf",
        "figure.svg",
        "figure.png",
        "figure-600dpi.png",
        "points.csv",
        "points.parquet",
        "metrics.csv",
        "metrics.tex",
        "distances.csv",
        "manifest.json",
    }


def test_points_are_the_embeddings(found: Embedding, files: dict[str, bytes]) -> None:
    table = pd.read_csv(io.BytesIO(files["points.csv"]))
    stored = pq.read_table(io.BytesIO(files["points.parquet"])).to_pandas()
    assert len(table) == len(stored) == 2 * 3 * 60
    clean = table[(table.model == "b") & (table.severity == 0)]
    one = found.maps[1]
    np.testing.assert_allclose(clean[["x", "y"]], one.coordinates, atol=1e-5)
    assert clean.neighbours.tolist() == [" ".join(map(str, rows)) for rows in one.neighbours.tolist()]
    assert clean["class"].tolist() == [found.classes[number] for number in one.answers.predicted]
    moved = stored[(stored.model == "a") & (stored.severity == 3)]
    np.testing.assert_array_equal(moved[["x", "y"]].to_numpy(), found.maps[0].degraded[1].coordinates)
    assert moved.neighbours.isna().all()
    np.testing.assert_array_equal(np.stack(stored.neighbours[:60]), found.maps[0].neighbours)
    assert moved.id.tolist() == list(found.ids)


def test_fewer_than_three_classes_leave_cells_empty() -> None:
    columns = export.point_columns(embedding(4, 2, ("a",), (), k=1))
    assert columns["class_3"] == [None] * 4


def test_ids_that_spreadsheets_would_run_are_words(found: Embedding) -> None:
    hostile = replace(found, ids=("=1+1", *found.ids[1:]))
    assert b"'=1+1" in export.points_csv(hostile)


def test_measures_are_named_with_interval_and_number(files: dict[str, bytes]) -> None:
    table = pd.read_csv(io.BytesIO(files["metrics.csv"]))
    row = table[(table.network == "a") & (table.measure == "label by neighbours")].iloc[0]
    assert row[["value", "95 % from", "to", "n"]].tolist() == [0.81, 0.80, 0.82, 60]
    chance = table[table.measure == "neighbours in common by chance"].iloc[0]
    assert chance.value == pytest.approx(5 / 59, abs=1e-4)
    drift = table[table.measure == "drift of class 2 at severity 3"]
    assert len(drift) == 2
    latex = files["metrics.tex"].decode()
    assert all(word in latex for word in ("\\toprule", "\\bottomrule", "0.8100", "95 \\% from"))


def test_the_manifest_holds_what_is_needed(found: Embedding, files: dict[str, bytes]) -> None:
    request, style, held = again.read_manifest(files["manifest.json"])
    assert request == found.request
    assert style == MapStyle(arrows=True)
    assert held["format"] == "xai-embedding-1"
    assert {"python", "torch", "openTSNE", "umap-learn"} <= set(held["versions"])
    assert again.compared(held, found)["same"]


@pytest.mark.parametrize(
    "change",
    [
        {"format": "xai-embedding-2"},
        {"models": []},
        {"request": {"models": 3}},
        {"style": {"colour": "taste"}},
        {"style": {"size": 3}},
        {"style": {"severity": "3"}},
        {"style": {"severity": True}},
        {"style": {"severity": 2}},
        {"style": {"arrows": "yes"}},
        {"between": None},
        {"between": {"mean": [0.5], "residual": "0.4", "residual_2d": 0.6}},
        {"images": None},
        {"models": [{"name": "a", "sha256": ""}, {"name": "b", "sha256": ""}]},
    ],
)
def test_what_is_no_manifest_is_refused(files: dict[str, bytes], change: dict[str, Any]) -> None:
    spoiled = json.dumps(json.loads(files["manifest.json"]) | change).encode()
    with pytest.raises(ManifestError, match=r"^The manifest is not one"):
        again.read_manifest(spoiled)


@pytest.mark.parametrize("rows", [[[0]], 0, [0.5], ["0"], [True], [None], {}])
def test_a_sample_that_is_no_list_of_rows_is_refused(files: dict[str, bytes], rows: Any) -> None:
    held = json.loads(files["manifest.json"])
    held["models"][0]["sample"] = {"rows": rows, "coordinates": [[0, 0]]}
    with pytest.raises(ManifestError, match=r"^The manifest is not one"):
        again.read_manifest(json.dumps(held).encode())


def test_measures_between_and_of_degraded_images_count(found: Embedding, files: dict[str, bytes]) -> None:
    held = json.loads(files["manifest.json"])
    assert again.compared(held, found)["between"] == {
        "measures": {"mean": 0.0, "residual": 0.0, "residual_2d": 0.0},
        "same": True,
    }
    assert found.between is not None
    apart = replace(found, between=replace(found.between, residual=0.5))
    assert again.compared(held, apart)["between"]["measures"]["residual"] == pytest.approx(0.09)
    assert not again.compared(held, apart)["same"]
    otherwise = replace(found, between=replace(found.between, residual_2d=0.9))
    assert again.compared(held, otherwise)["same"], "pictures may settle otherwise"
    for name, value in (("knn_accuracy", [0.5, 0.4, 0.6, 60]), ("neighbours_kept", 0.0)):
        worse = json.loads(files["manifest.json"])
        worse["models"][1]["degraded"][0][name] = value
        said = again.compared(worse, found)
        assert said["models"][1]["measures"][f"{name} at severity 1"] > 0.01
        assert [entry["same"] for entry in said["models"]] == [True, False]
    first = json.loads(files["manifest.json"])
    for entry in first["models"]:
        for each in entry["degraded"]:
            del each["neighbours_kept"]  # as manifests were at first
    assert again.compared(again.read_manifest(json.dumps(first).encode())[2], found)["same"]


def test_a_map_made_again_is_laid_onto_the_first(found: Embedding, files: dict[str, bytes]) -> None:
    held = json.loads(files["manifest.json"])
    turned = replace(found.maps[0], coordinates=found.maps[0].coordinates[:, ::-1] * 2)
    worse = replace(
        found.maps[1],
        quality=replace(found.maps[1].quality, trustworthiness=found.maps[1].quality.trustworthiness - 0.02),
    )
    said = again.compared(held, replace(found, maps=(turned, worse)))
    assert said["models"][0]["procrustes_residual"] == pytest.approx(0, abs=1e-6)
    assert said["models"][0]["coordinates"] > 1
    assert [entry["same"] for entry in said["models"]] == [True, False]
    assert not said["same"]


def words_of(figure: Figure) -> str:
    return " ".join(" ".join(text.get_text() for text in figure.texts).split())


@pytest.mark.parametrize("value", [None, float("inf"), 7.0])
def test_a_measure_that_is_another_is_not_the_same(
    found: Embedding, files: dict[str, bytes], value: Any
) -> None:
    held = json.loads(files["manifest.json"])
    assert again.compared(held, found)["same"]
    held["models"][0]["quality"]["trustworthiness"] = value
    assert not again.compared(held, found)["same"]


def test_a_measure_that_is_no_number_is_refused(files: dict[str, bytes]) -> None:
    held = json.loads(files["manifest.json"])
    held["models"][0]["quality"]["trustworthiness"] = "abc"
    with pytest.raises(ManifestError, match="not one that this program wrote"):
        again.read_manifest(json.dumps(held).encode())


def test_the_figure_says_what_is_measured(found: Embedding) -> None:
    said = words_of(embedding_figure(found, MapStyle(arrows=True)))
    for words in (
        "trustworthiness 0.953, continuity 0.961 (k = 5, 60 images)",
        "label by 5 neighbours: 81.0 % (80.0 to 82.0, n = 60)",
        BAD,
        "by chance 8.5 %",
        "Procrustes residual 0.41 of the features and 0.62 of the pictures",
        "the axes have no unit",
        "Distances between far clusters mean little",
        "clean to degraded (dot) for all images",
        "Degraded by Gaussian noise (CIFAR-10-C)",
    ):
        assert words in said
    assert "far clusters" not in words_of(embedding_figure(embedding(method="pca")))


def test_short_arrows_of_umap_are_said_to_be_noise() -> None:
    words = "land within 1.6 % of the map's width of their points: shorter arrows are noise."
    moved = embedding(method="umap")
    assert words in words_of(embedding_figure(moved, MapStyle(arrows=True)))
    assert words in " ".join(embedding_words.reading_words(moved)), "and so on the page"
    for other in (embedding(method="tsne"), embedding(method="umap", severities=())):
        assert "noise" not in " ".join(embedding_words.reading_words(other))


def drawn(figure: Figure, panel: int = 0) -> np.ndarray:
    """The points of a panel's clouds, in no order."""
    clouds = [each for each in figure.axes[panel].collections if isinstance(each, PathCollection)]
    return np.concatenate([np.asarray(cloud.get_offsets()) for cloud in clouds])


def test_every_point_is_drawn_once() -> None:
    one = embedding(500, 30, severities=())
    points = drawn(embedding_figure(one), 1)
    expected = one.maps[1].coordinates
    np.testing.assert_allclose(np.sort(points, axis=0), np.sort(expected, axis=0), rtol=1e-6)


@pytest.mark.parametrize("colour", looks.COLOURINGS)
@pytest.mark.parametrize("width", ["two-column", "one-column"])
def test_every_colouring_and_width_is_drawn(found: Embedding, colour: str, width: str) -> None:
    figure = embedding_figure(found, MapStyle(width, colour, hulls=True, density=True, centroids=True))
    assert figure.get_figwidth() == {"two-column": 7.0, "one-column": 3.35}[width]
    count = 180 if colour == "severity" else 60
    assert len(drawn(figure)) == count + 3  # and the crosses of the classes


def test_the_legend_of_a_hundred_classes_covers_no_map() -> None:
    figure = embedding_figure(embedding(300, 100, severities=()))
    figure.canvas.draw()
    (legend,) = figure.legends
    renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
    box = legend.get_window_extent(renderer)
    assert len(legend.get_texts()) == 100
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.x1
    for axes in figure.axes:
        assert box.y1 <= axes.get_window_extent(renderer).y0
    for text in figure.texts:
        assert not text.get_window_extent(renderer).overlaps(box), text.get_text()


def test_no_words_lie_on_others_or_outside() -> None:
    long = (
        "A sentence of a badge that goes on for so long that it must be broken into several lines to be read."
    )
    for width in ("two-column", "one-column"):
        figure = embedding_figure(embedding(warnings=[long, BAD]), MapStyle(width))
        renderer = figure.canvas.get_renderer()  # type: ignore[attr-defined]
        boxes = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.texts]
        for number, (said, box) in enumerate(boxes):
            assert box.x0 >= 0, said
            assert box.x1 <= figure.bbox.x1, said
            assert box.y0 >= 0, said
            assert not any(box.overlaps(other) for _, other in boxes[:number]), said


def test_ten_thousand_points_stay_small() -> None:
    figure = embedding_figure(embedding(10_000, 10, ("a",), ()))
    assert len(render(figure, "pdf")) < 10**6


def test_the_same_figure_gives_the_same_bytes(found: Embedding) -> None:
    style = MapStyle(arrows=True, degraded=True)
    assert render(embedding_figure(found, style), "svg") == render(embedding_figure(found, style), "svg")


def test_arrows_are_thinned_and_counted() -> None:
    assert arrow_rows(3).tolist() == [0, 1, 2]
    assert len(arrow_rows(10_000)) == MOST_ARROWS
    said = words_of(embedding_figure(embedding(400), MapStyle(arrows=True)))
    assert f"for {MOST_ARROWS} of 400 images" in said


def test_one_image_and_one_class_are_drawn() -> None:
    alone = embedding(1, 1, ("a",), (), k=1)
    one = replace(alone.maps[0], neighbours=np.zeros((1, 0), np.int32))
    style = MapStyle(hulls=True, density=True, centroids=True)
    assert render(embedding_figure(replace(alone, maps=(one,)), style), "png", 50)


@pytest.mark.parametrize(
    "style", [MapStyle(colour="severity"), MapStyle(colour="transition"), MapStyle(arrows=True)]
)
def test_degraded_points_need_a_degradation(style: MapStyle) -> None:
    with pytest.raises(ExplanationError, match="no degradation was asked for"):
        embedding_figure(embedding(severities=()), style)


def test_an_unknown_severity_names_those_there_are(found: Embedding) -> None:
    with pytest.raises(ExplanationError, match=r"severity 2 .* has 1, 3\."):
        embedding_figure(found, MapStyle(arrows=True, severity=2))


def test_looks_by_answer_by_hand(found: Embedding) -> None:
    one = found.maps[0]
    right = one.answers.predicted == found.labels
    shown = looks.coloured(found, one, "correctness")
    assert shown.colours.tolist() == [CORRECTNESS["right" if each else "wrong"].colour for each in right]
    by_label = looks.coloured(found, one, "label")
    assert by_label.markers.tolist() == [class_looks(3)[number].marker for number in found.labels]
    moved = looks.coloured(found, one, "transition", against=1.0)
    after = one.degraded[0].answers.predicted == found.labels
    said = [TRANSITIONS[row].split(" -> ") for row in moved.rows]
    words = {True: "right", False: "wrong"}
    assert said == [[words[bool(a)], words[bool(b)]] for a, b in zip(right, after, strict=True)]
    severe = looks.coloured(found, one, "severity", 3.0)
    assert severe.scale is not None
    assert set(severe.colours) == {severe.scale.colours[-1]}


def test_middles_hulls_and_density_by_planted_truth() -> None:
    draw = np.random.default_rng(0)
    points = draw.normal((3, -2), (1, 2), (4000, 2))
    middles = looks.centroids(points, np.zeros(4000, int), 2)
    np.testing.assert_allclose(middles[0], (3, -2), atol=0.1)
    assert np.isnan(middles[1]).all()
    strays = np.concatenate([points, np.full((40, 2), 99.0)])
    assert looks.hull(strays).max() < 20
    assert looks.hull(np.array([[0.0, 0], [1, 1], [2, 2]])).shape == (0, 2)
    assert looks.hull(np.zeros((2, 2))).shape == (0, 2)
    x, y, values, levels = looks.density(points)
    peak = np.unravel_index(values.argmax(), values.shape)
    assert abs(x[peak[1]] - 3) < 0.7
    assert abs(y[peak[0]] + 2) < 1.2
    columns, rows = (np.searchsorted(grid, points[:, axis]).clip(0, 95) for axis, grid in ((0, x), (1, y)))
    for level, share in zip(levels, (0.9, 0.5), strict=True):
        assert abs((values[rows, columns] >= level).mean() - share) < 0.05


def test_points_are_smaller_where_there_are_more() -> None:
    sizes = [looks.diameter(count, 9.0) for count in (1, 100, 5_000, 20_000, 10**6)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == pytest.approx(3 / 55)
    assert sizes[-1] == pytest.approx(3 / 250)


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The command run once on real networks, in a cache of its own beside the drawn dataset."""
    out = tmp_path_factory.mktemp("embed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xai.embedding_store.folder", lambda: out / "kept")
        patch.setattr("xai.embedding_features_store.folder", lambda: out / "features")
        words = f"embed --models {' '.join(PAIR)} --dataset cue10 --limit 30 --method pca --degradation jpeg"
        words += f" --severities 2 --scale cifar-c --colour label transition --k 5 --out {out / 'one'}"
        assert main(words.split()) == 0
        yield out


def test_the_command_writes_a_bundle_that_reproduce_makes_again(command: Path) -> None:
    written = {path.name for path in (command / "one").iterdir()}
    assert {
        "figure.pdf",
        "figure-transition.svg",
        "points.parquet",
        "metrics.tex",
        "manifest.json",
    } <= written
    assert list((command / "kept").iterdir())
    made = reproduce_files((command / "one" / "manifest.json").read_bytes(), None)
    said = json.loads(made["comparison.json"])
    assert said["same"]
    assert [entry["coordinates"] for entry in said["models"]] == [0.0, 0.0]
    assert made["figure.png"] == (command / "one" / "figure.png").read_bytes()
    assert made["points.csv"] == (command / "one" / "points.csv").read_bytes()


def test_a_second_request_computes_nothing(command: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr("xai.embedding_store.folder", lambda: command / "kept")
    monkeypatch.setattr("xai.embedding_run.embed", refuse)
    words = f"embed --models {' '.join(PAIR)} --dataset cue10 --limit 30 --method pca --degradation jpeg_compression"
    assert main(f"{words} --severities 2 --k 5 --out {command / 'two'}".split()) == 0
    one, two = ((command / name / "points.csv").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_manifest_of_other_weights_or_images_is_refused(command: Path, tiny_model: Any) -> None:
    held = json.loads((command / "one" / "manifest.json").read_bytes())
    other: Model = tiny_model("resnet18_cifar", 64)
    with pytest.raises(ManifestError, match="sha256 differs"):
        again.reproduce(json.dumps(held).encode(), load=lambda _: other)
    held["images"]["sha256"] = "0"
    with pytest.raises(ManifestError, match="ids or labels differ"):
        again.reproduce(json.dumps(held).encode())
    with pytest.raises(ManifestError, match="is of a dataset"):
        REPRODUCERS["xai-embedding-1"](json.dumps(held).encode(), Path("a.png"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--models nobody --dataset cue10", "nobody"),
        ("--models a b c --dataset cue10", "3 networks"),
        ("--models {0} {0} --dataset cue10", "2 networks"),
        ("--models {0} --dataset mnist", "'mnist'"),
        ("--models {0} --dataset cue10 --split nowhere", "'nowhere'"),
        ("--models {0} --dataset cue10 --limit 0", "--limit is 0"),
        ("--models {0} --dataset cue10 --limit 30 --layer layer9", "layer9"),
        ("--models {0} --dataset cue10 --layer a b", "2 layers"),
        ("--models {0} --dataset cue10 --method isomap", "'isomap'"),
        ("--models {0} --dataset cue10 --perplexity -1", "perplexity"),
        ("--models {0} --dataset cue10 --layout beside", "'beside'"),
        ("--models {0} --dataset cue10 --k 0", "0 neighbours"),
        ("--models {0} --dataset cue10 --degradation fog", "--degradation fog"),
        ("--models {0} --dataset cue10 --severities 1", "--severities"),
        ("--models {0} --dataset cue10 --degradation rain --severities 1", "rain"),
        ("--models {0} --dataset cue10 --degradation fog --severities -1", "above 0"),
        ("--models {0} --dataset cue10 --degradation fog --severities 9", "up to 5"),
        ("--models {0} --dataset folder:{1} --degradation fog --severities 9", "up to 5"),
        ("--models {0} --dataset folder:{1}@32", "takes images of 64 px, and those of"),
        ("--models {0} --dataset folder:{1}", "knows none of the classes of"),
        ("--models {0} --dataset cifar10-jpeg", "takes images of 64 px, and those of cifar10-jpeg have 32"),
        ("--models {0} --dataset cue10 --seed 5000000000", "from 0 to 4294967295"),
        ("--models {0} --dataset cue10 --colour taste", "'taste'"),
        ("--models {0} --dataset cue10 --colour transition", "transition"),
        ("--models {0} --dataset cue10 --arrows", "arrows"),
        ("--models {0} --dataset cue10 --width wide", "'wide'"),
        ("--models {0} --dataset cue10 --device tpu", "'tpu'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    arguments: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("pets/one", "pets/two"):  # a folder of classes that no network knows
        (tmp_path / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / name / "a.png")
    given = shlex.split(arguments.format(PAIR[0], tmp_path / "pets"))
    status: object
    try:
        status = main(["embed", *given, "--out", str(tmp_path / "out")])
    except SystemExit as end:
        status = end.code
    printed = capsys.readouterr().err.replace("\r", "\n").splitlines()
    lines = [line for line in printed if line.strip() and not re.search(r"%\|", line)]
    assert status == 2
    assert len(lines) == 1, lines
    assert words in lines[0]
    assert not (tmp_path / "out").exists()
