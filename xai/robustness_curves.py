"""Accuracy against severity: the points of the curves, the areas under them, and the classes that die first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from xai.metrics import Share, accuracy
from xai.predictions import Graded
from xai.results import UNTOUCHED, Board, Condition, level
from xai.robustness import ClassCurve, SeverityCurve, class_curves, deaths, severity_curve
from xai.robustness_board import (
    Row,
    conditions,
    degradations,
    estimated,
    idle,
    kept,
    percent,
    register,
    steps,
    title,
    told,
)
from xai.tables import Rows


def share_of(board: Board, model: str, condition: Condition) -> Share | None:
    """The network's accuracy under the condition with its Wilson interval, None where it was not asked."""
    rows = told(board, model, condition)
    return None if rows is None else kept(board, ("share",), [(model, condition)], lambda: accuracy(rows))


def answered(
    board: Board, model: str, degradation: str, scale: str
) -> tuple[Graded, dict[float, Graded]] | None:
    """Answers to the clean images and to the degraded ones by severity; None where either is missing."""
    clean = told(board, model, UNTOUCHED)
    found = {step.severity: told(board, model, step) for step in steps(board, [model], degradation, scale)}
    readable: dict[float, Graded] = {severity: rows for severity, rows in found.items() if rows is not None}
    return None if clean is None or not readable else (clean, readable)


def curve(board: Board, model: str, degradation: str, scale: str) -> SeverityCurve | None:
    """The network's accuracy against severity, None where it was not asked."""
    found = answered(board, model, degradation, scale)
    if found is None:
        return None
    cells = _cells(board, model, degradation, scale, found[1])
    return kept(board, ("curve",), cells, lambda: severity_curve(*found))


def by_class(board: Board, model: str, degradation: str, scale: str) -> list[ClassCurve]:
    """The accuracy of each class against severity; empty where the network was not asked."""
    found = answered(board, model, degradation, scale)
    if found is None:
        return []
    cells = _cells(board, model, degradation, scale, found[1])
    return kept(board, ("classes", board.classes), cells, lambda: class_curves(*found, board.classes))


def _cells(
    board: Board, model: str, degradation: str, scale: str, readable: dict[float, Graded]
) -> list[tuple[str, Condition]]:
    used = [c for c in steps(board, [model], degradation, scale) if c.severity in readable]
    return [(model, condition) for condition in (UNTOUCHED, *used)]


@register("accuracy", "Accuracy under every condition, with Wilson's 95 \\% interval.")
def accuracy_rows(board: Board, models: Sequence[str], scale: str) -> Rows:
    """A row for each network under each condition of the scale: images, how many right, accuracy with interval."""
    return [
        _accuracy_row(board, model, condition, share)
        for condition in conditions(board, models, scale)
        for model in models
        if (share := share_of(board, model, condition)) is not None
    ]


def _accuracy_row(board: Board, model: str, condition: Condition, share: Share) -> Row:
    return {
        "condition": condition.title,
        "network": model,
        **percent("accuracy %", share),
        "images": share.total,
        "right": share.right,
        "equal to clean": "yes" if idle(board, condition) else "",
    }


@register(
    "areas", "Area under accuracy against severity (mean accuracy over the scale), with 95 \\% interval."
)
def area_rows(board: Board, models: Sequence[str], scale: str, chosen: Sequence[str] = ()) -> Rows:
    """A row for each of the `chosen` degradations (all where none is named) and each network.

    The area is in % of what a network that is always right would have; severities are scaled to [0, 1].
    """
    return [
        _area_row(board, model, degradation, scale, found)
        for degradation in chosen or degradations(board, models, scale)
        for model in models
        if (found := curve(board, model, degradation, scale)) is not None
    ]


def _area_row(board: Board, model: str, degradation: str, scale: str, found: SeverityCurve) -> Row:
    levels = [level(step) for step in steps(board, [model], degradation, scale)]
    last = found.accuracies[-1]
    return {
        "degradation": title(degradation),
        "network": model,
        **estimated("area %", found.area),
        **percent("clean %", found.accuracies[0]),
        **percent("at the highest %", last),
        "highest severity": levels[-1],
        "severities": len(found.severities) - 1,
        "images": last.total,
    }


def class_rows(board: Board, models: Sequence[str], scale: str, chosen: Sequence[str] = ()) -> Rows:
    """A row for each class, network and severity: images, accuracy with Wilson's interval."""
    return [
        {
            "degradation": title(degradation),
            "network": model,
            "class": found.name,
            "severity": severity,
            "images": share.total,
            **percent("accuracy %", share),
        }
        for degradation, model in product(chosen or degradations(board, models, scale), models)
        for found in by_class(board, model, degradation, scale)
        for severity, share in zip(found.severities, found.accuracies, strict=True)
    ]


@register("deaths", "Which classes die first: where less than half of the clean accuracy is left.")
def death_rows(board: Board, models: Sequence[str], scale: str, chosen: Sequence[str] = ()) -> Rows:
    """A row for each class of each network and degradation, the first to die first."""
    return [
        row
        for degradation, model in product(chosen or degradations(board, models, scale), models)
        for row in _deaths(board, model, degradation, scale)
    ]


def _deaths(board: Board, model: str, degradation: str, scale: str) -> list[Row]:
    curves = by_class(board, model, degradation, scale)
    levels = {step.severity: level(step) for step in steps(board, [model], degradation, scale)}
    ends = {found.name: found.accuracies[-1] for found in curves}
    return [
        {
            "degradation": title(degradation),
            "network": model,
            "class": death.name,
            "dies at": "survives" if death.severity is None else levels[death.severity],
            "beyond both intervals": "yes" if death.certain else "no",
            "images": death.clean.total,
            **percent("clean %", death.clean),
            **percent("left %", death.left or ends[death.name]),
        }
        for death in deaths(curves)
    ]
