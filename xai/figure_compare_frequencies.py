"""Figure of the frequencies that two networks rely on: accuracy behind filters, and what each class loses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xai.compare.frequencies_found import Asked, asked, by_class
from xai.compare.sections import Measured
from xai.compare.study import Facts
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, colour_bar, middle_cut, short
from xai.figures import drawing

MOST_CLASSES = 20
"""Classes that a strip has room for; of more, those with the most images are drawn."""
LOOKS: tuple[dict[str, Any], dict[str, Any]] = (
    {"color": CLEAN_COLOUR, "marker": "o"},
    {"color": DEGRADED_COLOUR, "marker": "s"},
)
"""How A and B are told apart: by colour and by mark."""
_ROW, _LEFT, _PANEL, _HEIGHT = 0.155, 0.5, 1.8, 1.45


def frequencies_figure(facts: Facts, rows: Measured) -> Figure:
    """Accuracy by the band passed, the band stopped and the edge of low and high pass, above the loss by class."""
    found = asked(facts, rows)
    classes = by_class(found)
    drawn = _chosen(found, list(classes))
    height = 2.3 + (0.75 + _ROW * len(drawn) if drawn else 0)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], height)
        for place, (title, panel) in enumerate(_panels(found).items()):
            axes = sheet.axes(_LEFT + place * (_PANEL + 0.38), 0.42, _PANEL, _HEIGHT)
            _panel(axes, found, title, panel)
        _legend(sheet, facts, sheet.figure.axes[2], len(facts.classes))
        if drawn:
            losses = [[100 * each.value for each in classes[number]] for number in drawn]
            _strips(sheet, facts, found, drawn, np.array(losses))
        return sheet.figure


def _chosen(found: Asked, numbers: Sequence[int]) -> list[int]:
    counts = {number: int((found.labels == number).sum()) for number in numbers}
    return sorted(sorted(counts, key=lambda number: -counts[number])[:MOST_CLASSES])


Lines = dict[str, list[tuple[str, int]]]
"""By line style, the filters of a line: what stands below each, and its number."""


def _panels(found: Asked) -> dict[str, Lines]:
    """What each panel shows. All below the first edge is the first band, all but the last band is all below it."""
    stops, count = found.stops, len(found.stops)
    passes = list(range(1, 1 + count))
    lows = [passes[0], *(n for n, f in enumerate(found.filters) if f.kind == "low")]
    highs = [*(n for n, f in enumerate(found.filters) if f.kind == "high"), passes[-1]]
    starts = [f"{found.filters[number].low:g}" for number in passes][1:]
    lows, highs = ([*lows, stops[-1]], [stops[0], *highs]) if count > 2 else (lows, highs)
    return {
        "only this band kept": {"-": list(zip(found.bands, passes, strict=True))},
        "all but this band kept": {"-": list(zip(found.bands, stops, strict=True))},
        "all below / above kept": {
            "-": list(zip(starts, lows, strict=True)),
            "--": list(zip(starts, highs, strict=True)),
        },
    }


def _panel(axes: Axes, found: Asked, title: str, lines: Lines) -> None:
    for style, points in lines.items():
        for place, look in enumerate(LOOKS):
            _line(axes, found, place, [number for _, number in points], look | {"linestyle": style})
    names = [name.replace(" and more", "+") for name, _ in lines["-"]]
    for place, look in enumerate(LOOKS):
        whole = 100 * float(found.correct[place, :, 0].mean())
        axes.axhline(whole, color=look["color"], linewidth=0.6, linestyle=(0, (4, 2) if place else (1, 1)))
    axes.set_xticks(range(len(names)), names, fontsize=6 if len(names) < 6 else 4.5)
    axes.set_xlim(-0.4, len(names) - 0.6)
    axes.set_ylim(0, 102)
    axes.set_title(title)
    what = "edge" if "--" in lines else "band"
    axes.set_xlabel(f"{what} (cycles per image)", fontsize=6.5, labelpad=2)
    axes.grid(axis="y", linewidth=0.3, color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)


def _line(axes: Axes, found: Asked, place: int, numbers: Sequence[int], look: dict[str, Any]) -> None:
    shares = [each for number in numbers if (each := found.accuracy(place, number))]
    middle = 100 * np.array([each.share for each in shares])
    reach = 100 * np.array([[each.share - each.low, each.high - each.share] for each in shares]).T
    where = np.arange(len(shares)) + (0.06 if place else -0.06)
    style: dict[str, Any] = {"linewidth": 0.9, "markersize": 3, "elinewidth": 0.7, "capsize": 1.5}
    axes.errorbar(where, middle, reach, **look, **style)


def _legend(sheet: Sheet, facts: Facts, axes: Axes, classes: int) -> None:
    """Names of the networks above the panels, and of the lines."""
    from matplotlib.lines import Line2D

    handles = [Line2D([], [], **look, linewidth=0.9, markersize=3) for look in LOOKS]
    names = [f"{letter}: {middle_cut(name, 34)}" for letter, name in zip("AB", facts.names, strict=True)]
    handles += [Line2D([], [], color="black", linewidth=0.9, linestyle=style) for style in ("-", "--")] + [
        Line2D([], [], color="black", linewidth=0.6, linestyle=(0, (1, 1)))
    ]
    names += ["below (last panel)", "above (last panel)", "all kept (B: dashes)"]
    sheet.figure.legend(
        handles, names, loc="upper center", ncols=5, frameon=False, fontsize=6, columnspacing=1.2
    )
    sheet.figure.axes[0].set_ylabel("right answers (%), 95 % interval", fontsize=6.5, labelpad=2)
    for each in sheet.figure.axes[:3]:
        each.axhline(100 / classes, color="#888888", linewidth=0.5)
    axes.text(
        axes.get_xlim()[1], 100 / classes + 1, "chance", fontsize=5, color="#666666", ha="right", va="bottom"
    )


def _strips(sheet: Sheet, facts: Facts, found: Asked, drawn: Sequence[int], losses: np.ndarray) -> None:
    """Points of accuracy that the classes lose without each band, for A and for B on one scale."""
    count = len(found.bands)
    peak = float(max(1.0, np.abs(losses).max()))
    width, height, top, shown = 2.35, _ROW * len(drawn), 2.55, None
    for place, name in enumerate(facts.names):
        axes = sheet.axes(1.15 + place * (width + 0.2), top, width, height)
        values = losses[:, place * count : (place + 1) * count]
        shown = axes.imshow(
            values, cmap="PuOr_r", vmin=-peak, vmax=peak, aspect="auto", interpolation="nearest"
        )
        axes.set_xticks(range(count), [band.replace(" and more", "+") for band in found.bands])
        axes.set_title(f"{'AB'[place]}: {middle_cut(name, 40)}")
        names = [short(facts.classes[number], 20) for number in drawn]
        axes.set_yticks(range(len(drawn)), names if place == 0 else [""] * len(names))
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("band stopped (cycles per image)", fontsize=6.5, labelpad=2)
        for (row, column), value in np.ndenumerate(values):
            colour = "white" if abs(value) > 0.6 * peak else "black"
            lost = f"{value:.0f}".replace("-", "−")
            axes.text(column, row, lost, ha="center", va="center", fontsize=5.5, color=colour)
    colour_bar(sheet, shown, (1.15 + 2 * width + 0.35, top, 0.1, height), "accuracy lost (points)")
