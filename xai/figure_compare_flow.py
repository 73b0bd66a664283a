"""What becomes of right and wrong answers of two networks when images get worse, as ribbons from left to right."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from xai.error_selection import BOTH
from xai.error_tables import STATES, transition_square
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, wrapped
from xai.figures import drawing

WIDTH = WIDTHS["two-column"]
COLOURS = {"both right": "#a6a6a6", "only A right": CLEAN_COLOUR, "only B right": DEGRADED_COLOUR}
_WRONG = "#4d4d4d"
_BAR, _HIGH, _SPACE = 0.03, 1.6, 0.03
"""Width of the bars as a share of the panel, height of a panel in inches, space between two states as a share."""
_LEAST_LABEL = 0.045
"""Share of all images from which on a ribbon has room for its number."""
_LABEL = 0.125
"""Height of a state's name and number as a share of the panel."""


def flow_figure(tables: Mapping[str, np.ndarray], names: tuple[str, str]) -> Figure:
    """A panel for each `(2, 2, 2, 2)` transition table, by the name of its condition.

    Left are the clean images, right the same ones degraded, stacked by who is right; a ribbon is as high as it has
    images and has the colour of where it begins.
    """
    columns = min(2, len(tables))
    rows = math.ceil(len(tables) / columns)
    room, step = (WIDTH - 0.1) / columns, _HIGH + 0.36
    total = int(next(iter(tables.values())).sum())
    below = wrapped(
        f"A: {names[0]}, B: {names[1]}; n = {total:,} images. Left: clean, right: degraded. Numbers are images; "
        f"ribbons of fewer than {math.ceil(_LEAST_LABEL * total):,} have none.",
        150,
    )
    with drawing():
        sheet = Sheet(WIDTH, 0.1 + rows * step + 0.12 * (below.count("\n") + 1))
        for place, (title, table) in enumerate(tables.items()):
            row, column = divmod(place, columns)
            axes = sheet.axes(0.05 + column * room, 0.22 + row * step, room - 0.1, _HIGH)
            _panel(axes, transition_square(table))
            axes.set_title(title, fontsize=7)
        sheet.text(0.1, 0.1 + rows * step, below, fontsize=5.5)
        return sheet.figure


def ribbons(square: np.ndarray) -> list[tuple[int, int, int, float, float]]:
    """Every flow of a square `(4, 4)`, clean by degraded, that has images: from, to, its count, and where its upper
    edge begins and ends, as shares of all images from the top. Flows lie on each other without gaps, those to one state
    in the order of where they come from."""
    total = max(int(square.sum()), 1)
    start = np.cumsum(np.r_[0, square.sum(axis=1)])[:-1].astype(float)
    end = np.cumsum(np.r_[0, square.sum(axis=0)])[:-1].astype(float)
    found: list[tuple[int, int, int, float, float]] = []
    for (before, after), count in np.ndenumerate(square):
        if count:
            found.append((before, after, int(count), float(start[before]) / total, float(end[after]) / total))
        start[before] += count
        end[after] += count
    return found


def _panel(axes: Axes, square: np.ndarray) -> None:
    words = [BOTH[state] for state in STATES]
    total = max(int(square.sum()), 1)
    for before, after, count, start, end in ribbons(square):
        high = count / total
        ends = start + before * _SPACE, end + after * _SPACE
        axes.add_patch(_ribbon(ends, high, _colour(words[before])))
        if high >= _LEAST_LABEL:
            place = ends[0] + high / 2 + (ends[1] - ends[0]) * _smooth(0.14)
            axes.text(_x(0.14), place, f"{count:,}", fontsize=5.5, ha="center", va="center")
    for side, sums in enumerate((square.sum(axis=1), square.sum(axis=0))):
        _bar(axes, sums / total, sums, words, side)
    axes.set_xlim(-0.42, 1.42)
    axes.set_ylim(1 + 3 * _SPACE + 0.02, -0.02)
    axes.set_axis_off()


def _colour(words: str) -> str:
    return COLOURS.get(words, _WRONG)


def _x(share: float) -> float:
    """A place between the two bars."""
    return _BAR + share * (1 - 2 * _BAR)


def _smooth(share: float) -> float:
    """How far a ribbon has gone down when it has gone that far to the right: a cubic Bezier with level ends.

    The curve's x is t itself for control points at thirds, so its y at x is `3 x^2 - 2 x^3`.
    """
    return 3 * share**2 - 2 * share**3


def _ribbon(ends: tuple[float, float], high: float, colour: str) -> PathPatch:
    left, right, third = _x(0), _x(1), (_x(1) - _x(0)) / 3
    start, end = ends
    corners = [
        (left, start),
        (left + third, start),
        (right - third, end),
        (right, end),
        (right, end + high),
        (right - third, end + high),
        (left + third, start + high),
        (left, start + high),
        (left, start),
    ]
    codes = [Path.MOVETO, *[Path.CURVE4] * 3, Path.LINETO, *[Path.CURVE4] * 3, Path.CLOSEPOLY]
    style: dict[str, Any] = {"facecolor": colour, "alpha": 0.5, "linewidth": 0.2, "edgecolor": "white"}
    return PathPatch(Path(corners, codes), **style)


def _bar(axes: Axes, shares: np.ndarray, counts: np.ndarray, words: Sequence[str], side: int) -> None:
    """The four states of one side, stacked, those that have images with their names and numbers."""
    tops = np.cumsum(np.r_[0, shares])[:-1] + _SPACE * np.arange(4)
    shown = np.flatnonzero(counts)
    x, align = ((0.0, "right"), (1 - _BAR, "left"))[side]
    for k, place in zip(shown.tolist(), spread((tops + shares / 2)[shown], _LABEL), strict=True):
        word, count, share = words[k], counts[k], shares[k]
        axes.add_patch(Rectangle((x, tops[k]), _BAR, share, facecolor=_colour(word), linewidth=0))
        text = f"{word}\n{count:,} ({100 * share:.1f} %)"
        axes.text(
            -0.02 if side == 0 else 1.02, place, text, fontsize=5.5, ha=align, va="center", linespacing=1.05
        )


def spread(places: np.ndarray, least: float) -> np.ndarray:
    """Rising places moved as little as need be to stand at least `least` apart: those too close share their middle."""
    groups = [[place] for place in places]
    middles = list(map(float, places))
    k = 0
    while k < len(groups) - 1:
        reach = least * (len(groups[k]) + len(groups[k + 1])) / 2
        if middles[k + 1] - middles[k] >= reach - 1e-12:
            k += 1
            continue
        groups[k : k + 2] = [groups[k] + groups[k + 1]]
        middles[k : k + 2] = [float(np.mean(groups[k]))]
        k = max(0, k - 1)
    return np.concatenate(
        [
            middle + least * (np.arange(len(group)) - (len(group) - 1) / 2)
            for middle, group in zip(middles, groups, strict=True)
        ]
    )
