"""Where answers first change along a path: a coarse scan, then halving of the first step whose end has changed.

Answers need not be monotone along a path, so halving alone could miss the first change: the scan sees every change that
lasts for one of its steps, and what changes and changes back within a step is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Ask = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""`ask(rows, severities)`, both `(k,)`, gives the answers `(k,)` of those images at those severities, as numbers."""


@dataclass(frozen=True)
class Changes:
    """Of n images: the answer is the first one at `before` and another one, `answer`, at `after`, float64 `(n,)`.

    Where no answer of the scan differs, `after` is NaN, `before` the end of the path and `answer` the first one.
    `returns` int64 `(n,)` counts the scan's later places at which the first answer is back.
    """

    before: np.ndarray
    after: np.ndarray
    answer: np.ndarray
    returns: np.ndarray

    @property
    def changed(self) -> np.ndarray:
        """Whether there is a change, bool `(n,)`."""
        return ~np.isnan(self.after)


def places(highest: float, step: float) -> np.ndarray:
    """Severities of the scan, from 0 to `highest` in steps of `step` or a little less, float64 `(k,)`."""
    return np.linspace(0, highest, int(np.ceil(highest / step - 1e-9)) + 1)


def first_changes(severities: np.ndarray, answers: np.ndarray, ask: Ask, tolerance: float) -> Changes:
    """First changes of n images from the answers `(k, n)` of a scan at ascending `severities` `(k,)`.

    The first row has the answers that later ones are compared with. The step before the first change is halved, all
    images at once, until it is no longer than `tolerance`.
    """
    found = _of_scan(severities, answers)
    while len(wide := np.flatnonzero(found.after - found.before > tolerance)):
        middle = (found.before[wide] + found.after[wide]) / 2
        given = ask(wide, middle)
        changed = given != answers[0, wide]
        found.before[wide[~changed]] = middle[~changed]
        found.after[wide[changed]] = middle[changed]
        found.answer[wide[changed]] = given[changed]
    return found


def _of_scan(severities: np.ndarray, answers: np.ndarray) -> Changes:
    other = answers != answers[0]
    changed, images = other.any(axis=0), np.arange(answers.shape[1])
    first = np.where(changed, other.argmax(axis=0), len(answers) - 1)
    back = ~other & (np.arange(len(answers))[:, None] > first)
    return Changes(
        np.where(changed, severities[first - 1], severities[-1]),
        np.where(changed, severities[first], np.nan),
        answers[first, images],
        back.sum(axis=0),
    )
