"""Figures of the Networks page: training curves, accuracy by class, and the stages of an architecture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import MaxNLocator

from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, bare, short, wrapped
from xai.figures import drawing
from xai.metrics import Share
from xai.network_curves import Curve
from xai.network_shape import Stage

SEED_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")
"""Okabe and Ito's colours, which those who are colour-blind can tell apart."""
_MARKS = "osD^v<"


def curves_figure(curves: Sequence[tuple[str, Curve]], notes: Sequence[str] = ()) -> Figure:
    """Loss and accuracy by epoch, training dashed and validation solid; several `(name, curve)` also by mark.

    `notes` stand below the figure.
    """
    below = wrapped(" ".join(notes), 155)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], 2.75 + 0.11 * below.count("\n"))
        loss, accuracy = sheet.axes(0.5, 0.35, 2.85, 1.65), sheet.axes(4.0, 0.35, 2.85, 1.65)
        for index, (name, rows) in enumerate(curves):
            _lines(loss, name, rows, "loss", 1, index, many=len(curves) > 1)
            _lines(accuracy, name, rows, "accuracy", 100, index, many=len(curves) > 1)
        _finish(loss, "loss (cross-entropy)")
        _finish(accuracy, "accuracy (%)")
        handles, labels = loss.get_legend_handles_labels()
        sheet.figure.legend(handles, labels, loc="upper center", ncols=4, frameon=False, fontsize=6)
        sheet.text(0.5, 2.45, below, fontsize=5.5)
        return sheet.figure


def _lines(axes: Axes, name: str, rows: Curve, what: str, unit: float, index: int, *, many: bool) -> None:
    """Both lines of one training; epochs count from 1."""
    epochs = range(1, len(rows) + 1)
    colour, mark = SEED_COLOURS[index % len(SEED_COLOURS)], _MARKS[index % len(_MARKS)]
    mark = mark if many or len(rows) == 1 else ""  # a line through one epoch has no length
    for split, words, dash in (("validation", "validation", "-"), ("train", "training", "--")):
        colour = DEGRADED_COLOUR if split == "train" and not many else colour
        label = f"{name}, {words}" if many else words
        values = [round(unit * row[f"{split}_{what}"], 6) for row in rows]
        axes.plot(epochs, values, dash, color=colour, label=label, linewidth=1.2, marker=mark, markersize=2.5)


def _finish(axes: Axes, words: str) -> None:
    axes.set_xlabel("epoch", fontsize=6.5)
    axes.set_ylabel(words, fontsize=6.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    if axes.dataLim.width == 0:
        axes.set_xticks([1])
        axes.set_xlim(0.5, 1.5)
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.grid(axis="y", linewidth=0.3, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)


def class_figure(rows: Sequence[Share]) -> Figure:
    """Accuracy of each class as a dot with its 95 % Wilson interval, the best first; dashed, that of all images.

    Behind each name stands the number of its test images.
    """
    ordered = sorted(rows, key=lambda row: -row.share)
    height = 0.16 * max(len(rows), 3)
    overall = 100 * sum(row.right for row in rows) / sum(row.total for row in rows)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"] / 2 + 0.6, height + 0.75)
        axes = sheet.axes(1.2, 0.25, 2.75, height)
        for place, row in enumerate(ordered):
            axes.plot([100 * row.low, 100 * row.high], [place, place], "-", color=CLEAN_COLOUR, linewidth=1.2)
            axes.plot([100 * row.share], [place], "o", color=CLEAN_COLOUR, markersize=3.5)
        axes.axvline(overall, linestyle="--", linewidth=0.8, color="#555555")
        axes.set_title(f"all test images: {overall:.2f} %", fontsize=6)
        axes.set_yticks(range(len(rows)), [f"{short(row.name, 20)} ({row.total})" for row in ordered])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.set_xlabel("accuracy (%) with 95 % Wilson interval", fontsize=6.5)
        axes.spines[["top", "right"]].set_visible(False)
        return sheet.figure


def stages_figure(stages: Sequence[Stage], classes: int) -> Figure:
    """The stages as boxes, as high as the logarithm of the grid and as wide as that of the channels."""
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], 2.0)
        axes = bare(sheet.axes(0, 0, WIDTHS["two-column"], 2.0))
        axes.set_xlim(0, WIDTHS["two-column"])
        axes.set_ylim(0, 2.0)
        axes.set_axis_off()
        room = WIDTHS["two-column"] / (len(stages) + 1)
        for place, stage in enumerate(stages):
            _box(axes, stage, (place + 0.5) * room, room)
            _arrow(axes, (place + 0.5) * room, _half_width(stage, room), room)
        axes.text(
            (len(stages) + 0.5) * room, 1.15, f"{classes}\nclasses", ha="center", va="center", fontsize=6
        )
        return sheet.figure


def _half_width(stage: Stage, room: float) -> float:
    return room * min(0.36, 0.03 + 0.03 * math.log2(stage.channels))


def _box(axes: Axes, stage: Stage, centre: float, room: float) -> None:
    """One stage with its name and size; the one that heatmaps tap by default is hatched and named so."""
    half, height = _half_width(stage, room), min(1.3, 0.12 + 0.14 * math.log2(stage.height + 1))
    colour, hatch = (DEGRADED_COLOUR, "////") if stage.tapped else ("#c6dcec", "")
    style: dict[str, Any] = {"facecolor": colour, "edgecolor": "#333333", "linewidth": 0.6, "hatch": hatch}
    axes.add_patch(Rectangle((centre - half, 1.15 - height / 2), 2 * half, height, **style))
    words: dict[str, Any] = {"ha": "center", "va": "top", "fontsize": 5.5}
    axes.text(centre, 0.42, f"{short(stage.name, 16)}\n{stage.words}", **words)
    if stage.tapped:
        axes.text(centre, 0.17, "tapped by default", **{**words, "fontsize": 5, "style": "italic"})


def _arrow(axes: Axes, centre: float, half: float, room: float) -> None:
    """From a box to what comes next."""
    start, end = (centre + half + 0.02, 1.15), (centre + room - 0.37 * room, 1.15)
    if end[0] > start[0]:
        axes.add_patch(
            FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=5, linewidth=0.6, color="#333333")
        )
