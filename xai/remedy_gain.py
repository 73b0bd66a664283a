"""What remedies before the network win back per network and condition, on the same images, and cost on clean ones.

Everything is derived from stored answers. Accuracies are shares in [0, 1], differences in [-1, 1]. All differences of
one call are one family: their p values are adjusted by Holm together.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data.remedies import TOLD
from xai.evaluation_grid import CLEAN
from xai.pairwise import REAL, compare, family
from xai.predictions import Graded, aligned
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness_board import kept, told
from xai.statistics import RESAMPLES, Difference


@dataclass(frozen=True, eq=False)
class Trial:
    """One network's answers to the same images: repaired, as they were before the repair, and clean.

    `condition` is that of the repaired ones. For clean images with a remedy, `plain` and `clean` are the same answers.
    """

    model: str
    condition: Condition
    repaired: Graded
    plain: Graded
    clean: Graded


@dataclass(frozen=True)
class Recovered:
    """The share of the lost accuracy that a remedy wins back, with its 95 % interval.

    1 is all of it, 0 nothing, below 0 is more lost. All None where the degradation costs this network no accuracy
    that could be told from chance (exact McNemar p at or above `REAL`), so that there is nothing to divide by.
    """

    share: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Gain:
    """What one remedy does to one network under one condition.

    `clean`, `degraded` and `repaired` are accuracies; for clean images the first two are the same. `difference` is
    repaired less degraded with its interval and p, so on clean images a negative one is the remedy's cost.
    """

    model: str
    condition: Condition
    clean: float
    degraded: float
    repaired: float
    difference: Difference
    p_holm: float
    recovered: Recovered

    @property
    def real(self) -> bool:
        """Whether the p value, adjusted for the whole family, is below `REAL`."""
        return self.p_holm < REAL

    @property
    def told(self) -> bool:
        """Whether the remedy knew the degradation."""
        return TOLD in self.condition.remedy

    @property
    def on_clean(self) -> bool:
        """Whether it is about clean images, where a remedy can only cost."""
        return self.condition.degradation == CLEAN


def trials(board: Board, model: str, conditions: Iterable[Condition] | None = None) -> list[Trial]:
    """The network's trials that are stored whole, in the order of the board; all conditions, if none are given."""
    wanted = set(board.conditions if conditions is None else conditions)
    found = []
    for condition in board.conditions:
        if condition.remedy and condition in wanted:
            asked = (condition, condition.plain, UNTOUCHED)
            repaired, plain, clean = (told(board, model, each) for each in asked)
            if repaired and plain and clean:
                found.append(Trial(model, condition, repaired, plain, clean))
    return found


def gains(
    board: Board, model: str, conditions: Iterable[Condition] | None = None, seed: int = 0
) -> list[Gain]:
    """What every remedy does to the network under every stored condition with one, Holm over them all.

    Needed of each are the answers with the remedy, without it, and to the clean images; what lacks one is left out.
    `conditions` (with their remedy) make the family smaller. `seed` is the bootstrap's.
    """
    wanted = set(board.conditions if conditions is None else conditions)
    chosen = [each for each in board.conditions if each in wanted]
    cells = [
        (model, each)
        for each in dict.fromkeys([UNTOUCHED, *chosen, *(c.plain for c in chosen)])
        if board.has(model, each)
    ]
    return kept(
        board, ("gains", seed, tuple(chosen)), cells, lambda: gains_of(trials(board, model, chosen), seed)
    )


def gains_of(tried: Sequence[Trial], seed: int = 0) -> list[Gain]:
    """The gain of each trial: paired BCa interval, exact McNemar p, Holm over all that are given.

    Raises `PredictionsError` where the answers of a trial are not to the same images.
    """
    differences = {str(k): compare(trial.repaired, trial.plain, seed) for k, trial in enumerate(tried)}
    adjusted = [each.p_holm for each in family(differences)]
    return [
        Gain(
            trial.model,
            trial.condition,
            trial.clean.accuracy,
            trial.plain.accuracy,
            trial.repaired.accuracy,
            difference,
            p_holm,
            recovered(trial, seed),
        )
        for trial, difference, p_holm in zip(tried, differences.values(), adjusted, strict=True)
    ]


def recovered(trial: Trial, seed: int = 0) -> Recovered:
    """(repaired - degraded) / (clean - degraded), with percentiles over `RESAMPLES` resamples of the images.

    The three accuracies are resampled together: each image is one of the eight kinds of right and wrong under clean,
    degraded and repaired. Resamples in which nothing is lost are left out.
    """
    answers = (trial.clean, aligned(trial.clean, trial.plain), aligned(trial.clean, trial.repaired))
    lost = compare(answers[0], answers[1], seed)
    if lost.difference <= 0 or lost.p_value >= REAL:
        return Recovered(None, None, None)
    kinds = np.array([4, 2, 1]) @ np.array([rows.correct for rows in answers])
    counts = np.bincount(kinds, minlength=8)
    drawn = np.random.default_rng(seed).multinomial(len(kinds), counts / len(kinds), RESAMPLES)
    low, high = np.quantile(_shares(drawn), (0.025, 0.975))
    return Recovered(float(_shares(counts[None])[0]), float(low), float(high))


def _shares(counts: np.ndarray) -> np.ndarray:
    """Recovered share of each row of counts `(R, 8)` of the kinds 4 x clean + 2 x degraded + 1 x repaired is right."""
    kinds = np.arange(8)
    clean, degraded, repaired = (counts[:, (kinds & bit) > 0].sum(axis=1) for bit in (4, 2, 1))
    lost = clean - degraded
    return (repaired - degraded)[lost > 0] / lost[lost > 0]
