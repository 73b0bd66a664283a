"""Intervals and tests of means over images: against scipy, on data of which the truth is known, and at the edges."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from xai import tables
from xai.compare import resampling

SIMULATIONS = 200


def test_interval_is_that_of_scipy() -> None:
    values = np.random.default_rng(3).exponential(size=400)
    found = resampling.mean(values)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=9_999, method="percentile", rng=np.random.default_rng(0)
    ).confidence_interval
    width = expected.high - expected.low
    assert found.value == pytest.approx(values.mean(), abs=1e-12)
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)
    assert found.n == 400


@pytest.mark.parametrize(("n", "skewed"), [(10, False), (100, False), (100, True)])
def test_intervals_hold_the_truth_as_often_as_they_say(n: int, skewed: bool) -> None:
    generator = np.random.default_rng(5)
    drawn = generator.exponential(size=(n, 1_000)) if skewed else generator.normal(1, size=(n, 1_000))
    found = resampling.estimates(drawn)
    held = np.mean([each.low <= 1 <= each.high for each in found])
    assert held == pytest.approx(0.95, abs=0.025)
    wider = resampling.estimates(drawn[:, :50] * 2)
    ratios = [(b.high - b.low) / (a.high - a.low) for a, b in zip(found, wider, strict=False)]
    np.testing.assert_allclose(ratios, 2, atol=1e-4)


def test_differences_are_paired_column_by_column() -> None:
    """The interval of a difference of columns that differ by one number is that number, whatever their spread."""
    values = np.random.default_rng(2).normal(size=(50, 1))
    means = resampling.resampled(np.concatenate([values, values + 0.25], axis=1), seed=4)
    np.testing.assert_allclose(means[:, 1] - means[:, 0], 0.25, atol=1e-6)
    assert means[:, 0].std() == pytest.approx(values.std() / 50**0.5, rel=0.05)
    assert np.array_equal(means, resampling.resampled(np.concatenate([values, values + 0.25], axis=1), 4))


def test_every_resample_has_as_many_images() -> None:
    for n in (1, 7, 300):
        assert (resampling._weights(n, 0).sum(axis=1, dtype=np.int64) == n).all()
    drawn = resampling._weights(300, 0).astype(np.float64)
    np.testing.assert_allclose(drawn.mean(axis=0), 1, atol=0.12)
    assert drawn.var() == pytest.approx(1 - 1 / 300, rel=0.02)


def test_shares_of_resamples_are_exact() -> None:
    """Shares of yes and no are quotients of whole numbers: half of the images is 0.5, not a little less."""
    answers = (np.arange(100) % 2).astype(np.float64)[:, None]
    shares = resampling.resampled(answers)[:, 0]
    assert np.array_equal(shares, np.round(100 * shares) / 100)
    assert (shares == 0.5).any()


def test_a_large_mean_costs_no_digits() -> None:
    values = np.random.default_rng(0).normal(size=200)
    near, far = resampling.mean(values), resampling.mean(values + 1e6)
    assert far.high - far.low == pytest.approx(near.high - near.low, rel=1e-4)


def test_what_is_not_defined_is_left_out_and_counted() -> None:
    values = np.array([1.0, np.nan, 2.0, np.inf, 3.0, -np.inf])
    found = resampling.mean(values)
    assert (found.value, found.n, found.undefined) == (2.0, 3, 3)
    assert 1 <= found.low < 2 < found.high <= 3
    empty = resampling.mean([np.nan, np.nan])
    assert (empty.n, empty.undefined) == (0, 2)
    assert empty.words() == "not defined (n = 0)"
    assert json.loads(json.dumps(empty.to_json()))["value"] is None
    assert resampling.estimates(np.zeros((0, 2)))[1].n == 0
    assert resampling.estimates(np.zeros((5, 0))) == []


def test_one_image_has_no_interval_and_constants_have_a_point() -> None:
    one = resampling.mean([0.7])
    assert (one.value, one.n) == (0.7, 1)
    assert np.isnan([one.low, one.high]).all()
    assert one.words() == "0.70 (n = 1)"
    same = resampling.mean(np.full(30, 0.1))
    assert (same.value, same.low, same.high) == (0.1, 0.1, 0.1)
    assert same.words(1, percent=True) == "10.0 % (10.0 to 10.0, n = 30)"


def test_one_column_does_not_touch_another() -> None:
    values = np.random.default_rng(1).normal(size=(40, 2))
    spoilt = np.column_stack([values, np.full(40, np.nan), np.full(40, np.inf)])
    found = resampling.estimates(spoilt)
    assert [each.n for each in found] == [40, 40, 0, 0]
    for ours, alone in zip(found, resampling.estimates(values), strict=False):
        assert (ours.value, ours.n) == (alone.value, alone.n)
        assert ours.low == pytest.approx(alone.low, abs=1e-6)


@pytest.mark.parametrize("n", [2, 5, 13, 14, 60])
def test_sign_flips_are_those_of_scipy(n: int) -> None:
    values = np.random.default_rng(n).normal(0.4, size=n)
    expected = stats.permutation_test(
        (values, np.zeros(n)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(1),
    ).pvalue
    exact = n <= 13
    assert resampling.sign_flips(values) == pytest.approx(expected, abs=1e-12 if exact else 0.015)


def test_sign_flips_of_equal_differences_count_ties() -> None:
    """Of 2^n ways to flip n equal differences two are as far out; one alone says nothing."""
    for n in (1, 3, 10):
        assert resampling.sign_flips(np.full(n, 0.1)) == pytest.approx(2 / 2**n)
    assert resampling.sign_flips(np.zeros(50)) == 1.0
    assert resampling.sign_flips(np.full(50, 0.3)) == 1 / (1 + resampling.FLIPS)
    few = np.zeros(100)
    few[:3] = 0.1
    assert resampling.sign_flips(few) == pytest.approx(0.25, abs=0.02)


def test_sign_flips_leave_out_what_is_not_defined() -> None:
    values = np.random.default_rng(6).normal(0.2, size=40)
    gaps = np.full((60, 3), np.nan)
    gaps[10:50, 0], gaps[::7, 1] = values, np.inf
    found = resampling.sign_flip_tests(gaps)
    assert found[0] == pytest.approx(resampling.sign_flips(values), abs=0.02)
    assert np.isnan(found[1:]).all()
    assert np.isnan(resampling.sign_flips([]))


def test_sign_flips_are_uniform_without_and_small_with_a_difference() -> None:
    drawn = np.random.default_rng(8).standard_t(5, size=(80, SIMULATIONS))
    null = resampling.sign_flip_tests(drawn)
    assert (null < 0.05).mean() == pytest.approx(0.05, abs=0.035)
    assert stats.kstest(null, "uniform").pvalue > 0.01
    assert (resampling.sign_flip_tests(drawn + 0.6) < 0.05).mean() > 0.9


def test_tables_are_refused_that_are_none() -> None:
    with pytest.raises(ValueError, match=r"allowed is \(n, C\)"):
        resampling.estimates(np.zeros(3))


def test_what_rounds_to_nothing_has_no_sign() -> None:
    found = resampling.Estimate(-0.001, -0.006, 0.004, 9)
    assert found.words() == "0.00 (-0.01 to 0.00, n = 9)"
    assert found.words(3) == "-0.001 (-0.006 to 0.004, n = 9)"
    assert resampling.Estimate(-0.0004, 0, 0, 1).words(1, percent=True) == "0.0 % (n = 1)"
    assert tables.decimals(-0.004, signed=True) == "0.00"
    assert tables.decimals(0.006, signed=True) == "+0.01"
    assert tables.decimals(float("nan")) == "nan"
    assert tables.as_words([{"difference": -0.004}]) == [{"difference": "0.00"}]
