"""Figures of the Robustness page, each from a board, the chosen networks and a scale; None where nothing is stored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from models.cards import Card
from xai import figure_calibration, figure_remedies, robustness_grid, robustness_mce, robustness_paper
from xai.calibration import Estimate
from xai.figure_parts import DEFAULT_STYLE
from xai.figure_robustness_parts import (
    FIGURES,
    Dot,
    Heat,
    Line,
    Panel,
    dots,
    heat,
    multiples,
    number,
    register,
)
from xai.metrics import Share
from xai.results import Board, Condition, level
from xai.robustness_board import conditions, degradations, idle, reference, steps, title
from xai.robustness_curves import by_class, curve, share_of
from xai.robustness_paper import LEVELS

__all__ = [
    "FIGURES",
    "classes",
    "curves",
    "differences",
    "errors",
    "figure_calibration",
    "figure_remedies",
    "grid",
    "papers",
    "seeds",
]

MOST_CLASSES = 20
"""Classes that are drawn; those that die first are."""
_MOST_INTERVALS = 5
_MOST_ROWS = 40
"""Up to so many columns and rows a heat table has room for intervals."""


@register("curves")
def curves(board: Board, models: Sequence[str], scale: str, chosen: Sequence[str] = ()) -> Figure | None:
    """Accuracy against severity of each network, one plot for each of the `chosen` degradations (default: all)."""
    panels = [_curves(board, models, scale, name) for name in chosen or degradations(board, models, scale)]
    drawn = [panel for panel in panels if panel.lines]
    return multiples(drawn, 1 / len(board.classes)) if drawn else None


def _curves(board: Board, models: Sequence[str], scale: str, degradation: str) -> Panel:
    found = {model: curve(board, model, degradation, scale) for model in models}
    lines = [
        Line(model, each.severities, each.accuracies, index)
        for index, (model, each) in enumerate(found.items())
        if each is not None
    ]
    return Panel(title(degradation), _ticks(board, models, degradation, scale), tuple(lines))


def _ticks(
    board: Board, models: Sequence[str], degradation: str, scale: str
) -> tuple[tuple[float, str], ...]:
    """The severities in words: `3` rather than `3 of 5`."""
    words = [
        (step.severity, level(step).partition(" ")[0]) for step in steps(board, models, degradation, scale)
    ]
    return ((0.0, "clean"), *words)


@register("classes")
def registered_classes(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`classes` of the first degradation."""
    found = degradations(board, models, scale)
    return classes(board, models, scale, found[0]) if found else None


def classes(board: Board, models: Sequence[str], scale: str, degradation: str) -> Figure | None:
    """Accuracy of each class against severity, one plot a class; of many classes those that lose most."""
    found = {model: {c.name: c for c in by_class(board, model, degradation, scale)} for model in models}
    names = list(dict.fromkeys(name for own in found.values() for name in own))
    if not names:
        return None
    if len(names) > MOST_CLASSES:
        lost = {name: _lost(own[name].accuracies for own in found.values() if name in own) for name in names}
        names = sorted(names, key=lambda name: -lost[name])[:MOST_CLASSES]
    ticks = _ticks(board, models, degradation, scale)
    panels = [
        Panel(
            name,
            ticks,
            tuple(
                Line(model, own[name].severities, own[name].accuracies, index)
                for index, (model, own) in enumerate(found.items())
                if name in own
            ),
        )
        for name in names
    ]
    return multiples(panels, 1 / len(board.classes), f"severity ({title(degradation)})")


def _lost(curves: Iterable[Sequence[Share]]) -> float:
    """The most that a network loses on the class."""
    return max(shares[0].share - shares[-1].share for shares in curves)


@register("grid")
def grid(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """Accuracy of each network under each condition as a heat table, with Wilson intervals where there is room."""
    rows = conditions(board, models, scale)
    if not rows:
        return None
    shares = [[share_of(board, model, row) for model in models] for row in rows]
    wide = len(models) <= _MOST_INTERVALS and len(rows) <= _MOST_ROWS
    values = np.array([[np.nan if s is None else 100 * s.share for s in line] for line in shares])
    words = tuple(tuple(_accuracy(share, wide) for share in line) for line in shares)
    bar, colours = "accuracy (%)", DEFAULT_STYLE.colours
    below = _below(board, rows, "Small: 95 % Wilson interval." if wide else "")
    return heat(Heat(_names(board, rows), tuple(models), values, words, 0, 100, colours, bar, below))


def _accuracy(share: Share | None, wide: bool) -> str:
    if share is None:
        return ""
    interval = f"\n{100 * share.low:.1f} to {100 * share.high:.1f}" if wide else ""
    return f"{100 * share.share:.1f}{interval}"


def _names(board: Board, rows: Iterable[Condition]) -> tuple[str, ...]:
    return tuple(row.title + (" †" if idle(board, row) else "") for row in rows)


def _below(board: Board, rows: Iterable[Condition], words: str) -> str:
    """What stands under a heat table."""
    idles = "† does nothing at this image size: equal to clean." if any(idle(board, c) for c in rows) else ""
    return " ".join(part for part in (f"n = {len(board):,} images in every cell.", words, idles) if part)


@register("differences")
def registered_differences(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`differences` to the second network."""
    return differences(board, models, scale, models[1]) if len(models) > 1 else None


def differences(board: Board, models: Sequence[str], scale: str, baseline: str) -> Figure | None:
    """Each network less the baseline under each condition as a heat table; * where the corrected test says real."""
    found = robustness_grid.judged(board, models, baseline, scale)
    if not found:
        return None
    columns = tuple(dict.fromkeys(each.a for each in found))
    rows = [c for c in conditions(board, models, scale) if any(each.condition == c for each in found)]
    wide = len(columns) <= _MOST_INTERVALS and len(rows) <= _MOST_ROWS
    by_place = {(each.condition, each.a): each for each in found}
    values = np.array([[_points(by_place.get((row, column))) for column in columns] for row in rows])
    words = tuple(tuple(_difference(by_place.get((row, column)), wide) for column in columns) for row in rows)
    peak = float(np.nanmax(np.abs(values))) or 1.0
    legend = (
        f"A − B in points, A in the column's head, B = {baseline}; above 0: A is more often right. "
        f"* real: exact McNemar test, p < 0.05 after Holm's correction for the {len(found)} differences shown."
        + (" Small: 95 % bootstrap interval." if wide else "")
    )
    bar, below = "A − B (percentage points)", _below(board, rows, legend)
    style = DEFAULT_STYLE.diverging
    return heat(Heat(_names(board, rows), columns, values, words, -peak, peak, style, bar, below))


def _points(found: robustness_grid.Judged | None) -> float:
    return float("nan") if found is None else 100 * found.difference.difference


def _difference(found: robustness_grid.Judged | None, wide: bool) -> str:
    if found is None:
        return ""
    low, high = 100 * found.difference.low, 100 * found.difference.high
    interval = f"\n{number(low)} to {number(high)}" if wide else ""
    return f"{number(_points(found))}{' *' if found.real else ''}{interval}"


@register("seeds")
def registered_seeds(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`seeds` of the first two networks."""
    return seeds(board, models[0], models[1], scale) if len(models) > 1 else None


def seeds(board: Board, a: str, b: str, scale: str) -> Figure | None:
    """Every seed of A's training less every one of B's under each condition, beside what two seeds of one differ by."""
    found = {
        condition: each
        for condition in robustness_grid.shared(board, (a, b), scale)
        if (each := robustness_grid.between_seeds(board, a, b, condition)) is not None
    }
    if not found:
        return None
    marks = [
        Dot(row, 100 * each.difference, 100 * min(each.between), 100 * max(each.between), 0)
        for row, each in enumerate(found.values())
    ]
    null = [
        (row, 100 * each.largest_within)
        for row, each in enumerate(found.values())
        if each.largest_within is not None
    ]
    one, other = robustness_grid.training(a), robustness_grid.training(b)
    name = f"{one} − {other}: mean, least and most of all pairs of seeds"
    words = "most between two seeds of one training"
    return dots(
        _names(board, found), marks, [name], "difference of accuracy (percentage points)", 0, null, words
    )


@register("corruption errors")
def registered_errors(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`errors` against the plain AlexNet."""
    return errors(board, models, scale, reference(board))


def errors(
    board: Board, models: Sequence[str], scale: str, against: str, relative: bool = False
) -> Figure | None:
    """Corruption error of each degradation with interval, and the mean as the last row; dashed, the reference."""
    found = {name: robustness_mce.scores(board, name, against, scale) for name in models}
    if any(each is not None for name, each in found.items() if name != against):
        found.pop(against, None)  # it is at 100 % everywhere
    known = {
        name: (
            each.relative_intervals if relative else each.intervals,
            each.relative_mean if relative else each.mean,
        )
        for name, each in found.items()
        if each is not None
    }
    rows = list(dict.fromkeys(row for intervals, _ in known.values() for row in intervals))
    if not rows:
        return None
    marks = [
        _error(rows.index(name) if name else len(rows), each, index)
        for index, (intervals, mean) in enumerate(known.values())
        for name, each in (*intervals.items(), ("", mean))
        if each is not None
    ]
    kind = "relative corruption error" if relative else "corruption error"
    labels = [*map(title, rows), "mean (relative mCE)" if relative else "mean (mCE)"]
    return dots(labels, marks, list(known), f"{kind} (% of {against})", 100)


def _error(row: int, found: Estimate, index: int) -> Dot:
    return Dot(row, 100 * found.value, 100 * found.low, 100 * found.high, index)


@register("paper's grid")
def registered_papers(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`papers`, whatever the networks and the scale."""
    return papers(board)


def papers(board: Board, cards: Mapping[str, Card] | None = None) -> Figure | None:
    """The paper's accuracies beside ours, one plot for each degradation; ours are means over seeds."""
    found = robustness_paper.entries(board, cards)
    if not any(entry.ours for entry in found):
        return None
    stand = {each.system: each for each in robustness_paper.ours(board, cards)}
    panels = []
    for words in robustness_paper.DEGRADATIONS:
        rows = {0.0: found[0]} | {
            LEVELS[entry.words.partition(", ")[2]]: entry
            for entry in found
            if entry.words.startswith(f"{words},")
        }
        lines = []
        for place, system in enumerate(stand):
            claimed = {x: entry.claimed[system] for x, entry in rows.items() if system in entry.claimed}
            own = {x: entry.ours[system] for x, entry in rows.items() if system in entry.ours}
            lines += [_plain(f"{system}, paper", claimed, place, hollow=False)] if claimed else []
            lines += [_plain(f"{system}, ours", own, place, hollow=True)] if own else []
        ticks = ((0.0, "clean"), *((x, name) for name, x in LEVELS.items()))
        panels.append(Panel(words if words == "JPEG" else words.capitalize(), ticks, tuple(lines)))
    return multiples(panels, 1 / len(board.classes))


def _plain(name: str, values: Mapping[float, float], index: int, *, hollow: bool) -> Line:
    """A line of numbers without intervals, given in %."""
    shares = [Share(name, round(value * 100), 10_000, value / 100, value / 100) for value in values.values()]
    return Line(name, tuple(values), tuple(shares), index, hollow)
