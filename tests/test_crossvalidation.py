"""Folds that are disjoint, stratified and the same for all; stored as they finish, and tested as overlapping."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from data import cue10
from models import training as loop
from models import training_state
from models.recipes import RECIPES, Recipe
from xai import crossvalidation as cv
from xai import crossvalidation_summary
from xai.cli import main
from xai.crossvalidation import Settings, crossvalidate
from xai.crossvalidation_summary import CrossValidation, FoldResult
from xai.statistics import corrected_resampled_t

pytestmark = pytest.mark.usefixtures("one_thread")

NAMES = ("resnet18", "resnet34")
CHANGES = {"epochs": 1, "batch_size": 32}


@pytest.fixture
def small_cue10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cue10 of 60 scenes to train on and 40 to validate, cached in the test's own folder."""
    monkeypatch.setenv("XAI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setitem(cue10.SPLITS, "train", 60)
    monkeypatch.setitem(cue10.SPLITS, "validation", 40)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, tuple[str, ...], int]]:
    """Of every training: the seed, the sizes of both sets, and the epoch that it began with."""
    calls: list[Any] = []
    train = loop.train

    def note(network: Any, data: Any, validation: Any, recipe: Recipe, **others: Any) -> training_state.Run:
        began = (others["folder"] / training_state.STATE_FILE).exists()
        calls.append((others["seed"], len(data.labels), len(validation.labels), began))
        return train(network, data, validation, recipe, **others)

    monkeypatch.setattr(loop, "train", note)
    return calls


def settings(**others: Any) -> Settings:
    return Settings("cue10", **{"folds": 2, "changes": CHANGES, "options": {"width": 8}, **others})


# Folds


def test_folds_cover_every_image_once_and_hold_each_class_alike() -> None:
    labels = torch.tensor([0] * 30 + [1] * 15 + [2] * 10)[torch.randperm(55, generator=torch.manual_seed(0))]
    folds = cv.stratified_folds(labels, 5, seed=3)
    assert sorted(torch.cat(folds).tolist()) == list(range(55))
    assert [labels[fold].bincount().tolist() for fold in folds] == [[6, 3, 2]] * 5
    assert all(torch.equal(*pair) for pair in zip(folds, cv.stratified_folds(labels, 5, seed=3), strict=True))
    assert not torch.equal(folds[0], cv.stratified_folds(labels, 5, seed=4)[0])


def test_a_class_smaller_than_the_folds_is_refused() -> None:
    with pytest.raises(ValueError) as caught:
        cv.stratified_folds(torch.tensor([0] * 9 + [2] * 3), 4, seed=0)
    assert str(caught.value) == "there are 4 folds, but a class with only 3 images; allowed are 3."


@pytest.mark.usefixtures("small_cue10")
def test_the_pool_is_training_and_validation_and_never_the_test_split() -> None:
    pool = cv.load_pool("cue10")
    assert len(set(pool.ids)) == len(pool) == 100
    assert {image_id.split("/")[1] for image_id in pool.ids} == {"train", "validation"}
    assert len(cv.load_pool("cue10", limit=10)) == 20


def test_seeds_of_folds_never_meet() -> None:
    seeds = {cv.fold_seed(seed, fold) for seed in range(5) for fold in range(cv.FOLDS[-1])}
    assert len(seeds) == 5 * cv.FOLDS[-1]


def test_held_out_images_never_steer_the_learning_rate() -> None:
    labels, held_out = torch.arange(100) % 5, torch.arange(20)
    train, watched = cv._training_images(labels, held_out, Recipe(), seed=0)
    assert (train.tolist(), watched.tolist()) == (list(range(20, 100)), list(range(20)))
    train, watched = cv._training_images(labels, held_out, RECIPES["plateau"].recipe, seed=0)
    assert sorted([*train.tolist(), *watched.tolist()]) == list(range(20, 100))
    assert sorted(labels[watched].bincount().tolist()) == [1, 1, 2, 2, 2]


# Whole runs


@pytest.mark.usefixtures("small_cue10")
def test_two_architectures_are_trained_once_per_fold_and_compared(tmp_path: Path, trained: list[Any]) -> None:
    out, steps = tmp_path / "out", list[tuple[str, int, float]]()
    found = crossvalidate(NAMES, settings(), out, lambda *step: steps.append(step))
    assert trained == [(0, 50, 50, False)] * 2 + [(1, 50, 50, False)] * 2
    assert [(r.architecture, r.fold, r.seed) for r in found.results] == [
        (name, fold, fold) for name in NAMES for fold in (0, 1)
    ]
    assert [step for step in steps if step[2] == 1] == [(name, fold, 1) for fold in (0, 1) for name in NAMES]
    with (out / cv.ROWS_FILE).open() as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{key: str(value) for key, value in asdict(result).items()} for result in found.results]
    content = json.loads((out / cv.COMPARISON_FILE).read_text())
    (pair,) = content["pairs"]
    mean = np.mean([r.accuracy for r in found.results[:2]]) - np.mean([r.accuracy for r in found.results[2:]])
    assert pair["corrected"]["mean"] == pytest.approx(mean)
    assert (pair["a"], pair["b"]) == NAMES
    assert not list(out.rglob(training_state.STATE_FILE))
    again = crossvalidate(NAMES, settings(), out)
    assert again == found
    assert len(trained) == 4


@pytest.mark.usefixtures("small_cue10")
def test_accuracy_is_that_of_the_averaged_weights_on_the_images_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[training_state.Run] = []
    train = loop.train

    def keep(*arguments: Any, **others: Any) -> training_state.Run:
        runs.append(train(*arguments, **others))
        return runs[-1]

    monkeypatch.setattr(loop, "train", keep)
    found = crossvalidate(NAMES[:1], settings(), tmp_path / "out")
    pool = cv.load_pool("cue10")
    for run, fold, result in zip(runs, cv.stratified_folds(pool.labels, 2, 0), found.results, strict=True):
        network = run.average.module.eval()  # type: ignore[union-attr, operator]
        with torch.inference_mode():
            right = network(pool.float_images()[fold]).argmax(1) == pool.labels[fold]
        assert result.accuracy == pytest.approx(
            float(right.float().mean()), abs=0.021
        )  # one image near a tie


@pytest.mark.usefixtures("small_cue10")
def test_a_killed_run_goes_on_with_the_epoch_it_was_in(
    tmp_path: Path, trained: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = {"epochs": 2, "batch_size": 32}
    whole = crossvalidate(NAMES[:1], settings(changes=changes), tmp_path / "whole")
    save, out = training_state.save_state, tmp_path / "out"

    def killed(run: training_state.Run, *others: Any) -> None:
        save(run, *others)
        if run.epoch == 1 and (out / NAMES[0] / "fold0.json").is_file():
            raise KeyboardInterrupt

    monkeypatch.setattr(loop, "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        crossvalidate(NAMES[:1], settings(changes=changes), out)
    monkeypatch.setattr(loop, "save_state", save)
    trained.clear()
    assert crossvalidate(NAMES[:1], settings(changes=changes), out) == whole
    assert trained == [(1, 50, 50, True)]


@pytest.mark.usefixtures("small_cue10")
def test_other_data_folds_or_recipes_are_refused(tmp_path: Path, trained: list[Any]) -> None:
    out = tmp_path / "out"
    crossvalidate(NAMES[:1], settings(), out)
    for what, value in {"limit": 30, "folds": 3, "seed": 1}.items():
        changed = "images" if what == "limit" else what
        with pytest.raises(ValueError, match=f"with another {changed}; choose another folder"):
            crossvalidate(NAMES[:1], settings(**{what: value}), out)
    other_trainings: tuple[dict[str, Any], ...] = (
        {"changes": {**CHANGES, "learning_rate": 0.1}},
        {"options": {"width": 16}},
    )
    for others in other_trainings:
        with pytest.raises(ValueError, match="another recipe or other options; choose another folder"):
            crossvalidate(NAMES[:1], settings(**others), out)
    (out / NAMES[0] / "fold1.json").write_text("{}")
    with pytest.raises(ValueError, match="is damaged; delete it"):
        crossvalidate(NAMES[:1], settings(), out)
    assert len(trained) == 2


@pytest.mark.usefixtures("small_cue10")
def test_the_command_prints_what_it_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = {"dataset": "cue10", "folds": 2, "epochs": 1, "batch-size": 16, "width": 8, "limit": 20}
    flags = [word for name, value in values.items() for word in (f"--{name}", str(value))]
    arguments = ["crossvalidate", "--architectures", "resnet18", *flags, "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("resnet18: ")
    assert lines[1:] == [f"wrote {tmp_path / 'out' / name}" for name in ("folds.csv", "comparison.json")]


@pytest.mark.parametrize(
    ("architectures", "others", "message"),
    [
        (["resnet18"], {"folds": 1}, "folds is 1; allowed are 2 to 20."),
        (["resnet18"], {"seed": -1}, "seed is -1; allowed are 0 to 3,999,999."),
        (["resnet18", "resnet18"], {}, "needed is at least one, and none twice."),
        (["vgg"], {}, "there is no architecture 'vgg'; allowed are "),
        (["resnet18"], {"recipe": "none"}, "there is no recipe 'none'; allowed are "),
        (["resnet18"], {"recipe": "distillation"}, "cross-validation trains from scratch."),
        (["resnet18"], {"options": {"depth": 3}}, "resnet18 has no option 'depth'; allowed are "),
        (["resnet18"], {"device": "tpu"}, "device is 'tpu'; allowed are 'cpu' and 'cuda'."),
    ],
)
def test_impossible_requests_are_refused_at_once(
    architectures: list[str], others: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError) as caught:
        crossvalidate(architectures, settings(**others), tmp_path / "out")
    assert message in str(caught.value)
    assert list(tmp_path.iterdir()) == []


# The comparison


def results(name: str, accuracies: Sequence[float]) -> list[FoldResult]:
    return [FoldResult(name, fold, fold, 80, 20, value) for fold, value in enumerate(accuracies)]


def summary() -> CrossValidation:
    return crossvalidation_summary.summarise(
        "made up",
        results("a", [0.9, 0.8, 0.85, 0.9, 0.8])
        + results("b", [0.8, 0.75, 0.8, 0.8, 0.75])
        + results("c", [0.8, 0.75, 0.8, 0.8, 0.75]),
    )


def test_every_pair_is_tested_on_its_differences_by_fold() -> None:
    found = summary()
    assert [(pair.a, pair.b) for pair in found.pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    expected = corrected_resampled_t([0.1, 0.05, 0.05, 0.1, 0.05], 80, 20)
    assert asdict(found.pairs[0].corrected) == pytest.approx(asdict(expected))
    assert found.pairs[0].p_holm == pytest.approx(3 * expected.p_value)
    assert (found.pairs[2].corrected.mean, found.pairs[2].corrected.p_value, found.pairs[2].p_holm) == (
        0,
        1,
        1,
    )
    assert found.means["a"].mean == pytest.approx(0.85)


def test_sentences_give_percent_points_and_the_naive_tests_fault() -> None:
    """Five folds of 20 beside 80: the corrected interval is sqrt(1 + 5/4) = 1.5 times as wide."""
    first, *lines = crossvalidation_summary.sentences(replace(summary(), notes=("One file was skipped.",)))
    assert first == "One file was skipped."
    assert lines[0].startswith("a: 85.00 % over 5 folds (95 % interval ")
    assert lines[3].startswith("a less b: +7.00 points (95 % interval 1.")
    assert "t(4) = 3.81, p = 0.0189, 0.0568 after Holm." in lines[3]
    assert lines[4].endswith("independent has an interval 1.5 times too narrow.")
    assert (
        lines[-1] == "b less c: +0.00 points (95 % interval 0.00 to 0.00), t(4) = 0.00, p = 1, 1 after Holm."
    )


def test_folds_that_all_agree_have_no_interval_and_json_can_say_so() -> None:
    found = crossvalidation_summary.summarise("made up", results("a", [0.9] * 3) + results("b", [0.8] * 3))
    assert math.isnan(found.pairs[0].corrected.p_value)
    assert (
        list(crossvalidation_summary.sentences(found))[-1]
        == "a less b: +10.00 points (all folds alike: no interval)."
    )
    content = json.dumps(cv.as_json(found, settings()), allow_nan=False)
    assert json.loads(content)["pairs"][0]["corrected"]["p_value"] is None
