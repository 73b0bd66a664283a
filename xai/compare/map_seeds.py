"""Whether two trainings differ by more than two networks of one do: networks, not images, are what is drawn by lot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np

WAYS = 10_000
"""Ways to share out networks that are all tried; of more, so many are drawn."""
_SLACK = 1e-9


@dataclass(frozen=True)
class SeedNull:
    """Mean similarity of two networks of one training (`within`) and of two trainings (`between`), as A's and B's.

    `p_value` is the share of the ways to share all networks out between two trainings of these sizes that give at least
    this `difference` (within less between); `least_p` the smallest that so few networks can give. `networks` is how
    many there are of A's and of B's training, and `lowest_within` to `highest_within`, `lowest_between` to
    `highest_between` the range over pairs.
    """

    within: float
    between: float
    difference: float
    p_value: float
    least_p: float
    ways: int
    networks: tuple[int, int]
    lowest_within: float
    highest_within: float
    lowest_between: float
    highest_between: float


def seed_null(similarity: np.ndarray, training: np.ndarray, seed: int = 0) -> SeedNull | None:
    """The exact permutation test of networks: `similarity` `(K, K)` is symmetric, `training` bool `(K,)` is B's.

    When all K are of one training p is uniform on its few values: the statistic of the true way is as likely to be in
    any place among those of all ways. One-sided: two trainings can only be less alike than one. None where no two
    networks are of one training, or a similarity is not defined.
    """
    training = np.asarray(training, bool)
    count, theirs = len(training), int(training.sum())
    if similarity.shape != (count, count) or not 0 < theirs < count:
        raise ValueError(
            f"the similarities are {similarity.shape} for {count - theirs} and {theirs} networks; allowed are (K, K) "
            "and at least one network of each training."
        )
    upper = np.triu_indices(count, 1)
    values, own = similarity[upper], training[upper[0]] == training[upper[1]]
    if not own.any() or np.isnan(values).any():
        return None
    ways = np.array(list(_ways(count, theirs, seed)))
    statistics = _differences(values, ways[:, upper[0]] == ways[:, upper[1]])
    seen = float(_differences(values, own[None])[0])
    exact = comb(count, theirs) <= WAYS
    as_far = int((statistics >= seen - _SLACK).sum())
    twins = 2 if 2 * theirs == count else 1  # the same ways with the letters exchanged
    p_value, least = (
        (as_far / len(ways), twins / len(ways))
        if exact
        else ((1 + as_far) / (1 + len(ways)), 1 / (1 + len(ways)))
    )
    return SeedNull(
        float(values[own].mean()),
        float(values[~own].mean()),
        seen,
        p_value,
        least,
        comb(count, theirs) // twins,
        (count - theirs, theirs),
        *(float(end) for part in (values[own], values[~own]) for end in (part.min(), part.max())),
    )


def _differences(values: np.ndarray, own: np.ndarray) -> np.ndarray:
    """Within less between `(W,)` of pairs' similarities `(P,)`; `own` bool `(W, P)` says which are within."""
    inside = own.astype(np.float64)
    within = inside @ values / inside.sum(axis=1)
    between = (1 - inside) @ values / (1 - inside).sum(axis=1)
    difference: np.ndarray = within - between
    return difference


def _ways(count: int, theirs: int, seed: int) -> Iterator[np.ndarray]:
    """Every way to say which of the networks are B's, bool `(K,)`, or `WAYS` of them drawn."""
    generator = np.random.default_rng((seed, 7))
    exact = comb(count, theirs) <= WAYS
    chosen = combinations(range(count), theirs) if exact else (None for _ in range(WAYS - 1))
    for places in chosen:
        way = np.zeros(count, bool)
        way[list(places) if places else generator.permutation(count)[:theirs]] = True
        yield way


def seeds_needed(networks: tuple[int, int], level: float = 0.05) -> int:
    """How many networks of each training, as many of both, could give a p below `level`."""
    count = max(2, *networks)
    while 2 / comb(2 * count, count) >= level:
        count += 1
    return count
