"""Corruption errors against a reference network of our own, with bootstrap intervals, and scores of robustness.

The reference scores exactly 100 % against itself. All scores are shares here, 1 is 100 %; the tables give %.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from data.degradations import MISSING, max_severity
from xai.calibration import Estimate, resample_counts
from xai.predictions import Graded
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness import (
    CorruptionErrors,
    corruption_errors,
    relative_corruption_errors,
    relative_robustness,
    war_style,
)
from xai.robustness_board import (
    Row,
    corruptions,
    degraded,
    estimated,
    kept,
    percent,
    reference,
    register,
    scaled,
    steps,
    title,
    told,
)
from xai.robustness_curves import share_of
from xai.tables import Rows

_NO_CONSTANTS = "not implemented here"
_UNUSABLE = 0.01
"""Share of resamples without a ratio from which on an interval would say nothing."""


@dataclass(frozen=True)
class Scores:
    """Corruption errors of a network against the reference, plain and relative, with intervals of both and of means.

    `intervals` and `relative_intervals` hold those of the corruptions that have a score, `mean` and `relative_mean`
    those of the means; None where there is no mean.
    """

    plain: CorruptionErrors
    relative: CorruptionErrors
    intervals: Mapping[str, Estimate]
    relative_intervals: Mapping[str, Estimate]
    mean: Estimate | None
    relative_mean: Estimate | None


def wrong(board: Board, model: str, scale: str) -> dict[str, dict[float, Graded]]:
    """The network's readable answers by corruption and severity."""
    found: dict[str, dict[float, Graded]] = {}
    for condition in degraded(board, [model], scale):
        rows = told(board, model, condition)
        if rows is not None:
            found.setdefault(condition.degradation, {})[condition.severity] = rows
    return found


def scores(board: Board, model: str, against: str, scale: str) -> Scores | None:
    """Corruption errors of a network against the reference; None where one was not asked about clean images.

    Intervals are the 2.5 and 97.5 percentile of resamples of the images, in which an image keeps all its conditions
    and both networks: exactly 1 for the reference itself.
    """
    cleans = [told(board, name, UNTOUCHED) for name in (model, against)]
    if cleans[0] is None or cleans[1] is None:
        return None
    cells = [(name, c) for name in (model, against) for c in (UNTOUCHED, *degraded(board, [name], scale))]
    sides = [wrong(board, name, scale) for name in (model, against)]
    compute = partial(_scores, (cleans[0], cleans[1]), sides, corruptions(scale))
    return kept(board, ("mce", model, against, scale), cells, compute)


def _scores(
    cleans: tuple[Graded, Graded], sides: Sequence[dict[str, dict[float, Graded]]], expected: Sequence[str]
) -> Scores:
    errors = [
        {
            name: {level: 1 - rows.accuracy for level, rows in answers.items()}
            for name, answers in side.items()
        }
        for side in sides
    ]
    clean = [1 - rows.accuracy for rows in cleans]
    plain = corruption_errors(errors[0], errors[1], expected)
    relative = relative_corruption_errors(errors[0], errors[1], clean[0], clean[1], expected)
    drawn = _drawn(cleans, sides, tuple(plain.scores))
    sure, means = [], []
    for found, ratios in zip((plain, relative), drawn, strict=True):
        columns = {name: ratios[:, place] for place, name in enumerate(plain.scores)}
        own = {name: columns[name] for name in found.scores}
        sure.append({name: _estimate(found.scores[name], draws) for name, draws in own.items()})
        of_all = np.mean(list(own.values()), axis=0) if own else np.zeros(0)
        means.append(None if found.mean is None else _estimate(found.mean, of_all))
    return Scores(_reasons(plain), _reasons(relative), sure[0], sure[1], means[0], means[1])


def _reasons(found: CorruptionErrors) -> CorruptionErrors:
    """With the reason why a corruption that nobody can measure here is absent."""
    absent = {name: _NO_CONSTANTS if name in MISSING else why for name, why in found.absent.items()}
    return CorruptionErrors(found.scores, found.mean, found.expected, absent)


def _drawn(
    cleans: tuple[Graded, Graded], sides: Sequence[dict[str, dict[float, Graded]]], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Corruption errors `(R, C)` of each resample of the images, plain and relative."""
    columns = [~rows.correct for rows in cleans]
    columns += [_wrong_counts(side[name].values()) for side in sides for name in names]
    table = np.column_stack(columns).astype(np.float32)
    sums = np.concatenate([counts @ table for counts in resample_counts(len(table), 0)]).astype(np.float64)
    levels = np.array([len(sides[0][name]) for name in names])
    ours, theirs = sums[:, 2 : 2 + len(names)], sums[:, 2 + len(names) :]
    with np.errstate(divide="ignore", invalid="ignore"):
        plain = ours / theirs
        added = theirs - levels * sums[:, 1:2]
        relative = np.where(added > 0, (ours - levels * sums[:, :1]) / added, np.nan)
    return plain, relative


def _wrong_counts(answers: Iterable[Graded]) -> np.ndarray:
    """At how many severities each image is told wrong, `(N,)`."""
    counts: np.ndarray = np.sum([~rows.correct for rows in answers], axis=0)
    return counts


def _estimate(value: float, draws: np.ndarray) -> Estimate:
    """The value with its percentile interval; without one (NaN) where many resamples leave the reference no error."""
    usable = np.isfinite(draws)
    if usable.mean() < 1 - _UNUSABLE:
        return Estimate(value, math.nan, math.nan)
    low, high = np.quantile(draws[usable], (0.025, 0.975))
    return Estimate(value, min(float(low), value), max(float(high), value))


def robust(board: Board, model: str, condition: Condition) -> Estimate | None:
    """Relative robustness under a condition: degraded over clean accuracy, with interval."""
    clean, rows = told(board, model, UNTOUCHED), told(board, model, condition)
    if clean is None or rows is None:
        return None
    cells = [(model, UNTOUCHED), (model, condition)]
    return kept(board, ("relative robustness",), cells, lambda: relative_robustness(clean, rows))


def war(board: Board, model: str, scale: str) -> float | None:
    """Mean WAR-style score over the degraded conditions; guessing is right about one image of each class's share."""
    clean = share_of(board, model, UNTOUCHED)
    shares = [share_of(board, model, condition) for condition in degraded(board, [model], scale)]
    if clean is None:
        return None
    chance = 1 / len(np.unique(board.labels))
    found = [war_style(clean.share, each.share, chance) for each in shares if each is not None]
    known = [score for score in found if score is not None]
    return statistics.fmean(known) if known else None


@register(
    "mCE",
    "Mean corruption error against a network of our own (100 \\%), relative mCE, and other scores.",
    ("left out",),
)
def registered_mce(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`mce_rows` against the plain AlexNet."""
    return mce_rows(board, models, scale, reference(board))


def mce_rows(board: Board, models: Sequence[str], scale: str, against: str) -> Rows:
    """A row for each network and the reference: mCE, relative mCE (both with coverage), robustness, WAR-style score.

    All in %; the mean relative robustness is degraded over clean accuracy, averaged over the conditions.
    """
    found = {name: scores(board, name, against, scale) for name in dict.fromkeys((*models, against))}
    return [_mce_row(board, name, scale, each) for name, each in found.items() if each is not None]


def _mce_row(board: Board, model: str, scale: str, found: Scores) -> Row:
    clean = share_of(board, model, UNTOUCHED)
    ratios = [robust(board, model, condition) for condition in degraded(board, [model], scale)]
    known = [each.value for each in ratios if each is not None]
    return {
        "network": model,
        **percent("clean %", clean),
        **estimated("mCE %", found.mean),
        "corruptions": found.plain.coverage,
        **estimated("relative mCE %", found.relative_mean),
        "corruptions (relative)": found.relative.coverage,
        "relative robustness %": scaled(statistics.fmean(known)) if known else None,
        "WAR-style %": scaled(war(board, model, scale)),
        "left out": "; ".join([*absent_words(found), *incomplete_words(board, model, scale, found)]),
    }


def absent_words(found: Scores) -> list[str]:
    """Which corruptions the means lack, and why, the same reason said once."""
    by_reason: dict[str, list[str]] = {}
    for name, why in found.plain.absent.items():
        by_reason.setdefault(why, []).append(name)
    for name, why in found.relative.absent.items():
        if name not in found.plain.absent:
            by_reason.setdefault(f"relative only: {why}", []).append(name)
    return [f"{', '.join(map(title, names))} ({why})" for why, names in by_reason.items()]


def incomplete_words(board: Board, model: str, scale: str, found: Scores) -> list[str]:
    """Which corruptions count in the means although not all severities were asked for: one entry, or none."""
    asked = {name: len(steps(board, [model], name, scale)) for name in found.plain.scores}
    most = {name: max_severity(name, scale) for name in asked}
    names = [f"{title(n)} {asked[n]} of {most[n]}" for n in asked if asked[n] < most[n]]
    return [f"fewer severities than the scale has: {', '.join(names)}"] if names else []


@register("corruption errors", "Corruption error of each degradation against a network of our own (100 \\%).")
def registered_errors(board: Board, models: Sequence[str], scale: str) -> Rows:
    """`error_rows` against the plain AlexNet."""
    return error_rows(board, models, scale, reference(board))


def error_rows(board: Board, models: Sequence[str], scale: str, against: str) -> Rows:
    """A row for each network and corruption that has a score: CE and relative CE in % with intervals."""
    found = {name: scores(board, name, against, scale) for name in dict.fromkeys((*models, against))}
    return [
        _error_row(board, model, name, scale, each)
        for model, each in found.items()
        if each is not None
        for name in each.plain.scores
    ]


def _error_row(board: Board, model: str, name: str, scale: str, found: Scores) -> Row:
    return {
        "degradation": title(name),
        "network": model,
        "severities": len(steps(board, [model], name, scale)),
        **estimated("CE %", found.intervals[name]),
        **estimated("relative CE %", found.relative_intervals.get(name)),
    }


@register("relative robustness", "Degraded over clean accuracy of each network under each condition.")
def robustness_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each network and degraded condition: relative robustness in % with its interval."""
    return [
        {"condition": condition.title, "network": model, **estimated("relative robustness %", found)}
        for condition in degraded(board, models, scale)
        for model in models
        if (found := robust(board, model, condition)) is not None
    ]


def mce_notes(board: Board, models: Iterable[str], scale: str, against: str) -> list[str]:
    """Sentences on what the means are of and what they lack."""
    expected = corruptions(scale)
    kind = (
        f"This is the mean over the {len(expected)} degradations of the paper's grid at 3 levels, not the published "
        "mCE of 15 corruptions at 5 severities."
        if scale.startswith("paper")
        else "The published mCE is of 15 corruptions at 5 severities, against a pretrained AlexNet: numbers from "
        "papers have another reference and can't be set beside these."
    )
    lacking = {
        sentence
        for name in dict.fromkeys((*models, against))
        if (found := scores(board, name, against, scale)) is not None
        for sentence in absent_words(found)
    }
    return [kind, *(f"Left out of a mean: {sentence}." for sentence in sorted(lacking))]
