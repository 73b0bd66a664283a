"""Whether a network is as often right as its probabilities say: calibration errors, scores, reliability diagram.

Confidence is the probability of the predicted class. Everything is computed from the stored probabilities, which
float16 rounds (by at most 0.05 %, and from 0.9998 to 1); they are not brought to a sum of exactly 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from xai.predictions import Graded, Predictions
from xai.statistics import wilson_intervals

BINS = 15
"""Bins of a calibration error unless told otherwise: as many as Guo et al. 2017 use."""
SMALLEST = 2.0**-24
"""The smallest step of float16: what a probability that was stored as 0 counts as in a logarithm."""
RESAMPLES = 1_000
_NULL_DRAWS = 200
_CHUNK = 4_000_000  # image draws at a time: 16 MB


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval, all in the value's own unit."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Bin:
    """The `images` images with confidence in (`start`, `end`]: their mean confidence, and how many are right.

    `accuracy` is their share of right answers, with Wilson's 95 % interval `low` to `high`; all in [0, 1].
    """

    start: float
    end: float
    images: int
    confidence: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Calibration of one network on `images` images.

    `ece` and `adaptive_ece` are in [0, 1], `brier` in [0, 2] (None where not all probabilities were stored), `nll`
    in nats, at most 16.64 an image. `calibrated_ece` is the ECE that a perfectly calibrated network with these
    confidences would show on average, for no other reason than that the images are few. `zeros` are the images
    whose class was given a probability that float16 holds as 0: they enter the NLL with `SMALLEST`.
    """

    images: int
    bins: int
    ece: Estimate
    adaptive_ece: Estimate
    brier: Estimate | None
    nll: Estimate
    calibrated_ece: float
    zeros: int


def reliability(rows: Graded, bins: int = BINS, equal_mass: bool = False) -> list[Bin]:
    """The rows of a reliability diagram, by rising confidence; bins without images have none.

    The bins are those of `calibration_error`, their means those of `sklearn.calibration.calibration_curve`. Raises
    `ValueError` for fewer than one bin or image.
    """
    confidence, correct = _confidence(rows), rows.correct
    edges = _edges(confidence, bins, equal_mass)
    places = np.searchsorted(edges[1:-1], confidence)
    total, right = np.bincount(places, minlength=bins), np.bincount(places[correct], minlength=bins)
    kept = np.flatnonzero(total)
    mean = np.bincount(places, confidence, bins)[kept] / total[kept]
    columns = (mean, right[kept] / total[kept], *wilson_intervals(right[kept], total[kept]))
    return [
        Bin(float(edges[k]), float(edges[k + 1]), int(total[k]), *map(float, row))
        for k, row in zip(kept, zip(*columns, strict=True), strict=True)
    ]


def calibration_error(rows: Graded, bins: int = BINS, equal_mass: bool = False) -> float:
    """Expected calibration error: sum_b n_b / N |accuracy_b - confidence_b|, in [0, 1].

    The bins are `bins` of equal width, ((b-1)/B, b/B] (Naeini et al. 2015, Guo et al. 2017), or with `equal_mass`
    between the quantiles of the confidences, so that each has about N/B images (adaptive ECE: Nguyen & O'Connor 2015,
    Nixon et al. 2019). Equal confidences are never split, so that the images' order does not matter: where more than
    N/B share one, bins are larger and fewer. Raises `ValueError` as `reliability` does.
    """
    confidence = _confidence(rows)
    places = np.searchsorted(_edges(confidence, bins, equal_mass)[1:-1], confidence)
    return float(np.abs(np.bincount(places, confidence - rows.correct, bins)).sum() / len(rows))


def brier_terms(predictions: Predictions) -> np.ndarray:
    """What each image adds to the Brier score, sum_k (p_k - y_k)^2, float64 `(N,)` in [0, 2] (Brier 1950).

    Their mean is `sklearn.metrics.brier_score_loss(..., scale_by_half=False)`.
    """
    own = predictions.label_probability.astype(np.float64)
    squares = np.square(predictions.probabilities, dtype=np.float32).sum(axis=1, dtype=np.float64)
    return np.maximum(squares - own**2, 0) + (1 - own) ** 2


def nll_terms(rows: Graded) -> np.ndarray:
    """What each image adds to the negative log-likelihood, -ln p of its own class, float64 `(N,)` in nats.

    A probability below `SMALLEST`, float16's smallest step, counts as that: what was rounded to zero enters as 16.64
    nats, and may have been more. Their mean is `sklearn.metrics.log_loss`.
    """
    return -np.log(np.clip(rows.label_probability.astype(np.float64), SMALLEST, 1))


def calibration(rows: Graded, seed: int = 0, bins: int = BINS) -> Calibration:
    """All calibration numbers of one network, each with a 95 % bootstrap interval.

    Intervals are basic bootstrap ones (Davison & Hinkley 1997, section 5.2) of `RESAMPLES` resamples of the images
    with the bins kept, cut at 0 and widened to the value where it lies outside. The basic form is used because few
    images make an ECE too large, and a resample once more: the percentiles of a calibrated network's ECE never reach
    down to its true one. Raises `ValueError` as `reliability` does.
    """
    confidence, images = _confidence(rows), len(rows)
    places = [np.searchsorted(_edges(confidence, bins, mass)[1:-1], confidence) for mass in (False, True)]
    nll, brier = nll_terms(rows), brier_terms(rows) if isinstance(rows, Predictions) else np.zeros(images)
    gaps = [_by_bin(confidence - rows.correct, place, bins) for place in places]
    columns = np.column_stack([*gaps, brier, nll])
    values = _numbers(columns.sum(axis=0, keepdims=True), images, bins)[0]
    single = columns.astype(np.float32)  # fast, and exact enough for an interval
    drawn = np.concatenate(
        [_numbers(weights @ single, images, bins) for weights in resample_counts(images, seed)]
    )
    ece, adaptive, score, loss = map(_basic, values, drawn.T)
    return Calibration(
        images=images,
        bins=bins,
        ece=ece,
        adaptive_ece=adaptive,
        brier=score if isinstance(rows, Predictions) else None,
        nll=loss,
        calibrated_ece=_calibrated_ece(confidence, places[0], bins, seed),
        zeros=int((rows.label_probability < SMALLEST).sum()),
    )


def _confidence(rows: Graded) -> np.ndarray:
    """Confidences as float64 `(N,)`, N at least 1."""
    if not len(rows):
        raise ValueError("there are no answers; calibration needs those to at least one image.")
    return rows.confidence.astype(np.float64)


def _edges(confidence: np.ndarray, bins: int, equal_mass: bool) -> np.ndarray:
    """Ends of the bins, rising, `(bins + 1,)`."""
    if bins < 1:
        raise ValueError(f"{bins} bins are asked for; allowed are numbers from 1.")
    steps = np.linspace(0, 1, bins + 1)
    return np.quantile(confidence, steps) if equal_mass else steps


def _by_bin(values: np.ndarray, places: np.ndarray, bins: int) -> np.ndarray:
    """Each image's value in the column of its bin, float64 `(N, bins)`."""
    columns = np.zeros((len(values), bins))
    columns[np.arange(len(values)), places] = values
    return columns


def _numbers(sums: np.ndarray, images: int, bins: int) -> np.ndarray:
    """ECE, adaptive ECE, Brier and NLL `(R, 4)` of the columns' sums `(R, 2 bins + 2)`."""
    errors = [np.abs(sums[:, start : start + bins]).sum(axis=1) for start in (0, bins)]
    return np.stack([*errors, sums[:, -2], sums[:, -1]], axis=1) / images


def resample_counts(images: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of `RESAMPLES` bootstrap resamples drew each image, float32 `(some resamples, images)` at a time.

    The rows are the same for the same seed and number of images, and sum to `images`.
    """
    rng, rows = np.random.default_rng(seed), max(1, _CHUNK // images)
    for start in range(0, RESAMPLES, rows):
        count = min(rows, RESAMPLES - start)
        drawn = rng.integers(0, images, (count, images)) + images * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * images).reshape(count, images).astype(np.float32)


def _basic(value: float, drawn: np.ndarray) -> Estimate:
    low, high = 2 * value - np.quantile(drawn, (0.975, 0.025))
    return Estimate(float(value), max(0.0, min(float(low), float(value))), max(float(high), float(value)))


def _calibrated_ece(confidence: np.ndarray, places: np.ndarray, bins: int, seed: int) -> float:
    """Mean ECE of answers that are right as often as the confidences say."""
    rng, one = np.random.default_rng((seed, 1)), _by_bin(np.ones(len(places)), places, bins)
    errors = [
        np.abs((confidence - (rng.random(len(places)) < confidence)) @ one).sum() for _ in range(_NULL_DRAWS)
    ]
    return float(np.mean(errors) / len(places))
