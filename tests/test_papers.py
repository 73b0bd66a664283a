"""The papers' numbers beside ours: which network is set beside which claim, and what is said of it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from data.degradations import DEGRADATIONS
from models import registry
from models.cards import Card
from tests.test_network_table import answers, card
from tests.test_results import BLANK, put, rows
from xai import papers, tables
from xai.cli import main
from xai.paper_claims import CLAIMS, Claim, Match
from xai.papers import Row
from xai.predictions import Predictions
from xai.result_folders import open_results
from xai.results import Condition


def trained(
    name: str, architecture: str, test: float | None, dataset: str = "cifar10", **facts: object
) -> Card:
    recipe = {"name": facts.pop("recipe", "standard")}
    return card(
        name, architecture=architecture, dataset=dataset, accuracy={"test": test}, recipe=recipe, **facts
    )


def found(cards: list[Card], paper: str, system: str, metric: str, condition: str = "clean") -> Row:
    """The row of one claim; predictions are the same hand-made ones for every network."""
    every = papers.rows({c.name: c for c in cards}, lambda _name: answers(3, 4), lambda *_: None)
    (row,) = [
        row
        for row in every
        if row.claim.paper.startswith(paper)
        and (row.claim.system, row.claim.metric, row.claim.condition) == (system, metric, condition)
    ]
    return row


def test_every_claim_is_there_once() -> None:
    keys = [(claim.paper, claim.system, claim.condition, claim.metric) for claim in CLAIMS]
    assert len(set(keys)) == len(keys) == 7 * 3 + 2 + 4 + 10 + 2 * 13 + 1 + 8 + 1
    known = {claim.metric for claim in CLAIMS} - set(papers.MEASURES) - set(papers.COUNTS)
    assert known == {"training %", "top-5 error %"}


def test_every_network_that_a_claim_asks_for_can_be_built() -> None:
    asked = {name for claim in CLAIMS if claim.ours for name in claim.ours.architectures}
    assert asked <= set(registry.ARCHITECTURES)


def test_ours_is_the_mean_of_the_seeds_and_the_difference_has_a_sign() -> None:
    cards = [trained(f"a-s{seed}", "vgg16_bn", 0.9 + seed / 50, seed=seed) for seed in range(3)]
    row = found(cards, "Improved", "VGG", "accuracy %")
    assert (row.ours, row.difference) == (pytest.approx(92.0), pytest.approx(6.7))
    assert row.networks == ("a-s0", "a-s1", "a-s2")
    cells = papers.table([row])[0]
    assert (cells["ours"], cells["difference"], cells["our network"]) == (92.0, 6.7, "a (mean of 3 seeds)")
    assert (cells["claimed on"], cells["ours on"]) == ("CIFAR-10", "cifar10")


def test_lossless_data_are_preferred_and_jpeg_is_said() -> None:
    jpeg, lossless = trained("j", "vgg16_bn", 0.9, "cifar10-jpeg"), trained("l", "vgg16_bn", 0.8)
    assert found([jpeg, lossless], "Improved", "VGG", "accuracy %").networks == ("l",)
    row = found([jpeg], "Improved", "VGG", "accuracy %")
    assert row.networks == ("j",)
    assert "not comparable" in row.caveat
    assert "not comparable" not in found([lossless], "Improved", "VGG", "accuracy %").caveat


def test_other_recipes_data_trials_and_narrow_networks_do_not_pass_for_the_claimed_one() -> None:
    cards = [
        trained("plateau", "vgg16_bn", 0.9, recipe="plateau"),
        trained("cue10", "vgg16_bn", 0.9, "cue10"),
        trained("trial", "vgg16_bn", 0.9, note="A trial on at most 8 images of each split."),
    ]
    assert found(cards, "Improved", "VGG", "accuracy %").ours is None
    narrow = trained("w16", "vgg16_bn", 0.7, options={"width": 16})
    row = found([narrow], "Improved", "VGG", "accuracy %")
    assert "width 16" in row.caveat
    wide = trained("full", "vgg16_bn", 0.8, "cifar10-jpeg")
    assert found([narrow, wide], "Improved", "VGG", "accuracy %").networks == ("full",)


def test_an_alexnet_with_batch_norm_is_not_the_papers_alexnet() -> None:
    plain, normed = trained("plain", "alexnet", 0.79, "cifar10-jpeg"), trained("bn", "alexnet_bn", 0.86)
    assert found([normed], "AlexNet", "AlexNet", "accuracy %", "clean").ours is None
    assert found([normed, plain], "AlexNet", "AlexNet", "accuracy %", "clean").networks == ("plain",)


def test_auc_and_f1_are_those_of_the_stored_answers() -> None:
    stored = answers(3, 4)
    expected = roc_auc_score(stored.labels, stored.probabilities[:, 1].astype(float))
    row = found([trained("a", "vgg16_bn", 0.75)], "Improved", "VGG", "AUC %")
    assert row.ours == pytest.approx(100 * expected), "of two classes both have the same area"
    row = found([trained("a", "vgg16_bn", 0.75)], "Improved", "VGG", "F1 %")
    assert row.ours == pytest.approx(100 * f1_score(stored.labels, stored.predicted, average="macro"))


def test_auc_of_three_classes_by_hand() -> None:
    """Classes 0 and 1 are told apart from the others without an error, class 2 as well: the area is one."""
    labels = np.array([0, 1, 2])
    shares = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]], np.float16)
    perfect = Predictions(("a", "b", "c"), labels, labels, shares)
    assert papers._auc(CLAIMS[1], card(), lambda _name: perfect) == 100
    swapped = Predictions(("a", "b", "c"), labels[::-1].copy(), labels, shares)
    assert papers._auc(CLAIMS[1], card(), lambda _name: swapped) == pytest.approx(100 * (0.25 + 1 + 0.25) / 3)
    assert papers._auc(CLAIMS[1], card(), lambda _name: None) is None


def test_degraded_conditions_are_left_empty_where_no_sweep_was_made() -> None:
    row = found([trained("a", "alexnet", 0.8)], "AlexNet", "AlexNet", "accuracy %", "JPEG, high")
    assert (row.ours, row.difference, row.state) == (None, None, papers.NOT_MEASURED)
    assert row.networks == ("a",)


def test_degraded_conditions_are_those_of_the_sweeps(tmp_path: Path) -> None:
    network = trained("a-s0", "alexnet", 0.8, dataset="cue10")
    jpeg = replace(BLANK, degradation="jpeg_compression", scale=papers.PAPER_SCALE, severity=3.0)
    jpeg = replace(jpeg, degradation_version=DEGRADATIONS["jpeg_compression"].version)
    put(tmp_path, jpeg, rows([0, 1, 1]))
    put(tmp_path, replace(jpeg, limit=3), rows([0, 0, 0]))
    degraded = papers.accuracies(open_results([tmp_path]))
    assert degraded(network, papers.GRID["JPEG, high"]) == pytest.approx(2 / 3)
    assert degraded(network, papers.GRID["JPEG, low"]) is None
    assert degraded(replace(network, dataset="cifar10"), papers.GRID["JPEG, high"]) is None
    claims = papers.rows({"a-s0": replace(network, dataset="cifar10")}, lambda _name: None, lambda *_: 0.25)
    asked = ("AlexNet", "accuracy %")
    shown = [row for row in claims if (row.claim.system, row.claim.metric) == asked]
    ours = {row.claim.condition: row.ours for row in shown}
    assert set(ours) == {"clean", *papers.GRID}
    assert ours["noise, medium"] == 25
    assert papers.GRID["noise, medium"] == Condition("gaussian_noise", "paper-relative", 2.0)


def test_single_batches_are_said_with_their_interval() -> None:
    for system, words in (
        ("ResNet50", ("56/64", "77.2 to 93.5")),
        ("New-ResNet50", ("60/64", "85.0 to 97.5")),
    ):
        caveat = found([], "ResNet50 by", system, "accuracy %").caveat
        assert all(word in caveat for word in words)
    assert "implausible" in found([], "Improved", "ViT", "AUC %").caveat
    assert "does not state its dataset" in found([], "AlexNet", "AlexNet", "accuracy %").caveat


def test_class_accuracy_and_size_are_measured() -> None:
    claim = Claim("p", "s", "d", "dog", "class accuracy %", 40.0, ours=Match(()))
    assert papers.MEASURES["class accuracy %"](claim, card(), lambda _name: answers(3, 4)) == 50
    small = trained("a", "resnet50_cifar", 0.9, megabytes=11.17)
    assert found([small], "AlexNet", "ResNet-50, quantised", "size change %").ours == pytest.approx(-75.0)


@pytest.mark.parametrize(
    ("paper", "system", "metric", "ours"),
    [
        ("Sizes as torch", "ResNet-50", "parameters M", 25.557),
        ("Sizes as torch", "ResNet-50", "GMAC", 4.0893),
        ("Sizes as torch", "AlexNet", "parameters M", 61.1008),
        ("Sizes as several", "AlexNet", "GMAC", 0.7142),
        ("ResNet50 optim", "M-MFFnet", "parameters M", 27.0),
        ("ResNet50 optim", "HFF-SEnet", "parameters M", 86.1),
    ],
)
def test_sizes_are_counted(paper: str, system: str, metric: str, ours: float) -> None:
    row = found([], paper, system, metric, "1000 classes, 224 px")
    assert row.ours == pytest.approx(ours, abs=0.05 if "optim" in paper else 0.0006)
    if paper.startswith("Sizes as torch"):
        assert abs(row.difference or 0) < 0.005
    if paper.startswith("Sizes as several"):
        assert "twice" in row.caveat


def test_the_table_is_written_as_latex_and_csv(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "papers.csv"
    assert main(["papers", "--csv", "--out", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}\n"
    frame = pd.read_csv(io.StringIO(out.read_text(encoding="utf-8")))
    assert len(frame) == len(CLAIMS)
    assert frame["claimed"].tolist() == [claim.value for claim in CLAIMS]
    assert main(["papers", "--latex"]) == 0
    latex = capsys.readouterr().out
    assert latex.count("{") == latex.count("}")
    body = latex.split(r"\endlastfoot")[1]
    assert body.count(r"\\") == len(CLAIMS)
    assert r"accuracy \%" in body
    assert all(line.count(" & ") == 10 for line in body.splitlines() if line.endswith(r"\\"))


def test_the_text_numbers_its_notes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["papers"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > len(CLAIMS)
    assert any(line.startswith("1  The paper gives no learning rate") for line in lines)
    assert tables.as_text([]) == []
