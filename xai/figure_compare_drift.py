"""Figures of map drift: drift and accuracy against severity, the other measures, and what moves first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from data.corruption_constants import SCALES
from data.degradations import DEGRADATIONS, severity_levels
from xai.compare.drift_leads import RESOLUTION, Lead
from xai.compare.drift_results import Drifted
from xai.compare.phrases import FEWEST, listed, spread
from xai.compare.resampling import Estimate
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, wrapped
from xai.figures import drawing
from xai.metrics import Share
from xai.tables import p_value

COLOURS, MARKS = (CLEAN_COLOUR, DEGRADED_COLOUR), "os"
"""Of A and of B."""
_WIDTH = WIDTHS["two-column"]
_LEFT, _RIGHT, _GAP, _TITLE, _TICKS, _LINE = 0.62, 0.14, 0.14, 0.2, 0.3, 0.1
"""Inches: left and right of all, between columns, above and below a block of panels, a line of the caption."""
_MEASURES = (
    ("overlap", "overlap of the\ntop 20 %", 1.0),
    ("shift", "centre shift\n(% of width)", 100.0),
    ("entropy", "change of\nentropy", 1.0),
    ("own_spearman", "rank correlation,\npredicted class", 1.0),
)
"""Of a row of panels the measure, its words and the factor of its unit."""
Draw = Callable[[Axes, str], None]
"""`draw(axes, degradation)` fills a panel."""


@dataclass(frozen=True)
class Row:
    """A row of panels, one for each degradation: its words, height in inches, what draws it, and its y axis."""

    words: str
    height: float
    draw: Draw
    limits: tuple[float, float]


def drift_figures(found: Drifted) -> dict[str, Figure]:
    """All figures by name; none without a degradation."""
    if not found.conditions:
        return {}
    return {"curves": curves_figure(found), "measures": measures_figure(found), "order": order_figure(found)}


def curves_figure(found: Drifted) -> Figure:
    """For each degradation 1 - rank correlation of clean and degraded map over severity, apart for images whose
    prediction is kept and changed, and below it accuracy; bands are 95 % intervals."""

    def drift(axes: Axes, name: str) -> None:
        for k in (0, 1):
            for group in ("kept", "changed"):
                means = [found.means["spearman", group][k][place] for place in found.places(name)]
                values = [_opposite(each) for each in means]
                _line(axes, found, name, values, _look(k, hollow=group == "changed"), zero=group == "kept")

    def right(axes: Axes, name: str) -> None:
        for k in (0, 1):
            shares = [found.accuracy(k, place) for place in (-1, *found.places(name))]
            axes.set_xticks(range(len(shares)))
            _band(axes, range(len(shares)), [_percent(each) for each in shares], _look(k))

    highest = max(1.0, max((_opposite(each)[2] for each in _shown(found)), default=1.0))
    rows = (
        Row("drift\n(1 − rank correlation)", 1.15, drift, (-0.03, min(2.0, highest) + 0.05)),
        Row("accuracy (%)", 0.75, right, (-3, 103)),
    )
    entries = [
        (f"{letter}: {name}, prediction {group}", _look(k, hollow=group == "changed"))
        for k, (letter, name) in enumerate(zip("AB", found.facts.names, strict=True))
        for group in ("kept", "changed")
    ]
    return _panels(found, rows, entries, _curves_caption(found), 5)


def measures_figure(found: Drifted) -> Figure:
    """For each degradation the other measures of drift of all images over severity; bands are 95 % intervals."""
    rows = tuple(
        Row(words, 0.75, _measure(found, measure, factor), _limits(found, measure, factor))
        for measure, words, factor in _MEASURES
    )
    entries = [
        (f"{letter}: {name}", _look(k))
        for k, (letter, name) in enumerate(zip("AB", found.facts.names, strict=True))
    ]
    caption = (
        f"Clean against degraded map of {found.facts.images:,} images, each on its network's own grid; means with 95 %"
        " bootstrap bands. Of the first three the maps are for the class predicted on the clean image, of the last each"
        " for the class predicted on its own image; entropy is that of the positive part in units of an even map's."
    )
    return _panels(found, rows, entries, caption, 7)


def _measure(found: Drifted, measure: str, factor: float) -> Draw:
    def draw(axes: Axes, name: str) -> None:
        for k in (0, 1):
            means = [found.means[measure, "all"][k][place] for place in found.places(name)]
            values = [_scaled(each, factor) for each in means]
            still = 1.0 if measure in ("overlap", "own_spearman") else 0.0
            _line(axes, found, name, values, _look(k), zero=True, still=still)

    return draw


def _limits(found: Drifted, measure: str, factor: float) -> tuple[float, float]:
    """Of all that is shown of a measure, with what stands for no drift."""
    ends = [
        factor * end
        for means in found.means[measure, "all"]
        for each in means
        for end in (each.low, each.high)
    ]
    still = 1.0 if measure in ("overlap", "own_spearman") else 0.0
    low, high = np.nanmin([still, 0.0, *ends]), np.nanmax([still, 0.0, *ends])
    room = 0.06 * (high - low or 1.0)
    return float(low - room), float(high + room)


def _shown(found: Drifted) -> list[Estimate]:
    """The means of groups large enough to be drawn."""
    means = [each for group in ("kept", "changed") for own in found.means["spearman", group] for each in own]
    return [each for each in means if each.n >= FEWEST]


Ends = tuple[float, float, float]
"""A value and its interval, NaN for none that is drawn."""
_NOTHING: Ends = (np.nan, np.nan, np.nan)


def _opposite(each: Estimate) -> Ends:
    return (1 - each.value, 1 - each.high, 1 - each.low) if each.n >= FEWEST else _NOTHING


def _scaled(each: Estimate, factor: float) -> Ends:
    return (factor * each.value, factor * each.low, factor * each.high) if each.n >= FEWEST else _NOTHING


def _percent(each: Share | None) -> Ends:
    return _NOTHING if each is None else (100 * each.share, 100 * each.low, 100 * each.high)


def _look(network: int, *, hollow: bool = False) -> dict[str, Any]:
    """Colour and mark are the network's; what is hollow is dashed."""
    colour = COLOURS[network]
    return {
        "color": colour,
        "marker": MARKS[network],
        "linestyle": (0, (3, 1.5)) if hollow else "-",
        "markerfacecolor": "white" if hollow else colour,
        "markersize": 2.8,
        "markeredgewidth": 0.7,
        "linewidth": 1.0,
    }


def _line(
    axes: Axes,
    found: Drifted,
    name: str,
    values: Sequence[Ends],
    look: dict[str, Any],
    *,
    zero: bool,
    still: float = 0.0,
) -> None:
    """Values over the severities of a degradation, from no drift at severity 0 where that has a meaning."""
    places = [found.conditions[place].severity for place in found.places(name)]
    start: list[Ends] = [(still, still, still)] if zero else []
    _band(axes, [*([0.0] if zero else []), *places], [*start, *values], look)


def _band(axes: Axes, places: Sequence[float], values: Sequence[Ends], look: dict[str, Any]) -> None:
    middle, low, high = np.array(values).T
    axes.fill_between(places, low, high, color=look["color"], alpha=0.16, linewidth=0)
    axes.vlines(places, low, high, color=look["color"], linewidth=0.5)  # a band of one severity has no width
    axes.plot(places, middle, **look)


def _panels(
    found: Drifted,
    rows: Sequence[Row],
    entries: Sequence[tuple[str, dict[str, Any]]],
    caption: str,
    columns: int,
) -> Figure:
    """Blocks of rows of panels, a column for each degradation, with a legend above and a caption below."""
    names = found.facts.study.degradations
    columns = max(3, min(columns, len(names)))
    wide = (_WIDTH - _LEFT - _RIGHT - (columns - 1) * _GAP) / columns
    block = _TITLE + sum(row.height + _GAP / 2 for row in rows) + _TICKS
    top, lines = 0.12 + 0.13 * -(-len(entries) // 2), -(-len(names) // columns)
    caption = wrapped(caption, 160)
    below = top + lines * block
    with drawing():
        sheet = Sheet(_WIDTH, below + _LINE * (caption.count("\n") + 1) + 0.1)
        for place, name in enumerate(names):
            x, y = _LEFT + place % columns * (wide + _GAP), top + place // columns * block + _TITLE
            for number, row in enumerate(rows):
                axes = sheet.axes(x, y, wide, row.height)
                row.draw(axes, name)
                last = number == len(rows) - 1
                _finish(axes, found, name, row, first=place % columns == 0, head=not number, last=last)
                y += row.height + _GAP / 2
        _legend(sheet, entries)
        sheet.text(0.08, below + 0.02, caption, fontsize=5.5, color="#333333")
        return sheet.figure


def _legend(sheet: Sheet, entries: Sequence[tuple[str, dict[str, Any]]]) -> None:
    handles = [Line2D([], [], label=name, **look) for name, look in entries]
    options: dict[str, Any] = {"loc": "upper center", "ncols": 2, "frameon": False, "fontsize": 6}
    sheet.figure.legend(handles=handles, handlelength=3.0, borderaxespad=0.3, **options)


def _finish(axes: Axes, found: Drifted, name: str, row: Row, *, first: bool, head: bool, last: bool) -> None:
    labels = severity_levels(name, found.facts.study.scale)
    axes.set_xticks(range(len(labels) + 1), ["0", *labels] if last else [], fontsize=5.5)
    axes.set_xlim(-0.1, len(labels) + 0.1)
    axes.set_ylim(*row.limits)
    axes.grid(linewidth=0.25, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelleft=first)
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 5, 10]))
    if head:
        axes.set_title(DEGRADATIONS[name].title, fontsize=6.5 if _inches(axes) > 1 else 5.8)
    if last and labels[0] == "1":
        axes.set_xlabel("severity", fontsize=6, labelpad=1)
    if first:
        axes.set_ylabel(row.words, fontsize=6)
        axes.yaxis.set_label_coords(-0.36 / _inches(axes), 0.5)


def _inches(axes: Axes) -> float:
    """Width of a panel."""
    return float(axes.get_position().width * _WIDTH)


def _curves_caption(found: Drifted) -> str:
    both = [own for group in ("kept", "changed") for own in found.means["spearman", group]]
    groups = [own[place] for own in both for place in found.moving]
    few = sum(each.n < FEWEST for each in groups)
    left = f" {few} of {len(groups)} means are of fewer than {FEWEST} images and not drawn." if few else ""
    idle = listed([each.words for each in found.idle])
    left += f" Every image stays as it is under {idle}." if idle else ""
    return (
        "Above: how far maps move from those of the clean images, for the class predicted there"
        f" ({found.facts.images:,} images; means with 95 % bootstrap bands; 0 is no drift, 1 no relation).{left} Below:"
        " share of right answers with 95 % Wilson bands. Severities are levels of the scale"
        f" {SCALES[found.facts.study.scale]}."
    )


def order_figure(found: Drifted) -> Figure:
    """For each degradation and network the severity of half of the drift less that of half of the loss of accuracy,
    with its 95 % interval; below 0 maps move first."""
    names = found.facts.study.degradations
    body, top, left, right = 0.24 * len(names) + 0.1, 0.3, 1.35, 0.9
    caption = wrapped(_order_caption(found), 160)
    height = top + body + 0.36 + _LINE * (caption.count("\n") + 1) + 0.1
    with drawing():
        sheet = Sheet(_WIDTH, height)
        axes = sheet.axes(left, top, _WIDTH - left - right, body)
        reach = _reach(found.leads)
        for each in found.leads:
            row = names.index(each.degradation) + (0.18 if each.network else -0.18)
            _dot(axes, each, row, reach)
        axes.axvspan(-RESOLUTION, RESOLUTION, color="#e6e6e6", linewidth=0, zorder=0)
        axes.axvline(0, color="#777777", linewidth=0.6)
        axes.set_yticks(range(len(names)), [DEGRADATIONS[name].title for name in names])
        axes.set_ylim(len(names) - 0.4, -0.6)
        axes.set_xlim(-reach, reach)
        words = "← maps first      half of the drift less half of the loss of accuracy (levels)      accuracy first →"
        axes.set_xlabel(words, fontsize=6, labelpad=2)
        axes.grid(axis="x", linewidth=0.25, color="#cccccc")
        axes.spines[["top", "right"]].set_visible(False)
        entries = [(f"{letter}: {name}", _look(k)) for k, (letter, name) in enumerate(_lettered(found))]
        _legend(sheet, [(name, look | {"linewidth": 0.8}) for name, look in entries])
        sheet.text(0.08, top + body + 0.36, caption, fontsize=5.5, color="#333333")
        return sheet.figure


def _lettered(found: Drifted) -> list[tuple[str, str]]:
    return list(zip("AB", found.facts.names, strict=True))


def _reach(leads: Sequence[Lead]) -> float:
    """How far the axis goes to both sides."""
    ends = [abs(end) for each in leads for end in (each.low, each.high) if not np.isnan(end)]
    return 1.08 * max([0.5, *ends])


def _dot(axes: Axes, each: Lead, row: float, reach: float) -> None:
    colour = COLOURS[each.network]
    if each.reason:
        note: dict[str, Any] = {"fontsize": 5.5, "color": colour, "va": "center", "clip_on": False}
        axes.text(1.03 * reach, row, "not defined", **note)
        return
    told = each.order in ("before", "after")
    look = _look(each.network, hollow=not told) | {"linestyle": "none"}
    axes.plot([each.low, each.high], [row, row], color=colour, linewidth=0.9)
    axes.plot([each.difference], [row], **look)
    note = {"fontsize": 5.5, "color": "#333333", "va": "center", "clip_on": False}
    said = p_value(each.p_holm)
    axes.text(1.03 * reach, row, f"p {said}" if said.startswith("<") else f"p = {said}", **note)


def _order_caption(found: Drifted) -> str:
    counts = " and ".join(
        f"{spread([each.images for each in found.leads if each.network == k])} ({letter})"
        for k, letter in enumerate("AB")
    )
    return (
        "The severity at which 1 − rank correlation of the maps reaches half of its final value, less that at which the"
        f" net loss of accuracy does, of all images, right or wrong when clean: {counts}. Lines are 95 % paired"
        " bootstrap intervals, which take both curves for straight lines between the severities; in the grey band"
        f" ({RESOLUTION:g} levels to either side) the two are closer than these severities can tell. Marks are full"
        " where an order is shown (outside the band, interval without 0, and p by Holm over all rows below 0.05). Not"
        " defined where maps or accuracy hardly change. Severities are levels of the scale"
        f" {SCALES[found.facts.study.scale]}."
    )
