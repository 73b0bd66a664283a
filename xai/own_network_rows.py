"""What a network answered under each way of feeding it, and the rows that a first check shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xai.statistics import holm, paired_difference, wilson
from xai.tables import Cell, p_value


@dataclass(frozen=True, eq=False)
class Answers:
    """What the network answered under one alternative: `probabilities (N, K)`, and `labels (N,)` or None.

    Labels are the network's classes of the images.
    """

    alternative: str
    probabilities: np.ndarray
    labels: np.ndarray | None

    @property
    def predicted(self) -> np.ndarray:
        """The likeliest class of every image, `(N,)`."""
        return self.probabilities.argmax(axis=1)

    @property
    def right(self) -> np.ndarray | None:
        """Whether each image's likeliest class is its label, bool `(N,)`."""
        return None if self.labels is None else self.predicted == self.labels

    @property
    def entropy(self) -> float:
        """Mean entropy of an image's probabilities, as a share of the largest there can be, in [0, 1]."""
        values = np.clip(self.probabilities, 1e-12, 1)
        classes = self.probabilities.shape[1]
        return float(-(values * np.log(values)).sum(axis=1).mean() / np.log(max(classes, 2)))

    @property
    def commonest(self) -> float:
        """Share of the images that the commonest predicted class has, in [0, 1]."""
        return float(np.bincount(self.predicted).max() / len(self.predicted))


@dataclass(frozen=True)
class Row:
    """One alternative: its accuracy with Wilson's 95 % interval (shares in [0, 1], None without labels), `p_value` of
    "as good as chosen" (McNemar's exact, Holm-corrected; None for the chosen one), and how its predictions spread."""

    alternative: str
    images: int
    accuracy: float | None
    low: float | None
    high: float | None
    p_value: float | None
    classes: int
    commonest: float
    entropy: float


@dataclass(frozen=True)
class Check:
    """The rows, the chosen way first, and what they say in sentences, the most important first."""

    rows: tuple[Row, ...]
    sentences: tuple[str, ...]

    def table(self) -> list[dict[str, Cell]]:
        """The rows with headings; shares in percent."""
        return [_cells(row) for row in self.rows]


def _cells(row: Row) -> dict[str, Cell]:
    scores: dict[str, Cell] = {}
    if row.accuracy is not None:
        scores = {
            "accuracy %": in_percent(row.accuracy),
            "95 % from": in_percent(row.low),
            "to": in_percent(row.high),
            "p (Holm)": p_value(row.p_value),
        }
    return {
        "way": row.alternative,
        "images": row.images,
        **scores,
        "classes predicted": row.classes,
        "commonest %": in_percent(row.commonest),
        "entropy %": in_percent(row.entropy),
    }


def in_percent(share: float | None) -> float | None:
    """A share in [0, 1] as percent with one decimal."""
    return None if share is None else round(100 * share, 1)


def rows_of(answers: Sequence[Answers]) -> tuple[Row, ...]:
    """One row for each alternative; the first of `answers` is the chosen way, which the others are held against."""
    corrected = [None, *holm(_p_values(answers))] if answers[0].labels is not None else [None] * len(answers)
    return tuple(_row(each, p) for each, p in zip(answers, corrected, strict=True))


def _p_values(answers: Sequence[Answers]) -> list[float]:
    """McNemar's exact p of each alternative against the chosen way."""
    chosen = answers[0].right
    return [paired_difference(each.right, chosen).p_value for each in answers[1:]]  # type: ignore[arg-type]


def _row(answers: Answers, p: float | None) -> Row:
    right = answers.right
    spread = len(np.unique(answers.predicted)), answers.commonest, answers.entropy
    if right is None:
        return Row(answers.alternative, len(answers.predicted), None, None, None, None, *spread)
    low, high = wilson(int(right.sum()), len(right))
    return Row(answers.alternative, len(right), float(right.mean()), low, high, p, *spread)
