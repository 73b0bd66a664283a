"""How well one network answers the images of a split: right answers, of every class too, confusions, rankings.

All shares are in [0, 1]; intervals are Wilson's at 95 %. Rows are of class numbers, and `names` gives the names of
all K classes in their order. Whatever needs no probabilities takes either form of predictions.
scikit-learn and scipy are imported where they are used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.predictions import Graded, Predictions
from xai.statistics import wilson, wilson_intervals

MAX_MATRIX_CLASSES = 5_000
"""A confusion matrix of more classes would take more than 200 MB."""


@dataclass(frozen=True)
class Share:
    """`right` of `total` images, with Wilson's 95 % interval `low` to `high` of the share, both in [0, 1]."""

    name: str
    right: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """`right / total`, in [0, 1]."""
        return self.right / self.total


@dataclass(frozen=True)
class ClassScores:
    """Precision, recall and F1 of one class, in [0, 1], of `images` images of it; precision None if never answered."""

    name: str
    images: int
    precision: float | None
    recall: float
    f1: float


@dataclass(frozen=True)
class MacroScores:
    """Means of precision, recall and F1 over the `classes` classes that have images, in [0, 1]."""

    precision: float
    recall: float
    f1: float
    classes: int


@dataclass(frozen=True)
class ConfusedPair:
    """`count` of the `total` images of the class `true` were answered `predicted`; `low` to `high` in [0, 1]."""

    true: str
    predicted: str
    count: int
    total: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """Share of the true class's images, in [0, 1]."""
        return self.count / self.total


def accuracy(predictions: Graded, name: str = "all") -> Share:
    """Share of right answers over all images."""
    right = int(predictions.correct.sum())
    return Share(name, right, len(predictions), *wilson(right, len(predictions)))


def class_accuracies(predictions: Graded, names: Sequence[str]) -> list[Share]:
    """Share of right answers of each class that has images, in the order of the classes.

    Raises `ValueError` when a label has no name.
    """
    labels, classes = predictions.labels, check_names(predictions.labels, names)
    return shares(
        names,
        np.bincount(labels[predictions.correct], minlength=classes),
        np.bincount(labels, minlength=classes),
    )


def shares(names: Sequence[str], right: np.ndarray, total: np.ndarray) -> list[Share]:
    """A row for every name whose `total` is not 0; `right` and `total` are whole numbers `(len(names),)`."""
    kept = np.flatnonzero(total)
    low, high = wilson_intervals(right[kept], total[kept])
    return [
        Share(names[k], int(right[k]), int(total[k]), float(a), float(b))
        for k, a, b in zip(kept.tolist(), low, high, strict=True)
    ]


def check_names(classes: np.ndarray, names: Sequence[str]) -> int:
    """Number of the names, K; raises `ValueError` when one of the class numbers has none."""
    if classes.max() >= len(names):
        raise ValueError(
            f"there is a class {classes.max()}, but only {len(names)} names, of 0 to {len(names) - 1}."
        )
    return len(names)


def class_scores(predictions: Graded, names: Sequence[str]) -> list[ClassScores]:
    """Precision, recall and F1 of each class that has images (scikit-learn).

    Precision is the share of right answers among those that name the class, recall that among its images, and F1
    their harmonic mean 2 TP / (2 TP + FP + FN). A class that is never answered has no precision, and an F1 of 0.
    """
    from sklearn.metrics import precision_recall_fscore_support

    check_names(predictions.labels, names)
    classes = np.unique(predictions.labels)
    columns = precision_recall_fscore_support(
        predictions.labels, predictions.predicted, labels=classes, zero_division=np.nan
    )
    return [
        ClassScores(names[k], int(n), None if np.isnan(p) else float(p), float(r), float(f1))
        for k, p, r, f1, n in zip(classes, *columns, strict=True)
    ]


def macro_scores(predictions: Graded) -> MacroScores:
    """Unweighted means of precision, recall and F1 over the classes that have images (scikit-learn).

    The precision of a class that is never answered counts as 0. Recall so averaged is the balanced accuracy.
    """
    from sklearn.metrics import precision_recall_fscore_support

    classes = np.unique(predictions.labels)
    precision, recall, f1, _ = precision_recall_fscore_support(
        predictions.labels, predictions.predicted, labels=classes, average="macro", zero_division=0.0
    )
    return MacroScores(float(precision), float(recall), float(f1), len(classes))


def macro_auc(predictions: Predictions) -> float | None:
    """Area under the ROC curve of each class against all others, averaged over the K classes, in [0, 1].

    The area is the Mann-Whitney statistic: the share of pairs of an image of the class and another one in which the
    first has the higher probability, ties counting half (Hanley & McNeil, Radiology 143, 1982). It is what
    `sklearn.metrics.roc_auc_score` gives class by class, from one ranking of all. float16 ties what differs by less
    than its step. None where a class has no images, or all.
    """
    from scipy.stats import rankdata

    images, classes = predictions.probabilities.shape
    own = np.bincount(predictions.labels, minlength=classes)
    if not own.all() or classes < 2:
        return None
    ranks = rankdata(predictions.probabilities.T.astype(np.float32), axis=1)
    of_own = np.bincount(predictions.labels, ranks[predictions.labels, np.arange(images)], classes)
    return float(np.mean((of_own - own * (own + 1) / 2) / (own * (images - own))))


def top_k_accuracy(predictions: Predictions, k: int = 5) -> Share:
    """Share of images whose class is among the k most probable ones (scikit-learn); all, where k is K or more.

    The predicted class comes first, so that k = 1 is the accuracy; among other classes of the same probability the
    one with the higher number does. Raises `ValueError` for k below 1.
    """
    if k < 1:
        raise ValueError(f"k is {k}; allowed are numbers from 1.")
    images, right = len(predictions), _top_k(predictions, k)
    return Share(f"top {k}", right, images, *wilson(right, images))


def _top_k(predictions: Predictions, k: int) -> int:
    """How many images have their class among the first k."""
    from sklearn.metrics import top_k_accuracy_score

    images, classes = predictions.probabilities.shape
    if k == 1 or k >= classes:
        return int(predictions.correct.sum()) if k < classes else images
    scores = predictions.probabilities.astype(np.float32)
    scores[np.arange(images), predictions.predicted] = 2
    return int(
        top_k_accuracy_score(predictions.labels, scores, k=k, normalize=False, labels=np.arange(classes))
    )


def confusion_counts(predictions: Graded, classes: int) -> np.ndarray:
    """How many images of each class (rows) were answered with each class (columns), int64 `(K, K)` (scikit-learn).

    Raises `ValueError` for more than `MAX_MATRIX_CLASSES` classes, or fewer than the answers name.
    """
    from sklearn.metrics import confusion_matrix

    most = int(max(predictions.labels.max(), predictions.predicted.max()))
    if not most < classes <= MAX_MATRIX_CLASSES:
        raise ValueError(
            f"a confusion matrix of {classes:,} classes is asked for; allowed are {most + 1:,} (the classes that are "
            f"named) to {MAX_MATRIX_CLASSES:,}."
        )
    return np.asarray(
        confusion_matrix(predictions.labels, predictions.predicted, labels=np.arange(classes)), np.int64
    )


def confused_pairs(predictions: Graded, names: Sequence[str], limit: int | None = 20) -> list[ConfusedPair]:
    """The wrong answers by true and predicted class: the most frequent pairs first, `limit` of them (None: all).

    Pairs of the same count are ordered by their share of the true class, then by class number. The interval speaks
    of one pair named beforehand: the most frequent of many looks worse than it is.
    """
    classes = check_names(np.maximum(predictions.labels, predictions.predicted), names)
    wrong = ~predictions.correct
    pairs, counts = np.unique(
        predictions.labels[wrong] * classes + predictions.predicted[wrong], return_counts=True
    )
    true, answered = np.divmod(pairs, classes)
    totals = np.bincount(predictions.labels, minlength=classes)[true]
    order = np.lexsort((pairs, totals, -counts))[:limit]
    low, high = wilson_intervals(counts[order], totals[order])
    return [
        ConfusedPair(names[true[k]], names[answered[k]], int(counts[k]), int(totals[k]), float(a), float(b))
        for k, a, b in zip(order, low, high, strict=True)
    ]
