"""Errors that two networks share, beside those that two seeds of one training share.

Only what is below every pair of seeds is a difference between trainings; the interval is over images, from the same
resamples for every pair.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xai.compare.resampling import LEVEL, resampled

Names = tuple[str, str]


@dataclass(frozen=True)
class SeedKappa:
    """Error consistency of two networks on the clean images with its 95 % interval; NaN where it is undefined."""

    names: Names
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class SeedsNull:
    """Kappa of A and B beside that of every two seeds of one training, on `images` clean images.

    `less` is the mean kappa of the seeds less that of A and B, with its interval. `below` says whether A and B share
    fewer errors than any two seeds of one training and the interval is above 0; None where kappa is undefined.
    """

    pair: SeedKappa
    seeds: tuple[SeedKappa, ...]
    less: float
    low: float
    high: float
    images: int

    @property
    def below(self) -> bool | None:
        """Whether A and B share fewer errors than seeds do."""
        if np.isnan(self.less):
            return None
        return bool(self.pair.value < min(seed.value for seed in self.seeds) and self.low > 0)


def families(correct: Mapping[str, np.ndarray], sides: Sequence[Sequence[str]]) -> list[Names]:
    """Every two networks of one side, each pair once; `sides` are the names of the seeds of A and of B."""
    pairs = [pair for side in sides for pair in combinations([name for name in side if name in correct], 2)]
    return list(dict.fromkeys((min(pair), max(pair)) for pair in pairs))


def against_seeds(
    correct: Mapping[str, np.ndarray], pair: Names, seeds: Sequence[Names], seed: int = 0
) -> SeedsNull:
    """`correct` is who is right about which of N clean images, bool `(N,)`, by network; `seeds` are pairs of one
    training, of which `pair` is none. Raises `ValueError` without such pairs."""
    others = [each for each in seeds if set(each) != set(pair)]
    if not others:
        raise ValueError(
            "no two seeds of one training were given; needed is one pair beside the two networks."
        )
    asked = [pair, *others]
    columns = [correct[name] for each in asked for name in each]
    columns += [correct[a] == correct[b] for a, b in asked]
    values = np.stack(columns, axis=1).astype(np.float64)
    found = _kappas(values.mean(axis=0)[None], len(asked))[0]
    drawn = _kappas(resampled(values, seed), len(asked))
    rows = [
        SeedKappa(names, float(found[place]), *_ends(drawn[:, place])) for place, names in enumerate(asked)
    ]
    less = drawn[:, 1:].mean(axis=1) - drawn[:, 0]
    mean = float(found[1:].mean() - found[0])
    return SeedsNull(rows[0], tuple(rows[1:]), mean, *_ends(less), len(values))


def _kappas(means: np.ndarray, pairs: int) -> np.ndarray:
    """Kappa `(R, pairs)` of means `(R, 3 pairs)`: the accuracies of both of each pair, then how often they agree."""
    accuracies = means[:, : 2 * pairs].reshape(len(means), pairs, 2)
    a, b, observed = accuracies[..., 0], accuracies[..., 1], means[:, 2 * pairs :]
    expected = a * b + (1 - a) * (1 - b)
    room = np.where(1 - expected > 1e-9, 1 - expected, np.nan)
    kappas: np.ndarray = (observed - expected) / room
    return kappas


def _ends(drawn: np.ndarray) -> tuple[float, float]:
    """The interval of resampled values, without those that are undefined."""
    if np.isnan(drawn).all():
        return np.nan, np.nan
    low, high = np.nanquantile(drawn, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return float(low), float(high)
