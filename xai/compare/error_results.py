"""What the answers of two networks say about their errors, in numbers: everything that is told is computed here."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from xai import metrics, pairwise
from xai.compare import answers, error_seeds, error_shift, resampling
from xai.compare.answers import Answered
from xai.compare.error_seeds import SeedsNull
from xai.compare.error_shift import Shifts
from xai.compare.phrases import FEWEST
from xai.compare.resampling import Estimate
from xai.compare.sections import Measured
from xai.compare.study import Facts
from xai.metrics import Share
from xai.pairwise import AgainstSeeds, Compared, Consistency
from xai.predictions import Answers
from xai.results import Condition
from xai.statistics import holm


@dataclass(frozen=True)
class Fall:
    """How much accuracy a degradation costs A and B, as shares of the images, and A less B.

    `p_value` is that of each image's difference having either sign, `p_holm` adjusted for all degradations.
    """

    condition: Condition
    a: Estimate
    b: Estimate
    difference: Estimate
    p_value: float
    p_holm: float


@dataclass(frozen=True, eq=False)
class Errors:
    """All of it. Lists have one entry per condition of the facts; mappings are by the number of a condition, and are
    of the highest severity of each degradation. `tables` are `pairwise.transition_table`s `(2, 2, 2, 2)`, `ceilings`
    the largest kappas at these accuracies.

    `idle` are the conditions under which both networks answer as on the clean images, each of them. They are these
    images again and no further evidence: p is NaN there, and they are in no count.
    """

    answered: Answered
    accuracies: tuple[list[Share], list[Share]]
    compared: list[Compared]
    consistencies: list[Consistency]
    seeds: SeedsNull | None
    trainings: AgainstSeeds | None
    tables: Mapping[int, np.ndarray]
    falls: Mapping[int, Fall]
    shifts: Mapping[int, Shifts]
    ceilings: list[float]
    idle: tuple[int, ...] = ()

    @property
    def counted(self) -> list[int]:
        """The numbers of the conditions that count: the clean images, and what changes any answer."""
        return [k for k in range(len(self.compared)) if k not in self.idle]

    def wrong(self, condition: int) -> tuple[int, int]:
        """How many answers of A and of B are wrong."""
        a, b = (int((~right).sum()) for right in self.answered.correct[:, condition])
        return a, b

    def few_errors(self, condition: int) -> bool:
        """Whether A or B has fewer than `FEWEST` wrong answers, or right ones: kappa then says little."""
        images = len(self.answered.labels)
        return any(min(wrong, images - wrong) < FEWEST for wrong in self.wrong(condition))

    def collapsed(self, condition: int) -> bool:
        """Whether both networks give one answer each to nearly all images: they then err alike of necessity."""
        sides = self.answered.predicted[:, condition]
        return all(np.unique(side, return_counts=True)[1].max() >= COLLAPSED * len(side) for side in sides)

    def telling(self, condition: int) -> bool:
        """Whether kappa says something of single images."""
        return not (self.few_errors(condition) or self.collapsed(condition))


COLLAPSED = 0.9
"""Share of all answers that are one class from which on a network no longer tells images apart."""


def results(facts: Facts, rows: Measured) -> Errors:
    """Everything from the rows of the section, the same from the same rows; what was asked last is kept."""
    digest = hashlib.sha256()
    for name, table in rows.items():
        for column, values in table.items():
            digest.update(
                f"{name} {column} {values.dtype} ".encode() + np.ascontiguousarray(values).tobytes()
            )
    return _results(facts, _Held(digest.hexdigest(), rows))


@dataclass(frozen=True)
class _Held:
    """Rows that are the same where their digest is."""

    digest: str
    rows: Measured = field(compare=False, repr=False)


@lru_cache(2)
def _results(facts: Facts, held: _Held) -> Errors:
    rows = held.rows
    found = answers.read(facts, rows["answers"])
    conditions, seed = range(len(facts.conditions)), facts.study.seed
    pairs = {facts.conditions[k].title: (found.of(0, k), found.of(1, k)) for k in conditions}
    right = found.correct
    return Errors(
        found,
        accuracies(facts, found),
        differences(facts, found),
        [pairwise.error_consistency(a, b, seed) for a, b in pairs.values()],
        seeds_null(facts, rows),
        trainings(facts, rows),
        transition_tables(facts, found),
        falls(facts, found),
        class_shifts(facts, found),
        [error_seeds.largest(*right[:, k]) for k in conditions],
        idle(found),
    )


def idle(found: Answered) -> tuple[int, ...]:
    """The numbers of the conditions under which no answer of either network is another than on the clean image."""
    same = (found.predicted == found.predicted[:, :1]).all(axis=(0, 2))
    return tuple((1 + np.flatnonzero(same[1:])).tolist())


def differences(facts: Facts, found: Answered) -> list[Compared]:
    """Accuracy of A less that of B under every condition, Holm over all but those that are idle, whose p are NaN."""
    pairs = {str(k): (found.of(0, k), found.of(1, k)) for k in range(len(facts.conditions))}
    without = set(map(str, idle(found)))
    compared = {name: pairwise.compare(*pair, facts.study.seed) for name, pair in pairs.items()}
    known = {
        name: replace(each, p_value=np.nan) if name in without else each for name, each in compared.items()
    }
    titles = (condition.title for condition in facts.conditions)
    return [replace(each, name=title) for each, title in zip(pairwise.family(known), titles, strict=True)]


def accuracies(facts: Facts, found: Answered) -> tuple[list[Share], list[Share]]:
    """Accuracy of A and of B under every condition with Wilson's interval."""
    a, b = (
        [metrics.accuracy(found.of(place, k), each.title) for k, each in enumerate(facts.conditions)]
        for place in range(2)
    )
    return a, b


def transition_tables(facts: Facts, found: Answered) -> dict[int, np.ndarray]:
    """What becomes of right and wrong answers at the highest severity of every degradation."""
    clean = found.of(0, 0), found.of(1, 0)
    return {
        k: pairwise.transition_table(pairwise.transitions(*clean, found.of(0, k), found.of(1, k)))
        for k in answers.strongest(facts)
    }


def falls(facts: Facts, found: Answered) -> dict[int, Fall]:
    """What the highest severity of every degradation costs, Holm over those that change any answer."""
    worst, seed = answers.strongest(facts), facts.study.seed
    right = found.correct.astype(np.float64)
    lost = {k: right[:, 0] - right[:, k] for k in worst}
    without = idle(found)
    p_values = [np.nan if k in without else resampling.sign_flips(a - b, seed) for k, (a, b) in lost.items()]
    adjusted = holm(p_values)
    found_falls = {}
    for (k, (a, b)), p, p_holm in zip(lost.items(), p_values, adjusted, strict=True):
        ours, theirs, gap = resampling.estimates(np.stack([a, b, a - b], axis=1), seed)
        found_falls[k] = Fall(worst[k], ours, theirs, gap, p, p_holm)
    return found_falls


def class_shifts(facts: Facts, found: Answered) -> dict[int, Shifts]:
    """How far the highest severity of every degradation moves the answers to each class."""
    return {
        k: error_shift.shifts(
            found.labels,
            (found.predicted[0, 0], found.predicted[0, k]),
            (found.predicted[1, 0], found.predicted[1, k]),
            facts.classes,
            facts.study.seed,
        )
        for k in answers.strongest(facts)
    }


def sides(facts: Facts) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The seeds of A's and of B's training by name, A and B first."""
    a, b = ((network.name, *network.peers) for network in facts.networks)
    return a, b


def same_training(facts: Facts) -> bool:
    """Whether A and B are two seeds of one training."""
    return facts.networks[1].name in facts.networks[0].peers


def clean_answers(facts: Facts, rows: Measured) -> dict[str, Answers]:
    """The answers of A, B and their other seeds to the clean images, by the name of the network."""
    found = answers.read(facts, rows["answers"])
    known = {network.name: found.of(place, 0) for place, network in enumerate(facts.networks)}
    seeds = rows.get("seeds", {"name": np.empty(0, str)})
    for name in dict.fromkeys(seeds["name"].tolist()):
        own = seeds["name"] == name
        predicted = np.empty(facts.images, np.int64)
        predicted[seeds["image"][own]] = seeds["predicted"][own]
        known[name] = answers.plain(found.labels, predicted)
    return known


def seeds_null(facts: Facts, rows: Measured) -> SeedsNull | None:
    """Kappa of A and B beside that of seeds of one training, and over networks where these are of two trainings; None
    where there are no other seeds."""
    known = {name: each.correct for name, each in clean_answers(facts, rows).items()}
    a, b = (network.name for network in facts.networks)
    pairs = [pair for pair in error_seeds.families(known, sides(facts)) if set(pair) != {a, b}]
    if not pairs:
        return None
    null = None if same_training(facts) else error_seeds.over_networks(known, sides(facts), facts.study.seed)
    return replace(error_seeds.against_seeds(known, (a, b), pairs, facts.study.seed), null=null)


def trainings(facts: Facts, rows: Measured) -> AgainstSeeds | None:
    """Accuracy of A's seeds less that of B's on clean images; None for one training, and without other seeds."""
    known = clean_answers(facts, rows)
    if same_training(facts) or len(known) == 2:
        return None
    a, b = ([known[name] for name in side if name in known] for side in sides(facts))
    return pairwise.against_seeds(a, b, facts.names)
