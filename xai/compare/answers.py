"""Answers of two networks to the same images under many conditions, as arrays that are read from rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xai.compare.sections import Table
from xai.compare.study import Facts, of_degradation
from xai.predictions import Answers
from xai.results import Condition

if TYPE_CHECKING:
    from xai.compare.maps import Maps

UNKNOWN = -1
"""The answer with a class that only the network knows."""


@dataclass(frozen=True, eq=False)
class Answered:
    """What A (0) and B (1) answered: `labels` int64 `(N,)`; `predicted` int64 and `confidence` float32 `(2, C, N)`.

    Class numbers are those of the dataset; an answer that only the network knows is `UNKNOWN`.
    """

    labels: np.ndarray
    predicted: np.ndarray
    confidence: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Which answers are right, bool `(2, C, N)`."""
        return self.predicted == self.labels

    def of(self, place: int, condition: int) -> Answers:
        """The answers of one network under the condition of that number, as `xai.pairwise` takes them."""
        return plain(self.labels, self.predicted[place, condition])


def plain(labels: np.ndarray, predicted: np.ndarray) -> Answers:
    """Answers int64 `(N,)` to images that are numbered, without probabilities (NaN)."""
    unknown = np.full(len(labels), np.nan, np.float16)
    return Answers(tuple(map(str, range(len(labels)))), labels, predicted, unknown, unknown)


def read(facts: Facts, table: Table) -> Answered:
    """The answers that `table_of` put into rows, in whatever order the rows are."""
    shape = (2, len(facts.conditions), facts.images)
    labels = np.zeros(facts.images, np.int64)
    predicted, confidence = np.full(shape, UNKNOWN, np.int64), np.full(shape, np.nan, np.float32)
    labels[table["image"]] = table["label"]
    place = (table["network"], table["condition"], table["image"])
    predicted[place], confidence[place] = table["predicted"], table["confidence"]
    return Answered(labels, predicted, confidence)


def table_of(found: Maps, labels: np.ndarray, classes: tuple[Sequence[str], Sequence[str]]) -> Table:
    """One row per image: the answers of one network with numbers of the dataset's classes.

    `classes` are those of the network and of the dataset. The right answer is where the numbers are the same.
    """
    known = {name: number for number, name in enumerate(classes[1])}
    numbers = np.array([known.get(name, UNKNOWN) for name in classes[0]], np.int16)
    predicted = numbers[found.predicted]
    probabilities = found.probabilities
    return {
        "image": np.arange(len(found), dtype=np.int32),
        "label": labels.astype(np.int16),
        "predicted": predicted,
        "confidence": probabilities[np.arange(len(found)), found.predicted],
        "correct": predicted == labels,
    }


def with_column(table: Table, name: str, value: int, kind: type = np.int16) -> Table:
    """The table with one more column, of which every row has the same value."""
    return {**table, name: np.full(len(table["image"]), value, kind)}


def stacked(tables: Sequence[Table]) -> Table:
    """Tables of the same columns, one below the other."""
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def strongest(facts: Facts) -> dict[int, Condition]:
    """The highest severity of every degradation, by its number among `facts.conditions`."""
    last = [of_degradation(facts.study, name)[-1] for name in facts.study.degradations]
    return {facts.conditions.index(condition): condition for condition in last}
