"""Tables of errors: accuracy by class, confusions, transitions between clean and degraded, and single images.

Rows are for `xai.tables` (percent, as read), arrays for figures (counts and shares in [0, 1]).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from xai import metrics
from xai.error_selection import BOTH, Asked
from xai.metrics import Share
from xai.pairwise import Cell, Compared
from xai.predictions import Graded
from xai.tables import Row, Rows, p_value

MAX_SHOWN = 30
"""Classes of a confusion matrix that can be read and clicked; of more, the most confused are shown."""
SERIES = {"a_clean": "A clean", "a": "A", "b_clean": "B clean", "b": "B"}
"""What the answers of a reader are called in a table."""
PAIRS: Sequence[Cell] = tuple((a, b, c, d) for a, b, c, d in product((1, 0), repeat=4))
"""The cells of the transition table, from both right on both to both wrong on both."""
STATES = (3, 2, 1, 0)
"""Rows and columns of the transition table as a square: places in `BOTH`."""


def class_shares(asked: Asked, names: Sequence[str]) -> dict[str, list[Share]]:
    """Accuracy of each class that has images by what the answers are called, the clean ones first."""
    degraded = asked.a_clean is not None
    found = {}
    for reader, title in SERIES.items():
        if reader in asked.readers:
            word = title if "clean" in title else f"{title} {'degraded' if degraded else 'clean'}"
            found[word] = metrics.class_accuracies(asked.reader(reader), names)
    return found


def class_rows(
    shares: Mapping[str, Sequence[Share]], compared: Sequence[Compared] = (), what: str = ""
) -> Rows:
    """One row for each class: accuracies, the difference that `what` names, and intervals; all in percent.

    `compared` are differences of the same classes in the same order, with p adjusted by Holm for all of them.
    """
    first = next(iter(shares.values()))
    rows: list[Row] = []
    for place, share in enumerate(first):
        row: Row = {"class": share.name, "n": share.total}
        row |= {f"{title} %": _percent(found[place].share) for title, found in shares.items()}
        if compared:
            row |= _difference(compared[place], what)
        for title, found in shares.items():
            row |= {f"{title} from": _percent(found[place].low), f"{title} to": _percent(found[place].high)}
        rows.append(row)
    return rows


def _difference(found: Compared, what: str) -> Row:
    points = {what: found.difference.difference, "from": found.difference.low, "to": found.difference.high}
    return {
        **{name: _percent(value) for name, value in points.items()},
        "p (Holm)": p_value(found.p_holm),
    }


def _percent(share: float) -> float:
    return round(100 * share, 2) + 0.0


@dataclass(frozen=True, eq=False)
class Confusion:
    """Part of a confusion matrix: `counts` int64 `(k, k)` of the classes numbered `shown`, true by answered.

    `elsewhere` `(k,)` counts answers with classes that are not shown, `totals` `(k,)` all images of each class.
    """

    shown: np.ndarray
    names: tuple[str, ...]
    counts: np.ndarray
    elsewhere: np.ndarray
    totals: np.ndarray

    @property
    def shares(self) -> np.ndarray:
        """Shares of all images of the true class, float64 `(k, k)` in [0, 1]; NaN for a class without images."""
        totals = self.totals[:, None]
        return np.divide(self.counts, totals, out=np.full(self.counts.shape, np.nan), where=totals > 0)


def most_confused(rows: Graded, classes: int, limit: int = MAX_SHOWN) -> np.ndarray:
    """Numbers of the classes with most wrong answers that name or concern them, rising; all if they are few enough."""
    wrong = ~rows.correct
    count = np.bincount(rows.labels[wrong], minlength=classes) + np.bincount(
        rows.predicted[wrong], minlength=classes
    )
    return np.sort(np.argsort(-count, kind="stable")[:limit])


def confusion(rows: Graded, names: Sequence[str], shown: np.ndarray) -> Confusion:
    """The confusion matrix of the classes `shown`, rising numbers `(k,)`; raises `ValueError` for a missing name."""
    metrics.check_names(np.maximum(rows.labels, rows.predicted), names)
    places = np.full(len(names), -1)
    places[shown] = np.arange(len(shown))
    true, said = places[rows.labels], places[rows.predicted]
    inside = (true >= 0) & (said >= 0)
    size = len(shown)
    counts = np.bincount(true[inside] * size + said[inside], minlength=size * size).reshape(size, size)
    totals = np.bincount(true[true >= 0], minlength=size)
    return Confusion(shown, tuple(names[k] for k in shown), counts, totals - counts.sum(axis=1), totals)


def confusion_rows(found: Confusion, *, as_shares: bool) -> Rows:
    """One row for each true class: counts, or percent of its images, of each answer."""
    values = np.round(100 * found.shares, 2) if as_shares else found.counts
    first, others, total = (_free(head, found.names) for head in ("true class", "other answers", "n"))
    rows: list[Row] = []
    for place, name in enumerate(found.names):
        row: Row = {first: name}
        row |= {said: _number(value) for said, value in zip(found.names, values[place], strict=True)}
        if found.elsewhere.any():
            row[others] = _other(found, place, as_shares)
        rows.append({**row, total: int(found.totals[place])})
    return rows


def _free(head: str, names: Sequence[str]) -> str:
    """The heading, in brackets where a class has the same name."""
    return _free(f"({head})", names) if head in names else head


def _other(found: Confusion, place: int, as_shares: bool) -> int | float | None:
    count, total = int(found.elsewhere[place]), int(found.totals[place])
    if not as_shares:
        return count
    return _percent(count / total) if total else None


def _number(value: np.generic) -> int | float | None:
    number = value.item()
    return None if number != number else number


def pair_rows(rows: Graded, names: Sequence[str], limit: int = 100) -> Rows:
    """The most frequent wrong answers: true class, answer, count, and percent of the class with its interval."""
    return [
        {
            "true class": pair.true,
            "answered": pair.predicted,
            "images": pair.count,
            "of": pair.total,
            "% of the class": _percent(pair.share),
            "from": _percent(pair.low),
            "to": _percent(pair.high),
        }
        for pair in metrics.confused_pairs(rows, names, limit)
    ]


def transition_rows(table: np.ndarray) -> Rows:
    """The 16 cells of `pairwise.transition_table` `(2, 2, 2, 2)`, one in each row, with their share of all images."""
    total = int(table.sum())
    return [
        {
            "clean": BOTH[2 * cell[0] + cell[1]],
            "degraded": BOTH[2 * cell[2] + cell[3]],
            "images": int(table[cell]),
            "% of all": _percent(int(table[cell]) / total),
        }
        for cell in PAIRS
    ]


def transition_square(table: np.ndarray) -> np.ndarray:
    """The same cells as a square, int64 `(4, 4)`: clean by degraded, both in the order of `STATES`."""
    square = table.reshape(4, 4)
    return square[np.ix_(STATES, STATES)]


def square_cell(row: int, column: int) -> Cell:
    """Which cell of the transition table stands in a place of the square."""
    return (*divmod(STATES[row], 2), *divmod(STATES[column], 2))


def transition_sentences(table: np.ndarray, letters: tuple[str, str] = ("A", "B")) -> list[str]:
    """What the degradation costs each of the two, in words."""
    total = int(table.sum())
    axes = {letters[0]: (0, 2), letters[1]: (1, 3)}
    found = []
    for letter, (clean, degraded) in axes.items():
        moved = np.moveaxis(table, (clean, degraded), (0, 1)).sum(axis=(2, 3))
        lost, won = int(moved[1, 0]), int(moved[0, 1])
        found.append(
            f"{letter} loses {_of(lost, total)} that it was right about, and wins {_of(won, total)}."
        )
    both = int(table[1, 1, 0, 0])
    return [*found, f"Both lose {_of(both, total)} together."]


def _of(count: int, total: int) -> str:
    words = "1 image" if count == 1 else f"{count:,} images"
    return f"{words} ({100 * count / total:.1f} %)"


def image_rows(asked: Asked, names: Sequence[str], chosen: np.ndarray) -> Rows:
    """One row for each image of the rows `chosen` `(n,)`: id, class, and what each network said, and how surely."""
    first = asked.a
    columns = {
        SERIES[reader]: (answers.predicted, answers.confidence, answers.label_probability)
        for reader in SERIES
        if reader in asked.readers
        for answers in (asked.reader(reader),)
    }
    rows: list[Row] = []
    for image in chosen.tolist():
        row: Row = {
            "id": first.ids[image],
            "class": names[first.labels[image]],
        }
        for title, (said, confidence, right) in columns.items():
            row[f"{title}: says"] = names[said[image]]
            row[f"{title}: confidence"] = round(float(confidence[image]), 4)
            row[f"{title}: probability of the class"] = round(float(right[image]), 4)
        rows.append(row)
    return rows
