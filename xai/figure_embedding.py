"""Figure of one or two maps: points by class or by answer, what happens to them when degraded, and what is measured.

Below each map stands what was computed in the features themselves, as the picture alone proves nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xai.attribution_types import ExplanationError
from xai.class_colours import MARKERS, Look
from xai.embedding import Embedding, Map
from xai.embedding_looks import (
    COLOURINGS,
    centroids,
    coloured,
    diameter,
    hull,
    severity_of,
)
from xai.embedding_words import map_lines, notes
from xai.figure_embedding_parts import (
    arrow_rows,
    draw_arrows,
    draw_bar,
    draw_contours,
    draw_names,
    draw_points,
    put_together,
)
from xai.figure_parts import WIDTHS, Sheet, short, wrapped
from xai.figures import drawing

MOST_VECTORS = 5_000
"""More points than these are drawn as a picture within the figure, so that a PDF of 10,000 stays small."""
_ALIKE = 1.5
"""Maps are shown on one scale unless one is so many times as wide as the other."""
_GREY = "#444444"
_LETTER = 0.047
"""Inches that a letter of 6 points takes."""
_LINE = 0.105


@dataclass(frozen=True)
class MapStyle:
    """How a figure of maps looks; nothing here changes a number.

    `colour` is one of `COLOURINGS`. `severity` is that of the degraded points which `degraded` shows, with `arrows`
    from the clean ones, and of transitions: the strongest unless it is given. `centroids` names the classes at their
    middles, `hulls` go around 90 % of a class, `density` draws contours that hold 50 % and 90 % of all points.
    """

    width: str = "two-column"
    colour: str = "label"
    degraded: bool = False
    arrows: bool = False
    severity: float | None = None
    centroids: bool = False
    hulls: bool = False
    density: bool = False

    def __post_init__(self) -> None:
        for value, allowed in ((self.width, tuple(WIDTHS)), (self.colour, COLOURINGS)):
            if value not in allowed:
                raise ExplanationError(f"{value!r} was given; allowed are {', '.join(allowed)}.")


DEFAULT_MAPS = MapStyle()


def embedding_figure(found: Embedding, style: MapStyle = DEFAULT_MAPS) -> Figure:
    """The maps of an embedding side by side, or above each other over one column.

    Raises `ExplanationError` where the style asks for degraded images and there are none.
    """
    return _Layout(found, style).draw()


class _Layout:
    """The figure's measures in inches, and what is drawn where."""

    def __init__(self, found: Embedding, style: MapStyle) -> None:
        self.found, self.style, self.width = found, style, WIDTHS[style.width]
        self.columns = len(found.maps) if style.width == "two-column" else 1
        self.gap = 0.16
        self.side = min((self.width - self.gap * (self.columns + 1)) / self.columns, 4.6)
        self.looks = [coloured(found, one, style.colour, against=self.severity(one)) for one in found.maps]
        letters = int(self.panel_width / 0.0435)
        self.facts = [[wrapped(line, letters) for line in map_lines(found, one)] for one in found.maps]
        self.badges = [[wrapped(line, letters - 2) for line in one.quality.warnings] for one in found.maps]
        self.below = wrapped(
            " ".join([*notes(found), *_drawn_words(found, style)]), int((self.width - 0.2) / 0.0405)
        )

    @property
    def panel_width(self) -> float:
        """Room for the words below a map; one map alone lets them run on to the right edge."""
        return self.side if self.columns == 2 or self.style.width == "one-column" else self.width - 0.3

    def severity(self, one: Map) -> float | None:
        """The severity that is shown, None where there is none."""
        if not one.degraded:
            return None
        return one.degraded[-1].severity if self.style.severity is None else self.style.severity

    def shown_severities(self, one: Map) -> list[float]:
        """The severities whose points are drawn beside the clean ones."""
        style = self.style
        if not (style.degraded or style.arrows or style.colour == "severity"):
            return []
        if not one.degraded:
            raise ExplanationError("degraded points are to be drawn, but no degradation was asked for.")
        if style.colour == "severity" and style.severity is None:
            return [each.severity for each in one.degraded]
        chosen = self.severity(one)
        return [] if chosen is None else [severity_of(one, chosen).severity]

    def draw(self) -> Figure:
        with drawing():
            words = max(
                _height(f) + _height(b) + 0.06 * (1 + len(b))
                for f, b in zip(self.facts, self.badges, strict=True)
            )
            row = 0.24 + self.side + 0.06 + words
            rows = math.ceil(len(self.found.maps) / self.columns)
            legend = self.legend_height()
            foot = _LINE * 0.92 * (self.below.count("\n") + 1) + 0.1
            sheet = Sheet(self.width, rows * row + legend + foot + 0.02)
            for place, one in enumerate(self.found.maps):
                line, column = divmod(place, self.columns)
                self.panel(sheet, place, one, (self.left(column), line * row))
            self.legend(sheet, rows * row)
            sheet.text(
                0.1, rows * row + legend + 0.03, self.below, fontsize=5.5, color=_GREY, linespacing=1.15
            )
            return sheet.figure

    def left(self, column: int) -> float:
        if self.columns == 2 or self.style.width == "one-column":
            return self.gap + column * (self.side + self.gap)
        return (self.width - self.side) / 2

    def panel(self, sheet: Sheet, place: int, one: Map, at: tuple[float, float]) -> None:
        """One map with its title above and its numbers below."""
        x, y = at
        several = len(self.found.maps) > 1
        title = f"{'AB'[place]}: {one.model}" if several else one.model
        sheet.text(x, y + 0.08, short(title, int(self.side / 0.056)), fontsize=7, weight="bold")
        axes = sheet.axes(x, y + 0.24, self.side, self.side)
        self.points(axes, place, one)
        left = x if self.panel_width == self.side else 0.15
        below = y + 0.24 + self.side + 0.05
        sheet.text(left, below, "\n".join(self.facts[place]), fontsize=6, linespacing=1.2)
        for badge in self.badges[place]:
            sheet.text(
                left + 0.03,
                below + _height(self.facts[place]) + 0.03,
                badge,
                fontsize=6,
                linespacing=1.15,
                bbox={"facecolor": "#fff1cc", "edgecolor": "#b27700", "linewidth": 0.5, "pad": 2},
            )
            below += _height([badge]) + 0.05

    def points(self, axes: Axes, place: int, one: Map) -> None:
        """All that is inside a map's frame."""
        shown = [(one.coordinates, self.looks[place])]
        for severity in self.shown_severities(one):
            looks = coloured(self.found, one, self.style.colour, severity)
            shown.append((severity_of(one, severity).coordinates, looks))
        ends = shown[-1][0]
        self.frame(axes, place)
        count = sum(len(coordinates) for coordinates, _ in shown)
        axes.set_rasterization_zorder(2 if count > MOST_VECTORS else None)  # type: ignore[arg-type]
        wide = 72 * diameter(count, self.side**2)
        if self.style.colour == "severity":
            shown = [put_together(shown)]
        for number, (coordinates, looks) in enumerate(shown):
            draw_points(axes, coordinates, looks, wide, faint=number + 1 < len(shown))
        if self.style.density:
            draw_contours(axes, one.coordinates)
        if self.style.hulls:
            self.hulls(axes, one)
        if self.style.arrows:
            draw_arrows(axes, one.coordinates, ends)
        if self.style.centroids:
            draw_names(
                axes,
                centroids(one.coordinates, self.found.labels, len(self.found.classes)),
                self.found.classes,
            )

    def frame(self, axes: Axes, place: int) -> None:
        """A square of equal units without ticks; maps laid onto each other show the same square, if both fill it."""
        squares = [self.square(each) for each in self.found.maps]
        reaches = [reach for _, reach in squares]
        common = self.found.request.layout != "separate" and max(reaches) < _ALIKE * min(reaches)
        middle, reach = squares[place]
        if common:
            low = np.min([middle - reach for middle, reach in squares], axis=0)
            high = np.max([middle + reach for middle, reach in squares], axis=0)
            middle, reach = (low + high) / 2, float((high - low).max()) / 2
        axes.set_xlim(middle[0] - reach, middle[0] + reach)
        axes.set_ylim(middle[1] - reach, middle[1] + reach)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_color("#999999")

    def square(self, one: Map) -> tuple[np.ndarray, float]:
        """The middle and half the side of a square around all that is drawn of a map."""
        shown = (severity_of(one, severity).coordinates for severity in self.shown_severities(one))
        points = np.concatenate([one.coordinates, *shown])
        low, high = points.min(0), points.max(0)
        return (low + high) / 2, max(float((high - low).max()) * 0.52, 1e-6)

    def hulls(self, axes: Axes, one: Map) -> None:
        kinds = coloured(self.found, one, "label").kinds
        for number, (_, look) in enumerate(kinds):
            corners = hull(one.coordinates[self.found.labels == number])
            if len(corners):
                axes.fill(*corners.T, facecolor="none", edgecolor=look.colour, linewidth=0.7, zorder=3)

    @property
    def entries(self) -> list[tuple[str, Look]]:
        """What the legend names: the kinds that occur in any map."""
        looks = self.looks[0]
        seen = set(np.concatenate([each.rows for each in self.looks]).tolist())
        return [kind for number, kind in enumerate(looks.kinds) if number in seen]

    def legend_columns(self) -> int:
        longest = max(min(len(name), 22) for name, _ in self.entries)
        return max(1, min(len(self.entries), int((self.width - 0.2) / (_LETTER * longest + 0.2))))

    def legend_height(self) -> float:
        if self.looks[0].scale is not None:
            return 0.36
        return _LINE * math.ceil(len(self.entries) / self.legend_columns()) + 0.06

    def legend(self, sheet: Sheet, top: float) -> None:
        """The names of the looks, or a bar of colours, in a strip of their own below the maps."""
        if self.looks[0].scale is not None:
            draw_bar(sheet, self.looks[0], top)
            return
        handles = [_handle(short(name, 22), look) for name, look in self.entries]
        sheet.figure.legend(
            handles=handles,
            loc="upper center",
            bbox_to_anchor=(0.5, 1 - top / sheet.height),
            ncols=self.legend_columns(),
            frameon=False,
            fontsize=6,
            borderaxespad=0,
            borderpad=0,
            handlelength=0.8,
            handletextpad=0.3,
            columnspacing=0.9,
            labelspacing=0.2,
        )


def _height(lines: Sequence[str]) -> float:
    return _LINE * sum(line.count("\n") + 1 for line in lines)


def _handle(name: str, look: Look) -> Line2D:
    marker = MARKERS[look.marker]
    return Line2D(
        [], [], linestyle="", marker=marker, markersize=3.6, color=look.colour, markeredgewidth=0, label=name
    )


def _drawn_words(found: Embedding, style: MapStyle) -> list[str]:
    count, words = len(found.labels), []
    shown = style.severity if style.severity is not None else (found.request.severities or (0,))[-1]
    if style.colour == "transition":
        words.append(f"Answers clean -> at severity {shown:g}.")
    if (style.degraded or style.arrows) and style.colour != "severity":
        words.append(f"Faint: clean; full: at severity {shown:g}.")
    if style.arrows:
        drawn = len(arrow_rows(count))
        many = f"{drawn} of {count:,} images" if drawn < count else "all images"
        words.append(f"Lines lead from clean to degraded (dot) for {many}.")
    if style.centroids:
        words.append("Crosses: medians of classes; names that would overlap are left out.")
    if style.hulls:
        words.append("Hulls hold the 90 % of a class nearest to its middle.")
    if style.density:
        words.append("Contours hold 50 % and 90 % of the points.")
    return words
