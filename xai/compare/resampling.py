"""Intervals and tests of means over images, all columns of a table from the same resamples.

Images are resampled with all their conditions together: column for column, and call for call with the same n and seed,
it is the same images that a resample holds, so that differences between conditions and networks are paired. A value
that is not defined (NaN, or infinite) is left out of its column's mean, and counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache

import numpy as np

from xai.compare.study import nan_to_none
from xai.tables import decimals

RESAMPLES = 2_000
FLIPS = 9_999
LEVEL = 0.95
_CHUNK = 250
_FEW = 13
"""Differences of which all ways to flip the signs are fewer than `FLIPS`."""
_ROUNDING = 1e-6
"""In units of the sum of absolute values: sums that differ by less, in single precision, are equal."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` images with its 95 % bootstrap interval: no number (NaN) where n is 0, no interval where it is 1.

    `undefined` images have no value.
    """

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
        value, low, high = (decimals(factor * each, digits) for each in (self.value, self.low, self.high))
        if self.n == 1:
            return f"{value}{sign} (n = 1)"
        return f"{value}{sign} ({low} to {high}, n = {self.n:,})"


@lru_cache(4)
def _weights(n: int, seed: int) -> np.ndarray:
    """How often each of n images is in each resample, uint8 `(RESAMPLES, n)`."""
    generator, rows = np.random.default_rng(seed), np.arange(_CHUNK)[:, None] * n
    weights = np.empty((RESAMPLES, n), np.uint8)
    for start in range(0, RESAMPLES, _CHUNK):
        drawn = generator.integers(0, n, (_CHUNK, n)) + rows
        weights[start : start + _CHUNK] = np.bincount(drawn.ravel(), minlength=_CHUNK * n).reshape(_CHUNK, n)
    weights.flags.writeable = False
    return weights


def resampled(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """Means of each column of `(n, C)` in each resample, float64 `(RESAMPLES, C)`; NaN where none is left."""
    weights, defined = _weights(len(values), seed), np.isfinite(values)
    middle = _far_middle(values, defined)
    rest = np.where(defined, values - middle, 0).astype(np.float32)
    columns = np.concatenate([rest, defined.astype(np.float32)], axis=1)
    parts = [
        weights[start : start + _CHUNK].astype(np.float32) @ columns for start in range(0, RESAMPLES, _CHUNK)
    ]
    sums, counts = np.split(np.concatenate(parts).astype(np.float64), 2, axis=1)
    return middle + np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _far_middle(values: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Means `(C,)` of columns that are far from 0 for their spread, whose digits single precision would lose; 0 for
    others, so that shares of yes and no stay exact."""
    middle = _means(values, defined)
    spread = np.where(defined, np.abs(values - middle), 0).max(axis=0, initial=0)
    return np.where(np.abs(middle) > 100 * spread, middle, 0)


def _means(values: np.ndarray, defined: np.ndarray) -> np.ndarray:
    """Means `(C,)` of what is defined in `(n, C)`; a column of one value has that very mean."""
    first = values[defined.argmax(axis=0), np.arange(values.shape[1])]
    first = np.where(np.isfinite(first), first, 0)
    rest = np.where(defined, values - first, 0).sum(axis=0)
    return first + rest / np.maximum(defined.sum(axis=0), 1)


def estimates(values: np.ndarray, seed: int = 0) -> list[Estimate]:
    """Mean and expanded percentile interval of each column of `(n, C)`.

    The percentiles lie as far out as makes the interval of a mean as wide as Student's (Hesterberg, The American
    Statistician 69, 2015): with few images the plain ones are too narrow. What is not finite is left out and counted.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 2:
        raise ValueError(f"the values are {values.shape}; allowed is (n, C).")
    if not values.size:
        return [Estimate(np.nan, np.nan, np.nan, 0) for _ in range(values.shape[1])]
    defined = np.isfinite(values)
    middle, means = _means(values, defined), resampled(values, seed)
    return [_estimate(*column) for column in zip(defined.T, middle, means.T, strict=True)]


def _estimate(defined: np.ndarray, middle: float, means: np.ndarray) -> Estimate:
    n = int(defined.sum())
    undefined = len(defined) - n
    if n < 2:
        return Estimate(float(middle) if n else np.nan, np.nan, np.nan, n, undefined)
    share = _outside(n)
    low, high = np.quantile(means[~np.isnan(means)], (share, 1 - share))
    return Estimate(float(middle), float(low), float(high), n, undefined)


@lru_cache(1_000)
def _outside(n: int) -> float:
    """The share of resamples to leave out at either end, for a mean of n images."""
    from scipy.special import ndtr, stdtrit

    reach = stdtrit(n - 1, (1 + LEVEL) / 2) * np.sqrt(n / (n - 1))
    return float(ndtr(-reach))


def mean(values: np.ndarray | Sequence[float], seed: int = 0) -> Estimate:
    """Mean and interval of `(n,)` as `estimates` has them; what is not finite is left out and counted."""
    return estimates(np.asarray(values, np.float64)[:, None], seed)[0]


def sign_flips(values: np.ndarray | Sequence[float], seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences `(n,)` when each may as well have the other sign.

    Exact for few, else from `FLIPS` draws, so never below 1 / (`FLIPS` + 1). What is not finite is left out, and it is
    NaN where nothing is left.
    """
    return float(sign_flip_tests(np.asarray(values, np.float64)[:, None], seed)[0])


def sign_flip_tests(values: np.ndarray, seed: int = 0) -> np.ndarray:
    """`sign_flips` of each column of `(n, C)`, float64 `(C,)`: the signs of an image flip in all columns together."""
    values = np.asarray(values, np.float64)
    defined = np.isfinite(values)
    found = np.full(values.shape[1], np.nan)
    few = defined.sum(axis=0) <= _FEW
    for column in np.flatnonzero(few & defined.any(axis=0)):
        left = values[defined[:, column], column][:, None]
        signs = np.unpackbits(np.arange(2 ** len(left), dtype=">u2").view(np.uint8).reshape(-1, 2), axis=1)
        found[column] = _as_far(signs[:, 16 - len(left) :], left)[0] / len(signs)
    if not few.all():
        # The sign of a zero does not matter: what is not defined is one.
        many = np.where(defined, values, 0)[:, ~few]
        found[~few] = (1 + sum(_as_far(signs, many) for signs in _signs(len(values), seed))) / (1 + FLIPS)
    return found


def _signs(n: int, seed: int) -> Iterator[np.ndarray]:
    """`FLIPS` rows of n random bits, some rows at a time."""
    generator, width = np.random.default_rng((seed, 1)), -(-n // 8)
    for start in range(0, FLIPS, _CHUNK):
        rows = min(_CHUNK, FLIPS - start)
        drawn = np.frombuffer(generator.bytes(rows * width), np.uint8).reshape(rows, width)
        yield np.unpackbits(drawn, axis=1, count=n)


def _as_far(bits: np.ndarray, values: np.ndarray) -> np.ndarray:
    """How many rows of signs (0 and 1) `(F, n)` take the sums of columns `(n, C)` as far from 0 as they are, `(C,)`."""
    size = np.maximum(np.abs(values).sum(axis=0), np.finfo(np.float64).tiny)
    shares = values / size
    seen = np.abs(shares.sum(axis=0))
    sums = 2 * (bits.astype(np.float32) @ shares.astype(np.float32)) - shares.sum(axis=0)
    return (np.abs(sums) >= seen - _ROUNDING).sum(axis=0)
