"""Intervals and tests of means over images, all columns of a table from the same resamples.

Images are resampled with all their conditions together: column for column, and call for call with the same n and seed,
it is the same images that a resample holds, so that differences between conditions and networks are paired. A value
that is not defined (NaN) is left out of its column's mean, and counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from xai.compare.study import nan_to_none

RESAMPLES = 2_000
FLIPS = 9_999
LEVEL = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` images with its 95 % bootstrap interval; NaN where n is 0. `undefined` images have no value."""

    value: float
    low: float
    high: float
    n: int
    undefined: int = 0

    def to_json(self) -> dict[str, float | int | None]:
        """As JSON has it, None for what is not defined."""
        return {
            name: nan_to_none(each) if isinstance(each, float) else each
            for name, each in asdict(self).items()
        }

    def words(self, digits: int = 2, *, percent: bool = False) -> str:
        """Such as `0.71 (0.68 to 0.74, n = 2,000)`, or `not defined (n = 0)`."""
        if not self.n:
            return "not defined (n = 0)"
        factor, sign = (100, " %") if percent else (1, "")
        value, low, high = (f"{factor * each:.{digits}f}" for each in (self.value, self.low, self.high))
        return f"{value}{sign} ({low} to {high}, n = {self.n:,})"


@lru_cache(8)
def _weights(n: int, seed: int) -> np.ndarray:
    """How often each of n images is in each resample, float32 `(RESAMPLES, n)`."""
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), RESAMPLES)
    return drawn.astype(np.float32)


def resampled(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Means of each column of `(n, C)` in each resample, float64 `(RESAMPLES, C)`; NaN where none is left."""
    weights, defined = _weights(len(values), seed), ~np.isnan(values)
    sums = weights @ np.where(defined, values, 0).astype(np.float32)
    counts = weights @ defined.astype(np.float32)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(counts > 0, sums.astype(np.float64) / counts, np.nan)


def estimates(values: np.ndarray, seed: int = 0) -> list[Estimate]:
    """Mean and percentile interval of each column of `(n, C)`; NaN are left out and counted."""
    values = np.asarray(values, np.float64)
    if values.ndim != 2:
        raise ValueError(f"the values are {values.shape}; allowed is (n, C).")
    if not len(values):
        return [Estimate(np.nan, np.nan, np.nan, 0) for _ in range(values.shape[1])]
    return [
        _estimate(column, means) for column, means in zip(values.T, resampled(values, seed).T, strict=True)
    ]


def _estimate(column: np.ndarray, means: np.ndarray) -> Estimate:
    defined = ~np.isnan(column)
    n = int(defined.sum())
    if not n:
        return Estimate(np.nan, np.nan, np.nan, 0, len(column))
    low, high = np.nanquantile(means, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Estimate(float(column[defined].mean()), float(low), float(high), n, len(column) - n)


def mean(values: np.ndarray | Sequence[float], seed: int = 0) -> Estimate:
    """Mean and percentile interval of `(n,)`; NaN are left out and counted."""
    return estimates(np.asarray(values, np.float64)[:, None], seed)[0]


def sign_flips(values: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences `(n,)` when each may as well have the other sign.

    From `FLIPS` draws, so never below 1 / (`FLIPS` + 1). NaN are left out, and it is NaN where nothing is left.
    """
    values = np.asarray(values, np.float64)
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan")
    generator, seen = np.random.default_rng((seed, 1)), abs(values.sum())
    slack, count = 1e-9 * np.abs(values).sum(), 0
    for start in range(0, FLIPS, 1_000):
        size = (min(1_000, FLIPS - start), len(values))
        signs = generator.integers(0, 2, size, dtype=np.int8) * 2 - 1
        count += int((np.abs(signs.astype(np.float32) @ values.astype(np.float32)) >= seen - slack).sum())
    return (1 + count) / (1 + FLIPS)
