"""Whose answers the Errors page is about, and what is derived of them, kept for all visitors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from xai import pairwise
from xai.error_selection import Asked
from xai.evaluation_grid import CLEAN
from xai.pairwise import Compared
from xai.predictions import Answers
from xai.results import UNTOUCHED, Board, Condition
from xai.ui import result_data, widgets

KEYS = ("errors_a", "errors_b", "condition")
A_HELP = "The network whose errors are looked at."
B_HELP = "A second network, set beside A on the same images; none shows A alone."
CONDITION_HELP = (
    "What was done to the images: nothing (clean), or a degradation of a severity, perhaps repaired."
)
FIRST_CONDITION = 2
"""Which condition a new visitor sees: the third degraded one without a repair, where there are so many."""


@dataclass(frozen=True, eq=False)
class Chosen:
    """One or two networks of a board (`b` empty for one) under a condition."""

    board: Board
    a: str
    b: str
    condition: Condition

    @property
    def models(self) -> tuple[str, ...]:
        """The networks chosen."""
        return (self.a, self.b) if self.b else (self.a,)

    @property
    def degraded(self) -> bool:
        """Whether there are clean answers to set beside those under the condition."""
        return self.condition != UNTOUCHED and all(self.board.has(model, UNTOUCHED) for model in self.models)

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """The clean condition, if it is another, and the one chosen."""
        return (UNTOUCHED, self.condition) if self.degraded else (self.condition,)

    @property
    def cells(self) -> tuple[tuple[str, Condition], ...]:
        """All answers that the page is about."""
        return tuple((model, condition) for condition in self.conditions for model in self.models)

    def key(self, *what: Any) -> tuple[Any, ...]:
        """What tells something derived of these answers from anything else."""
        stamps = tuple(
            (str(entry.path), entry.stamp) for entry in map(self.board.entries.__getitem__, self.cells)
        )
        return ("errors", *what, self.board.setting, self.a, self.b, self.condition, stamps)

    def called(self, reader: str) -> str:
        """Whose answers, and to which pictures, in words; `reader` is one of `error_selection.READERS`."""
        name = self.a if reader.startswith("a") else self.b
        return f"{reader[0].upper()} ({name}), {self._condition(reader).words}"

    def letter(self, reader: str) -> str:
        """The same without the network's name."""
        return f"{reader[0].upper()}, {self._condition(reader).words}"

    def _condition(self, reader: str) -> Condition:
        return UNTOUCHED if reader.endswith("clean") else self.condition


def choose(board: Board) -> Chosen | None:
    """Draw the choice of networks and condition; None, with the reason, where two were never asked the same."""
    usual = result_data.usual(board, 2)
    columns = st.columns(3)
    with columns[0]:
        a = widgets.one_of("Network A", "errors_a", board.models, usual[0], help=A_HELP)
    others = ["", *(model for model in board.models if model != a)]
    second = next((model for model in usual if model != a), "")
    with columns[1]:
        words = lambda name: name or "none"  # noqa: E731
        b = widgets.one_of("Network B", "errors_b", others, second, words, help=B_HELP)
    conditions = board.conditions_of((a, b) if b else (a,))
    if not conditions:
        st.info(widgets.plain(f"{a} and {b} were never asked under the same condition: choose another pair."))
        return None
    by_key = {key_of(condition): condition for condition in conditions}
    first = key_of(_first(conditions))
    with columns[2]:
        title = lambda key: by_key[key].title  # noqa: E731
        name = widgets.one_of("Condition", "condition", list(by_key), first, title, help=CONDITION_HELP)
    return Chosen(board, a, b, by_key[name])


def _first(conditions: Sequence[Condition]) -> Condition:
    degraded = [condition for condition in conditions if condition.degradation != CLEAN]
    usual = [condition for condition in degraded if not condition.remedy] or degraded or conditions
    return usual[min(FIRST_CONDITION, len(usual) - 1)]


def key_of(condition: Condition) -> str:
    """The condition in a link."""
    return f"{condition.scale}:{condition.name}" if condition.scale else condition.name


def asked(chosen: Chosen) -> Asked:
    """The answers; raises `PredictionsError` for a damaged file."""
    clean = UNTOUCHED if chosen.degraded else None
    return Asked(
        _answers(chosen, chosen.a, chosen.condition),
        _answers(chosen, chosen.b, chosen.condition) if chosen.b else None,
        _answers(chosen, chosen.a, clean) if clean else None,
        _answers(chosen, chosen.b, clean) if clean and chosen.b else None,
        lambda: crowd(chosen),
    )


def _answers(chosen: Chosen, model: str, condition: Condition) -> Answers:
    found = chosen.board.answers(model, condition)
    assert found is not None, "only what is stored is offered"
    return found


def crowd(chosen: Chosen) -> tuple[np.ndarray, int]:
    """How many of all networks that were asked under the condition are right about each image."""
    board, condition = chosen.board, chosen.condition
    models = [model for model in board.models if board.has(model, condition)]
    stamps = tuple(board.entries[model, condition].stamp for model in models)
    key = ("crowd", board.setting, condition, tuple(models), stamps)

    def count() -> np.ndarray:
        right = np.zeros(len(board), np.int64)
        for model in models:
            right += _answers(chosen, model, condition).correct
        return right

    found: np.ndarray = board.memo(key, count)
    return found, len(models)


def differences(chosen: Chosen, first: str, second: str) -> Sequence[Compared]:
    """Accuracy of each class by one reader less that by another, with p adjusted for the classes."""
    known = asked(chosen)

    def compare() -> Sequence[Compared]:
        return pairwise.class_differences(known.reader(first), known.reader(second), chosen.board.classes)

    found: Sequence[Compared] = chosen.board.memo(chosen.key("differences", first, second), compare)
    return found


def searchable(chosen: Chosen) -> Sequence[str]:
    """What a text is looked for in: id and class of each image, in small letters."""
    board = chosen.board

    def join() -> tuple[str, ...]:
        names = [name.lower() for name in board.classes]
        return tuple(
            f"{image_id.lower()} {names[label]}"
            for image_id, label in zip(board.ids, board.labels.tolist(), strict=True)
        )

    found: Sequence[str] = board.memo(("searchable", board.setting), join)
    return found
