"""The images that examples are chosen from: what is known of each, and where it lies within its class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xai.attribution_types import ExplanationError
from xai.compare.answers import UNKNOWN
from xai.compare.sections import Measured
from xai.compare.study import Facts, of_degradation
from xai.results import Condition

QUANTITIES = {
    "confidence_a": "confidence of A",
    "confidence_b": "confidence of B",
    "drift_a": "drift of A",
    "drift_b": "drift of B",
    "agreement": "agreement of A and B",
}
"""What an example's percentiles are of. Confidence is the probability of the clean answer in [0, 1], drift 1 - rank
correlation of the clean and the degraded map in [0, 2], agreement the rank correlation of A's and B's clean maps on
their common grid in [-1, 1], where A and B give the same answer: maps of two classes are not to be compared."""
SIDES = ("a", "b")


@dataclass(frozen=True, eq=False)
class Pool:
    """N images, one drift of which is that under `condition` (None: there is no degradation, and drift is NaN).

    `values` float `(N,)` by the names of `QUANTITIES`, NaN where undefined; `clean` and `degraded` are answers
    `(N,)` by side, numbers of `classes` or `UNKNOWN`.
    """

    classes: tuple[str, ...]
    condition: Condition | None
    ids: np.ndarray
    labels: np.ndarray
    values: Mapping[str, np.ndarray]
    clean: Mapping[str, np.ndarray]
    degraded: Mapping[str, np.ndarray]

    def __len__(self) -> int:
        return len(self.labels)

    @cached_property
    def percentiles(self) -> dict[str, np.ndarray]:
        """Where each image lies within its class, `(N,)` in (0, 100), by the names of `QUANTITIES`."""
        return {name: percentiles(values, self.labels) for name, values in self.values.items()}

    def defined(self, name: str, label: int) -> int:
        """How many images of a class have that quantity."""
        return int((~np.isnan(self.values[name][self.labels == label])).sum())

    @property
    def one_answer(self) -> np.ndarray:
        """Where A and B name the same class on the clean image, bool `(N,)`: only there agreement is defined."""
        return same_class(self.clean["a"], self.clean["b"])

    def answer(self, number: int) -> str:
        """An answer in words."""
        return "a class that only the network knows" if number == UNKNOWN else self.classes[number]


def same_class(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Where two answers `(N,)` are one class of the dataset, bool `(N,)`."""
    same: np.ndarray = (a == b) & (a != UNKNOWN)
    return same


def percentiles(values: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mid-rank percentile of each value among those of its group, `(N,)` in (0, 100); NaN stays NaN.

    100 (values below + half of those that are equal, itself among them) / n: 50 for the middle one and for a value that
    all share, and 50 on average.
    """
    from scipy.stats import rankdata

    found = np.full(len(values), np.nan)
    for group in np.unique(groups):
        own = np.flatnonzero((groups == group) & ~np.isnan(values))
        if len(own):
            found[own] = 100 * (rankdata(values[own]) - 0.5) / len(own)
    return found


def default_condition(facts: Facts) -> Condition | None:
    """The highest severity of the first degradation, None where the study has none."""
    names = facts.study.degradations
    return of_degradation(facts.study, names[0])[-1] if names else None


def pool_of(facts: Facts, rows: Measured, condition: Condition | None = None) -> Pool:
    """The pool with drift under `condition`, a highest severity of the study (None: that of its first degradation).

    Raises `ExplanationError` for another condition.
    """
    wanted = condition or default_condition(facts)
    images, order = rows["images"], np.argsort(rows["images"]["image"])
    images = {name: column[order] for name, column in images.items()}
    drifts = {f"drift_{side}": np.full(len(order), np.nan) for side in SIDES}
    degraded = {side: images[f"predicted_{side}"] for side in SIDES}
    if wanted is not None:
        part = _under(facts, rows, wanted)
        drifts = {name: part[name] for name in drifts}
        degraded = {side: part[f"predicted_{side}"] for side in SIDES}
    clean = {side: images[f"predicted_{side}"] for side in SIDES}
    images["agreement"] = np.where(same_class(clean["a"], clean["b"]), images["agreement"], np.nan)
    return Pool(
        facts.classes,
        wanted,
        images["id"],
        images["label"].astype(np.int64),
        {name: (drifts if name in drifts else images)[name].astype(np.float64) for name in QUANTITIES},
        clean,
        degraded,
    )


def _under(facts: Facts, rows: Measured, condition: Condition) -> dict[str, np.ndarray]:
    """The rows of one condition, in the order of the images."""
    table = rows["degraded"]
    places = {facts.conditions[number]: number for number in np.unique(table["condition"])}
    if condition not in places:
        allowed = ", ".join(each.words for each in places)
        raise ExplanationError(f"There are no examples under {condition.words}; allowed are {allowed}.")
    own = np.flatnonzero(table["condition"] == places[condition])
    own = own[np.argsort(table["image"][own])]
    return {name: column[own] for name, column in table.items()}
