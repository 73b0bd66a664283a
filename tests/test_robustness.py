"""Curves over severities, corruption errors and robustness scores, by hand and by what must be true of them."""

import math

import numpy as np
import pytest
from scipy import stats

from data.degradations import degradations_in
from tests.answer_helpers import answers, graded, random_answers, shuffled
from xai.metrics import Share
from xai.predictions import Predictions
from xai.robustness import (
    CORRUPTIONS,
    ClassCurve,
    class_curves,
    corruption_errors,
    deaths,
    relative_corruption_errors,
    relative_robustness,
    severity_area,
    severity_curve,
    war_style,
)
from xai.statistics import wilson


def right(count: int, total: int = 20) -> np.ndarray:
    """The first `count` of `total` images are right."""
    return (np.arange(total) < count).astype(int)


# Curves


def test_area_by_hand() -> None:
    """Severities 0, 1, 3 scaled to 0, 1/3, 1: (0.9 + 0.6) / 2 / 3 + (0.6 + 0.3) / 2 * 2 / 3."""
    assert severity_area([0, 1, 3], [0.9, 0.6, 0.3]) == pytest.approx(0.25 + 0.3)
    assert severity_area([0, 10, 30], [0.9, 0.6, 0.3]) == pytest.approx(0.55), "the unit does not matter"
    assert severity_area([0, 0.1, 0.3, 0.5], [0.8] * 4) == pytest.approx(0.8)


@pytest.mark.parametrize("severities", [[1, 2], [0], [0, 2, 1], [0, 0, 1], [0, 1]])
def test_severities_must_rise_from_the_clean_images(severities: list[float]) -> None:
    with pytest.raises(ValueError, match="rising from 0"):
        severity_area(severities, [0.5] * (3 if severities == [0, 1] else len(severities)))


def test_a_curve_by_hand() -> None:
    curve = severity_curve(graded(right(18)), {3: graded(right(6)), 1: graded(right(12))})
    assert curve.severities == (0, 1, 3)
    assert [(row.name, row.right) for row in curve.accuracies] == [("0", 18), ("1", 12), ("3", 6)]
    assert (curve.accuracies[1].low, curve.accuracies[1].high) == wilson(12, 20)
    assert curve.area.value == pytest.approx(0.55)
    assert 0.3 < curve.area.low < 0.55 < curve.area.high < 0.75


def test_the_areas_interval_is_scipys() -> None:
    clean, levels = random_answers(0), {1.0: random_answers(1), 2.0: random_answers(2, noise=4)}
    curve = severity_curve(clean, levels)
    per_image = np.trapezoid(
        np.stack([rows.correct for rows in (clean, *levels.values())]).astype(float), [0, 0.5, 1], axis=0
    )
    theirs = stats.bootstrap((per_image,), np.mean, rng=0, n_resamples=4_000).confidence_interval
    assert (curve.area.low, curve.area.high) == pytest.approx(theirs, abs=0.004)
    assert curve.area.value == pytest.approx(per_image.mean())


def test_images_in_another_order_change_nothing() -> None:
    clean, worse = random_answers(0), random_answers(1, noise=4)
    names = [f"class {k}" for k in range(5)]
    assert severity_curve(clean, {1: worse}) == severity_curve(clean, {1: shuffled(worse)})
    assert class_curves(clean, {1: worse}, names) == class_curves(clean, {1: shuffled(worse)}, names)
    assert relative_robustness(clean, worse) == relative_robustness(shuffled(clean), worse)


def test_a_network_that_loses_nothing() -> None:
    clean = graded(right(15))
    curve = severity_curve(clean, {1: clean, 2: clean})
    assert curve.area.value == pytest.approx(0.75)
    found = relative_robustness(clean, clean)
    assert found is not None
    assert (found.value, found.low, found.high) == (1, 1, 1)
    with pytest.raises(ValueError, match="compared are only answers to the same images"):
        severity_curve(clean, {1: graded(right(15, 30))})


# Corruption errors

OURS = {"fog": {1: 0.2, 2: 0.4}, "snow": {1: 0.1, 2: 0.2}}
ALEXNET = {"fog": {1: 0.4, 2: 0.6}, "snow": {1: 0.2, 2: 0.4}}


def test_corruption_errors_by_hand() -> None:
    """0.6 / 1 and 0.3 / 0.6; above the clean errors 0.1 and 0.2: 0.4 / 0.6 and 0.1 / 0.2."""
    found = corruption_errors(OURS, ALEXNET, ("fog", "snow"))
    assert found.scores == {"fog": pytest.approx(0.6), "snow": pytest.approx(0.5)}
    assert (found.mean, found.coverage, found.absent) == (pytest.approx(0.55), "2 of 2", {})
    relative = relative_corruption_errors(OURS, ALEXNET, 0.1, 0.2, ("fog", "snow"))
    assert relative.scores == {"fog": pytest.approx(2 / 3), "snow": pytest.approx(0.5)}
    assert relative.mean == pytest.approx(7 / 12)


def test_the_reference_scores_exactly_one() -> None:
    rng = np.random.default_rng(0)
    errors = {name: dict(zip(range(1, 6), rng.uniform(0.3, 0.9, 5), strict=True)) for name in CORRUPTIONS}
    for found in (corruption_errors(errors, errors), relative_corruption_errors(errors, errors, 0.21, 0.21)):
        assert set(found.scores.values()) == {1.0}
        assert (found.mean, found.coverage) == (1.0, "15 of 15")


def test_missing_corruptions_are_named() -> None:
    errors = {name: {1: 0.5} for name in CORRUPTIONS if name != "frost"} | {"saturate": {1: 0.9}}
    found = corruption_errors(errors, errors)
    assert (found.coverage, found.absent, found.mean) == ("14 of 15", {"frost": "not measured"}, 1.0)
    assert "saturate" not in found.scores, "only the fifteen count"


def test_the_fifteen_are_those_we_have_and_frost() -> None:
    assert len(set(CORRUPTIONS)) == 15
    for scale in ("cifar-c", "imagenet-c"):
        assert set(CORRUPTIONS) - set(degradations_in(scale)) == {"frost"}


def test_what_can_not_be_divided_is_left_out_and_said() -> None:
    ours = {"fog": {1: 0.2}, "snow": {1: 0.3}, "pixelate": {1: 0.1, 2: 0.2}, "contrast": {1: 0.2}}
    theirs = {"fog": {1: 0.0}, "snow": {1: 0.4}, "pixelate": {1: 0.1}}
    found = corruption_errors(ours, theirs, (*ours, "frost"))
    assert found.absent == {
        "fog": "the reference makes no error at it",
        "pixelate": "measured at other severities than the reference",
        "contrast": "not measured for the reference",
        "frost": "not measured",
    }
    assert (found.mean, found.coverage) == (pytest.approx(0.75), "1 of 5")
    relative = relative_corruption_errors(ours, theirs, 0.1, 0.4, ("snow",))
    assert relative.absent == {"snow": "the reference is no worse at it than on clean images"}
    assert (relative.mean, relative.coverage) == (None, "0 of 1")


# Scores


def test_relative_robustness_by_hand() -> None:
    """Right about 16 and 8 of 20, about 8 of them both times."""
    found = relative_robustness(graded(right(16)), graded(right(8)))
    assert found is not None
    assert found.value == 0.5
    low, high = wilson(8, 16)  # all that are right when degraded are right when clean: a share
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.03)
    assert relative_robustness(graded(right(0)), graded(right(8))) is None


def test_relative_robustness_is_bootstrapped_as_scipy_does() -> None:
    clean, worse = random_answers(0), random_answers(1, noise=4)
    found = relative_robustness(clean, worse)
    theirs = stats.bootstrap(
        (clean.correct.astype(float), worse.correct.astype(float)),
        lambda a, b, axis: b.mean(axis=axis) / a.mean(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=4_000,
        rng=0,
    ).confidence_interval
    assert found is not None
    assert (found.low, found.high) == pytest.approx(theirs, abs=0.01)


def test_war_style_by_hand() -> None:
    assert war_style(0.2, 0.1, 0.1) == pytest.approx(0.5 * (1 - math.exp(-2)))
    assert war_style(0.9, 0.6, 0.1) == pytest.approx(2 / 3, abs=1e-12), "far above chance only gamma is left"
    assert war_style(0.1, 0.1, 0.1) == war_style(0.05, 0.05, 0.1) == 0
    assert war_style(0.0, 0.1, 0.1) is None


# Classes

NAMES = ("ant", "bee", "cat", "dog")


def of_classes(*counts: int) -> Predictions:
    """Twenty images of each class, so many of them right."""
    labels = np.repeat(np.arange(len(counts)), 20)
    hits = np.concatenate([right(count) for count in counts]).astype(bool)
    return answers(labels, np.where(hits, labels, (labels + 1) % len(counts)), classes=len(counts))


def test_classes_die_in_the_order_of_their_severities() -> None:
    """Half of 20, 18, 16 and 0 right: bees fall below 9 at 1, ants below 10 at 2, cats keep 8 of 16."""
    clean, mild, hard = of_classes(20, 18, 16, 0), of_classes(10, 8, 12, 0), of_classes(9, 0, 8, 0)
    curves = class_curves(clean, {1: mild, 2: hard}, NAMES)
    assert [[row.right for row in curve.accuracies] for curve in curves] == [
        [20, 10, 9],
        [18, 8, 0],
        [16, 12, 8],
        [0, 0, 0],
    ]
    assert {curve.severities for curve in curves} == {(0, 1, 2)}
    found = deaths(curves)
    assert [(row.name, row.severity) for row in found] == [
        ("bee", 1),
        ("ant", 2),
        ("cat", None),
        ("dog", None),
    ]
    assert [row.left.right if row.left else None for row in found] == [8, 9, None, None]
    assert not any(row.certain for row in found), "with twenty images a class the order is chance"
    assert [row.name for row in deaths(curves, left=0.45)] == ["bee", "ant", "cat", "dog"]
    assert deaths(curves, left=0.45)[1].severity is None


def test_a_death_beyond_both_intervals_is_certain() -> None:
    def curve(now: int) -> ClassCurve:
        shares = [Share("ant", count, 100, *wilson(count, 100)) for count in (90, now)]
        return ClassCurve("ant", (0, 1), tuple(shares))

    sure, unsure = deaths([curve(20)])[0], deaths([curve(40)])[0]
    assert (sure.severity, sure.certain, unsure.severity, unsure.certain) == (1, True, 1, False)


def test_of_classes_that_die_together_the_one_that_keeps_least_comes_first() -> None:
    curves = class_curves(of_classes(20, 10, 12, 20), {1: of_classes(4, 0, 5, 20)}, NAMES)
    assert [row.name for row in deaths(curves)] == ["bee", "ant", "cat", "dog"]
