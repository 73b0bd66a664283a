"""Figures of feature maps: a page of channels, the first filters, and how much every layer changes with severity."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from xai.feature_filters import Filters
from xai.feature_maps import FeatureComparison, LayerResult
from xai.feature_orders import ORDERS
from xai.figure_parts import (
    DEFAULT_STYLE,
    WIDTHS,
    Sheet,
    Style,
    bare,
    short,
    show_image,
    tick_labels,
    wrapped,
)
from xai.figures import drawing
from xai.view_words import view_sentences

MARGIN, BETWEEN = 0.08, 0.2
_LETTERS_PER_INCH = 24.0
"""How many letters of 5.5 points fit on an inch, on average."""
_NOT_FINITE = "#999999"
_LINE = 0.095
"""Inches from one line of 5.5 points to the next."""
_FLAT = 0.16
"""Height in inches of the tile of a single value."""


def channels_figure(comparison: FeatureComparison, style: Style = DEFAULT_STYLE) -> Figure:
    """The channels shown, each clean, degraded and as a difference; two networks side by side, or one below the other
    in one column. One scale for all maps of a network, one for its differences."""
    with drawing():
        return _Page(comparison, style).draw()


def letters(count: int) -> list[str]:
    """What networks are called before their names, nothing where there is one."""
    return ["A: ", "B: "] if count > 1 else [""]


class _Page:
    """The whole figure: the picture and what has to be known of it, then a block for each network."""

    def __init__(self, comparison: FeatureComparison, style: Style) -> None:
        self.comparison, self.style = comparison, style
        width = WIDTHS[style.width]
        wide = style.width == "two-column"
        side_by_side = wide and len(comparison.results) == 2
        room = (width - 2 * MARGIN - BETWEEN) / 2 if side_by_side else width - 2 * MARGIN
        names = letters(len(comparison.results))
        self.blocks = [
            _Block(comparison, result, style, letter, room)
            for letter, result in zip(names, comparison.results, strict=True)
        ]
        self.picture = 0.85 if wide else 0.7
        images = (self.picture + 0.08) * len(comparison.conditions)
        self.caption = wrapped(
            _caption(comparison), int(_LETTERS_PER_INCH * (width - 2 * MARGIN - images - 0.1))
        )
        self.header = 0.25 + max(self.picture, _LINE * (self.caption.count("\n") + 1)) + 0.12
        heights = [block.height for block in self.blocks]
        below = max(heights) if side_by_side else sum(heights) + BETWEEN * (len(heights) - 1)
        self.step = (room + BETWEEN, 0.0) if side_by_side else (0.0, heights[0] + BETWEEN)
        self.sheet = Sheet(width, self.header + below + 0.05)

    def draw(self) -> Figure:
        """Draw everything and return the figure."""
        view, x = self.comparison.view(self.comparison.results[0]), MARGIN
        for condition in self.comparison.conditions:
            axes = self.sheet.axes(x, 0.2, self.picture, self.picture)
            show_image(axes, view.image(condition))
            axes.set_title(condition)
            x += self.picture + 0.08
        self.sheet.text(x + 0.08, 0.2, self.caption, fontsize=5.5, color="#333333", linespacing=1.15)
        for number, block in enumerate(self.blocks):
            block.draw(self.sheet, MARGIN + number * self.step[0], self.header + number * self.step[1])
        return self.sheet.figure


def _caption(comparison: FeatureComparison) -> str:
    picture, request = comparison.picture, comparison.request
    words = [f"{picture.name}.", *view_sentences(comparison)]
    if len(comparison.views) > 1:
        words.append("The picture is shown as A sees it.")
    if picture.label:
        words.append(f"True class: {picture.label}.")
    order = ORDERS[request.order]
    unit = f" ({order.unit})" if order.unit else ""
    stands = f"by {order.title}{unit}, which stands above each"
    words.append(f"Channels {'in the order of their numbers' if order.name == 'index' else stands}.")
    if order.name == "gradient_x_activation":
        names = letters(len(comparison.results))
        told = [f"{a}{r.classes[r.target]}" for a, r in zip(names, comparison.results, strict=True)]
        words.append(f"Class of the logit: {', '.join(told)}.")
    both = ", clean and degraded" if comparison.degraded else ""
    words.append(f"Each network has one scale for all of its maps that are shown{both}.")
    if any("not finite" in note for result in comparison.results for note in result.notes):
        words.append("Grey cells are not finite.")
    return " ".join(words)


class _Block:
    """One network: its name and layer, small multiples of the channels, and colour bars."""

    gap, between, label, bars = 0.03, 0.12, 0.12, 0.36

    def __init__(
        self, comparison: FeatureComparison, result: LayerResult, style: Style, letter: str, width: float
    ) -> None:
        self.comparison, self.result, self.style, self.width = comparison, result, style, width
        self.tiles = 3 if comparison.degraded else 1
        least = 0.36 if comparison.degraded else 0.5
        group = self.tiles * (least + self.gap)
        self.columns = max(1, min(int((width + self.between) / (group + self.between)), len(result.shown)))
        group = (width - (self.columns - 1) * self.between) / self.columns
        self.tile = min(group / self.tiles - self.gap, 0.62)
        height, across = result.grid
        self.high = _FLAT if (height, across) == (1, 1) else self.tile * height / across
        self.title = wrapped(letter + result.model, int(0.8 * _LETTERS_PER_INCH * width))
        self.words = wrapped(_layer_words(result), int(_LETTERS_PER_INCH * width))
        rows = math.ceil(len(result.shown) / self.columns)
        self.head = 0.14 * (self.title.count("\n") + 1) + _LINE * (self.words.count("\n") + 1) + 0.06
        self.body = (self.label if comparison.degraded else 0.0) + rows * (
            self.label + self.high + 2 * self.gap
        )
        self.height = self.head + self.body + self.bars

    def draw(self, sheet: Sheet, x: float, y: float) -> None:
        """Draw at `(x, y)`, inches from the top left."""
        sheet.text(x, y, self.title, fontsize=7, fontweight="bold")
        below = y + 0.14 * (self.title.count("\n") + 1)
        sheet.text(x, below, self.words, fontsize=5.5, linespacing=1.15)
        axes = bare(sheet.axes(x, y + self.head, self.width, self.body))
        axes.set_axis_off()
        for place, channel in enumerate(self.result.shown):
            self._draw_channel(axes, place, channel)
        axes.set_xlim(0, self.width)
        axes.set_ylim(self.body, 0)
        axes.set_aspect("auto")
        if self.comparison.degraded:
            self._name_columns(axes)
        self._draw_bars(sheet, x, y + self.head + self.body)

    @property
    def _group(self) -> float:
        return self.tiles * (self.tile + self.gap) + self.between

    def _name_columns(self, axes: Axes) -> None:
        style: dict[str, Any] = {"fontsize": 4.5, "ha": "center", "va": "top", "color": "#333333"}
        for column in range(self.columns):
            for number, words in enumerate(("clean", "degraded", "difference")):
                centre = column * self._group + number * (self.tile + self.gap) + self.tile / 2
                axes.text(centre, 0, words, **style)

    def _draw_channel(self, axes: Axes, place: int, channel: int) -> None:
        row, column = divmod(place, self.columns)
        top = self.label * self.comparison.degraded + row * (self.label + self.high + 2 * self.gap)
        left = column * self._group
        axes.text(left, top + 0.02, self._channel_words(channel), fontsize=5, va="top", ha="left")
        low, high = self.result.scale
        for number, condition in enumerate(self.comparison.conditions):
            values = self.result.maps(condition)[channel]
            self._tile(axes, values, left, top, number, (map_colours(self.result, self.style), low, high))
        if self.comparison.degraded:
            peak = self.result.difference_peak
            self._tile(
                axes, self.result.difference[channel], left, top, 2, (self.style.diverging, -peak, peak)
            )

    def _channel_words(self, channel: int) -> str:
        name = self.comparison.request.order
        value = float(self.result.scores[name][channel])
        score = "" if name == "index" else f": {_number(value)}"
        dead = " dead" if bool(self.result.dead[channel]) else ""
        return f"#{channel}{dead or score}"

    def _tile(
        self,
        axes: Axes,
        values: Tensor,
        left: float,
        top: float,
        number: int,
        scale: tuple[str, float, float],
    ) -> None:
        x, y = left + number * (self.tile + self.gap), top + self.label
        colours, low, high = scale
        axes.imshow(
            values.numpy(),
            cmap=_colour_map(colours),
            norm=_norm(low, high),
            interpolation="nearest",
            extent=(x, x + self.tile, y + self.high, y),
        )
        frame = Rectangle((x, y), self.tile, self.high, fill=False, edgecolor="#888888", linewidth=0.3)
        axes.add_patch(frame)

    def _draw_bars(self, sheet: Sheet, x: float, y: float) -> None:
        _bars(sheet, self.result, self.style, (x, y, self.width), degraded=self.comparison.degraded)


def map_colours(result: LayerResult, style: Style) -> str:
    """The colour map of activations: the diverging one, with zero in its middle, where some are below zero."""
    return style.diverging if result.signed else style.colours


def _bars(
    sheet: Sheet, result: LayerResult, style: Style, box: tuple[float, float, float], *, degraded: bool
) -> None:
    """What the colours of a network's maps mean, at `(x, y, width)` in inches from the top left."""
    x, y, width = box
    half = (width - 0.3) / 2
    colours = map_colours(result, style)
    bar_below(sheet, colours, result.scale, (x + 0.05, y + 0.05, half), "activation")
    if degraded:
        peak = result.difference_peak
        place = (x + 0.25 + half, y + 0.05, half)
        bar_below(sheet, style.diverging, (-peak, peak), place, "clean − degraded")


def colours_figure(
    result: LayerResult, style: Style = DEFAULT_STYLE, *, degraded: bool = False, width: float = 3.3
) -> Figure:
    """The colour bars of a network's maps alone, as they stand below its channels; `width` in inches."""
    with drawing():
        sheet = Sheet(width, 0.34)
        _bars(sheet, result, style, (0, 0, width), degraded=degraded)
        return sheet.figure


def _layer_words(result: LayerResult) -> str:
    height, width = result.grid
    first = result.order.index(result.shown[0]) + 1
    places = f"places {first}–{first + len(result.shown) - 1} of {result.channels:,} channels"
    return f"{result.layer} ({result.position}), {height}×{width} grid, {places}. " + " ".join(result.notes)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−") if math.isfinite(value) else "n/a"


def _colour_map(name: str) -> Colormap:
    return matplotlib.colormaps[name].with_extremes(bad=_NOT_FINITE)


def _norm(low: float, high: float) -> Normalize:
    """From low to high; the ends of a scale without length are moved apart, as a colour bar needs."""
    return Normalize(low, high) if high > low else Normalize(low - 0.5, low + 0.5)


def bar_below(
    sheet: Sheet, colours: str, scale: tuple[float, float], box: tuple[float, float, float], words: str
) -> None:
    """A named, lying colour bar at `(x, y, width)` in inches from the top left, with its ends and its middle."""
    norm = _norm(*scale)
    x, y, width = box
    mappable = ScalarMappable(norm, colours)
    bar = sheet.figure.colorbar(mappable, cax=sheet.axes(x, y, width, 0.05), orientation="horizontal")
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    ticks = [low, (low + high) / 2, high] if scale[1] > scale[0] else [scale[0]]
    labels, unit = tick_labels(ticks)
    bar.set_ticks(ticks, labels=labels)
    ends = bar.ax.get_xticklabels()
    if len(ends) > 1:  # within the bar's own width, beside which another may stand
        ends[0].set_horizontalalignment("left")
        ends[-1].set_horizontalalignment("right")
    bar.set_label(f"{words} ({unit})" if unit else words, fontsize=5.5, labelpad=1)
    bar.ax.tick_params(labelsize=5, pad=1, length=1)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]


def filters_figure(found: Sequence[Filters], style: Style = DEFAULT_STYLE) -> Figure:
    """The first filters of one or two networks as colour pictures: zero is mid grey, one scale for all of a network."""
    width = WIDTHS[style.width]
    columns = 16 if style.width == "two-column" else 8
    tile = (width - 2 * MARGIN) / columns
    heights = [0.36 + tile * math.ceil(len(filters.weights) / columns) + 0.4 for filters in found]
    with drawing():
        sheet, y = Sheet(width, 0.05 + sum(heights)), 0.05
        for letter, filters, height in zip(letters(len(found)), found, heights, strict=True):
            _draw_filters(sheet, filters, letter, y, (columns, tile))
            y += height
        return sheet.figure


def _draw_filters(sheet: Sheet, filters: Filters, letter: str, y: float, grid: tuple[int, float]) -> None:
    columns, tile = grid
    count, _, high, wide = filters.weights.shape
    width = sheet.width - 2 * MARGIN
    sheet.text(
        MARGIN,
        y,
        short(letter + filters.model, int(0.8 * _LETTERS_PER_INCH * width)),
        fontsize=7,
        fontweight="bold",
    )
    sheet.text(
        MARGIN, y + 0.15, f"{filters.layer}: {count} filters of {high}×{wide}, raw weights", fontsize=5.5
    )
    rows = math.ceil(count / columns)
    axes = bare(sheet.axes(MARGIN, y + 0.3, width, rows * tile))
    axes.set_axis_off()
    for place, picture in enumerate(filters.pictures.permute(0, 2, 3, 1).numpy()):
        row, column = divmod(place, columns)
        left, top, side = column * tile, row * tile, 0.94 * tile
        axes.imshow(picture, interpolation="nearest", extent=(left, left + side, top + side, top))
    axes.set_xlim(0, width)
    axes.set_ylim(rows * tile, 0)
    axes.set_aspect("auto")
    scale = (-filters.peak, filters.peak)
    box = (MARGIN + 0.15, y + 0.34 + rows * tile, min(3.0, width - 0.3))
    bar_below(sheet, "gray", scale, box, "weight of red, green and blue each; grey is zero")
