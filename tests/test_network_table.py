"""The table of networks: intervals, groups of seeds, and how it is written."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from statsmodels.stats.proportion import proportion_confint

from models import registry, zoo
from models.cards import IMPORTED, Card, trial_note
from models.registry import Model
from tests.conftest import TinyModel
from xai import (
    figure_networks,
    figures,
    latency,
    metrics,
    network_curves,
    network_shape,
    network_table,
    tables,
)
from xai.cli import main
from xai.network_curves import CurveError
from xai.predictions import Predictions, PredictionsError, facts_of
from xai.predictions_file import write

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = ("cat", "dog")


def card(name: str = "one", **facts: object) -> Card:
    """A card made by hand."""
    made = Card(name, "resnet18_cifar", "cifar10", CLASSES, 32, 0, "cpu", {"name": "standard", "epochs": 2})
    return replace(made, sha256="ab" * 32, epochs=2, parameters=11_170_000, macs=555_000_000, **facts)  # type: ignore[arg-type]


def answers(right: int, total: int) -> Predictions:
    """`right` of `total` answers are right; the classes take turns."""
    labels = np.arange(total) % 2
    predicted = np.where(np.arange(total) < right, labels, 1 - labels)
    shares = np.where(np.eye(2)[predicted] == 1, 0.75, 0.25).astype(np.float16)
    return Predictions(tuple(str(k) for k in range(total)), labels, predicted, shares)


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of local networks."""
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    (tmp_path / "records").mkdir()
    return tmp_path


def record(folder: Path, made: Card, stored: Predictions | None = None, curve: object = None) -> Card:
    """Put a card without weights into the folder, with predictions and a curve if given."""
    made.write(folder / "records" / f"{made.name}.json")
    for name, content in (("predictions", stored), ("curves", curve)):
        (folder / name).mkdir(exist_ok=True)
        if isinstance(content, Predictions):
            write(folder / name / f"{made.name}.parquet", content, facts_of(made, "test"))
        elif content is not None:
            (folder / name / f"{made.name}.json").write_text(json.dumps(content))
    return made


def test_interval_rests_on_the_stored_predictions(local: Path) -> None:
    """90 of 100: 82.6 to 94.5, as statsmodels has it; without predictions the split's size counts."""
    made = record(local, card(accuracy={"test": 0.9}), answers(90, 100))
    row = network_table.network(made)
    assert row.images == 100
    assert row.interval == pytest.approx(proportion_confint(90, 100, method="wilson"))
    assert [round(100 * end, 1) for end in row.interval or ()] == [82.6, 94.5]
    other = network_table.network(card("another", accuracy={"test": 0.9}))
    assert (other.images, other.interval) == (10_000, proportion_confint(9000, 10_000, method="wilson"))
    assert network_table.test_images(card("another", dataset="cue10")) == 2000


def test_no_interval_where_the_number_of_images_is_unknown() -> None:
    for facts in ({"dataset": "folder:mine"}, {"note": trial_note(8)}, {"note": f"A head. {trial_note(8)}"}):
        row = network_table.network(card(accuracy={"test": 0.9}, **facts))
        assert (row.images, row.interval) == (None, None)
    assert network_table.network(card()).test is None


def test_predictions_of_other_weights_are_not_used(local: Path) -> None:
    made = record(local, card(accuracy={"test": 0.9}), answers(90, 100))
    other = replace(made, sha256="cd" * 32)
    with pytest.raises(PredictionsError, match="other weights"):
        network_table.predictions_of(other)
    assert network_table.readable_predictions(other) is None
    assert network_table.network(other).images == 10_000
    assert network_table.predictions_of(card("nobody")) is None


def test_predictions_of_another_number_of_classes_are_not_used(local: Path) -> None:
    made = record(local, card(), answers(90, 100))
    with pytest.raises(PredictionsError, match="are of 2 classes, but one tells 3 apart"):
        network_table.predictions_of(replace(made, classes=("a", "b", "c")))


def test_where_the_weights_are(local: Path) -> None:
    record(local, card())
    words = {row.name: row.weights for row in network_table.networks()}
    assert words.pop("one") == network_table.NOT_KEPT
    assert {words[name] for name in zoo.cards()} == {network_table.SHIPPED}


def test_seeds_of_one_training_become_one_row() -> None:
    cards = [card(f"one-s{seed}", seed=seed, accuracy={"test": 0.9 + seed / 100}) for seed in range(3)]
    cards += [
        card("one-w8-s0", options={"width": 8}, accuracy={"test": 0.5}),
        card("two-s0", dataset="cue10"),
    ]
    grouped = network_table.by_training(map(network_table.network, cards))
    assert [(row.name, row.seeds) for row in grouped] == [
        ("one", (0, 1, 2)),
        ("one-w8-s0", (0,)),
        ("two-s0", (0,)),
    ]
    assert grouped[0].test == pytest.approx(0.91)
    assert grouped[0].spread == pytest.approx((0.9, 0.92))
    assert grouped[0].interval is None
    lines = network_table.table(grouped, seeds=True)
    assert (lines[0]["mean test %"], lines[0]["least"], lines[0]["most"]) == (91.0, 90.0, 92.0)
    assert lines[0]["seed"] == "0, 1, 2"


@pytest.mark.parametrize(
    "other",
    [
        {"recipe": {"name": "transfer", "initial": "two", "keep": "last"}},
        {"recipe": {"name": "transfer", "initial": "one", "keep": "best"}},
        {"input_size": 64},
        {"note": trial_note(100)},
    ],
)
def test_trainings_that_differ_in_anything_but_the_seed_are_two(other: dict[str, Any]) -> None:
    recipe = {"name": "transfer", "initial": "one", "keep": "last"}
    cards = [card("one", recipe=recipe), card("other", seed=1, **{"recipe": recipe, **other})]
    assert len(network_table.by_training(map(network_table.network, cards))) == 2


def test_networks_that_were_trained_elsewhere_are_no_seeds_of_one_training() -> None:
    cards = [card(f"one-s{seed}", seed=seed, recipe={"name": IMPORTED}) for seed in range(2)]
    assert len(network_table.by_training(map(network_table.network, cards))) == 2


def test_a_seed_without_a_measurement_leaves_the_mean_empty() -> None:
    cards = [card("one-s0", accuracy={"test": 0.9}), card("one-s1", seed=1)]
    (row,) = network_table.by_training(map(network_table.network, cards))
    assert row.test is None
    assert row.spread == (0.9, 0.9)


def test_an_unknown_architecture_is_still_listed() -> None:
    row = network_table.network(card(architecture="of tomorrow"))
    assert (row.title, row.family) == ("of tomorrow", "unknown")


def test_accuracy_by_class() -> None:
    """Of 0, 1, 0, 1 the first three are right."""
    rows = metrics.class_accuracies(answers(3, 4), (*CLASSES, "never"))
    assert [(row.name, row.right, row.total) for row in rows] == [("cat", 2, 2), ("dog", 1, 2)]
    assert (rows[1].low, rows[1].high) == pytest.approx(proportion_confint(1, 2, method="wilson"))


def test_untrained_architectures_have_no_accuracy() -> None:
    rows = network_table.untrained(
        [name for name in registry.ARCHITECTURES if name not in ("alexnet_224", "resnet50")]
    )
    assert [row.architecture for row in rows] == ["alexnet_224", "resnet50"]
    assert {line["accuracy"] for line in network_table.untrained_table(rows)} == {"not trained"}
    assert network_table.counted("resnet50", 1000, 224)[0] == 25_557_032
    assert not {row.architecture for row in rows} & {c.architecture for c in zoo.cards().values()}


# How rows are written

ROWS: list[dict[str, tables.Cell]] = [
    {"na_me": "50 % & more_", "MMAC": 1.25, "n": 3, "none": None},
    {"na_me": "a|b", "MMAC": 12.0, "n": 10, "none": None},
]


def test_rows_as_text_and_markdown() -> None:
    assert tables.as_text(ROWS)[1:] == ["50 % & more_   1.2   3", "a|b           12.0  10"]
    head, marks, *lines = tables.as_markdown(ROWS)
    assert marks == "| --- | ---: | ---: | ---: |"
    assert lines[1] == r"| a\|b | 12.0 | 10 |  |"
    assert head.count("|") == 5
    assert tables.as_text([]) == tables.as_markdown([]) == []


def test_nothing_in_a_cell_moves_the_cursor_or_turns_the_text_round() -> None:
    rows: list[dict[str, tables.Cell]] = [{"note": "a\x1b[2J\x9b31m\u202eb\u3000\n"}]
    assert tables.as_text(rows) == ["note", "a[2J31mb"]
    assert tables.as_markdown(rows)[2] == "| a[2J31mb\u3000 |"


def test_rows_as_csv_are_read_back() -> None:
    found = pd.read_csv(io.StringIO(tables.as_csv(ROWS)))
    assert found["na_me"].tolist() == [row["na_me"] for row in ROWS]
    assert found["MMAC"].tolist() == [1.25, 12.0]
    assert found["none"].isna().all()


def test_rows_as_latex_are_balanced_and_escaped() -> None:
    words = tables.as_latex(ROWS, "Two rows.", wide=("na_me",))
    assert r"50 \% \& more\_ & 1.2 & 3 &" in words
    assert r"na\_me & MMAC" in words
    assert words.startswith(r"\begin{longtable}{p{5cm}rrr}")
    assert words.count(r"\begin{") == words.count(r"\end{") == 1
    assert words.count("{") == words.count("}")
    assert r"\bottomrule" in words


def test_no_cell_is_a_formula_for_a_spreadsheet_or_an_option_for_latex() -> None:
    rows: tables.Rows = [
        {"class": "=HYPERLINK(1)", "@n": -1.5},
        {"class": "[2cm] dog", "@n": 2.0},
        {"class": "*", "@n": 1},
    ]
    assert tables.as_csv(rows) == "class,'@n\n'=HYPERLINK(1),-1.5\n[2cm] dog,2.0\n*,1\n"
    words = tables.as_latex(rows, "Three rows.")
    assert "\n{[}2cm] dog &" in words
    assert "\n{*} &" in words


# Curves, stages, latency

CURVE = [
    {
        "epoch": k,
        "train_loss": 2 - k,
        "train_accuracy": 0.1 * k,
        "validation_loss": 2.0,
        "validation_accuracy": 0.2,
    }
    for k in range(2)
]


def test_curves_are_read_and_checked(local: Path) -> None:
    assert network_curves.curve_of(record(local, card(), curve=CURVE)) == CURVE
    assert network_curves.curve_of(card("nobody")) is None
    for bad in ([], {"a": 1}, [{**CURVE[0], "train_loss": None}], [{**CURVE[0], "train_loss": float("nan")}]):
        with pytest.raises(CurveError, match="one"):
            network_curves.curve_of(record(local, card(), curve=bad))
    with pytest.raises(CurveError, match="one"):  # a number that JSON can hold and no float
        network_curves.curve_of(record(local, card(), curve=[{**CURVE[0], "train_loss": 10**400}]))
    (local / "curves" / "one.json").write_text("{")
    with pytest.raises(CurveError, match="not JSON"):
        network_curves.curve_of(card())


def test_notes_say_what_the_recipe_does() -> None:
    plain = " ".join(network_curves.notes(card()))
    assert plain == "Validation is measured on unchanged pictures."
    full = {"flip": True, "padding": 4, "label_smoothing": 0.1, "average_epochs": 1.0, "rotation": 0.0}
    words = " ".join(network_curves.notes(card(recipe=full)))
    assert "(shifted, mirrored)" in words
    assert "label smoothing of 0.1" in words
    assert "average" in words


def test_the_figure_of_curves_has_both_splits_in_percent() -> None:
    figure = figure_networks.curves_figure([("a", CURVE), ("b", CURVE)], ["A note."])
    loss, accuracy = figure.axes
    assert (loss.get_xlabel(), accuracy.get_ylabel()) == ("epoch", "accuracy (%)")
    assert [line.get_linestyle() for line in accuracy.lines] == ["-", "--"] * 2
    assert np.asarray(accuracy.lines[1].get_ydata()).tolist() == [0.0, 10.0]
    assert np.asarray(accuracy.lines[1].get_xdata()).tolist() == [1, 2]
    assert accuracy.lines[0].get_color() != accuracy.lines[2].get_color()
    assert b"A note." in figures.render(figure, "svg")


def test_one_epoch_is_seen_as_dots_at_a_whole_number() -> None:
    figure = figure_networks.curves_figure([("", CURVE[:1])])
    for axes in figure.axes:
        assert [line.get_marker() for line in axes.lines] == ["o", "o"]
        assert axes.get_xlim() == (0.5, 1.5)
        assert axes.get_xticks().tolist() == [1]
    longer = figure_networks.curves_figure([("", CURVE)])
    assert {line.get_marker() for axes in longer.axes for line in axes.lines} == {""}


def test_the_figure_of_classes_names_each_once_the_best_first() -> None:
    figure = figure_networks.class_figure(metrics.class_accuracies(answers(3, 4), CLASSES))
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat (2)", "dog (2)"]
    assert "75.00 %" in figure.axes[0].get_title()


@pytest.mark.parametrize(
    ("architecture", "size", "expected"),
    [
        ("resnet18", 64, ["64 × 64 × 3", "16 × 16 × 64", "8 × 8 × 128", "4 × 4 × 256", "2 × 2 × 512"]),
        (
            "resnet18_cifar",
            32,
            ["32 × 32 × 3", "32 × 32 × 64", "16 × 16 × 128", "8 × 8 × 256", "4 × 4 × 512"],
        ),
    ],
)
def test_stages_have_the_grids_of_the_input(architecture: str, size: int, expected: list[str]) -> None:
    found = network_shape.stages(card(architecture=architecture, input_size=size))
    assert [stage.words for stage in found] == expected
    assert [stage.name for stage in found if stage.tapped] == ["layer3" if size == 64 else "layer4"]
    words = figures.render(figure_networks.stages_figure(found, 2), "svg").decode()
    assert all(text in words for text in (*expected, "tapped by default", "layer1"))


def test_stages_of_a_shipped_network_tap_what_the_model_taps(shipped_models: dict[str, Model]) -> None:
    for model in shipped_models.values():
        assert [s.name for s in network_shape.stages(model.card) if s.tapped] == [model.default_layer]


def test_stages_of_what_can_t_be_built_are_one_sentence() -> None:
    for bad in (card(architecture="of tomorrow"), card(options={"width": -1}), card(options={"colour": 1})):
        with pytest.raises(ValueError, match=r"\.$"):
            network_shape.stages(bad)


def test_latency_counts_its_runs_and_holds_the_lock(tiny_model: TinyModel) -> None:
    model = tiny_model("resnet18_cifar")
    held: list[int] = []
    model.network.register_forward_hook(lambda *_args: held.append(model.lock._is_owned()))  # type: ignore[attr-defined]
    one, many = latency.measure(model, (1, 4), seconds=0)
    assert len(held) == 2 * (latency.WARM_UP + latency.LEAST_RUNS)
    assert all(held)
    assert one.runs == latency.LEAST_RUNS
    assert one.low <= one.median <= one.high
    assert many.images_per_second == pytest.approx(4000 / many.median)
    assert (many.threads, many.batch, many.size) == (1, 4, 32)
    assert many.device
    with pytest.raises(ValueError, match="at least 1"):
        latency.measure(model, (0,))


# Command line


def test_models_lists_records_and_their_seeds(local: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for seed in (0, 1):
        record(local, card(f"one-s{seed}", seed=seed, accuracy={"test": 0.9}))
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    missing = sum(not zoo.has_weights(name) for name in zoo.records())
    assert missing >= 2
    assert f"Of {missing} rows the weights don't come with the project" in printed
    assert main(["models", "--seeds", "--json"]) == 0
    (row,) = [row for row in json.loads(capsys.readouterr().out) if row["names"] == ["one-s0", "one-s1"]]
    assert (row["test"], row["spread"]) == (pytest.approx(0.9), [0.9, 0.9])
    assert main(["models", "--markdown"]) == 0
    assert "one-s0" not in capsys.readouterr().out
    assert main(["models", "--latency", "one-s0"]) == 2
    assert "don't come with the project" in capsys.readouterr().err
