"""The Networks page: choosing a network shows its card, curves, classes and stages, and what is missing is said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from models import zoo
from tests.page_helpers import healthy, pictures, visit, words
from tests.test_network_table import CURVE, answers, card, record
from xai import ablations, network_table
from xai.ui import cards_view, network_data
from xai.ui.widgets import plain

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of local networks that is forgotten afterwards."""
    monkeypatch.setenv("XAI_MODELS", str(tmp_path))
    (tmp_path / "records").mkdir()
    network_data.clear()
    yield tmp_path
    network_data.clear()


@pytest.fixture
def no_others(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing ships with the project."""
    monkeypatch.setattr(zoo, "SHIPPED", tmp_path / "nothing")


def started(**link: str) -> AppTest:
    """The page as a visitor meets it who comes from the first page."""
    return visit("models", **link)


def test_choosing_a_network_changes_card_and_curves(local: Path) -> None:
    first = record(local, card("first", accuracy={"test": 0.9}), answers(90, 100), CURVE)
    record(local, card("second", seed=7, accuracy={"test": 0.5}), answers(50, 100), [*CURVE, *CURVE])
    app = started()
    app.selectbox(key="network").set_value("first").run()
    assert healthy(app)
    assert "90.00 % (95 %: 82.56 to 94.48; 100 images)" in words(app)
    assert len(app.image) == 3
    assert any(
        "20.00 % (95 %: 18.79 to 21.27; 4,000 images) after 2 epochs" in said for said in pictures(app)
    )
    assert any("layer4 4 × 4 × 512 (tapped)" in said for said in pictures(app))
    app.selectbox(key="network").set_value("second").run()
    assert healthy(app)
    assert "50.00 %" in words(app)
    assert "90.00 %" not in words(app)
    assert app.subheader[0].value == plain("second")
    assert json.loads(app.code[0].value)["seed"] == 7
    assert dict(app.query_params)["network"] == "second"
    assert any(
        "20.00 % (95 %: 18.79 to 21.27; 4,000 images) after 4 epochs" in said for said in pictures(app)
    )
    assert any("cat 25 of 50" in said for said in pictures(app))
    assert first.name in app.selectbox(key="network").options


def test_a_link_opens_the_network(local: Path) -> None:
    record(local, card("first"))
    record(local, card("second"))
    assert started(network="second").subheader[0].value == "second"
    app = started(network="nobody")
    assert healthy(app)
    assert "The link asked for what is not here (Network to look at" in words(app)


def test_without_weights_predictions_and_curve_the_page_says_so(local: Path) -> None:
    record(local, card("first"))
    app = started(network="first")
    assert healthy(app)
    said = words(app)
    assert "Its weights don't come with the project" in said
    assert "python -m xai train --architecture resnet18_cifar" in said
    assert "No training curve is stored" in said
    assert "No answers on the test images are stored" in said
    assert len(app.image) == 1, "the stages alone"
    assert not [button for button in app.button if button.label.startswith("Measure")]


def test_damaged_files_are_one_sentence_each(local: Path) -> None:
    record(local, card("first", architecture="of tomorrow"), curve={"a": 1})
    (local / "predictions" / "first.parquet").write_bytes(b"nothing")
    app = started(network="first")
    assert not app.exception
    assert len(app.error) == 3
    assert not app.image


@pytest.mark.usefixtures("no_others")
def test_the_page_works_without_any_network(local: Path) -> None:
    app = started()
    assert healthy(app)
    assert "No trained network is on this machine" in words(app)
    for view in ("papers", "ablations"):
        app.radio(key="view").set_value(view).run()
        assert healthy(app)
        assert len(app.dataframe) == 1


@pytest.mark.usefixtures("no_others")
def test_filters_and_seeds(local: Path) -> None:
    record(local, card("a-s0", accuracy={"test": 0.9}), curve=CURVE)
    record(local, card("a-s1", seed=1, accuracy={"test": 0.7}), curve=CURVE)
    record(local, card("b-s0", dataset="cue10", architecture="alexnet", accuracy={"test": 0.5}))
    app = started()
    assert app.dataframe[0].value["name"].tolist() == ["a-s0", "a-s1", "b-s0"]
    app.multiselect(key="families").set_value(["AlexNet"]).run()
    assert app.dataframe[0].value["name"].tolist() == ["b-s0"]
    app.multiselect(key="datasets").set_value(["cifar10"]).run()
    assert healthy(app)
    assert "No network has this dataset and this family" in words(app)
    app.multiselect(key="families").set_value([]).run()
    app.checkbox(key="grouped").check().run()
    assert app.dataframe[0].value["mean test %"].tolist() == [80.0]
    assert app.dataframe[0].value[["least", "most"]].iloc[0].tolist() == [70.0, 90.0]


def test_the_seeds_of_a_training_are_compared(local: Path) -> None:
    rows = [
        network_table.network(card(f"a-s{seed}", seed=seed, accuracy={"test": 0.9 - seed / 10}))
        for seed in (0, 1)
    ]
    last = cards_view.seed_rows(rows)[-1]
    assert last["seed"] == "mean (least to most)"
    assert last["test accuracy"] == "85.00 % (80.00 to 90.00)"
    assert len(cards_view.seed_rows(rows[:1])) == 1


def test_measured_latency_stays_in_the_session(local: Path) -> None:
    name = next(name for name, made in zoo.cards().items() if made.architecture == "resnet18_cifar")
    app = started(network=name)
    assert "Median and quartiles" not in words(app)
    app.button(key="measure").click().run()
    assert healthy(app)
    assert "images/s" in words(app)
    app.radio(key="view").set_value("ablations").run()
    app.radio(key="view").set_value("networks").run()
    assert "images/s" in words(app)


def test_claims_of_one_paper_alone(local: Path) -> None:
    app = started(view="papers")
    assert healthy(app)
    total = len(app.dataframe[0].value)
    app.multiselect(key="paper").set_value([app.multiselect(key="paper").options[1]]).run()
    frame = app.dataframe[0].value
    assert 0 < len(frame) < total
    assert frame["paper"].nunique() == 1
    assert frame["claimed"].tolist() == [87.5, 93.75]


def test_an_ablation_as_a_row() -> None:
    from xai.ablation_list import ABLATIONS
    from xai.ablations import AblationRow

    ablation = next(iter(ABLATIONS.values()))
    (empty,) = ablations.table([AblationRow(ablation, reason="not trained: both.")])
    assert (empty["ours, points"], empty["p (Holm)"], empty["note"]) == (None, "", "not trained: both.")
    facts: dict[str, Any] = {
        "difference": 1.234,
        "low": -0.001,
        "high": 2.0,
        "p_holm": 0.0004,
        "seeds": (0, 1),
    }
    (full,) = ablations.table([AblationRow(ablation, "cue10", baseline_accuracy=0.9, **facts)])
    assert (full["ours, points"], full["95 % from"], full["baseline %"], full["seeds"]) == (
        1.23,
        0.0,
        90.0,
        2,
    )
    assert full["p (Holm)"] == "< 0.001"


def test_untrained_architectures_are_counted_only_when_asked_for(
    local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def count() -> list[network_table.Untrained]:
        counted.append(1)
        return []

    monkeypatch.setattr(network_data, "untrained", count)
    app = started()
    assert counted == []
    app.session_state["untrained"] = True
    app.run()
    assert counted == [1]
    assert healthy(app)
