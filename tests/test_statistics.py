"""Intervals and tests against numbers worked by hand and against the libraries' own answers."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests

from xai.statistics import (
    RESAMPLES,
    bca_of_counts,
    bootstrap_means,
    corrected_resampled_t,
    holm,
    naive_paired_t,
    paired_difference,
    wilson,
    wilson_intervals,
)


def answers(both: int, only_a: int, only_b: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    """Correctness of A and B, bool, with so many images of each kind."""
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


# Wilson


def test_wilson_is_the_reference_number() -> None:
    assert wilson(90, 100) == pytest.approx((0.826, 0.945), abs=5e-4)


@pytest.mark.parametrize(("right", "total"), [(0, 10), (3, 7), (10, 10)])
def test_wilson_solves_its_equation(right: int, total: int) -> None:
    """Its ends are the shares p from which the observed one is z standard errors of p away (Wilson 1927)."""
    z, share = stats.norm.ppf(0.975), right / total
    low, high = wilson(right, total)
    assert 0 <= low <= share <= high <= 1
    for end in (low, high):
        assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / total), abs=1e-9)


def test_many_intervals_at_once_are_those_of_each() -> None:
    right, total = np.array([0, 3, 10, 90]), np.array([10, 7, 10, 100])
    low, high = wilson_intervals(right, total)
    each = [wilson(int(k), int(n)) for k, n in zip(right, total, strict=True)]
    assert list(zip(low, high, strict=True)) == each


# Paired differences


def test_paired_difference_by_hand() -> None:
    """Nine images tip to A and one to B: p is 2 (1 + 10) / 2^10."""
    result = paired_difference(*answers(50, 9, 1, 40))
    assert (result.difference, result.n) == (pytest.approx(0.08), 100)
    assert result.p_value == pytest.approx(22 / 1024)
    assert 0 < result.low < 0.08 < result.high < 0.2


def test_paired_difference_turns_its_sign() -> None:
    a, b = answers(50, 9, 1, 40)
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.difference == -back.difference
    assert there.p_value == back.p_value
    assert (back.low, back.high) == pytest.approx(
        (-there.high, -there.low), abs=0.011
    )  # one image either way


def test_networks_that_are_right_about_the_same_images_do_not_differ() -> None:
    a, _ = answers(50, 0, 0, 50)
    result = paired_difference(a, a)
    assert (result.difference, result.low, result.high, result.p_value) == (0, 0, 0, 1)
    shares = np.full(4, 1 / 3)
    assert paired_difference(shares, shares).p_value == 1


def test_the_interval_is_scipys_on_the_same_resamples() -> None:
    """Handed our resampled means, `scipy.stats.bootstrap` must find the same BCa interval."""
    a, b = answers(700, 60, 37, 203)
    differences = a.astype(float) - b
    values, counts = np.unique(differences, return_counts=True)
    known = stats.bootstrap((differences,), np.mean, n_resamples=2, method="percentile", rng=0)
    known.bootstrap_distribution = bootstrap_means(values, counts, seed=3)
    theirs = stats.bootstrap((differences,), np.mean, n_resamples=0, bootstrap_result=known, method="BCa")
    assert bca_of_counts(values, counts, seed=3) == pytest.approx(theirs.confidence_interval, abs=1e-8)
    result = paired_difference(a, b, seed=3)
    assert (result.low, result.high) == pytest.approx(theirs.confidence_interval, abs=1e-8)


def test_counting_values_resamples_like_drawing_images() -> None:
    """The resampled means have the law of a mean of images drawn with replacement: its mean, spread and skew."""
    values, counts = np.array([-1.0, 0.0, 1.0]), np.array([5, 60, 35])
    differences = np.repeat(values, counts)
    drawn = np.random.default_rng(0).choice(differences, (RESAMPLES, 100)).mean(axis=1)
    ours = bootstrap_means(values, counts, seed=0)
    assert stats.ks_2samp(ours, drawn).pvalue > 0.01
    assert ours.mean() == pytest.approx(0.3, abs=4 * ours.std() / math.sqrt(RESAMPLES))
    assert ours.var() == pytest.approx(differences.var() / 100, rel=0.06)


def test_interval_depends_on_the_seed_alone() -> None:
    a, b = answers(700, 60, 37, 203)
    state = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
    assert paired_difference(a, b, seed=1) == paired_difference(a, b, seed=1)
    assert paired_difference(a, b, seed=1) != paired_difference(a, b, seed=2)
    assert np.array_equal(np.random.get_state()[1], state)  # type: ignore[index]  # noqa: NPY002


def test_interval_narrows_with_a_lower_level() -> None:
    a, b = answers(700, 60, 37, 203)
    wide, narrow = paired_difference(a, b, level=0.95), paired_difference(a, b, level=0.5)
    assert wide.low < narrow.low < wide.difference < narrow.high < wide.high


def test_shares_of_one_network_give_mcnemars_p() -> None:
    for only_a, only_b in ((9, 1), (30, 30), (0, 4), (60, 37)):
        a, b = answers(100, only_a, only_b, 50)
        exact = paired_difference(a, b)
        assert paired_difference(a.astype(float), b.astype(float)).p_value == pytest.approx(exact.p_value)


def test_sign_flips_of_shares_by_enumeration() -> None:
    """Three networks each: p is the share of all sign patterns whose sum is at least as far from zero."""
    a = np.array([3, 3, 2, 1, 3, 0, 2, 2, 1, 3]) / 3
    b = np.array([1, 2, 2, 2, 0, 0, 3, 1, 1, 0]) / 3
    sizes = np.round(3 * (a - b)).astype(int)
    sums = np.array([np.dot(signs, sizes) for signs in product((-1, 1), repeat=len(sizes))])
    expected = min(1.0, 2 * float((sums >= abs(sizes.sum())).mean()))
    assert paired_difference(a, b).p_value == pytest.approx(expected)


def test_shares_of_two_and_three_networks_have_a_common_unit() -> None:
    a, b = np.array([1 / 2, 1, 1 / 2, 0]), np.array([1 / 3, 1 / 3, 2 / 3, 0])
    sizes = np.array([1, 4, -1])  # in sixths
    sums = np.array([np.dot(signs, sizes) for signs in product((-1, 1), repeat=3)])
    expected = min(1.0, 2 * float((sums >= 4).mean()))
    assert paired_difference(a, b).p_value == pytest.approx(expected)


# t-tests


def test_corrected_t_by_hand() -> None:
    """Five folds, mean 3 and variance 2.5: the mean's variance is (1/5 + 1/4) 2.5 = 1.125."""
    result = corrected_resampled_t([1, 2, 3, 4, 5], train_size=80, test_size=20)
    error = math.sqrt(1.125)
    assert (result.mean, result.t, result.folds) == (3, pytest.approx(3 / error), 5)
    reach = 2.7764451 * error  # the table's t for 4 degrees of freedom
    assert (result.low, result.high) == pytest.approx((3 - reach, 3 + reach))
    assert result.p_value == pytest.approx(2 * stats.t.sf(3 / error, 4))


def test_naive_t_is_scipys_and_narrower() -> None:
    values = [0.01, 0.03, -0.01, 0.02]
    naive, corrected = naive_paired_t(values), corrected_resampled_t(values, 75, 25)
    theirs = stats.ttest_1samp(values, 0)
    assert (naive.t, naive.p_value) == pytest.approx((theirs.statistic, theirs.pvalue))
    assert (naive.low, naive.high) == pytest.approx(theirs.confidence_interval())
    ratio = (corrected.high - corrected.low) / (naive.high - naive.low)
    assert ratio == pytest.approx(math.sqrt(1 + 4 / 3))


def test_folds_that_all_agree_say_nothing_of_their_spread() -> None:
    same = corrected_resampled_t([0.02] * 3, 20, 10)
    assert same.mean == pytest.approx(0.02)
    assert all(math.isnan(value) for value in (same.low, same.high, same.t, same.p_value))
    none = corrected_resampled_t([0.0] * 3, 20, 10)
    assert (none.low, none.high, none.t, none.p_value) == (0, 0, 0, 1)


# Holm


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([]) == ()


def test_holm_is_that_of_statsmodels() -> None:
    values = np.random.default_rng(0).random(40) ** 3
    values[3] = values[7]
    assert holm(values.tolist()) == pytest.approx(multipletests(values, method="holm")[1])


def test_holm_leaves_out_what_was_not_tested() -> None:
    adjusted = holm([math.nan, 0.01, 0.2])
    assert math.isnan(adjusted[0])
    assert adjusted[1:] == pytest.approx((0.02, 0.2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wilson(3, 2), "3 of 2 is no share; allowed are 0 to total, of a total of at least 1."),
        (lambda: wilson(0, 0), "0 of 0 is no share; allowed are 0 to total, of a total of at least 1."),
        (lambda: wilson(1, 2, 95), "the level is 95; allowed are numbers between 0 and 1."),
        (
            lambda: paired_difference(np.ones(3, bool), np.ones(2, bool)),
            "answers have the shapes (3,) and (2,); allowed are two equal (N,), N > 0.",
        ),
        (
            lambda: corrected_resampled_t([0.1], 8, 2),
            "a t-test needs the results of at least 2 folds, not 1.",
        ),
        (
            lambda: corrected_resampled_t([0.1, 0.2], 8, 0),
            "the sizes are 8 and 0; allowed are numbers from 1.",
        ),
    ],
)
def test_impossible_requests_are_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        call()  # type: ignore[operator]
    assert str(caught.value) == message
