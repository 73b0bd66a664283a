"""Reliability diagrams: how often a network is right at each confidence, clean beside degraded."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xai.calibration import Bin
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, Sheet, wrapped
from xai.figure_robustness_parts import COLOURS, MARKS, WIDTH, legend, legend_height, register
from xai.figures import drawing
from xai.results import UNTOUCHED, Board, Condition
from xai.robustness_board import degraded
from xai.robustness_calibration import diagram

_COLOURS = (CLEAN_COLOUR, DEGRADED_COLOUR, *COLOURS[2:])
_MOST_ACROSS = 3


@register("reliability")
def registered_reliability(board: Board, models: Sequence[str], scale: str) -> Figure | None:
    """`reliability` of the clean images beside the most severe level of the first degradation."""
    found = degraded(board, models, scale)
    first = [condition for condition in found if condition.degradation == found[0].degradation]
    return reliability(board, models, (UNTOUCHED, *first[-1:]))


def reliability(board: Board, models: Sequence[str], chosen: Sequence[Condition]) -> Figure | None:
    """One diagram for each network, a line for each condition, and below it how the confidences are spread."""
    found = {model: [(c, diagram(board, model, c)) for c in chosen] for model in models}
    drawn = {model: [(c, rows) for c, rows in each if rows] for model, each in found.items()}
    kept = {model: each for model, each in drawn.items() if each}
    if not kept:
        return None
    entries = [
        (
            c.title,
            {
                "color": _COLOURS[k % len(_COLOURS)],
                "marker": MARKS[k % len(MARKS)],
                "markersize": 3,
                "linewidth": 1,
            },
        )
        for k, c in enumerate(chosen)
    ]
    entries.append(("perfectly calibrated", {"color": "#777777", "linestyle": ":", "linewidth": 0.8}))
    across = min(max(len(kept), 2), _MOST_ACROSS)
    head, room = legend_height(entries) + 0.3, (WIDTH - 0.3) / across
    side = min(room - 0.45, 2.1)
    height = side + 1.25
    with drawing():
        sheet = Sheet(WIDTH, head + height * -(-len(kept) // across))
        legend(sheet, entries)
        for place, (model, lines) in enumerate(kept.items()):
            x, y = 0.45 + room * (place % across), head + height * (place // across)
            _diagram(sheet.axes(x, y, room - 0.45, side), model, lines, chosen)
            _spread(sheet.axes(x, y + side + 0.12, room - 0.45, 0.55), lines, chosen)
        return sheet.figure


Lines = Sequence[tuple[Condition, Sequence[Bin]]]


def _diagram(axes: Axes, model: str, lines: Lines, chosen: Sequence[Condition]) -> None:
    """Accuracy against mean confidence of each bin, with Wilson intervals."""
    axes.plot([0, 100], [0, 100], ":", color="#777777", linewidth=0.8)
    for condition, rows in lines:
        place = list(chosen).index(condition)
        colour, mark = _COLOURS[place % len(_COLOURS)], MARKS[place % len(MARKS)]
        x, y = [100 * row.confidence for row in rows], [100 * row.accuracy for row in rows]
        axes.vlines(
            x, [100 * row.low for row in rows], [100 * row.high for row in rows], colour, linewidth=0.8
        )
        axes.plot(x, y, "-", color=colour, marker=mark, markersize=3, linewidth=1)
    axes.set_title(wrapped(model, 38), fontsize=6)
    axes.set_ylabel("accuracy (%)", fontsize=6, labelpad=1)
    _frame(axes)
    axes.set_ylim(-3, 103)
    axes.set_yticks(range(0, 101, 25))
    axes.tick_params(labelbottom=False)


def _spread(axes: Axes, lines: Lines, chosen: Sequence[Condition]) -> None:
    """Share of the images in each bin of confidence, in %."""
    for condition, rows in lines:
        colour = _COLOURS[list(chosen).index(condition) % len(_COLOURS)]
        values, edges = _steps(rows)
        axes.stairs(values, edges, color=colour, linewidth=1)
    axes.set_ylabel("images (%)", fontsize=6, labelpad=1)
    axes.set_xlabel("confidence (%)", fontsize=6, labelpad=1)
    _frame(axes)
    axes.set_ylim(0)


def _steps(rows: Sequence[Bin]) -> tuple[list[float], list[float]]:
    """Share of the images between each two edges, both in %; 0 where bins without images lie between."""
    total = sum(row.images for row in rows)
    values, edges = [], [100 * rows[0].start]
    for row in rows:
        if 100 * row.start > edges[-1]:
            values.append(0.0)
            edges.append(100 * row.start)
        values.append(100 * row.images / total)
        edges.append(100 * row.end)
    return values, edges


def _frame(axes: Axes) -> None:
    axes.set_xlim(-3, 103)
    axes.set_xticks(range(0, 101, 25))
    axes.tick_params(labelsize=5.5)
    axes.grid(linewidth=0.3, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)
