"""What rows of map drift amount to: means over images, A against B, and whether maps move before accuracy falls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from xai.compare.drift_leads import Lead, lead
from xai.compare.phrases import share
from xai.compare.resampling import Estimate, estimates, mean, sign_flip_tests
from xai.compare.sections import Table
from xai.compare.study import Facts
from xai.metrics import Share
from xai.pairwise import REAL
from xai.results import Condition
from xai.statistics import holm

MEASURES = ("spearman", "overlap", "shift", "entropy", "own_spearman", "own_overlap")
"""Of the maps on their own grid, clean against degraded; the last two for the class predicted under each condition."""
COMMON = ("common", "hirescam")
"""Rank correlations on the common grid, of the study's method and of HiResCAM."""
GROUPS = ("all", "kept", "changed")
"""All images, and those whose prediction is the clean one or another."""


@dataclass(frozen=True, eq=False)
class Drifts:
    """Rows as arrays: `(2, C, N)` for A and B, the C conditions but the clean one, and N images.

    `values` float64 by measure, and by `COMMON`; NaN where a map has no such value. `kept`, `same`, `right` and `blank`
    bool; `right_clean` and `blank_clean` bool `(2, N)`.
    """

    values: dict[str, np.ndarray]
    kept: np.ndarray
    same: np.ndarray
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

    values = {name: column(name) for name in (*MEASURES, *COMMON)}
    kept, same, right, blank = (column(name) for name in ("kept", "same", "right", "blank"))
    return Drifts(values, kept, same, right, blank, once("right"), once("blank"))


@dataclass(frozen=True)
class Versus:
    """A less B under one condition: rank correlation of clean and degraded map, on the common grid."""

    condition: Condition
    difference: Estimate
    p_value: float
    p_holm: float

    @property
    def real(self) -> bool:
        """Whether p, adjusted for all conditions that change anything, is below 0.05."""
        return self.p_holm < REAL

    @property
    def sign(self) -> int:
        """-1 where A's maps are shown to move further, 1 where B's are, 0 where no difference is shown."""
        return int(np.sign(self.difference.value)) if self.real else 0


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
    def moving(self) -> list[int]:
        """The numbers of the conditions that change the answer to an image or its map, of either network."""
        return np.flatnonzero(~self.drifts.same.all(axis=(0, 2))).tolist()

    @property
    def idle(self) -> list[Condition]:
        """The conditions that leave every image as it is, as a blur of less than a pixel."""
        return [each for place, each in enumerate(self.conditions) if place not in self.moving]

    @cached_property
    def versus(self) -> list[Versus]:
        """A against B under every condition that changes anything, on the same images; Holm over all of these."""
        return self._versus("common")

    @cached_property
    def hirescam(self) -> list[Versus]:
        """The same of HiResCAM's maps, a family of its own; none where these are the study's."""
        return [] if self.facts.study.method == "hirescam" else self._versus("hirescam")

    def _versus(self, name: str) -> list[Versus]:
        a, b = self.drifts.values[name][:, self.moving]
        seed, differences = self.facts.study.seed, (a - b).T
        p_values = sign_flip_tests(differences, seed).tolist()
        conditions = [self.conditions[place] for place in self.moving]
        found = (conditions, estimates(differences, seed), p_values, holm(p_values))
        return [Versus(*each) for each in zip(*found, strict=True)]

    @cached_property
    def overall(self) -> Estimate:
        """A less B, the mean over those of these conditions under which both maps of an image can be compared."""
        return self._overall("common")

    @cached_property
    def overall_hirescam(self) -> Estimate:
        """The same of HiResCAM's maps."""
        return self._overall("hirescam")

    def _overall(self, name: str) -> Estimate:
        a, b = self.drifts.values[name][:, self.moving]
        defined = np.isfinite(a - b)
        counts = defined.sum(axis=0)
        sums = np.where(defined, a - b, 0).sum(axis=0)
        values = np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return mean(values, self.facts.study.seed)

    @cached_property
    def leads(self) -> list[Lead]:
        """Whether maps move before accuracy falls, for each network and degradation; Holm over all of these."""
        found = [self._lead(k, name) for k in (0, 1) for name in self.facts.study.degradations]
        adjusted = holm([each.p_value for each in found])
        return [replace(each, p_holm=p) for each, p in zip(found, adjusted, strict=True)]

    def accuracy(self, network: int, place: int) -> Share | None:
        """The share of right answers of a network under a condition; -1 for the clean images."""
        drifts = self.drifts
        return share("", drifts.right_clean[network] if place < 0 else drifts.right[network, place])

    def kept(self, network: int, place: int) -> Share | None:
        """The share of images whose prediction is the clean one."""
        return share("", self.drifts.kept[network, place])

    def places(self, degradation: str) -> list[int]:
        """The numbers of a degradation's conditions, from mild to severe."""
        return [k for k, each in enumerate(self.conditions) if each.degradation == degradation]

    def _lead(self, network: int, degradation: str) -> Lead:
        places = self.places(degradation)
        severities = [self.conditions[place].severity for place in places]
        drift = 1 - self.drifts.values["spearman"][network, places]
        loss = self.drifts.right_clean[network].astype(int) - self.drifts.right[network, places]
        return lead(network, degradation, drift.T, loss.T, severities, self.facts.study.seed)


def _both(values: np.ndarray, seed: int) -> tuple[list[Estimate], list[Estimate]]:
    found = estimates(values.reshape(-1, values.shape[-1]).T, seed)
    return found[: values.shape[1]], found[values.shape[1] :]
