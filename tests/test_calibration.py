"""Calibration numbers against hand-worked ones, scikit-learn's, and networks whose calibration is known."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from tests.answer_helpers import answers, random_answers, shuffled
from xai.calibration import (
    BINS,
    SMALLEST,
    brier_terms,
    calibration,
    calibration_error,
    nll_terms,
    reliability,
)
from xai.predictions import Predictions

HALVES = answers([0] * 8, [0, 0, 0, 1, 0, 0, 1, 1], confidence=[0.75] * 4 + [0.5625] * 4)
"""Of four answers at confidence 0.75 three are right, of four at 0.5625 two."""


def normalised(rows: Predictions) -> np.ndarray:
    """Probabilities as float64 that sum to 1."""
    shares = rows.probabilities.astype(np.float64)
    return shares / shares.sum(axis=1, keepdims=True)


def sampled(seed: int, images: int, gap: float) -> Predictions:
    """Answers whose confidence is `gap` above the chance with which they are right."""
    rng = np.random.default_rng(seed)
    confidence = rng.uniform(0.6, 1, images)
    wrong = rng.random(images) >= confidence - gap
    return answers(np.zeros(images, int), wrong.astype(int), confidence=confidence)


def test_calibration_error_by_hand() -> None:
    """The gaps are 0 and 0.0625, of half of the images each, in bins of their own; in one bin they average."""
    assert calibration_error(HALVES) == pytest.approx(0.5 * 0.0625)
    assert calibration_error(HALVES, equal_mass=True, bins=2) == pytest.approx(0.5 * 0.0625)
    assert calibration_error(HALVES, bins=1) == pytest.approx(abs(5 / 8 - (0.75 + 0.5625) / 2))


def test_reliability_rows_by_hand() -> None:
    low, high = reliability(HALVES, bins=4)[0], reliability(HALVES, bins=4)[-1]
    assert low == high
    assert (low.start, low.end, low.images) == (0.5, 0.75, 8), "an end belongs to the bin below it"
    assert (low.confidence, low.accuracy) == (0.65625, 0.625)
    assert low.low < 0.625 < low.high
    rows = reliability(HALVES)
    assert [(row.images, row.confidence, row.accuracy) for row in rows] == [(4, 0.5625, 0.5), (4, 0.75, 0.75)]
    assert all(row.start < row.confidence <= row.end for row in rows)


@pytest.mark.parametrize(("mass", "strategy"), [(False, "uniform"), (True, "quantile")])
def test_reliability_is_that_of_scikit_learn(mass: bool, strategy: str) -> None:
    data = random_answers(0, images=2000)
    rows = reliability(data, equal_mass=mass)
    accuracy, confidence = calibration_curve(
        data.correct, data.confidence.astype(float), n_bins=BINS, strategy=strategy
    )
    assert [row.accuracy for row in rows] == pytest.approx(accuracy)
    assert [row.confidence for row in rows] == pytest.approx(confidence)
    images = np.array([row.images for row in rows])
    expected = float(images @ np.abs(accuracy - confidence) / 2000)
    assert calibration_error(data, equal_mass=mass) == pytest.approx(expected)
    if mass:
        assert images.max() - images.min() < 12, "equal but for equal confidences"


def test_equal_confidences_share_a_bin() -> None:
    """Most confidences are 1, as in float16 those of a sure network: bins are fewer, and the order does not matter."""
    rows = answers([0] * 30, [0] * 20 + [1] * 10, confidence=[1.0] * 24 + [0.75, 0.875] * 3)
    (row,) = [row for row in reliability(rows, bins=5, equal_mass=True) if row.confidence == 1]
    assert row.images == 24
    assert calibration_error(rows, equal_mass=True) == pytest.approx(
        calibration_error(shuffled(rows), equal_mass=True)
    )


def test_brier_score_by_hand() -> None:
    """Right at 0.75 of two classes: 2 (1/4)^2. Wrong: 2 (3/4)^2. Sure and wrong: 2."""
    rows = answers([0, 0, 0, 0], [0, 1, 1, 0], confidence=[0.75, 0.75, 1, 1])
    assert brier_terms(rows).tolist() == [0.125, 1.125, 2, 0]


def test_likelihood_by_hand() -> None:
    rows = answers([0, 0, 0], [0, 1, 1], confidence=[0.5, 0.75, 1])
    assert nll_terms(rows) == pytest.approx([np.log(2), np.log(4), 24 * np.log(2)])
    assert np.float16(SMALLEST) == np.nextafter(np.float16(0), np.float16(1))
    assert calibration(rows).zeros == 1


def test_scores_are_those_of_scikit_learn() -> None:
    rows = random_answers(0, noise=1.0)
    shares = normalised(rows)
    found = calibration(rows)
    assert found.brier is not None
    expected = brier_score_loss(rows.labels, shares, scale_by_half=False, labels=range(5))
    assert found.brier.value == pytest.approx(expected, abs=1e-3)
    assert found.nll.value == pytest.approx(log_loss(rows.labels, shares, labels=range(5)), abs=1e-3)


def test_scores_of_exact_probabilities_are_exactly_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    shares = rng.multinomial(64, [0.2, 0.3, 0.5], size=50) / 64  # every step of 1/64 is a float16
    rows = Predictions(
        tuple(map(str, range(50))), rng.integers(0, 3, 50), shares.argmax(axis=1), shares.astype(np.float16)
    )
    expected = brier_score_loss(rows.labels, shares, scale_by_half=False, labels=range(3))
    assert brier_terms(rows).mean() == pytest.approx(expected, abs=1e-12)
    assert nll_terms(rows).mean() == pytest.approx(log_loss(rows.labels, shares, labels=range(3)), abs=1e-12)


def test_all_numbers_are_those_of_the_single_functions() -> None:
    rows = random_answers(0)
    found = calibration(rows)
    assert found.brier is not None
    assert (found.images, found.bins) == (400, 15)
    assert found.ece.value == pytest.approx(calibration_error(rows), abs=1e-12)
    assert found.adaptive_ece.value == pytest.approx(calibration_error(rows, equal_mass=True), abs=1e-12)
    assert found.brier.value == pytest.approx(brier_terms(rows).mean())
    assert found.nll.value == pytest.approx(nll_terms(rows).mean())
    for one in (found.ece, found.adaptive_ece, found.brier, found.nll):
        assert 0 <= one.low <= one.value <= one.high


def test_intervals_of_means_are_as_wide_as_their_standard_error_says() -> None:
    rows = random_answers(0)
    found = calibration(rows)
    assert found.brier is not None
    for one, terms in ((found.brier, brier_terms(rows)), (found.nll, nll_terms(rows))):
        assert one.high - one.low == pytest.approx(2 * 1.96 * terms.std() / 20, rel=0.12)


def test_the_interval_holds_a_known_error_nearly_always() -> None:
    found = [calibration(sampled(seed, 1000, 0.2)).ece for seed in range(20)]
    assert sum(one.low < 0.2 < one.high for one in found) >= 17
    assert all(one.high - one.low < 0.08 for one in found)


def test_no_gap_is_not_ruled_out() -> None:
    none = calibration(sampled(2, 4000, 0.0))
    assert none.ece.low < 0.005 < none.ece.value, "few images alone make it larger than 0"
    assert none.calibrated_ece == pytest.approx(none.ece.value, rel=0.5)
    assert none.calibrated_ece < calibration(sampled(1, 4000, 0.2)).ece.low


def test_a_network_that_is_always_right_and_sure() -> None:
    found = calibration(answers([0, 1] * 10, [0, 1] * 10))
    assert found.brier is not None
    for one in (found.ece, found.adaptive_ece, found.brier, found.nll):
        assert (one.value, one.low, one.high) == (0, 0, 0)
    assert (found.calibrated_ece, found.zeros) == (0, 0)


def test_a_network_that_is_always_wrong_and_sure() -> None:
    found = calibration(answers([0, 1] * 10, [1, 0] * 10))
    assert found.brier is not None
    assert (found.ece.value, found.adaptive_ece.value, found.brier.value) == (1, 1, 2)
    assert (found.nll.value, found.zeros) == (pytest.approx(24 * np.log(2)), 20)


def test_only_the_seed_matters() -> None:
    rows = random_answers(0)
    assert calibration(rows) == calibration(rows)
    assert calibration(rows).ece.low != calibration(rows, seed=1).ece.low
    other = calibration(shuffled(rows))
    assert other.ece.value == pytest.approx(calibration(rows).ece.value, abs=1e-12)


def test_answers_without_all_probabilities_lack_only_the_brier_score() -> None:
    rows = random_answers(0)
    assert calibration(rows.compact()) == replace(calibration(rows), brier=None)
    assert reliability(rows.compact()) == reliability(rows)


def test_impossible_requests_are_refused() -> None:
    with pytest.raises(ValueError, match="0 bins are asked for; allowed are numbers from 1"):
        calibration_error(HALVES, bins=0)
    with pytest.raises(ValueError, match="there are no answers"):
        calibration(answers([], []))
