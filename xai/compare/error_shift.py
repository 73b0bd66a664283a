"""How far a degradation moves what the images of a class are called, and whether it moves A's answers as it moves B's.

The answers to a class's images are a distribution over the classes, the right one among them: a row of the confusion
matrix. `SMOOTHING` is added to every count, and the Jensen-Shannon divergence of the clean and the degraded row is in
bits, 0 for the same answers and at most 1. Both tests swap answers within images, so they are paired.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from xai.compare.answers import FEW_IMAGES, UNKNOWN
from xai.pairwise import SMOOTHING
from xai.statistics import holm

DRAWS = 9_999
RESAMPLES = 2_000
Pair = tuple[np.ndarray, np.ndarray]
"""Answers of one network to the images of one class, clean and degraded, int64 `(n,)` in [0, K)."""


@dataclass(frozen=True)
class Shift:
    """How far one class's answers moved: `value` in bits with the 2.5 and 97.5 percentile of resampled images.

    `chance` is the mean divergence when clean and degraded answers are swapped at random within images: what so few
    images give of themselves, as a divergence is never below 0. `gains` is the class named more often than before by
    the most images, `gained` the share of the class's images by which. All but `name` and `images` are NaN, and
    `gains` is empty, for a class with fewer than `FEW_IMAGES` images.
    """

    name: str
    images: int
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    chance: float = np.nan
    p_value: float = np.nan
    p_holm: float = np.nan
    gains: str = ""
    gained: float = np.nan


@dataclass(frozen=True)
class Versus:
    """The shift of A less that of B in bits, with its interval; `p_value` is that of networks that are exchangeable."""

    name: str
    images: int
    value: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan
    p_holm: float = np.nan


@dataclass(frozen=True)
class Shifts:
    """Of all classes in order: how far the answers of A and of B moved, and A less B. Holm over the classes of each."""

    a: tuple[Shift, ...]
    b: tuple[Shift, ...]
    versus: tuple[Versus, ...]


def divergence(first: np.ndarray, second: np.ndarray, classes: int) -> np.ndarray:
    """Jensen-Shannon divergence in bits of counts `(..., u)` of the `u` of `classes` answers that occur at all.

    Both are of as many images, so that answers that occur on neither side have the same smoothed share on both, and add
    nothing.
    """
    p, q = (counts + SMOOTHING for counts in (first, second))
    p, q = (
        part / (part.sum(axis=-1, keepdims=True) + SMOOTHING * (classes - p.shape[-1])) for part in (p, q)
    )
    middle = (p + q) / 2
    found: np.ndarray = (p * np.log2(p / middle) + q * np.log2(q / middle)).sum(axis=-1) / 2
    return found


def shifts(labels: np.ndarray, a: Pair, b: Pair, names: Sequence[str], seed: int = 0) -> Shifts:
    """How far the answers to each class moved; `a` and `b` are answers to all N images, `UNKNOWN` among them.

    Raises `ValueError` when the four are not of the same images.
    """
    if len({len(each) for each in (labels, *a, *b)}) != 1:
        raise ValueError("the answers are not all of the same images.")
    # One more kind of answer, where there is one that no class of the dataset has.
    others = any((each == UNKNOWN).any() for each in (*a, *b))
    titles = (*names, "a class that only the network knows") if others else tuple(names)
    sides: tuple[list[Shift], list[Shift]] = ([], [])
    versus = []
    for number, name in enumerate(names):
        own = np.flatnonzero(labels == number)
        pairs = [(first[own] % len(titles), second[own] % len(titles)) for first, second in (a, b)]
        for side, pair in zip(sides, pairs, strict=True):
            side.append(_shift(name, pair, titles, (seed, number)))
        versus.append(_versus(name, pairs[0], pairs[1], len(titles), (seed, number)))
    return Shifts(tuple(_adjusted(sides[0])), tuple(_adjusted(sides[1])), tuple(_adjusted_versus(versus)))


def _adjusted(found: Sequence[Shift]) -> list[Shift]:
    adjusted = holm([each.p_value for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def _adjusted_versus(found: Sequence[Versus]) -> list[Versus]:
    adjusted = holm([each.p_value for each in found])
    return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]


def _shift(name: str, pair: Pair, titles: Sequence[str], seed: tuple[int, int]) -> Shift:
    if len(pair[0]) < FEW_IMAGES:
        return Shift(name, len(pair[0]))
    answers, kinds, counts = _kinds(np.stack(pair))
    used, classes = len(answers), len(titles)
    seen = [np.bincount(kinds[:, side], counts, used) for side in range(2)]
    value = float(divergence(seen[0], seen[1], classes))
    swapped = np.random.default_rng((*seed, 1)).binomial(counts, 0.5, (DRAWS, len(counts)))
    moved = swapped @ (np.eye(used)[kinds[:, 1]] - np.eye(used)[kinds[:, 0]])
    null = divergence(seen[0] + moved, seen[1] - moved, classes)
    low, high = np.quantile(_resampled(kinds, counts, used, classes, seed), (0.025, 0.975))
    gains = (seen[1] - seen[0]) / counts.sum()
    place = int(gains.argmax())
    p_value = (1 + int((null >= value - 1e-12).sum())) / (1 + DRAWS)
    return Shift(
        name,
        len(pair[0]),
        value,
        float(low),
        float(high),
        float(null.mean()),
        p_value,
        gains=titles[answers[place]] if gains[place] > 0 else "",
        gained=float(gains[place]),
    )


def _kinds(columns: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Answers that occur, the different columns of `(c, n)` as places among these `(T, c)`, and how often each is."""
    answers, places = np.unique(columns, return_inverse=True)
    kinds, counts = np.unique(places.reshape(columns.shape).T, axis=0, return_counts=True)
    return answers, kinds, counts


def _resampled(
    kinds: np.ndarray, counts: np.ndarray, used: int, classes: int, seed: tuple[int, ...]
) -> np.ndarray:
    """The divergence in resamples of the images `(RESAMPLES,)`: the first two columns of `kinds` are the answers."""
    total = int(counts.sum())
    drawn = np.random.default_rng(seed).multinomial(total, counts / total, RESAMPLES)
    first, second = (drawn @ np.eye(used)[kinds[:, side]] for side in range(2))
    return divergence(first, second, classes)


def _versus(name: str, a: Pair, b: Pair, classes: int, seed: tuple[int, int]) -> Versus:
    if len(a[0]) < FEW_IMAGES:
        return Versus(name, len(a[0]))
    answers, kinds, counts = _kinds(np.stack([*a, *b]))
    used = len(answers)
    ones = np.eye(used)[kinds]  # (T, 4, u): A clean, A degraded, B clean, B degraded
    seen = [counts @ ones[:, side] for side in range(4)]
    value = float(divergence(seen[0], seen[1], classes) - divergence(seen[2], seen[3], classes))
    swapped = np.random.default_rng((*seed, 2)).binomial(counts, 0.5, (DRAWS, len(counts)))
    clean, degraded = (swapped @ (ones[:, side + 2] - ones[:, side]) for side in range(2))
    null = divergence(seen[0] + clean, seen[1] + degraded, classes)
    null -= divergence(seen[2] - clean, seen[3] - degraded, classes)
    ours, theirs = (
        _resampled(kinds[:, side : side + 2], counts, used, classes, (*seed, 3)) for side in (0, 2)
    )
    low, high = np.quantile(ours - theirs, (0.025, 0.975))
    p_value = (1 + int((np.abs(null) >= abs(value) - 1e-12).sum())) / (1 + DRAWS)
    return Versus(name, len(a[0]), value, float(low), float(high), p_value)
