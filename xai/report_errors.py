"""Tables of errors for a report, each of a whole board: classes, confusions, and who is right where."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xai import error_tables, metrics, pairwise
from xai.predictions import Answers
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness_board import Make, Table, conditions, kept, percent, scaled, shared, told
from xai.tables import Row, Rows, p_value

ERRORS: dict[str, Table] = {}
"""Every table of errors by name, made as those of `robustness_tables.TABLES` are."""
PAIRS = 10
"""Most confused pairs that are given of each network under each condition."""


def register(name: str, caption: str) -> Callable[[Make], Make]:
    """Decorator that enters a table into `ERRORS`; raises `ValueError` when the name is taken."""

    def add(make: Make) -> Make:
        if name in ERRORS:
            raise ValueError(f"a table named {name!r} is registered already.")
        ERRORS[name] = Table(make, caption)
        return make

    return add


def _asked(board: Board, models: Sequence[str], scale: str) -> Iterator[tuple[Condition, str, Answers]]:
    """Every readable answer of the networks, condition by condition."""
    for condition in conditions(board, models, scale):
        for model in models:
            if (answers := told(board, model, condition)) is not None:
                yield condition, model, answers


@register("class accuracy", "Accuracy of each class under every condition, with Wilson's 95 \\% interval.")
def class_accuracy_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each class, network and condition."""
    return [
        {
            "condition": condition.title,
            "network": model,
            "class": share.name,
            "images": share.total,
            **percent("accuracy %", share),
        }
        for condition, model, answers in _asked(board, models, scale)
        for share in metrics.class_accuracies(answers, board.classes)
    ]


@register("class scores", "Precision, recall and F1 of each class on clean images.")
def class_score_rows(board: Board, models: Sequence[str], _scale: str) -> Rows:
    """A row for each network and class; precision is empty for a class that is never answered."""
    return [
        {
            "network": model,
            "class": score.name,
            "images": score.images,
            "precision %": scaled(score.precision),
            "recall %": scaled(score.recall),
            "F1 %": scaled(score.f1),
        }
        for model in models
        if (answers := told(board, model, UNTOUCHED)) is not None
        for score in metrics.class_scores(answers, board.classes)
    ]


@register(
    "class differences",
    "First network less the second, class by class; exact McNemar, Holm over the classes.",
)
def class_difference_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each class and condition under which both were asked; empty for one network."""
    if len(models) < 2:
        return []
    return [
        row
        for condition in shared(board, models[:2], scale)
        for row in _class_differences(board, models[0], models[1], condition)
    ]


def _class_differences(board: Board, a: str, b: str, condition: Condition) -> list[Row]:
    ours, theirs = (_readable(board, model, condition) for model in (a, b))
    found = kept(
        board,
        ("class differences", board.classes),
        [(a, condition), (b, condition)],
        lambda: pairwise.class_differences(ours, theirs, board.classes),
    )
    return [
        {
            "condition": condition.title,
            "class": each.name,
            "A": a,
            "B": b,
            "images": each.difference.n,
            "A less B, points": scaled(each.difference.difference),
            "from": scaled(each.difference.low),
            "to": scaled(each.difference.high),
            "p (Holm)": p_value(each.p_holm),
        }
        for each in found
    ]


def _readable(board: Board, model: str, condition: Condition) -> Answers:
    answers = told(board, model, condition)
    assert answers is not None  # the caller chose conditions under which both can be read
    return answers


@register("confused pairs", f"The {PAIRS} most frequent wrong answers of each network under every condition.")
def confused_pair_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each pair, the most frequent first."""
    return [
        {"condition": condition.title, "network": model, **row}
        for condition, model, answers in _asked(board, models, scale)
        for row in error_tables.pair_rows(answers, board.classes, PAIRS)
    ]


@register(
    "transitions", "Images by who is right, clean and degraded, of the first (A) and the second network (B)."
)
def transition_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """The 16 cells of every condition; empty for one network, or where one was not asked about clean images."""
    if len(models) < 2:
        return []
    found = shared(board, models[:2], scale)
    if UNTOUCHED not in found:
        return []
    clean = [_readable(board, model, UNTOUCHED) for model in models[:2]]
    rows = []
    for condition in found[1:]:
        degraded = [_readable(board, model, condition) for model in models[:2]]
        kinds = pairwise.transitions(clean[0], clean[1], degraded[0], degraded[1])
        cells = error_tables.transition_rows(pairwise.transition_table(kinds))
        rows += [{"condition": condition.title, "A": models[0], "B": models[1], **row} for row in cells]
    return rows
