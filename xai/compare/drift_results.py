"""What rows of map drift amount to: means over images, A against B, and whether maps move before answers fall."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from xai.compare.resampling import LEVEL, Estimate, estimates, mean, resampled, sign_flip_tests
from xai.compare.sections import Table
from xai.compare.study import Facts, nan_to_none
from xai.pairwise import REAL
from xai.results import Condition
from xai.statistics import holm

MEASURES = ("spearman", "overlap", "shift", "entropy", "own_spearman", "own_overlap")
"""Of the maps on their own grid, clean against degraded; the last two for the class predicted under each condition."""
GROUPS = ("all", "kept", "changed")
"""All images, and those whose prediction is the clean one or another."""
LEAST_CHANGE = 0.02
"""The least final change of a curve whose half is looked for: less is hardly a curve."""


@dataclass(frozen=True, eq=False)
class Drifts:
    """Rows as arrays: `(2, C, N)` for A and B, the C conditions but the clean one, and N images.

    `values` float64 by measure, and `common`, the rank correlation on the common grid; NaN where a map has no such
    value. `kept`, `right` and `blank` bool; `right_clean` and `blank_clean` bool `(2, N)`.
    """

    values: dict[str, np.ndarray]
    kept: np.ndarray
    right: np.ndarray
    blank: np.ndarray
    right_clean: np.ndarray
    blank_clean: np.ndarray

    def of(self, measure: str, group: str = "all") -> np.ndarray:
        """A measure `(2, C, N)` of the images of a group, NaN for the others."""
        chosen = {"all": np.ones_like(self.kept), "kept": self.kept, "changed": ~self.kept}[group]
        return np.where(chosen, self.values[measure], np.nan)


def read(facts: Facts, drift: Table, clean: Table) -> Drifts:
    """The rows that `drift.measure` made, in whatever order they are."""
    shape = (2, len(facts.conditions) - 1, facts.images)
    place = (drift["network"], drift["condition"] - 1, drift["image"])

    def column(name: str) -> np.ndarray:
        values = drift[name]
        found = np.zeros(shape, bool) if values.dtype == bool else np.full(shape, np.nan)
        found[place] = values
        return found

    def once(name: str) -> np.ndarray:
        found = np.zeros((2, facts.images), bool)
        found[clean["network"], clean["image"]] = clean[name]
        return found

    values = {name: column(name) for name in (*MEASURES, "common")}
    kept, right, blank = (column(name) for name in ("kept", "right", "blank"))
    return Drifts(values, kept, right, blank, once("right"), once("blank"))


@dataclass(frozen=True)
class Versus:
    """A less B under one condition: rank correlation of clean and degraded map, on the common grid."""

    condition: Condition
    difference: Estimate
    p_value: float
    p_holm: float

    @property
    def real(self) -> bool:
        """Whether p, adjusted for all conditions, is below 0.05."""
        return self.p_holm < REAL


@dataclass(frozen=True)
class Lead:
    """When one network's maps and answers change as one degradation grows, of `images` right when clean.

    `drift` and `loss` are the final 1 - rank correlation and the final loss of accuracy, `half_drift` and `half_loss`
    the severities at which half of each is reached, `difference` the first less the second with its interval. NaN, with
    the `reason`, where it is not defined.
    """

    network: int
    degradation: str
    images: int
    drift: Estimate
    loss: Estimate
    half_drift: float = np.nan
    half_loss: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan
    p_holm: float = np.nan
    reason: str = ""

    @property
    def difference(self) -> float:
        """Severity of half of the drift less that of half of the loss: below 0, maps move first."""
        return self.half_drift - self.half_loss

    @property
    def order(self) -> str:
        """`before` or `after` where the interval leaves out 0 and so does Holm's test, else `open` or `undefined`."""
        if self.reason:
            return "undefined"
        if not self.p_holm < REAL or self.low <= 0 <= self.high:
            return "open"
        return "before" if self.high < 0 else "after"

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, None for what is not defined."""
        names = ("half_drift", "half_loss", "difference", "low", "high", "p_value", "p_holm")
        numbers = {name: nan_to_none(getattr(self, name)) for name in names}
        ends = {"drift": self.drift.to_json(), "loss": self.loss.to_json()}
        return {"images": self.images, **ends, **numbers, "order": self.order, "reason": self.reason}


@dataclass(frozen=True, eq=False)
class Drifted:
    """Everything that is said of drift; computed when it is asked for."""

    facts: Facts
    drifts: Drifts

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All but the clean one."""
        return self.facts.conditions[1:]

    @cached_property
    def means(self) -> dict[tuple[str, str], tuple[list[Estimate], list[Estimate]]]:
        """By measure and group, the means over images for A and for B, of every condition."""
        seed = self.facts.study.seed
        return {
            (measure, group): _both(self.drifts.of(measure, group), seed)
            for measure in MEASURES
            for group in GROUPS
        }

    @cached_property
    def versus(self) -> list[Versus]:
        """A against B under every condition, on the same images."""
        a, b = self.drifts.values["common"]
        seed, differences = self.facts.study.seed, (a - b).T
        p_values = sign_flip_tests(differences, seed).tolist()
        found = (self.conditions, estimates(differences, seed), p_values, holm(p_values))
        return [Versus(*each) for each in zip(*found, strict=True)]

    @cached_property
    def overall(self) -> Estimate:
        """A less B, the mean over all conditions under which both maps of an image can be compared."""
        a, b = self.drifts.values["common"]
        defined = np.isfinite(a - b)
        counts = defined.sum(axis=0)
        sums = np.where(defined, a - b, 0).sum(axis=0)
        values = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return mean(values, self.facts.study.seed)

    @cached_property
    def leads(self) -> list[Lead]:
        """Whether maps move before answers fall, for each network and degradation; Holm over all of these."""
        found = [self._lead(k, name) for k in (0, 1) for name in self.facts.study.degradations]
        adjusted = holm([each.p_value for each in found])
        return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]

    def places(self, degradation: str) -> list[int]:
        """The numbers of a degradation's conditions, from mild to severe."""
        return [k for k, each in enumerate(self.conditions) if each.degradation == degradation]

    def _lead(self, network: int, degradation: str) -> Lead:
        places = self.places(degradation)
        severities = [self.conditions[place].severity for place in places]
        own = self.drifts.right_clean[network]
        drift = 1 - self.drifts.values["spearman"][network, places][:, own]
        loss = ~self.drifts.right[network, places][:, own]
        return lead(network, degradation, drift.T, loss.T, severities, self.facts.study.seed)


def _both(values: np.ndarray, seed: int) -> tuple[list[Estimate], list[Estimate]]:
    found = estimates(values.reshape(-1, values.shape[-1]).T, seed)
    return found[: values.shape[1]], found[values.shape[1] :]


def lead(
    network: int,
    degradation: str,
    drift: np.ndarray,
    loss: np.ndarray,
    severities: Sequence[float],
    seed: int = 0,
) -> Lead:
    """Which of two curves reaches half of its final value first.

    `drift` and `loss` `(n, S)` are of the same images at the same S `severities` above 0; at 0 both are 0. An image
    without a drift at some severity is in neither curve. The interval and p come from resamples of the images, which
    hold both curves together; p is twice the smaller share of resamples on either side of 0.
    """
    defined = np.isfinite(drift).all(axis=1)
    both = np.concatenate([drift[defined], loss[defined]], axis=1).astype(np.float64)
    count, steps = len(both), len(severities)
    last = estimates(both[:, [steps - 1, -1]], seed) if count else [mean([])] * 2
    found = Lead(network, degradation, count, last[0], last[1], reason=_reason(last, count, steps))
    if found.reason:
        return found
    halves = (half_severity(part, severities) for part in np.split(both.mean(axis=0)[None], 2, axis=1))
    curves = np.split(resampled(both, seed), 2, axis=1)
    differences = half_severity(curves[0], severities) - half_severity(curves[1], severities)
    differences = differences[np.isfinite(differences)]
    low, high = np.quantile(differences, ((1 - LEVEL) / 2, (1 + LEVEL) / 2)).tolist()
    drifted, lost = (float(half[0]) for half in halves)
    p_value = _p_value(differences)
    return replace(found, half_drift=drifted, half_loss=lost, low=low, high=high, p_value=p_value)


def _reason(ends: Sequence[Estimate], count: int, steps: int) -> str:
    """Why halves of the curves can't be compared, empty where they can."""
    if steps < 2:
        return "there is one severity alone"
    if count < 2:
        return "fewer than two images are right when clean and have maps that can be compared"
    for what, end in zip(("the maps hardly change", "accuracy hardly falls"), ends, strict=True):
        if not (end.low > 0 and end.value >= LEAST_CHANGE):
            return what
    return ""


def _p_value(differences: np.ndarray) -> float:
    below, above = (differences <= 0).sum(), (differences >= 0).sum()
    return float(min(1.0, 2 * (1 + min(below, above)) / (1 + len(differences))))


def half_severity(curves: np.ndarray, severities: Sequence[float]) -> np.ndarray:
    """The first severity `(R,)` at which curves `(R, S)` reach half of their last value, in straight lines from 0 at
    severity 0; NaN for curves that do not end above 0."""
    values = np.concatenate([np.zeros((len(curves), 1)), curves], axis=1)
    places = np.array([0.0, *severities])
    goal = values[:, -1] / 2
    after = (values[:, 1:] >= goal[:, None]).argmax(axis=1) + 1
    rows = np.arange(len(values))
    left, right = values[rows, after - 1], values[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = places[after - 1] + (goal - left) / (right - left) * (places[after] - places[after - 1])
    return np.where(goal > 0, found, np.nan)
