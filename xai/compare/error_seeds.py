"""Errors that two networks share, beside those that two seeds of one training share.

Intervals are over images, from the same resamples for every pair, and say nothing of other networks of these trainings:
whether two trainings share fewer errors than one is tested over networks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from xai.compare.map_seeds import SeedNull, seed_null
from xai.compare.resampling import LEVEL, resampled
from xai.pairwise import REAL

Names = tuple[str, str]


@dataclass(frozen=True)
class SeedKappa:
    """Error consistency of two networks on the clean images with its 95 % interval; NaN where it is undefined.

    `most` is the largest that networks of these accuracies can have.
    """

    names: Names
    value: float
    low: float
    high: float
    most: float


@dataclass(frozen=True)
class SeedsNull:
    """Kappa of A and B beside that of every two seeds of one training, on `images` clean images.

    `less` is the mean kappa of the seeds less that of A and B, with its interval. `below` says whether A and B share
    fewer errors than any two seeds of one training and the interval is above 0; None where kappa is undefined.
    `null` is the test of the networks of both trainings, None where there are no two of each, or a kappa is undefined.
    """

    pair: SeedKappa
    seeds: tuple[SeedKappa, ...]
    less: float
    low: float
    high: float
    images: int
    null: SeedNull | None = None

    @property
    def below(self) -> bool | None:
        """Whether A and B share fewer errors than seeds do."""
        if np.isnan(self.less):
            return None
        return bool(self.pair.value < min(seed.value for seed in self.seeds) and self.low > 0)

    @property
    def differ(self) -> bool:
        """Whether two trainings share fewer errors than one, with networks drawn by lot."""
        return self.null is not None and self.null.p_value < REAL


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
        SeedKappa(names, float(found[place]), *_ends(drawn[:, place]), largest(*(correct[n] for n in names)))
        for place, names in enumerate(asked)
    ]
    less = drawn[:, 1:].mean(axis=1) - drawn[:, 0]
    mean = float(found[1:].mean() - found[0])
    return SeedsNull(rows[0], tuple(rows[1:]), mean, *_ends(less), len(values))


def largest(a: np.ndarray, b: np.ndarray) -> float:
    """The largest kappa that two networks right about as many images as `a` and `b` `(N,)` can have, in [0, 1].

    All that the worse of them has right is then right with the other: 1 only at equal accuracies, NaN where kappa is
    undefined. (1 - |p_a - p_b| - c_exp) / (1 - c_exp), with c_exp as for kappa.
    """
    ours, theirs = float(a.mean()), float(b.mean())
    means = np.array([[ours, theirs, 1 - abs(ours - theirs)]])
    return float(_kappas(means, 1)[0, 0])


def over_networks(
    correct: Mapping[str, np.ndarray], sides: Sequence[Sequence[str]], seed: int = 0
) -> SeedNull | None:
    """The permutation test of the kappas of all pairs of networks, those of A's training and of B's (`sides`).

    None without two networks of each training, for one network in both, and where a kappa is undefined.
    """
    names = [name for side in sides for name in side if name in correct]
    if any(sum(name in correct for name in side) < 2 for side in sides) or len(set(names)) < len(names):
        return None
    similarity = np.ones((len(names), len(names)))
    for i, j in combinations(range(len(names)), 2):
        a, b = correct[names[i]], correct[names[j]]
        means = np.array([[a.mean(), b.mean(), (a == b).mean()]])
        similarity[i, j] = similarity[j, i] = _kappas(means, 1)[0, 0]
    return seed_null(similarity, np.array([name in sides[1] for name in names]), seed)


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
