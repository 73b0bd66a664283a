"""Map drift: known shifts are measured, planted effects found and none where there is none, leads told from lags."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from tests.explain_helpers import make_model
from tests.test_compare_maps import DATA
from xai import faithfulness
from xai.compare import drift
from xai.compare.bench import Bench
from xai.compare.drift_leads import RESOLUTION, Lead, half_severity, lead
from xai.compare.drift_results import GROUPS, MEASURES, Drifted, read
from xai.compare.maps import Maps
from xai.compare.sections import Measured, Table
from xai.compare.study import Facts, Network, Study, conditions
from xai.results import UNTOUCHED
from xai.tables import as_words

pytestmark = pytest.mark.usefixtures("one_thread")
SIMULATED, ALLOWED = 200, 18
"""Of 200 tests of true nulls at 5 %, more than 18 are wrong with a probability of 0.7 %."""
PAPER, FIVE = ("gaussian_blur", "gaussian_noise"), ("fog", "contrast", "jpeg_compression")


def facts_of(images: int, names: tuple[str, ...] = PAPER, scale: str = "paper-relative") -> Facts:
    networks = tuple(
        Network(name, title, "alexnet", "noise", 0, "0" * 64, "flatten_mlp", "features", grid, 1)
        for name, title, grid in (("a", "Net One", (8, 8)), ("b", "Net Two", (4, 4)))
    )
    study = Study(("a", "b"), "noise", limit=None, degradations=names, scale=scale)
    return Facts(study, networks, ("x", "y"), images, 32, "0" * 64)  # type: ignore[arg-type]


def rows_of(facts: Facts, **given: np.ndarray) -> Measured:
    """Rows with what is given `(2, C, N)`, and `right_clean` `(2, N)`; else no drift, and all is right.

    HiResCAM's maps move as the others do, unless `hirescam` says otherwise.
    """
    given = {"hirescam": given["common"], **given} if "common" in given else given
    shape = (2, len(facts.conditions) - 1, facts.images)
    network, condition, image = (each.ravel() for each in np.indices(shape))
    still = {"spearman": 1.0, "overlap": 1.0, "shift": 0.0, "entropy": 0.0, "common": 1.0, "hirescam": 1.0}
    still |= {"own_spearman": 1.0, "own_overlap": 1.0}
    table: Table = {
        "image": image.astype(np.int32),
        "network": network.astype(np.int8),
        "condition": (condition + 1).astype(np.int16),
    }
    for name, value in still.items():
        table[name] = np.broadcast_to(given.get(name, np.float64(value)), shape).ravel().astype(np.float32)
    for name, flag in {"kept": True, "same": False, "right": True, "blank": False}.items():
        table[name] = np.broadcast_to(given.get(name, np.bool_(flag)), shape).ravel()
    network, image = (each.ravel() for each in np.indices((2, facts.images)))
    right = np.broadcast_to(given.get("right_clean", np.bool_(True)), (2, facts.images)).ravel()
    clean: Table = {"image": image, "network": network, "right": right, "blank": np.zeros(len(image), bool)}
    return {"drift": table, "clean": clean}


def results(facts: Facts, **given: np.ndarray) -> Drifted:
    return drift.results(facts, rows_of(facts, **given))


def maps_of(values: np.ndarray, own: np.ndarray | None = None, predicted: int = 0) -> Maps:
    count = len(values)
    numbers = np.zeros(count, np.int64)
    by_name = {"gradcam": values.astype(np.float32), "hirescam": values[:, ::-1].astype(np.float32) ** 3}
    others = by_name if own is None else {"gradcam": own.astype(np.float32)}
    logits = np.zeros((count, 2), np.float32)
    return Maps("a", UNTOUCHED, "features", by_name, others, numbers, numbers + predicted, logits, numbers)


# Of two maps


def random_maps(seed: int, count: int = 40) -> np.ndarray:
    """Signed maps whose cells tie, one blank, one constant, one negative everywhere."""
    found = np.round(np.random.default_rng(seed).normal(size=(count, 8, 6)), 1)
    found[0], found[1], found[2] = 0, 1.5, -np.abs(found[2]) - 1
    return found


def test_columns_are_what_each_pair_of_maps_gives() -> None:
    clean, fixed, own = (random_maps(seed) for seed in range(3))
    fixed[0], own[5] = random_maps(9)[7], -clean[5]
    found = drift.compared(maps_of(clean), maps_of(fixed, own, predicted=1), "gradcam", (4, 3))
    pairs = {
        "spearman": (faithfulness.spearman, fixed),
        "overlap": (faithfulness.top_k_overlap, fixed),
        "shift": (faithfulness.centre_shift, fixed),
        "own_spearman": (faithfulness.spearman, own),
        "own_overlap": (faithfulness.top_k_overlap, own),
    }
    for name, (one, others) in pairs.items():
        wanted = [
            one(torch.tensor(a, dtype=torch.float32), torch.tensor(b, dtype=torch.float32))
            for a, b in zip(clean, others, strict=True)
        ]
        assert not (clean == others)[3:].all(axis=(1, 2)).any()
        np.testing.assert_allclose(found[name][3:], wanted[3:], atol=1e-6)
        assert name == "shift" or np.isnan(found[name][:2]).all()  # blank and constant maps have no ranks
    pooled = [
        torch.nn.functional.adaptive_avg_pool2d(torch.tensor(each, dtype=torch.float32), (4, 3))
        for each in (clean, fixed)
    ]
    wanted = [faithfulness.spearman(*pair) for pair in zip(*pooled, strict=True)]
    np.testing.assert_allclose(found["common"][3:], wanted[3:], atol=1e-6)
    cubes = [
        torch.nn.functional.adaptive_avg_pool2d(
            torch.tensor(each[:, ::-1].copy(), dtype=torch.float32) ** 3, (4, 3)
        )
        for each in (clean, fixed)
    ]
    wanted = [faithfulness.spearman(*pair) for pair in zip(*cubes, strict=True)]
    np.testing.assert_allclose(found["hirescam"][3:], wanted[3:], atol=1e-6)
    assert found["own_spearman"][5] == -1
    assert not found["kept"].any()
    assert np.flatnonzero(found["same"]).tolist() == [1]  # constant in both
    assert not found["right"].any()


def test_entropy_is_that_of_the_positive_part_in_units_of_an_even_map() -> None:
    even, half, point = np.ones((4, 4)), np.zeros((4, 4)), np.zeros((4, 4))
    even[0, 0] = 1.0001  # a constant map is blank
    half[:2] = 1
    point[1, 2] = 7
    point[0] = -3
    found = drift.compared(
        maps_of(np.stack([even, even, half])), maps_of(np.stack([half, point, point])), "gradcam", (4, 4)
    )
    assert found["entropy"] == pytest.approx([-0.25, -1.0, -0.75], abs=1e-4)  # log 8 / log 16 = 0.75


def test_no_degradation_is_exactly_no_drift() -> None:
    clean = random_maps(4)
    found = drift.compared(maps_of(clean), maps_of(clean), "gradcam", (4, 3))
    defined = slice(3, None)  # not the blank, the constant and the negative one
    for name, value in {"spearman": 1, "overlap": 1, "shift": 0, "entropy": 0, "own_spearman": 1}.items():
        assert set(found[name][defined].tolist()) == {float(value)}
    assert set(found["common"][defined].tolist()) == {1.0}
    assert found["kept"].all()
    assert found["same"].all()
    other = replace(maps_of(clean), logits=np.tile(np.array([0, 1e-3], np.float32), (40, 1)))
    assert not drift.compared(maps_of(clean), other, "gradcam", (4, 3))["same"].any()
    assert found["blank"].tolist() == [True] * 3 + [False] * 37


@pytest.mark.parametrize(("rows", "columns"), [(1, 0), (0, 2), (3, 4)])
def test_a_translated_map_has_moved_that_far(rows: int, columns: int) -> None:
    clean = np.zeros((1, 8, 8))
    clean[0, 1:4, 1:3] = np.random.default_rng(0).random((3, 2))
    moved = np.roll(clean, (rows, columns), axis=(1, 2))
    found = drift.compared(maps_of(clean), maps_of(moved), "gradcam", (8, 8))
    assert found["shift"][0] == pytest.approx(np.hypot(rows, columns) / 8)
    assert found["entropy"][0] == pytest.approx(0, abs=1e-6)


# Means over images


def test_means_are_those_of_the_groups_and_rows_may_come_in_any_order() -> None:
    facts, generator = facts_of(50), np.random.default_rng(0)
    shape = (2, 6, 50)
    values, kept = generator.random(shape), generator.random(shape) > 0.4
    values[0, 1, :5] = np.nan
    rows = rows_of(facts, spearman=values, kept=kept)
    found = drift.results(facts, rows)
    for group, chosen in (("all", np.ones(shape, bool)), ("kept", kept), ("changed", ~kept)):
        for k in (0, 1):
            for place in range(6):
                own = values[k, place][chosen[k, place]]
                mean = found.means["spearman", group][k][place]
                assert mean.n == np.isfinite(own).sum()
                assert mean.value == pytest.approx(np.nanmean(own), abs=1e-6)
                assert mean.low < mean.value < mean.high
    order = generator.permutation(len(rows["drift"]["image"]))
    shuffled = {**rows, "drift": {name: column[order] for name, column in rows["drift"].items()}}
    assert drift.summarise(facts, shuffled) == drift.summarise(facts, rows)


def test_a_planted_difference_is_found_and_has_the_right_sign() -> None:
    facts, generator = facts_of(60), np.random.default_rng(1)
    common = generator.normal(0.5, 0.1, (2, 6, 60))
    common[0, 2] -= 0.1
    common[1, 4] -= 0.1
    found = results(facts, common=common)
    assert [each.real for each in found.versus] == [False, False, True, False, True, False]
    assert found.versus[2].difference.value == pytest.approx(-0.1, abs=0.04)
    summary = drift.summarise(facts, rows_of(facts, common=common))
    assert summary.differs
    assert (
        "The maps of Net One (features, 8 x 8) move further than those of Net Two (features, 4 x 4)"
        in summary.verdict
    )
    assert (
        "under 1 of 6 conditions and less far under 1; by HiResCAM the sign is the same under all"
        in summary.verdict
    )


def test_the_tapped_layers_are_named_only_where_they_differ() -> None:
    facts = facts_of(20)
    alike = replace(facts, networks=(facts.networks[0], replace(facts.networks[1], grid=(8, 8))))
    found = drift.summarise(alike, rows_of(alike))
    assert "features" not in found.verdict
    deeper = replace(alike, networks=(alike.networks[0], replace(alike.networks[1], layer="layer2")))
    found = drift.summarise(deeper, rows_of(deeper))
    assert "Net One (features, 8 x 8) and Net Two (layer2, 8 x 8)" in found.verdict
    assert any("one of layers and not of networks." in sentence for sentence in found.sentences)


def test_what_hirescam_says_of_the_signs_is_counted() -> None:
    """Of three planted differences HiResCAM has one of the same sign, one of the other, and one not at all."""
    facts, generator = facts_of(60), np.random.default_rng(1)
    common, hirescam = (generator.normal(0.5, 0.1, (2, 6, 60)) for _ in range(2))
    common[0, 2:5] -= 0.2
    hirescam[0, 2] -= 0.2
    hirescam[1, 3] -= 0.2
    rows = rows_of(facts, common=common, hirescam=hirescam)
    found = drift.summarise(facts, rows)
    assert (
        "under 3 of 6 conditions; by HiResCAM the sign is the same under 1 of these 3 and the opposite"
        in found.verdict
    )
    assert len(found.tables["A against B on the same images, HiResCAM"]) == 6
    by_name = found.numbers["a_less_b_hirescam"]
    assert [each["p_holm"] < 0.05 for each in by_name.values()] == [False, False, True, True, False, False]
    own = replace(facts, study=replace(facts.study, method="hirescam"))
    assert "by HiResCAM" not in drift.summarise(own, rows).verdict
    neither = drift.summarise(facts, rows_of(facts, common=hirescam[::-1] * 0 + 0.5))
    assert "nor is one by HiResCAM" in neither.verdict


def test_conditions_that_change_nothing_are_no_conditions() -> None:
    """Of six conditions two leave every image as it is: they are in no count, mean over conditions or family."""
    facts, generator = facts_of(60), np.random.default_rng(1)
    common, same = generator.normal(0.5, 0.1, (2, 6, 60)), np.zeros((2, 6, 60), bool)
    common[0, 2] -= 0.1
    idle, moving = [0, 3], [1, 2, 4, 5]
    common[:, idle], same[:, idle] = 1, True
    same[0, 1], same[1, 1, :-1] = True, True  # one answer of one network is another: something changes
    found = drift.summarise(facts, rows_of(facts, common=common, same=same))
    assert "under 1 of 4 conditions that change anything (2 leave every image as it is)" in found.verdict
    told = found.numbers["a_less_b"]
    assert list(told) == [facts.conditions[1 + place].name for place in moving]
    least = min(told.values(), key=lambda each: float(each["p"]))
    assert least["p_holm"] == pytest.approx(4 * least["p"])
    assert found.numbers["a_less_b_overall"]["value"] == pytest.approx(
        (common[0] - common[1])[moving].mean(), abs=1e-6
    )
    assert found.numbers["idle"] == [facts.conditions[1 + place].name for place in idle]
    assert any(
        "No answer and no map changes at all under Gaussian blur, low" in words for words in found.undefined
    )
    still = drift.summarise(facts, rows_of(facts, same=np.ones((2, 6, 60), bool)))
    assert still.verdict.startswith("None of 6 conditions changes an answer or a map")
    assert still.differs is False


def test_tables_round_once() -> None:
    """0.64468 is 0.64 in the sentence and in the table, not 0.645 and then 0.65."""
    facts = facts_of(20, PAPER[:1])
    found = drift.summarise(facts, rows_of(facts, spearman=np.full((2, 3, 20), 0.64468)))
    assert "0.64 (0.64 to 0.64, n = 20)" in found.sentences[0]
    table = as_words(found.tables["Clean against degraded map, by condition"])
    assert {row["rank correlation"] for row in table} == {"0.64"}


def test_two_networks_that_drift_alike_are_seldom_called_different() -> None:
    facts, generator = facts_of(20), np.random.default_rng(2)
    facts = replace(facts, study=replace(facts.study, degradations=PAPER[:1]))
    wrong = 0
    for seed in range(SIMULATED):
        alike = replace(facts, study=replace(facts.study, seed=seed))
        common = generator.normal(0.5, 0.2, (2, 3, 20)) + generator.normal(0, 0.2, 20)
        wrong += any(each.real for each in results(alike, common=common).versus)
    assert wrong <= ALLOWED


# What moves first


def test_half_of_a_curve_is_where_straight_lines_reach_it() -> None:
    curves = np.array([[2.0, 4.0, 8.0], [5.0, 6.0, 8.0], [0.0, 0.0, 8.0], [8.0, 1.0, 4.0], [1.0, 1.0, 0.0]])
    found = half_severity(curves, [1, 2, 3])
    assert found[:4] == pytest.approx([2, 0.8, 2.5, 0.25])
    assert np.isnan(found[4])
    assert half_severity(np.array([[1.0, 3.0]]), [1, 5]) == pytest.approx([2])


def planted(
    generator: np.random.Generator, maps: list[float], answers: list[float], n: int = 80
) -> tuple[np.ndarray, np.ndarray]:
    """Drift and lost answers `(n, S)` of images some of which are hit harder than others."""
    strength = generator.uniform(0.6, 1.0, (n, 1))
    drifted = strength * np.array(maps) + generator.normal(0, 0.1, (n, len(maps)))
    return drifted, generator.random((n, len(answers))) < strength * np.array(answers)


def decided(found: Lead) -> str:
    return replace(found, p_holm=found.p_value).order


CURVES = {
    "before": ([0.6, 0.8, 0.8], [0.02, 0.2, 0.9]),
    "after": ([0.02, 0.2, 0.8], [0.7, 0.9, 0.9]),
}


@pytest.mark.parametrize("order", CURVES)
def test_planted_orders_are_found(order: str) -> None:
    found = lead(0, "fog", *planted(np.random.default_rng(3), *CURVES[order]), [1, 2, 3])
    assert decided(found) == order
    assert found.low < found.difference < found.high
    assert (found.difference < 0) == (order == "before")
    assert found.order == "open"  # as long as it is not adjusted for its family


@pytest.mark.parametrize("steps", [[0.2, 0.6, 0.9], [0.1, 0.3, 0.5, 0.7, 0.9]])
def test_no_order_is_shown_where_both_move_together(steps: list[float]) -> None:
    generator, severities = np.random.default_rng(4), list(range(1, len(steps) + 1))
    orders = [
        decided(lead(0, "fog", *planted(generator, steps, steps), severities, seed))
        for seed in range(SIMULATED)
    ]
    assert "undefined" not in orders
    assert sum(order != "open" for order in orders) <= ALLOWED


def test_an_order_is_not_defined_where_one_hardly_changes() -> None:
    generator = np.random.default_rng(5)
    flat, risen = [0.0, 0.0, 0.0], [0.2, 0.5, 0.9]
    reasons = [
        lead(0, "fog", *planted(generator, risen, flat), [1, 2, 3]).reason,
        lead(0, "fog", *planted(generator, flat, risen), [1, 2, 3]).reason,
        lead(0, "fog", *planted(generator, [0.9], [0.9]), [1]).reason,
        lead(0, "fog", np.full((9, 3), np.nan), np.ones((9, 3), bool), [1, 2, 3]).reason,
    ]
    assert [words.split(" ")[0] for words in reasons] == ["accuracy", "the", "there", "fewer"]


def test_answers_that_become_right_count_against_those_that_become_wrong() -> None:
    """As many images become right as become wrong: accuracy does not fall, whatever those right when clean do."""
    facts = facts_of(40, PAPER[:1])
    spearman = np.broadcast_to(np.array([0.9, 0.5, 0.1])[:, None], (2, 3, 40))
    right_clean = np.tile(np.arange(40) < 20, (2, 1))
    right = np.tile(right_clean[:, None], (1, 3, 1))
    right[:, 2] = ~right[:, 2]
    right[1, 2, 20:30] = False  # of the other network half as many become right
    found = results(facts, spearman=spearman, right=right, right_clean=right_clean)
    assert found.leads[0].reason == "accuracy hardly falls"
    assert found.leads[0].loss.value == 0
    assert found.leads[1].loss.value == pytest.approx(10 / 40)
    assert found.leads[1].loss.value == pytest.approx(
        found.accuracy(1, -1).share - found.accuracy(1, 2).share  # type: ignore[union-attr]
    )


def test_the_same_images_stand_in_both_curves() -> None:
    """An image that is wrong when clean is in both curves, one with a constant map in neither, and counted."""
    facts = facts_of(40, PAPER[:2])
    spearman = np.tile(np.array([0.9, 0.5, 0.1] * 2)[:, None], (2, 1, 40))
    right = np.ones((2, 6, 40), bool)
    right[:, 1:, ::2] = False
    right_clean = np.ones((2, 40), bool)
    right_clean[0, :7] = False
    spearman[1, 0, :3], spearman[1, 5, 5] = np.nan, np.nan
    rows = rows_of(facts, spearman=spearman, right=right, right_clean=right_clean)
    found = drift.results(facts, rows)
    assert [(each.images, each.left) for each in found.leads] == [(40, 0), (40, 0), (37, 3), (39, 1)]
    assert found.leads[0].loss.value == pytest.approx((20 - 7) / 40)
    assert found.leads[2].loss.value == pytest.approx(18 / 37)
    said = drift.summarise(facts, rows)
    assert said.sentences[-2].startswith("Net One (40 images, right or wrong when clean; intervals take")
    assert said.sentences[-1].startswith("Net Two (37 to 39 images")
    assert any("3 under Gaussian blur and 1 under Gaussian noise" in words for words in said.undefined)


def bent(severities: np.ndarray, half: float, slope: float) -> np.ndarray:
    """A curve from 0 that reaches half of its value at 3, 0.45, at severity `half`."""
    curve = 1 / (1 + np.exp(-slope * (severities - half)))
    start, end = (1 / (1 + np.exp(-slope * (place - half))) for place in (0, 2 * half))
    found: np.ndarray = 0.9 * np.clip((curve - start) / (end - start), 0, 1)
    return found


@pytest.mark.parametrize("slopes", [(1.5, 6.0), (8.0, 1.0)])
def test_what_straight_lines_make_of_one_moment_is_no_order(slopes: tuple[float, float]) -> None:
    """Both curves reach half of their value at the same severity, but bend otherwise between the levels: straight lines
    tell an order that is not there, and the more surely the more images there are."""
    levels, generator = np.array([1.0, 2.0, 3.0]), np.random.default_rng(8)
    maps, answers = (bent(levels, 1.6, slope) for slope in slopes)
    n = 4_000
    drifted = maps + generator.normal(0, 0.1, (n, 3))
    found = lead(0, "fog", drifted, generator.random((n, 1)) < answers, [1, 2, 3])
    assert found.low > 0 or found.high < 0
    assert found.p_value < 0.05
    assert abs(found.difference) < RESOLUTION
    assert decided(found) == "close"


def test_what_is_too_close_is_counted_apart_from_what_shows_no_order() -> None:
    facts, generator, n = facts_of(600), np.random.default_rng(9), 600
    spearman, right = np.ones((2, 6, n)), np.ones((2, 6, n), bool)
    curves = {
        (0, 0): CURVES["before"],
        (0, 3): ([0.3, 0.8, 0.8], [0.2, 0.7, 0.8]),
        (1, 0): ([0.2, 0.6, 0.9], [0.2, 0.6, 0.9]),
        (1, 3): ([0.2, 0.6, 0.9], [0.0, 0.0, 0.0]),
    }
    for (k, place), pair in curves.items():
        drifted, lost = planted(generator, *pair, n)
        spearman[k, place : place + 3], right[k, place : place + 3] = 1 - drifted.T, ~lost.T
    found = drift.summarise(facts, rows_of(facts, spearman=spearman, right=right))
    assert [each["order"] for each in found.numbers["first"]] == ["before", "close", "open", "undefined"]
    assert (
        "before accuracy falls in 1, while in 1 the two are closer than these severities can tell, in 1 no order is"
        " shown and in 1 it is not defined." in found.verdict
    )
    assert "straight lines between severities" in found.sentences[-1]
    assert "less than 0.25 levels apart" in found.sentences[-2]
    last = [
        row["what moves first"]
        for row in found.tables["Half of the drift against half of the loss of accuracy"]
    ]
    assert last[:3] == ["maps first", "too close to tell", "no order shown"]


def test_the_verdict_counts_orders_after_holm() -> None:
    facts, generator = facts_of(80), np.random.default_rng(6)
    spearman, right = np.ones((2, 6, 80)), np.ones((2, 6, 80), bool)
    for k, place, order in ((0, 0, "before"), (0, 3, "after"), (1, 0, "before")):
        drifted, lost = planted(generator, *CURVES[order])
        spearman[k, place : place + 3], right[k, place : place + 3] = 1 - drifted.T, ~lost.T
    found = drift.summarise(facts, rows_of(facts, spearman=spearman, right=right))
    assert "of 4 pairs" in found.verdict
    assert "before accuracy falls in 2 and after it in 1, while in 1 it is not defined." in found.verdict
    assert any("Net Two under Gaussian noise" in words for words in found.undefined)
    assert [each["order"] for each in found.numbers["first"]] == ["before", "after", "before", "undefined"]


# The section


STUDIES = {
    "paper": (PAPER, "paper-relative"),
    "five levels": (FIVE, "cifar-c"),
    "one": (("fog",), "cifar-c"),
}


@pytest.mark.parametrize("name", STUDIES)
def test_any_study_is_told_in_words_numbers_tables_and_figures(name: str) -> None:
    facts, generator = facts_of(30, *STUDIES[name]), np.random.default_rng(7)
    shape = (2, len(facts.conditions) - 1, 30)
    severity = np.array([each.severity for each in facts.conditions[1:]])[:, None] / 5
    kept = generator.random(shape) > severity
    rows = rows_of(
        facts,
        spearman=1 - severity * generator.random(shape),
        common=1 - severity * generator.random(shape),
        kept=kept,
        right=kept & (generator.random(shape) > 0.1),
        right_clean=generator.random((2, 30)) > 0.1,
        blank=generator.random(shape) > 0.9,
    )
    found = drift.summarise(facts, rows)
    json.dumps(found.numbers, allow_nan=False)
    assert all(words.endswith(".") for words in (found.verdict, *found.sentences, *found.undefined))
    assert all("Net One" in words or "Net Two" in words for words in found.sentences)
    assert "NaN" not in found.verdict + drift.method(facts, rows)
    assert len(found.tables["A against B on the same images"]) == shape[1]
    for figure in drift.draw(facts, rows).values():
        figure.canvas.draw()
        words = [text for axes in figure.axes for text in axes.texts] + figure.texts
        for text in [*words, *(axes.title for axes in figure.axes), *(a.yaxis.label for a in figure.axes)]:
            box = text.get_window_extent()
            assert box.x0 >= 0
            assert box.x1 <= figure.bbox.x1, text.get_text()


def test_blank_maps_and_small_groups_are_counted() -> None:
    facts = facts_of(20)
    blank, spearman = np.zeros((2, 6, 20), bool), np.full((2, 6, 20), 0.5)
    blank[0, 1, :4], spearman[1, 2, :3] = True, np.nan
    found = drift.summarise(facts, rows_of(facts, blank=blank, spearman=spearman))
    told = " ".join(found.undefined)
    assert "Net One show no evidence for the class on 0 of 20 clean images and in 4 of 120" in told
    assert "In 3 of 120 cases of Net Two a map is constant" in told
    assert "12 of 24 groups" in told


def test_nothing_is_asked_without_a_degradation() -> None:
    facts = facts_of(5, ())
    assert drift.applies(facts).endswith(".")
    assert drift.applies(facts_of(5)) == ""


def test_rows_of_a_bench_are_those_of_its_maps() -> None:
    loaded = {name: make_model("alexnet", 32, seed, hidden=32) for seed, name in enumerate("ab")}
    for name, each in loaded.items():
        each.name = name
    study = Study(("a", "b"), "noise", limit=None, degradations=PAPER[1:], scale="paper-relative")
    options: dict[str, Any] = {"load": loaded.__getitem__, "cards": dict, "opened": lambda *_given: DATA}
    bench = Bench(study, **options, keep_maps=False)
    rows = drift.measure(bench)
    assert len(rows["drift"]["image"]) == 2 * 3 * len(DATA)
    found = read(bench.facts, rows["drift"], rows["clean"])
    for k, model in enumerate(bench.models):
        clean, noisy = bench.maps(model), bench.maps(model, bench.facts.conditions[2])
        assert (found.kept[k, 1] == (noisy.predicted == clean.predicted)).all()
        wanted = drift.compared(clean, noisy, "gradcam", bench.facts.common_grid)
        for measure in MEASURES:
            np.testing.assert_array_equal(found.values[measure][k, 1].astype(np.float32), wanted[measure])
        assert (found.right_clean[k] == clean.correct).all()
    assert {group for _, group in drift.results(bench.facts, rows).means} == set(GROUPS)
    assert conditions(study) == bench.facts.conditions
