"""Figures of two networks' errors: accuracy and shared errors by condition, and the classes whose answers move."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xai.compare.error_results import Errors
from xai.compare.error_shift import Shift, Shifts
from xai.compare.study import Facts
from xai.figure_compare_flow import flow_figure
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, middle_cut, short, wrapped
from xai.figures import drawing
from xai.pairwise import REAL

WIDTH = WIDTHS["two-column"]
COLOURS = (CLEAN_COLOUR, DEGRADED_COLOUR)
MARKS = ("o", "s")
FLOWS = 6
"""Degradations of one figure of flows."""
MOST_CLASSES = 25
"""Classes of a figure; of more, those that move most are drawn."""


def error_figures(facts: Facts, found: Errors) -> dict[str, Figure]:
    """Figures by name: `accuracy`, and where images are degraded `flow` (more for many degradations) and `classes`."""
    made = {"accuracy": accuracy_figure(facts, found)}
    numbers = list(found.tables)
    for start in range(0, len(numbers), FLOWS):
        name = "flow" if start == 0 else f"flow {start // FLOWS + 1}"
        tables = {facts.conditions[k].title: found.tables[k] for k in numbers[start : start + FLOWS]}
        made[name] = flow_figure(tables, facts.names)
    if any(not np.isnan(each.value) for shifts in found.shifts.values() for each in shifts.a):
        made["classes"] = classes_figure(facts, found)
    return made


def accuracy_figure(facts: Facts, found: Errors) -> Figure:
    """Accuracy of both networks under every condition, and their error consistency beside that of seeds."""
    titles = [condition.title for condition in facts.conditions]
    step = 0.17 if len(titles) <= 40 else 0.12
    left, top, body = 0.25 + 0.047 * max(map(len, titles)), 0.36, step * len(titles)
    room = (WIDTH - left - 0.35) / 2
    below = wrapped(_accuracy_notes(found), 150)
    with drawing():
        sheet = Sheet(WIDTH, top + body + 0.5 + 0.1 * (below.count("\n") + 1))
        axes = sheet.axes(left, top, room, body)
        for place, shares in enumerate(found.accuracies):
            values = 100 * np.array([(s.share, s.low, s.high) for s in shares])
            _dots(axes, values, place, 0.16 * (2 * place - 1))
        _starred(axes, [each.real for each in found.compared])
        _conditions(axes, titles, "accuracy (%) with 95 % interval")
        axes.set_yticks(range(len(titles)), titles, fontsize=6 if step > 0.15 else 5)
        for k in found.idle:
            axes.get_yticklabels()[k].set_color("#8c8c8c")
        axes = sheet.axes(left + room + 0.2, top, room, body)
        _kappas(axes, found)
        _conditions(axes, titles, "error consistency (kappa) with 95 % interval")
        axes.tick_params(labelleft=False)
        _accuracy_legend(sheet, facts, found)
        sheet.text(0.1, top + body + 0.4, below, fontsize=5.5)
        return sheet.figure


def _dots(axes: Axes, values: np.ndarray, place: int, offset: float) -> None:
    """Values `(n, 3)` with low and high end, one below the other, in the look of A (0) or B (1)."""
    rows = np.arange(len(values)) + offset
    axes.hlines(rows, values[:, 1], values[:, 2], color=COLOURS[place], linewidth=0.9)
    axes.plot(values[:, 0], rows, MARKS[place], color=COLOURS[place], markersize=2.8)


def _starred(axes: Axes, real: Sequence[bool]) -> None:
    for row, each in enumerate(real):
        if each:
            axes.text(1.005, row, "*", transform=axes.get_yaxis_transform(), va="center", fontsize=7)


def _conditions(axes: Axes, titles: Sequence[str], words: str) -> None:
    axes.set_ylim(len(titles) - 0.5, -0.5)
    axes.set_xlabel(words, fontsize=6.5)
    axes.grid(axis="x", linewidth=0.3, color="#dddddd")
    for row in range(1, len(titles)):
        axes.axhline(row - 0.5, color="#eeeeee", linewidth=0.4, zorder=0)
    axes.spines[["top", "right"]].set_visible(False)


def _kappas(axes: Axes, found: Errors) -> None:
    """Kappa by condition; hollow where too few answers are wrong or right; the seeds' range as a band."""
    for row, each in enumerate(found.consistencies):
        if each.kappa is None or each.low is None or each.high is None:
            axes.text(0.02, row, "not defined", fontsize=5, va="center", transform=axes.get_yaxis_transform())
            continue
        axes.hlines(row, each.low, each.high, color="#333333", linewidth=0.9)
        face = "white" if found.few_errors(row) else "#333333"
        axes.plot(each.kappa, row, "D", color="#333333", markerfacecolor=face, markersize=2.8)
        axes.plot(found.ceilings[row], row, "|", color="#777777", markersize=5, markeredgewidth=0.8)
    axes.axvline(0, color="#777777", linestyle=":", linewidth=0.8)
    if found.seeds is not None:
        values = [row.value for row in found.seeds.seeds if not np.isnan(row.value)]
        if values:
            axes.axvspan(min(values), max(values), color="#009e73", alpha=0.25, linewidth=0)
            for value in values:
                axes.axvline(value, color="#009e73", linewidth=0.5, linestyle="--")


def _accuracy_legend(sheet: Sheet, facts: Facts, found: Errors) -> None:
    handles: list[Any] = _network_handles(facts)
    handles.append(
        Line2D([], [], color="#333333", marker="D", markersize=2.8, linewidth=0.9, label="A and B")
    )
    largest: dict[str, Any] = {
        "marker": "|",
        "markersize": 5,
        "linestyle": "",
        "label": "largest possible",
    }
    handles.append(Line2D([], [], color="#777777", **largest))
    if found.seeds is not None and found.seeds.below is not None:
        label = "two seeds of one training, clean"
        handles.append(Line2D([], [], color="#009e73", linestyle="--", linewidth=0.8, label=label))
    _legend(sheet, handles)


def _network_handles(facts: Facts) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=mark, markersize=2.8, linewidth=0.9, label=f"{letter}: {name}")
        for letter, name, colour, mark in zip(
            "AB", (short(n, 40) for n in facts.names), COLOURS, MARKS, strict=True
        )
    ]


def _legend(sheet: Sheet, handles: Sequence[Line2D]) -> None:
    place: dict[str, Any] = {"loc": "upper center", "frameon": False, "fontsize": 6, "borderaxespad": 0}
    anchor = (0.5, 1 - 0.06 / sheet.height)
    sheet.figure.legend(handles=list(handles), ncols=len(handles), bbox_to_anchor=anchor, **place)


def _accuracy_notes(found: Errors) -> str:
    told = f"n = {len(found.answered.labels):,} images. * A and B differ (McNemar, Holm over the conditions)."
    if found.idle:
        told += " Grey names: no answer of either changes there; such conditions are not counted or tested."
    if any(found.few_errors(k) for k in range(len(found.consistencies))):
        told += " Hollow: A or B has fewer than 10 wrong or right answers, so that kappa says little."
    return (
        told
        + " Kappa: 1 the same errors, 0 as many in common as chance gives; its largest possible is at these accuracies."
    )


def classes_figure(facts: Facts, found: Errors) -> Figure:
    """How far each class's answers move at the highest severity of each degradation, a panel for each."""
    shown = _moved_most(found, len(facts.classes))
    names = [facts.classes[k] for k in shown]
    columns = min(3, len(found.shifts))
    rows = math.ceil(len(found.shifts) / columns)
    left, top, high = 0.2 + 0.047 * max(min(len(name), 22) for name in names), 0.3, 0.15 * len(names)
    room, step = (WIDTH - left - 0.1) / columns, high + 0.5
    below = wrapped(_class_notes(facts, found, len(shown)), 150)
    with drawing():
        sheet = Sheet(WIDTH, top + rows * step + 0.16 + 0.1 * below.count("\n") + 0.1)
        _legend(sheet, _network_handles(facts))
        for place, (k, shifts) in enumerate(found.shifts.items()):
            row, column = divmod(place, columns)
            axes = sheet.axes(left + column * room, top + row * step + 0.14, room - 0.14, high)
            _panel(axes, shifts, shown)
            axes.set_title(facts.conditions[k].title, fontsize=6.5)
            axes.set_yticks(range(len(names)), [middle_cut(name, 22) for name in names], fontsize=6)
            axes.tick_params(labelleft=column == 0)
        sheet.text(0.1, top + rows * step + 0.08, below, fontsize=5.5)
        return sheet.figure


def _moved_most(found: Errors, classes: int) -> list[int]:
    """Numbers of the classes that are drawn, in order: all, or those that move most."""
    sides = np.array([[s.value for s in side] for each in found.shifts.values() for side in (each.a, each.b)])
    largest = np.nan_to_num(sides, nan=-1.0).max(axis=0)
    return np.sort(np.argsort(-largest, kind="stable")[: min(MOST_CLASSES, classes)]).tolist()


def _panel(axes: Axes, shifts: Shifts, shown: Sequence[int]) -> None:
    for place, side in enumerate((shifts.a, shifts.b)):
        for row, k in enumerate(shown):
            _shift(axes, side[k], row + 0.16 * (2 * place - 1), place)
    for row, k in enumerate(shown):
        if np.isnan(shifts.a[k].value):
            axes.text(0.02, row, f"{shifts.a[k].images} images: not tested", fontsize=5, va="center")
    _starred(axes, [shifts.versus[k].p_holm < REAL for k in shown])
    _conditions(axes, [str(k) for k in shown], "shift of the answers (bits)")
    axes.set_xlim(-0.03, 1.03)


def _shift(axes: Axes, shift: Shift, place: float, side: int) -> None:
    """One class under one network; hollow where its answers did not change beyond chance."""
    if np.isnan(shift.value):
        return
    face = COLOURS[side] if shift.p_holm < REAL else "white"
    axes.hlines(place, shift.low, shift.high, color=COLOURS[side], linewidth=0.9)
    axes.plot(shift.value, place, MARKS[side], color=COLOURS[side], markerfacecolor=face, markersize=2.8)


def _class_notes(facts: Facts, found: Errors, shown: int) -> str:
    left_out = len(facts.classes) - shown
    more = f" {left_out:,} classes that move less are left out." if left_out else ""
    return (
        f"Jensen-Shannon divergence of the clean and the degraded answers to a class's images ({facts.images:,} images "
        "in all) with the jackknife's 95 % interval: 0 for the same answers. Filled: changed beyond chance; * A's "
        "answers move otherwise than B's, to other classes or further (swaps within images, Holm over the classes)."
        f"{more}"
    )
