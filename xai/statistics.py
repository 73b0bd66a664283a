"""Intervals and tests for shares of right answers, on the numbers that the predictions give.

Shares and differences of shares are in [0, 1] and [-1, 1]; nothing here is in percent. scipy.stats and
statsmodels are imported where they are used: they take a second to load.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 9_999
_DIGITS = 9  # shares averaged over seeds are rounded to these: 1/3 + 1/3 + 1/3 and 1 are one value


@dataclass(frozen=True)
class Difference:
    """How much more often A is right than B on the same n images.

    `difference` is the accuracy of A less that of B, `low` to `high` its interval (shares in [-1, 1]), and
    `p_value` that of "an image tips to A as easily as to B".
    """

    difference: float
    low: float
    high: float
    p_value: float
    n: int


@dataclass(frozen=True)
class TTest:
    """A t-test on the results of `folds` folds: their mean, its interval (in their unit), t, two-sided p.

    `low`, `high`, `t` and `p_value` are NaN when all folds give the same value other than 0.
    """

    mean: float
    low: float
    high: float
    t: float
    p_value: float
    folds: int


def wilson(right: int, total: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson score interval of the share `right / total` (statsmodels), both ends in [0, 1].

    Raises `ValueError` unless 0 <= right <= total, total >= 1 and level is in (0, 1).
    """
    low, high = wilson_intervals(np.array([right]), np.array([total]), level)
    return float(low[0]), float(high[0])


def wilson_intervals(
    right: np.ndarray, total: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Wilson's interval of many shares at once: whole numbers `(n,)` in, both ends `(n,)` in [0, 1] out.

    Raises `ValueError` as `wilson` does.
    """
    from statsmodels.stats.proportion import proportion_confint

    bad = (right < 0) | (right > total) | (total < 1)
    if bad.any():
        raise ValueError(
            f"{right[bad][0]} of {total[bad][0]} is no share; allowed are 0 to total, of a total of at least 1."
        )
    low, high = proportion_confint(right, total, alpha=1 - _level(level), method="wilson")
    share = right / total  # within the interval but for rounding, as are 0 and 1
    return np.clip(np.minimum(low, share), 0, 1), np.clip(np.maximum(high, share), 0, 1)


def paired_difference(
    a_correct: np.ndarray, b_correct: np.ndarray, seed: int = 0, level: float = 0.95
) -> Difference:
    """Accuracy of A less that of B on the same images, with a paired bootstrap interval and an exact p value.

    Both `(N,)`: bool, or for several trained networks each the share of them that is right about the image. The
    interval is BCa (Efron 1987) over `RESAMPLES` resamples of the images. For bool, p is McNemar's exact one
    (statsmodels); for shares it is the exact sign-flip test of the mean, which for bool is the same test. Either
    speaks of these networks, not of all that could be trained. Where every image gives the same difference the
    interval is that point, and where all of a few that differ tip to one side it leaves out 0 although p is large (3
    of 3: p = 0.25), as no resample can tip the other way: there, go by p. Raises `ValueError` when the two differ in
    length or are empty.
    """
    a, b = np.asarray(a_correct), np.asarray(b_correct)
    if a.ndim != 1 or a.shape != b.shape or not len(a):
        raise ValueError(
            f"answers have the shapes {a.shape} and {b.shape}; allowed are two equal (N,), N > 0."
        )
    differences = np.round(a.astype(np.float64) - b.astype(np.float64), _DIGITS)
    values, counts = np.unique(differences, return_counts=True)
    both_bool = a.dtype == b.dtype == np.bool_
    p_value = _mcnemar(a, b) if both_bool else _sign_flip(values, counts)
    low, high = bca_of_counts(values, counts, seed, _level(level))
    return Difference(float(a.mean() - b.mean()), low, high, p_value, len(a))


def _mcnemar(a: np.ndarray, b: np.ndarray) -> float:
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[int((a & b).sum()), int((a & ~b).sum())], [int((~a & b).sum()), int((~a & ~b).sum())]]
    return float(mcnemar(table, exact=True).pvalue)


def _sign_flip(values: np.ndarray, counts: np.ndarray) -> float:
    """Exact two-sided p of the mean when each image's difference may as well have the other sign.

    The differences are multiples of 1/S for S seeds, so the sum of those of one size is a scaled binomial, and
    the sizes' sums convolve.
    """
    from scipy.stats import binom

    sizes = np.unique(np.abs(values[values != 0]))
    if not len(sizes):
        return 1.0
    unit = sizes.min() / _least_multiple(sizes / sizes.min())
    law, flips = np.ones(1), 0
    for size in sizes:
        number, steps = int(counts[np.abs(values) == size].sum()), round(size / unit)
        part = np.zeros(number * steps + 1)
        part[::steps] = binom.pmf(np.arange(number + 1), number, 0.5)
        law, flips = np.convolve(law, part), flips + number * steps
    # A sum of s units is (flips + s) / 2 units taken with a plus.
    plus = round((flips + float(values @ counts) / unit) / 2)
    return float(min(1.0, 2 * law[: min(plus, flips - plus) + 1].sum()))


def _least_multiple(ratios: np.ndarray) -> int:
    """The least whole number that makes every ratio (at least 1) whole."""
    for multiple in range(1, 1_000):
        if np.allclose(ratios * multiple, np.round(ratios * multiple), atol=1e-5):
            return multiple
    raise ValueError("the shares of right networks are no multiples of one over the number of networks.")


def bca_of_counts(
    values: np.ndarray, counts: np.ndarray, seed: int, level: float = 0.95
) -> tuple[float, float]:
    """BCa interval of the mean of a sample in which `values[k]` occurs `counts[k]` times.

    What `scipy.stats.bootstrap` gives, without drawing image by image: resampling N images draws how often each
    value occurs from a multinomial law, and the jackknife has as many different terms as there are values.
    """
    from scipy.special import ndtr, ndtri

    total = int(counts.sum())
    if len(values) == 1:
        return float(values[0]), float(values[0])
    means = bootstrap_means(values, counts, seed)
    mean = round(float(values @ counts) / total, _DIGITS)
    below = ((means < mean).sum() + (means <= mean).sum()) / (2 * len(means))
    bias, normal = ndtri(below), ndtri((1 + level) / 2)
    spread = values - values @ counts / total
    skew = (counts @ spread**3) / (6 * (counts @ spread**2) ** 1.5)
    ends = [ndtr(bias + (bias + z) / (1 - skew * (bias + z))) for z in (-normal, normal)]
    low, high = np.quantile(means, ends)
    return float(low), float(high)


def bootstrap_means(values: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """Means of `RESAMPLES` resamples of a sample in which `values[k]` occurs `counts[k]` times, `(RESAMPLES,)`."""
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, size=RESAMPLES)
    return np.round(drawn @ values / total, _DIGITS)


def corrected_resampled_t(
    differences: Sequence[float] | np.ndarray, train_size: int, test_size: int, level: float = 0.95
) -> TTest:
    """t-test of the mean of J cross-validation results, whose training sets overlap.

    The variance of the mean is (1/J + test_size / train_size) s^2, with J - 1 degrees of freedom (Nadeau & Bengio,
    Machine Learning 52, 2003). Raises `ValueError` for fewer than two results or a size below 1.
    """
    if train_size < 1 or test_size < 1:
        raise ValueError(f"the sizes are {train_size} and {test_size}; allowed are numbers from 1.")
    return _t_test(differences, test_size / train_size, level)


def naive_paired_t(differences: Sequence[float] | np.ndarray, level: float = 0.95) -> TTest:
    """The usual t-test, which takes the folds for independent: only to show how much too narrow it is."""
    return _t_test(differences, 0.0, level)


def _t_test(differences: Sequence[float] | np.ndarray, overlap: float, level: float) -> TTest:
    from scipy.special import stdtr, stdtrit

    values = np.asarray(differences, np.float64)
    folds = len(values)
    if folds < 2:
        raise ValueError(f"a t-test needs the results of at least 2 folds, not {folds}.")
    mean = float(values.mean())
    if np.ptp(values) < 10.0**-_DIGITS:
        return TTest(0.0, 0.0, 0.0, 0.0, 1.0, folds) if values[0] == 0 else _unknown_spread(mean, folds)
    error = math.sqrt((1 / folds + overlap) * values.var(ddof=1))
    reach = float(stdtrit(folds - 1, (1 + _level(level)) / 2)) * error
    t = mean / error
    return TTest(mean, mean - reach, mean + reach, t, float(2 * stdtr(folds - 1, -abs(t))), folds)


def _unknown_spread(mean: float, folds: int) -> TTest:
    return TTest(mean, math.nan, math.nan, math.nan, math.nan, folds)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """p values adjusted for their number by Holm's method (1979), in the order given; NaN stays NaN.

    The k-th smallest of n is multiplied by n - k + 1, is no smaller than the one before it, and at most 1: what
    statsmodels' `multipletests` gives, without the collection of all garbage (half a second) that comes with it.
    """
    given = np.asarray(p_values, np.float64)
    adjusted, known = np.full(len(given), math.nan), np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known], kind="stable")]
    steps = np.maximum.accumulate(given[order] * np.arange(len(order), 0, -1))
    adjusted[order] = np.minimum(steps, 1)
    return tuple(adjusted.tolist())


def _level(level: float) -> float:
    if not 0 < level < 1:
        raise ValueError(f"the level is {level}; allowed are numbers between 0 and 1.")
    return level
