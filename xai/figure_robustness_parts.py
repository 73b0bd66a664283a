"""What figures of robustness are made of: lines that anybody can tell apart, small multiples, heat tables, dots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xai.figure_networks import SEED_COLOURS
from xai.figure_parts import WIDTHS, Sheet, colour_bar, short, wrapped
from xai.figures import drawing
from xai.metrics import Share
from xai.results import Board

COLOURS = (*SEED_COLOURS, "#000000")
"""Okabe and Ito's, the yellow left out, which is too light for a line."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1)))
MARKS = "osD^v<>"
WIDTH = WIDTHS["two-column"]
_SHORTEST_BAR = 1.25
"""Inches that the words of a colour bar need."""
_LETTER = 0.05
"""Inches that a letter of 6 points takes, generously."""
Make = Callable[[Board, Sequence[str], str], Figure | None]
"""`make(board, models, scale)` gives a figure, None where the board lacks what is needed."""
M = TypeVar("M", bound=Make)
FIGURES: dict[str, Make] = {}
"""Every figure of the Robustness page by name; `xai.figure_robustness` fills it."""


def register(name: str) -> Callable[[M], M]:
    """Decorator that enters a figure into `FIGURES`; raises `ValueError` when the name is taken."""

    def add(make: M) -> M:
        if name in FIGURES:
            raise ValueError(f"a figure named {name!r} is registered already.")
        FIGURES[name] = make
        return make

    return add


@dataclass(frozen=True)
class Line:
    """Shares of right answers at places on the x axis; `index` gives the line its colour, dash and mark.

    Of two lines of one `index` the one that is `hollow` is dashed, its marks empty, and the other solid.
    """

    name: str
    places: tuple[float, ...]
    shares: tuple[Share, ...]
    index: int
    hollow: bool | None = None

    @property
    def look(self) -> dict[str, Any]:
        """How it is drawn."""
        if self.hollow is None:
            return look(self.index)
        colour = COLOURS[self.index % len(COLOURS)]
        dash, face = (DASHES[1], "white") if self.hollow else (DASHES[0], colour)
        return {**look(self.index), "linestyle": dash, "markerfacecolor": face}


@dataclass(frozen=True)
class Panel:
    """One of several small plots: its title, the words at places of its x axis, and its lines."""

    title: str
    ticks: tuple[tuple[float, str], ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Dot:
    """A value with an interval in the row `row` of a dot plot; `index` gives its colour and mark."""

    row: int
    value: float
    low: float
    high: float
    index: int


def look(index: int) -> dict[str, Any]:
    """Colour, dash and mark of the line of that number; no two of the first 84 are alike."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
        "marker": MARKS[index % len(MARKS)],
        "markerfacecolor": "white" if index // len(MARKS) % 2 else COLOURS[index % len(COLOURS)],
        "markersize": 2.8,
        "linewidth": 1.1,
    }


def legend(sheet: Sheet, entries: Sequence[tuple[str, dict[str, Any]]], top: float = 0.04) -> float:
    """Draw a legend in as many columns as have room, and give the height that it takes in inches."""
    longest = max(len(name) for name, _ in entries)
    columns = max(1, min(len(entries), int(sheet.width / (_LETTER * longest + 0.45))))
    handles = [Line2D([], [], label=name, **style) for name, style in entries]
    place = (0.5, 1 - top / sheet.height)
    options: dict[str, Any] = {"loc": "upper center", "frameon": False, "fontsize": 6, "handlelength": 3.2}
    sheet.figure.legend(handles=handles, ncols=columns, bbox_to_anchor=place, borderaxespad=0, **options)
    return legend_height(entries, sheet.width)


def legend_height(entries: Sequence[tuple[str, dict[str, Any]]], width: float = WIDTH) -> float:
    """Inches that `legend` takes."""
    longest = max(len(name) for name, _ in entries)
    columns = max(1, min(len(entries), int(width / (_LETTER * longest + 0.45))))
    return 0.14 * math.ceil(len(entries) / columns) + 0.08


def multiples(panels: Sequence[Panel], chance: float, xlabel: str = "severity") -> Figure:
    """Small plots of accuracy in % against severity with Wilson bands; dotted, the accuracy of guessing in [0, 1]."""
    names = {line.name: line for panel in panels for line in panel.lines}
    entries = [(line.name, line.look) for line in sorted(names.values(), key=lambda line: line.index)]
    entries.append(("guessing", {"color": "#777777", "linestyle": ":", "linewidth": 0.8}))
    columns = _columns(len(panels))
    rows, head = math.ceil(len(panels) / columns), legend_height(entries) + 0.28
    room, height = (WIDTH - 0.45) / columns, 1.62
    with drawing():
        sheet = Sheet(WIDTH, head + rows * height)
        legend(sheet, entries)
        for place, panel in enumerate(panels):
            row, column = divmod(place, columns)
            axes = sheet.axes(0.42 + column * room, head + row * height, room - 0.2, height - 0.52)
            _panel(axes, panel, chance, first=column == 0)
            axes.set_xlabel(xlabel, fontsize=6, labelpad=1)
        return sheet.figure


def _columns(panels: int) -> int:
    """Plots side by side: at most five, and no row much emptier than the others."""
    if panels <= 6:
        return {1: 2, 2: 2, 4: 4}.get(panels, 3)
    return min((3, 4, 5), key=lambda columns: (math.ceil(panels / columns), columns))


def _panel(axes: Axes, panel: Panel, chance: float, *, first: bool) -> None:
    for line in panel.lines:
        style = line.look
        values, low, high = (
            [100 * value for value in column]
            for column in zip(*((s.share, s.low, s.high) for s in line.shares), strict=True)
        )
        axes.fill_between(line.places, low, high, color=style["color"], alpha=0.18, linewidth=0)
        axes.plot(line.places, values, **style)
    axes.axhline(100 * chance, color="#777777", linestyle=":", linewidth=0.8)
    axes.set_title(short(panel.title, 30), fontsize=6.5)
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.set_xticks([place for place, _ in panel.ticks], [words for _, words in panel.ticks])
    axes.tick_params(labelsize=5.5)
    axes.grid(axis="y", linewidth=0.3, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)
    if first:
        axes.set_ylabel("accuracy (%)", fontsize=6, labelpad=1)
    else:
        axes.tick_params(labelleft=False)


@dataclass(frozen=True)
class Heat:
    """A heat table: numbers `values` (rows, columns), NaN for none, what stands in the cells, and the scale's words.

    `low` and `high` are the ends of the colour scale `colours`, `below` is written under the table.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    words: tuple[tuple[str, ...], ...]
    low: float
    high: float
    colours: str
    bar: str
    below: str = ""


def heat(table: Heat) -> Figure:
    """A heat table with a number in every cell and a named colour bar."""
    lines = max((cell.count("\n") for row in table.words for cell in row), default=0) + 1
    step, left = 0.07 + 0.1 * lines, 0.15 + 0.047 * max(len(name) for name in table.rows)
    room = WIDTH - left - 0.7
    upright = room / len(table.columns) < 0.048 * max(map(len, table.columns)) + 0.05
    head = 0.1 + (0.05 * max(map(len, table.columns)) if upright else 0.16)
    below = wrapped(table.below, 150)
    body = step * len(table.rows)
    with drawing():
        sheet = Sheet(WIDTH, head + max(body + 0.14 + 0.1 * (below.count("\n") + 1), _SHORTEST_BAR + 0.05))
        axes = sheet.axes(left, head, room, body)
        drawn = _cells(axes, table)
        axes.set_xticks(range(len(table.columns)), table.columns, rotation=90 if upright else 0, fontsize=6)
        bar = min(max(body, _SHORTEST_BAR), 2.0)
        colour_bar(sheet, drawn, (WIDTH - 0.6, head + 0.08, 0.1, bar - 0.1), table.bar)
        sheet.text(0.1, head + body + 0.1, below, fontsize=5.5)
        return sheet.figure


def _cells(axes: Axes, table: Heat) -> Any:
    """Colours and words of all cells; cells without a number stay white."""
    options: dict[str, Any] = {"vmin": table.low, "vmax": table.high, "aspect": "auto"}
    drawn = axes.imshow(table.values, cmap=table.colours, interpolation="nearest", **options)
    for row, words in enumerate(table.words):
        for column, word in enumerate(words):
            colour = _ink(drawn.to_rgba(table.values[row, column]))  # type: ignore[arg-type]
            axes.text(
                column, row, word, ha="center", va="center", fontsize=5.5, color=colour, linespacing=1.05
            )
    axes.set_yticks(range(len(table.rows)), table.rows, fontsize=6)
    axes.xaxis.tick_top()
    axes.tick_params(length=0)
    return drawn


def _ink(colour: Sequence[float]) -> str:
    """Black or white, whichever has the higher contrast (WCAG 2 relative luminance); black where there is no number."""
    red, green, blue, solid = (_linear(part) for part in colour)
    return "black" if solid == 0 or 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 else "white"


def _linear(part: float) -> float:
    """A channel of sRGB in [0, 1] as light."""
    return part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4


def dots(
    rows: Sequence[str],
    marks: Sequence[Dot],
    names: Sequence[str],
    xlabel: str,
    line: float,
    shade: Sequence[tuple[int, float]] = (),
    shade_words: str = "",
) -> Figure:
    """Values with intervals in rows, several to a row by colour and mark, and a vertical `line`.

    `shade` gives for some rows how far a grey bar goes to both sides of the line.
    """
    entries = [(name, {**look(index), "linestyle": "-"}) for index, name in enumerate(names)]
    if shade:
        entries.append((shade_words, {"color": "#bbbbbb", "linestyle": "-", "linewidth": 5}))
    left, head = 0.2 + 0.047 * max(map(len, rows)), legend_height(entries) + 0.06
    step = 0.1 + 0.06 * max(1, len(names))
    with drawing():
        sheet = Sheet(WIDTH, head + step * len(rows) + 0.42)
        legend(sheet, entries)
        axes = sheet.axes(left, head, WIDTH - left - 0.15, step * len(rows))
        for row, reach in shade:
            axes.barh(row, 2 * reach, 0.75, line - reach, color="#cccccc", linewidth=0)
        for dot in marks:
            _dot(axes, dot, len(names))
        axes.axvline(line, color="#555555", linestyle="--", linewidth=0.8)
        for row in range(1, len(rows)):
            axes.axhline(row - 0.5, color="#dddddd", linewidth=0.4)
        axes.set_yticks(range(len(rows)), rows, fontsize=6)
        axes.set_ylim(len(rows) - 0.5, -0.5)
        axes.set_xlabel(xlabel, fontsize=6.5)
        axes.grid(axis="x", linewidth=0.3, color="#cccccc")
        axes.spines[["top", "right"]].set_visible(False)
        return sheet.figure


def _dot(axes: Axes, dot: Dot, names: int) -> None:
    """One value; those of a row stand a little above each other."""
    place = dot.row + (dot.index - (names - 1) / 2) * 0.7 / max(names, 1)
    style = {**look(dot.index), "linestyle": "", "markersize": 3}
    axes.plot([dot.low, dot.high], [place, place], "-", color=style["color"], linewidth=1.0)
    axes.plot([dot.value], [place], **style)


def number(value: float, digits: int = 1) -> str:
    """A signed number with a real minus sign."""
    rounded = round(value, digits)
    return f"{rounded:+.{digits}f}".replace("-", "−") if rounded else f"{0:.{digits}f}"
