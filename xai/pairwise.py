"""Two networks on the same images: differences, shared errors, and what each gains or loses when images get worse.

Answers are matched by image, whatever their order; answers to other images raise `PredictionsError` (a `ValueError`).
Shares and differences are in [0, 1] and [-1, 1], A less B. Tests speak of these two networks; what they say of the
architectures is what `against_seeds` shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product
from math import comb

import numpy as np

from xai.metrics import check_names, confusion_counts
from xai.predictions import Graded, aligned
from xai.statistics import RESAMPLES, Difference, bca_of_counts, holm, paired_difference

Cell = tuple[int, int, int, int]
"""One of the 16 kinds of image: is A right on the clean one, B on it, A on the degraded one, B on it; 1 is right."""
REAL = 0.05
"""A difference is marked as real where its p value, adjusted by Holm for all of the family, is below this."""
SMOOTHING = 0.5
"""Added to every count of a confusion matrix off its diagonal, as Jeffreys' prior does."""


@dataclass(frozen=True)
class Compared:
    """The difference of one class or condition, with its p value adjusted by Holm for the whole family."""

    name: str
    difference: Difference
    p_holm: float

    @property
    def real(self) -> bool:
        """Whether the adjusted p value is below `REAL`."""
        return self.p_holm < REAL


@dataclass(frozen=True)
class Consistency:
    """Error consistency of two networks on `images` images: `kappa` in [-1, 1] with its 95 % interval.

    `observed` is the share of images that both tell right or both wrong, `expected` that of two networks of the same
    accuracies whose errors have nothing to do with each other. Kappa and interval are None, and `reason` says why,
    where both are right about every image or both about none.
    """

    kappa: float | None
    low: float | None
    high: float | None
    observed: float
    expected: float
    images: int
    reason: str = ""


@dataclass(frozen=True)
class AgainstSeeds:
    """The difference between two architectures beside the differences between seeds of one.

    `difference` is the mean accuracy of A's seeds less that of B's, `between` every seed of A less every one of B,
    `within_a` and `within_b` the absolute differences of every two seeds of one architecture, all in [-1, 1].
    `largest_within` and `exceeds` (whether the difference is larger than it) are None where neither has two seeds.
    `p_value` is that of shuffling the seeds between the two, `least_p` the smallest that so few seeds can give, both
    None where a side has one seed only. `sentence` says it in words.
    """

    difference: float
    between: tuple[float, ...]
    within_a: tuple[float, ...]
    within_b: tuple[float, ...]
    largest_within: float | None
    exceeds: bool | None
    p_value: float | None
    least_p: float | None
    sentence: str = ""


def compare(a: Graded, b: Graded, seed: int = 0) -> Difference:
    """Accuracy of A less that of B: paired bootstrap interval, exact McNemar p (see `paired_difference`)."""
    return paired_difference(a.correct, aligned(a, b).correct, seed)


def family(differences: Mapping[str, Difference]) -> list[Compared]:
    """Differences that are looked at together, each with its p value adjusted for their number (Holm 1979)."""
    adjusted = holm([difference.p_value for difference in differences.values()])
    return [Compared(name, found, p) for (name, found), p in zip(differences.items(), adjusted, strict=True)]


def class_differences(a: Graded, b: Graded, names: Sequence[str], seed: int = 0) -> list[Compared]:
    """A less B on the images of each class that has any, in the order of the classes, Holm over the classes."""
    check_names(a.labels, names)
    ours, theirs = a.correct, aligned(a, b).correct
    rows = {names[k]: a.labels == k for k in np.unique(a.labels)}
    return family({name: paired_difference(ours[own], theirs[own], seed) for name, own in rows.items()})


def condition_differences(pairs: Mapping[str, tuple[Graded, Graded]], seed: int = 0) -> list[Compared]:
    """A less B under each condition, Holm over the conditions; `pairs` gives the answers of A and B by condition."""
    return family({name: compare(a, b, seed) for name, (a, b) in pairs.items()})


def mean_difference(pairs: Mapping[str, tuple[Graded, Graded]], seed: int = 0) -> Difference:
    """A less B averaged over all conditions, which must be of the same images.

    Images are resampled with all their conditions together (BCa bootstrap), and p is that of giving each image's
    mean difference a random sign, from `RESAMPLES` draws: it is never below 1 / (`RESAMPLES` + 1).
    """
    if not pairs:
        raise ValueError("a mean over conditions needs at least one condition.")
    first = next(iter(pairs.values()))[0]
    rights = [[aligned(first, rows).correct for rows in pair] for pair in pairs.values()]
    ours, theirs = np.asarray(rights, np.int64).sum(axis=0)
    per_image = ours - theirs
    values, counts = np.unique(per_image, return_counts=True)
    low, high = bca_of_counts(values / len(pairs), counts, seed)
    mean = float(per_image.mean() / len(pairs))
    return Difference(mean, low, high, _sign_flips(values, counts, seed), len(per_image))


def _sign_flips(values: np.ndarray, counts: np.ndarray, seed: int) -> float:
    """Two-sided p of the sum of whole numbers when each may as well have the other sign (Monte Carlo)."""
    sizes, places = np.unique(np.abs(values), return_inverse=True)
    number = np.bincount(places, counts).astype(np.int64)
    plus = np.random.default_rng((seed, 1)).binomial(number, 0.5, (RESAMPLES, len(number)))
    sums = (2 * plus - number) @ sizes
    return float((1 + (np.abs(sums) >= abs(values @ counts)).sum()) / (1 + RESAMPLES))


def error_consistency(a: Graded, b: Graded, seed: int = 0) -> Consistency:
    """Kappa of the two networks' errors (Geirhos, Meding & Wichmann, NeurIPS 2020), with a bootstrap interval.

    kappa = (c_obs - c_exp) / (1 - c_exp), c_exp = p_a p_b + (1 - p_a)(1 - p_b): Cohen's kappa of who is right about
    what (`sklearn.metrics.cohen_kappa_score`). 1: the same errors, 0: as many in common as chance gives, below 0:
    fewer. The interval is the 2.5 and 97.5 percentile over `RESAMPLES` resamples of the images, without those of
    which kappa is undefined.
    """
    ours, theirs = a.correct, aligned(a, b).correct
    cells = np.bincount(2 * ours + theirs, minlength=4)
    observed, expected, kappa = (float(value[0]) for value in _kappa(cells[None]))
    if np.isnan(kappa):
        told = "every image" if cells[3] else "no image"
        reason = (
            f"both networks are right about {told}, so that nothing is left to agree on by more than chance."
        )
        return Consistency(None, None, None, observed, expected, len(a), reason)
    drawn = np.random.default_rng(seed).multinomial(len(a), cells / len(a), RESAMPLES)
    low, high = np.nanquantile(_kappa(drawn)[2], (0.025, 0.975))
    return Consistency(kappa, float(low), float(high), observed, expected, len(a))


def _kappa(cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Observed and expected agreement and kappa `(R,)` of counts `(R, 4)`: both wrong, only B, only A, both right."""
    images = cells.sum(axis=1)
    a, b = (cells[:, 2] + cells[:, 3]) / images, (cells[:, 1] + cells[:, 3]) / images
    observed, expected = (cells[:, 0] + cells[:, 3]) / images, a * b + (1 - a) * (1 - b)
    agreed = (cells[:, [0, 3]] == images[:, None]).any(axis=1)
    gain = np.where(agreed, np.nan, 1 - expected)
    return observed, expected, (observed - expected) / gain


def transitions(a_clean: Graded, b_clean: Graded, a_degraded: Graded, b_degraded: Graded) -> np.ndarray:
    """Which kind each image is of, int64 `(N,)` in 0 to 15, in the order of `a_clean`'s images.

    The four answers are right (1) or wrong (0): 8 x A clean + 4 x B clean + 2 x A degraded + 1 x B degraded.
    """
    others = (aligned(a_clean, rows) for rows in (b_clean, a_degraded, b_degraded))
    kinds = np.zeros(len(a_clean), np.int64)
    for rows in (a_clean, *others):
        kinds = 2 * kinds + rows.correct
    return kinds


def transition_table(kinds: np.ndarray) -> np.ndarray:
    """How many images are of each of the 16 kinds that `transitions` gives, int64 `(2, 2, 2, 2)`, with the sum N.

    The axes are A clean, B clean, A degraded, B degraded; index 1 is right: `[1, 1, 1, 0]` counts the images that
    only B loses.
    """
    return np.bincount(kinds, minlength=16).reshape(2, 2, 2, 2)


def images_of(kinds: np.ndarray, cell: Cell) -> np.ndarray:
    """Rows of the images of one cell of the transition table, rising, int64 `(n,)`; `a_clean.ids` has their ids.

    Raises `ValueError` unless the cell is four numbers, each 0 or 1.
    """
    if len(cell) != 4 or not set(cell) <= {0, 1}:
        raise ValueError(f"the cell is {cell}; allowed are four numbers, each 0 (wrong) or 1 (right).")
    return np.flatnonzero(kinds == np.ravel_multi_index(cell, (2, 2, 2, 2)))


def confusion_distance(a: Graded, b: Graded, classes: int) -> float | None:
    """How differently two networks confuse the classes: 0 for the same confusions, at most 1; symmetric.

    The mean, over the classes that have images, of the Jensen-Shannon divergence in bits (scipy) of the two rows of
    confusion counts, of which the diagonal is removed and to whose every other count `SMOOTHING` is added. So a row
    says what a class is mistaken for, not how often, and rows of few errors differ little. Two samples of errors of
    one network are not at 0 either: set the distance beside that of two seeds. None for fewer than 3 classes, where a
    class can only be mistaken for the other. Raises `ValueError` as `confusion_counts` does.
    """
    from scipy.spatial.distance import jensenshannon

    if classes < 3:
        return None
    ours, theirs = (_mistakes(rows, classes) for rows in (a, aligned(a, b)))
    with_images = np.unique(a.labels)
    distances = jensenshannon(ours[with_images], theirs[with_images], base=2, axis=1)
    return float(np.mean(distances**2))


def _mistakes(predictions: Graded, classes: int) -> np.ndarray:
    """Smoothed counts of the wrong answers by true class, float64 `(K, K - 1)`."""
    counts = confusion_counts(predictions, classes)
    return counts[~np.eye(classes, dtype=bool)].reshape(classes, classes - 1) + SMOOTHING


def against_seeds(
    a: Sequence[Graded], b: Sequence[Graded], names: tuple[str, str] = ("A", "B")
) -> AgainstSeeds:
    """Whether two architectures differ by more than two seeds of one do: `a` and `b` are the answers of their seeds.

    The null is every difference of accuracy between two seeds of the same architecture. p is the exact two-sided
    permutation test of the difference of means (`scipy.stats.permutation_test`; beyond 10,000 ways to share the seeds
    out, that many drawn). Raises `ValueError` when a side has no seed, or the images are not the same.
    """
    if not a or not b:
        raise ValueError(f"there are {len(a)} and {len(b)} seeds; allowed are at least one of each.")
    ours, theirs = ([aligned(a[0], rows).accuracy for rows in side] for side in (a, b))
    within_a, within_b = (tuple(abs(x - y) for x, y in combinations(side, 2)) for side in (ours, theirs))
    largest = max((*within_a, *within_b), default=None)
    difference = float(np.mean(ours) - np.mean(theirs))
    found = AgainstSeeds(
        difference=difference,
        between=tuple(x - y for x, y in product(ours, theirs)),
        within_a=within_a,
        within_b=within_b,
        largest_within=largest,
        exceeds=None if largest is None else abs(difference) > largest,
        p_value=None,
        least_p=None,
    )
    if min(len(a), len(b)) > 1:
        p_value, least = _permutation(ours, theirs)
        found = replace(found, p_value=p_value, least_p=least)
    return replace(found, sentence=_in_words(found, names, (len(a), len(b))))


def _permutation(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """p of the difference of means, and the least that so many values can give."""
    from scipy.stats import permutation_test

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return x.mean(axis=axis) - y.mean(axis=axis)

    found = permutation_test((ours, theirs), difference, vectorized=True, n_resamples=RESAMPLES, rng=0)
    return float(found.pvalue), 2 / min(comb(len(ours) + len(theirs), len(ours)), RESAMPLES + 1)


def _in_words(found: AgainstSeeds, names: tuple[str, str], seeds: tuple[int, int]) -> str:
    higher, lower = names if found.difference >= 0 else names[::-1]
    start = (
        f"{higher} is {100 * abs(found.difference):.2f} points above {lower} "
        f"({seeds[0]} and {seeds[1]} seeds of {names[0]} and {names[1]}), "
    )
    if found.largest_within is None:
        return start + "and with one seed each nothing says how much two seeds of one architecture differ."
    pairs = len(found.within_a) + len(found.within_b)
    null = (
        f"{'more' if found.exceeds else 'no more'} than two seeds of one architecture do, "
        f"{100 * found.largest_within:.2f} at most in {pairs} pair{'s' if pairs > 1 else ''}"
    )
    if found.p_value is None:
        return f"{start}{null}."
    return (
        f"{start}{null}; shuffling the seeds gives p = {found.p_value:.2g}, "
        f"and can't give less than {found.least_p:.2g} with so many."
    )
