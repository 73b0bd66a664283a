"""Figure of how much every layer's response changes as a degradation grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from data.degradations import DEGRADATIONS, SCALES, resolve_name
from xai.feature_drift import MEASURES, DriftRow
from xai.figure_parts import DEFAULT_STYLE, WIDTHS, Sheet, Style, middle_cut, wrapped
from xai.figures import drawing

_WORDS = {
    "relative_l2": "relative L2\n|clean − degraded| / |clean|",
    "cosine": "cosine of clean\nand degraded",
    "dying": "share of channels\nthat die",
}
_MARKS = "os^Dv"
_HIGH, _BETWEEN, _LEFT, _RIGHT, _ASIDE = 1.05, 0.12, 0.62, 0.08, 0.15
"""Inches: height of a panel, room below it, left and right of all, and between two networks."""
_NAME = 24
"""Letters of a layer's name."""


def drift_figure(
    rows: Sequence[DriftRow], style: Style = DEFAULT_STYLE, *, every_layer: bool = False
) -> Figure:
    """Relative L2, cosine and dying channels over the layers of one or two networks, a column for each network.

    A line for each severity above 0; bands are quartiles over images. The layers are the `main` ones, or with
    `every_layer` all of the rows.
    """
    return _Drift([row for row in rows if every_layer or row.main], style, every=every_layer).draw()


class _Drift:
    """Where the panels of the figure stand, in inches from the top left."""

    def __init__(self, rows: Sequence[DriftRow], style: Style, *, every: bool) -> None:
        self.rows, self.every = rows, every
        self.networks = list(dict.fromkeys(row.model for row in rows))
        self.severities = sorted({row.severity for row in rows if row.severity})
        self.width = WIDTHS[style.width]
        count = len(self.networks)
        self.wide = (self.width - _LEFT - _RIGHT - (count - 1) * _ASIDE) / count
        self.columns = max(1, int(self.width / 0.95))
        self.top = 0.17 * (-(-len(self.severities) // self.columns)) + 0.22
        longest = max(len(middle_cut(row.layer, _NAME)) for row in rows)
        self.names = 0.12 + 0.038 * longest
        self.caption = wrapped(self._caption(), int(24 * (self.width - 0.16)))

    def draw(self) -> Figure:
        """Draw all panels, the legend and the caption."""
        step = _HIGH + _BETWEEN
        below = self.top + len(MEASURES) * step + self.names
        with drawing():
            sheet = Sheet(self.width, below + 0.1 * (self.caption.count("\n") + 1) + 0.08)
            panels = []
            for number in range(len(MEASURES)):
                panels.append(self._line_of_panels(sheet, number, self.top + number * step))
            self._finish(panels)
            legend: dict[str, Any] = {
                "loc": "upper center",
                "ncols": self.columns,
                "frameon": False,
                "fontsize": 5.5,
            }
            sheet.figure.legend(*panels[0][0].get_legend_handles_labels(), **legend)
            place: dict[str, Any] = {"fontsize": 5.5, "color": "#333333", "linespacing": 1.15}
            sheet.text(0.08, below + 0.03, self.caption, **place)
            return sheet.figure

    def _line_of_panels(self, sheet: Sheet, number: int, y: float) -> list[Axes]:
        """One measure of all networks, on one scale."""
        found: list[Axes] = []
        for column, network in enumerate(self.networks):
            axes = sheet.axes(_LEFT + column * (self.wide + _ASIDE), y, self.wide, _HIGH)
            if found:
                axes.sharey(found[0])
            self._panel(axes, network, MEASURES[number])
            axes.tick_params(labelleft=not found)
            found.append(axes)
        found[0].set_ylabel(_WORDS[MEASURES[number]], fontsize=5.2, labelpad=2)
        return found

    def _panel(self, axes: Axes, network: str, measure: str) -> None:
        for index, severity in enumerate(self.severities):
            line = [row for row in self.rows if row.model == network and row.severity == severity]
            colour, x = _shade(index, len(self.severities)), range(len(line))
            style: dict[str, Any] = {
                "linewidth": 0.9,
                "marker": _MARKS[index % len(_MARKS)],
                "markersize": 1.8,
            }
            values = [getattr(row, measure) for row in line]
            axes.plot(x, values, "-", color=colour, label=f"severity {severity:g}", **style)
            if line and line[0].n > 1:
                low, top = ([getattr(row, f"{measure}_{end}") for row in line] for end in ("low", "high"))
                axes.fill_between(x, low, top, color=colour, alpha=0.12, linewidth=0)
        axes.tick_params(labelsize=5.5)
        axes.grid(axis="both", linewidth=0.25, color="#cccccc")
        axes.spines[["top", "right"]].set_visible(False)

    def _finish(self, panels: Sequence[Sequence[Axes]]) -> None:
        """The networks above their columns, their layers below, as many as there is room for, and the scales."""
        letters = ("A: ", "B: ") if len(self.networks) > 1 else ("",)
        for column, (letter, network) in enumerate(zip(letters, self.networks, strict=True)):
            layers = list(dict.fromkeys(row.layer for row in self.rows if row.model == network))
            name = middle_cut(letter + network, int(self.wide * 19))
            panels[0][column].set_title(name, fontsize=6.5, pad=3)
            step = max(1, -(-len(layers) // int(self.wide / 0.085)))
            names = [middle_cut(layer, _NAME) for layer in layers[::step]]
            for axes in (line[column] for line in panels):
                axes.set_xticks(range(0, len(layers), step), names)
                axes.tick_params(axis="x", labelsize=5, rotation=90, labelbottom=axes is panels[-1][column])
                axes.set_xlim(-0.5, len(layers) - 0.5)
        panels[0][0].set_ylim(bottom=0)
        panels[1][0].set_ylim(top=1.0)
        panels[2][0].set_ylim(0, max(0.05, panels[2][0].get_ylim()[1]))

    def _caption(self) -> str:
        first = self.rows[0]
        title = DEGRADATIONS[resolve_name(first.degradation)].title
        words = [f"{title} ({SCALES[first.scale]})."]
        if first.n > 1:
            words.append(f"Medians and quartiles over {first.n:,} images.")
        words.append("Layers stand in the order in which they run;")
        if self.every:
            words.append("those that only pass on another's output are left out.")
        else:
            words.append("shown are outputs of blocks, of activations outside of blocks, and the logits.")
        words.append(
            "A channel dies where it is active on the clean picture and zero in every cell when degraded; nothing is "
            "drawn for layers with values below zero, as the logits, where that can't be seen."
        )
        return " ".join(words)


def _shade(index: int, count: int) -> tuple[float, float, float, float]:
    """From light to dark with severity, told apart by lightness alone too."""
    return matplotlib.colormaps["cividis_r"](0.15 + 0.85 * (index + 1) / count)
