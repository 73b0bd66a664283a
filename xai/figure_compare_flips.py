"""Figures of flip points: how they are distributed over severity, and whose come later on the same images."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.corruption_constants import SCALES
from data.degradations import DEGRADATIONS, max_severity, severity_levels
from xai.compare.flip_statistics import Fates, fates, severities
from xai.compare.sections import Measured
from xai.compare.study import Facts
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, wrapped
from xai.figures import drawing
from xai.statistics import wilson_intervals
from xai.tables import p_value

LOOKS: tuple[dict[str, Any], dict[str, Any]] = (
    {"color": CLEAN_COLOUR, "linestyle": "-", "linewidth": 1.2},
    {"color": DEGRADED_COLOUR, "linestyle": "--", "linewidth": 1.2},
)
"""Of A and of B."""
_COLUMNS = 5
_LEFT, _TOP, _GAP, _CURVE, _BETWEEN, _BELOW, _CAPTION = 0.58, 0.42, 0.14, 1.05, 0.42, 0.4, 0.1
"""Inches: left of all, above all, between columns, height of a curve, below it, below a square, a caption's line."""
_RIGHT = 0.16
_OUT = 0.09
"""Where answers that never flip are drawn, beyond the highest severity as a share of it."""


def distribution_figure(facts: Facts, rows: Measured) -> Figure:
    """For each degradation the share of answers that have flipped over severity, with Wilson's 95 % band, and below it
    every image's flip with B over that with A; those that never flip stand beyond the highest severity."""
    names = facts.study.degradations
    found = fates(rows["flips"], names, facts.study.seed)
    wide = (WIDTHS["two-column"] - _LEFT - _RIGHT - (_COLUMNS - 1) * _GAP) / _COLUMNS
    block = _CURVE + _BETWEEN + wide + _BELOW
    lines = -(-len(names) // _COLUMNS)
    caption = wrapped(_caption(facts, next(iter(found.values()))), 165)
    below = _TOP + lines * block
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], below + _CAPTION * (caption.count("\n") + 1) + 0.12)
        for place, name in enumerate(names):
            x, y = _LEFT + place % _COLUMNS * (wide + _GAP), _TOP + place // _COLUMNS * block
            first, both = place % _COLUMNS == 0, severities(rows["flips"], name)
            _curves(sheet.axes(x, y, wide, _CURVE), facts, name, both, first=first)
            square = sheet.axes(x, y + _CURVE + _BETWEEN, wide, wide)
            _square(square, facts, name, both, found[name], first=first)
        handles, labels = sheet.figure.axes[0].get_legend_handles_labels()
        sheet.figure.legend(handles, labels, loc="upper center", ncols=2, frameon=False, fontsize=6.5)
        sheet.text(0.08, below + 0.04, caption, fontsize=5.5, color="#333333")
        return sheet.figure


def _caption(facts: Facts, found: Fates) -> str:
    a, b = facts.names
    return (
        f"Above: share of {found.networks[0].n:,} answers, all right when clean, that have flipped up to a severity,"
        f" with 95 % Wilson bands. Below: a point for each image, at the severity of its flip with A ({a}) and with B"
        f" ({b}); in the grey margins are answers that never flip, their number in both at the corner. Above the"
        f" diagonal B flips later, below it A; p from sign tests with Holm's correction. Severities are levels of"
        f" the scale {SCALES[facts.study.scale]}."
    )


def _curves(axes: Axes, facts: Facts, name: str, both: np.ndarray, *, first: bool) -> None:
    highest = max_severity(name, facts.study.scale)
    for letter, title, values, look in zip("AB", facts.names, both, LOOKS, strict=True):
        x = np.concatenate([[0], np.unique(values[np.isfinite(values)]), [highest]])
        counts = (values[:, None] <= x).sum(axis=0)
        low, high = wilson_intervals(counts, np.full(len(x), len(values)))
        axes.plot(x, 100 * counts / len(values), drawstyle="steps-post", label=f"{letter}: {title}", **look)
        axes.fill_between(x, 100 * low, 100 * high, step="post", color=look["color"], alpha=0.18, linewidth=0)
    axes.set_title(DEGRADATIONS[name].title, fontsize=6.5)
    axes.set_ylim(0, 100)
    axes.set_yticks([0, 25, 50, 75, 100])
    axes.grid(linewidth=0.25, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelleft=first)
    axes.set_xlim(0, highest)
    _levels(axes, facts, name)
    if first:
        axes.set_ylabel("flipped (% of answers)", fontsize=6, labelpad=2)


def _levels(axes: Axes, facts: Facts, name: str) -> None:
    """Severities in words where the scale has words for them."""
    labels = severity_levels(name, facts.study.scale)
    axes.set_xticks(range(len(labels) + 1), ["0", *labels], fontsize=5.5)
    if labels[0] == "1":
        axes.set_xlabel("severity", fontsize=6, labelpad=1)


def _square(axes: Axes, facts: Facts, name: str, both: np.ndarray, found: Fates, *, first: bool) -> None:
    highest = max_severity(name, facts.study.scale)
    margin, end = highest * (1 + _OUT), highest * (1 + 2 * _OUT)
    for span in (axes.axvspan, axes.axhspan):
        span(highest, end, color="#e6e6e6", linewidth=0)
    axes.plot([0, highest], [0, highest], color="#777777", linewidth=0.5)
    one = ~np.isinf(both).all(axis=0)
    points = np.where(np.isinf(both), margin, both)[:, one]
    axes.plot(
        *points, "o", markersize=1.8, markerfacecolor="none", markeredgecolor="#333333", markeredgewidth=0.4
    )
    _counts(axes, found, end)
    axes.set_xlim(0, end)
    axes.set_ylim(0, end)
    _levels(axes, facts, name)
    axes.set_yticks(axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()], fontsize=5.5)
    axes.tick_params(labelleft=first)
    axes.set_xlabel("flip with A", fontsize=6, labelpad=1)
    if first:
        axes.set_ylabel("flip with B", fontsize=6, labelpad=1)


def _counts(axes: Axes, found: Fates, end: float) -> None:
    """How many flip later with each, above and below the diagonal, and how many with neither at the corner."""
    pair, box = found.pair, {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.6}
    style: dict[str, Any] = {"fontsize": 5.5, "bbox": box}
    axes.text(0.05 * end, 0.88 * end, f"B later {pair.b_later:,}", va="top", color="#8a5a00", **style)
    axes.text(0.88 * end, 0.05 * end, f"A later {pair.a_later:,}", ha="right", color="#004c7a", **style)
    axes.text(0.995 * end, 0.995 * end, f"{pair.both_beyond:,}", ha="right", va="top", fontsize=5.5)
    p = p_value(pair.p_holm)
    axes.set_title(f"p {p}" if p.startswith("<") else f"p = {p}", fontsize=6, pad=2)
