"""What the folds of a cross-validation say together: means, corrected tests, and sentences."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from xai.statistics import TTest, corrected_resampled_t, holm, naive_paired_t


@dataclass(frozen=True)
class FoldResult:
    """One fold of one architecture; `accuracy` is the share of the `n_test` held-out images told right, in [0, 1]."""

    architecture: str
    fold: int
    seed: int
    n_train: int
    n_test: int
    accuracy: float


@dataclass(frozen=True)
class Pair:
    """How much better A does than B (shares of 1): the corrected test, its p after Holm, and the naive test."""

    a: str
    b: str
    corrected: TTest
    p_holm: float
    naive: TTest


@dataclass(frozen=True)
class CrossValidation:
    """What a cross-validation found: all folds, the mean accuracy of each architecture, and every pair.

    `notes` are sentences about images that were left out.
    """

    dataset: str
    results: tuple[FoldResult, ...]
    means: dict[str, TTest]
    pairs: tuple[Pair, ...]
    notes: tuple[str, ...] = ()


def summarise(dataset: str, results: Sequence[FoldResult]) -> CrossValidation:
    """Mean accuracy of every architecture and every pair's difference, from all folds of all architectures.

    The intervals and tests are the corrected ones; of the means only the interval says something.
    """
    by_name: dict[str, list[FoldResult]] = {}
    for result in results:
        by_name.setdefault(result.architecture, []).append(result)
    first = next(iter(by_name.values()))
    sizes = sum(result.n_train for result in first), sum(result.n_test for result in first)
    accuracies = {name: np.array([result.accuracy for result in rows]) for name, rows in by_name.items()}
    means = {name: corrected_resampled_t(values, *sizes) for name, values in accuracies.items()}
    compared = [(a, b, accuracies[a] - accuracies[b]) for a, b in itertools.combinations(accuracies, 2)]
    tests = [corrected_resampled_t(differences, *sizes) for _a, _b, differences in compared]
    adjusted = holm([test.p_value for test in tests])
    pairs = tuple(
        Pair(a, b, test, p_holm, naive_paired_t(differences))
        for (a, b, differences), test, p_holm in zip(compared, tests, adjusted, strict=True)
    )
    return CrossValidation(dataset, tuple(results), means, pairs)


def sentences(found: CrossValidation) -> Iterator[str]:
    """What was found, in percent and percentage points, a sentence for each note, each architecture and each pair."""
    yield from found.notes
    for name, mean in found.means.items():
        yield f"{name}: {100 * mean.mean:.2f} % over {mean.folds} folds{_interval(mean)}."
    for pair in found.pairs:
        test, naive = pair.corrected, pair.naive
        numbers = (
            "" if math.isnan(test.t) else f", t({test.folds - 1}) = {test.t:.2f}, p = {test.p_value:.3g}"
        )
        numbers += f", {pair.p_holm:.3g} after Holm" if len(found.pairs) > 1 and numbers else ""
        yield f"{pair.a} less {pair.b}: {100 * test.mean:+.2f} points{_interval(test)}{numbers}."
        if naive.high > naive.low:
            ratio = (test.high - test.low) / (naive.high - naive.low)
            yield f"  A t-test that takes the folds for independent has an interval {ratio:.1f} times too narrow."


def _interval(test: TTest) -> str:
    if math.isnan(test.low):
        return " (all folds alike: no interval)"
    return f" (95 % interval {100 * test.low:.2f} to {100 * test.high:.2f})"
