"""Whether maps move before accuracy falls: where two curves over severity reach half of their last value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xai.compare.resampling import LEVEL, Estimate, estimates, mean, resampled
from xai.compare.study import nan_to_none
from xai.pairwise import REAL

LEAST_CHANGE = 0.02
"""The least final change of a curve whose half is looked for: less is hardly a curve."""
RESOLUTION = 0.25
"""Levels that the halves of two curves must lie apart for an order to be told. Between severities the curves are not
known: with three levels both halves mostly lie between the same two, where straight lines decide which is first."""


@dataclass(frozen=True)
class Lead:
    """When one network's maps and accuracy change as one degradation grows, over `images`; `left` have a constant map.

    `drift` and `loss` are the final 1 - rank correlation and the final loss of accuracy, `half_drift` and `half_loss`
    the severities at which half of each is reached, `difference` the first less the second with its interval. NaN, with
    the `reason`, where it is not defined.
    """

    network: int
    degradation: str
    images: int
    left: int
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
        """`before` or `after` where the interval leaves out 0, so does Holm's test, and the halves are `RESOLUTION` or
        more apart; `close` where they are not, `open` where no order is shown, else `undefined`."""
        if self.reason:
            return "undefined"
        if not self.p_holm < REAL or self.low <= 0 <= self.high:
            return "open"
        if abs(self.difference) < RESOLUTION:
            return "close"
        return "before" if self.high < 0 else "after"

    def to_json(self) -> dict[str, Any]:
        """As JSON has it, None for what is not defined."""
        names = ("half_drift", "half_loss", "difference", "low", "high", "p_value", "p_holm")
        numbers = {name: nan_to_none(getattr(self, name)) for name in names}
        ends = {"drift": self.drift.to_json(), "loss": self.loss.to_json()}
        counts = {"images": self.images, "left": self.left}
        return {**counts, **ends, **numbers, "order": self.order, "reason": self.reason}


def lead(
    network: int,
    degradation: str,
    drift: np.ndarray,
    loss: np.ndarray,
    severities: Sequence[float],
    seed: int = 0,
) -> Lead:
    """Which of two curves reaches half of its final value first.

    `drift` and `loss` `(n, S)` are of the same images at the same S `severities` above 0; at 0 both are 0. A loss is 1
    for an answer that was right when clean and is wrong, -1 for one that has become right. An image without a drift at
    some severity is in neither curve. The interval and p come from resamples of the images, which hold both curves
    together; p is twice the smaller share of resamples on either side of 0. All of it takes the curves for straight
    lines between the severities.
    """
    defined = np.isfinite(drift).all(axis=1)
    both = np.concatenate([drift[defined], loss[defined]], axis=1).astype(np.float64)
    count, steps = len(both), len(severities)
    last = estimates(both[:, [steps - 1, -1]], seed) if count else [mean([])] * 2
    left, reason = len(defined) - count, _reason(last, count, steps)
    found = Lead(network, degradation, count, left, last[0], last[1], reason=reason)
    if reason:
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
        return "fewer than two images have maps that can be compared"
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
