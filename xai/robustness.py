"""How one network's accuracy falls as images get worse: curves over severities, corruption errors, robustness scores.

Accuracies, errors and scores are shares: 1 is 100 %. The clean images are severity 0.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from xai.calibration import Estimate
from xai.metrics import Share, accuracy, class_accuracies
from xai.predictions import Graded, aligned
from xai.statistics import RESAMPLES, bca_of_counts

CORRUPTIONS = (
    "gaussian_noise",
    "shot_noise",
    "impulse_noise",
    "defocus_blur",
    "glass_blur",
    "motion_blur",
    "zoom_blur",
    "snow",
    "frost",
    "fog",
    "brightness",
    "contrast",
    "elastic_transform",
    "pixelate",
    "jpeg_compression",
)
"""The 15 corruptions whose errors make up mCE (Hendrycks & Dietterich, ICLR 2019)."""
WAR_ALPHA = 200.0
DEATH = 0.5
"""A class dies where less than this share of its clean accuracy is left."""
_DIGITS = 9

Severity = TypeVar("Severity", bound=float)
Errors = Mapping[str, Mapping[Severity, float]]
"""Share of wrong answers by corruption and severity."""


@dataclass(frozen=True)
class SeverityCurve:
    """Accuracy at each of the rising `severities`, 0 (clean) first, and the `area` under it, in [0, 1]."""

    severities: tuple[float, ...]
    accuracies: tuple[Share, ...]
    area: Estimate


@dataclass(frozen=True)
class CorruptionErrors:
    """Corruption errors of a network relative to a reference (1 is the reference's own), and their mean.

    `expected` are the corruptions that the mean is meant to be of, `absent` those it lacks, each with the reason.
    `mean` is None where no corruption is left.
    """

    scores: dict[str, float]
    mean: float | None
    expected: tuple[str, ...]
    absent: dict[str, str]

    @property
    def coverage(self) -> str:
        """Such as `14 of 15`."""
        return f"{len(self.scores)} of {len(self.expected)}"


@dataclass(frozen=True)
class ClassCurve:
    """Accuracy of one class at each of the `severities`, 0 (clean) first."""

    name: str
    severities: tuple[float, ...]
    accuracies: tuple[Share, ...]


@dataclass(frozen=True)
class Death:
    """The first `severity` at which a class has lost more than half of its `clean` accuracy, and what is `left` then.

    Both None where it never does, as for a class that is never right even when clean. `certain` says whether the
    fall is beyond both intervals: the upper end of `left` is below half of the lower end of `clean`.
    """

    name: str
    severity: float | None
    clean: Share
    left: Share | None
    certain: bool


def severity_area(severities: Sequence[float], accuracies: Sequence[float] | np.ndarray) -> float:
    """Area under accuracy against severity by the trapezoid rule, severities scaled to [0, 1]: a mean accuracy.

    Severities must rise from 0, the clean images, whose accuracy comes first; a network that loses nothing has its
    clean accuracy as area. Raises `ValueError` otherwise, or when the two differ in number.
    """
    return float(np.trapezoid(accuracies, _scaled(severities, len(accuracies))))


def _scaled(severities: Sequence[float], count: int) -> np.ndarray:
    steps = np.asarray(severities, np.float64)
    if len(steps) != count or count < 2 or steps[0] != 0 or not (np.diff(steps) > 0).all():
        raise ValueError(
            f"{count} accuracies have the severities {', '.join(f'{s:g}' for s in steps)}; "
            "allowed are at least two, as many as accuracies, rising from 0."
        )
    return steps / steps[-1]


def severity_curve(clean: Graded, degraded: Mapping[Severity, Graded], seed: int = 0) -> SeverityCurve:
    """Accuracy on clean images and at each severity, with Wilson intervals, and the area under it.

    `degraded` maps a severity above 0 to the answers to the same images. The area's interval is a BCa bootstrap over
    images, all severities of an image together. Raises `ValueError` as `severity_area` and `aligned` do.
    """
    severities, answers = _by_severity(clean, degraded)
    right = np.stack([rows.correct for rows in answers]).astype(np.float64)
    per_image = np.round(np.trapezoid(right, _scaled(severities, len(answers)), axis=0), _DIGITS)
    values, counts = np.unique(per_image, return_counts=True)
    low, high = bca_of_counts(values, counts, seed)
    area = severity_area(severities, right.mean(axis=1))
    return SeverityCurve(
        severities,
        tuple(accuracy(rows, f"{severity:g}") for severity, rows in zip(severities, answers, strict=True)),
        Estimate(area, low, high),
    )


def _by_severity(
    clean: Graded, degraded: Mapping[Severity, Graded]
) -> tuple[tuple[float, ...], list[Graded]]:
    """Severities from 0, and the answers at each in the order of the clean images."""
    rising = sorted(degraded)
    return (0.0, *rising), [clean, *(aligned(clean, degraded[severity]) for severity in rising)]


def corruption_errors(
    errors: Errors[Severity], reference: Errors[Severity], expected: Sequence[str] = CORRUPTIONS
) -> CorruptionErrors:
    """CE_c = sum_s E(s, c) / sum_s E_ref(s, c) of each corruption, and their mean, mCE (Hendrycks & Dietterich 2019).

    The reference is a network on the same images, so that it scores exactly 1 against itself. Only `expected`
    corruptions count. One that either lacks, that the two have at different severities, or at which the reference
    makes no error, is left out of the mean and named with the reason.
    """
    return _relative(errors, reference, 0.0, 0.0, expected, "the reference makes no error at it")


def relative_corruption_errors(
    errors: Errors[Severity],
    reference: Errors[Severity],
    clean_error: float,
    reference_clean_error: float,
    expected: Sequence[str] = CORRUPTIONS,
) -> CorruptionErrors:
    """As `corruption_errors`, of the errors that the corruption adds to those on clean images: relative CE and mCE.

    sum_s (E(s, c) - E_clean) / sum_s (E_ref(s, c) - E_ref,clean) (Hendrycks & Dietterich 2019). A corruption at which
    the reference is no worse than on clean images is left out of the mean and named.
    """
    reason = "the reference is no worse at it than on clean images"
    return _relative(errors, reference, clean_error, reference_clean_error, expected, reason)


def _relative(
    errors: Errors[Severity],
    reference: Errors[Severity],
    clean: float,
    reference_clean: float,
    expected: Sequence[str],
    reason: str,
) -> CorruptionErrors:
    scores, absent = {}, {}
    for name in expected:
        lacking = _lacking(errors.get(name), reference.get(name))
        if not lacking:
            ours, theirs = _added(errors[name], clean), _added(reference[name], reference_clean)
            lacking = "" if theirs > 0 else reason
        if lacking:
            absent[name] = lacking
        else:
            scores[name] = ours / theirs
    mean = statistics.fmean(scores.values()) if scores else None
    return CorruptionErrors(scores, mean, tuple(expected), absent)


def _lacking(ours: Mapping[Severity, float] | None, theirs: Mapping[Severity, float] | None) -> str:
    """Why the errors at one corruption can't be compared; empty where they can."""
    if not ours or not theirs:
        return "not measured" if not ours else "not measured for the reference"
    return "" if ours.keys() == theirs.keys() else "measured at other severities than the reference"


def _added(errors: Mapping[Severity, float], clean: float) -> float:
    """Sum over the severities of the errors above the clean one, exactly 0 where rounding alone is left."""
    return round(math.fsum(errors[severity] - clean for severity in sorted(errors)), _DIGITS)


def relative_robustness(clean: Graded, degraded: Graded, seed: int = 0) -> Estimate | None:
    """Accuracy on degraded images over that on the same clean ones, with a paired bootstrap interval.

    None where no clean image is told right. 1 is no loss; it can be above. The interval is the 2.5 and 97.5
    percentile over `RESAMPLES` resamples of the images: clean and degraded stay together, and of an image only
    matters which of the two is told right. Raises `ValueError` when the images are not the same.
    """
    a, b = clean.correct, aligned(clean, degraded).correct
    if not a.any():
        return None
    cells = np.array([(a & b).sum(), (a & ~b).sum(), (~a & b).sum(), (~a & ~b).sum()])
    drawn = np.random.default_rng(seed).multinomial(len(a), cells / len(a), RESAMPLES)
    both, only_clean, only_degraded, _ = drawn[(drawn[:, 0] + drawn[:, 1]) > 0].T
    low, high = np.quantile((both + only_degraded) / (both + only_clean), (0.025, 0.975))
    return Estimate(float(b.sum() / a.sum()), float(low), float(high))


def war_style(clean: float, degraded: float, chance: float, alpha: float = WAR_ALPHA) -> float | None:
    """WAR-style score gamma (1 - exp(-alpha eps^2)), gamma = A_degraded / A_clean, eps = A_clean - A_random.

    After LR0.FM's weighted aggregated robustness (ICLR 2025), whose weights of datasets are published for none of
    ours: this is one dataset at weight 1. Accuracies are in [0, 1]; `chance` is the accuracy of guessing, 1/K for
    balanced classes. A network no better than chance scores 0 (our choice: the square would reward it); None where
    the clean accuracy is 0.
    """
    if clean <= 0:
        return None
    return degraded / clean * -math.expm1(-alpha * max(0.0, clean - chance) ** 2)


def class_curves(
    clean: Graded, degraded: Mapping[Severity, Graded], names: Sequence[str]
) -> list[ClassCurve]:
    """Accuracy of each class that has images, clean and at each severity, in the order of the classes.

    Raises `ValueError` when the images differ between severities or a label has no name.
    """
    severities, answers = _by_severity(clean, degraded)
    columns = [class_accuracies(rows, names) for rows in answers]
    return [ClassCurve(row[0].name, severities, row) for row in zip(*columns, strict=True)]


def deaths(curves: Sequence[ClassCurve], left: float = DEATH) -> list[Death]:
    """Which classes die first: a row for each class, ordered by the first severity at which it is dead.

    A class is dead where its accuracy is below `left` times its clean one, also if it recovers later. Among those of
    the same severity the one that keeps the smaller part comes first; those that survive come last, by what is left
    at the highest severity. With few images a class the order is mostly chance: see `Death.certain` and the intervals.
    """
    found = [(_death(curve, left), curve) for curve in curves]
    return [death for death, _ in sorted(found, key=lambda pair: _order(*pair))]


def _order(death: Death, curve: ClassCurve) -> tuple[float, float]:
    """The severity of the death, then the part of the clean accuracy that is left then, or in the end."""
    now = death.left or curve.accuracies[-1]
    part = now.share / death.clean.share if death.clean.right else math.inf
    return (math.inf if death.severity is None else death.severity, part)


def _death(curve: ClassCurve, left: float) -> Death:
    clean = curve.accuracies[0]
    for severity, now in zip(curve.severities[1:], curve.accuracies[1:], strict=True):
        if now.share < left * clean.share:
            return Death(curve.name, severity, clean, now, now.high < left * clean.low)
    return Death(curve.name, None, clean, None, False)
