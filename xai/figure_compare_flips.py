"""Figures of flip points: how they are distributed over severity, and whose come later on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from data.corruption_constants import SCALES
from data.degradations import DEGRADATIONS, max_severity, severity_levels
from xai.attribution import METHODS
from xai.compare.filmstrip import MOMENTS, Strip
from xai.compare.flip_statistics import Fates, fates, severities
from xai.compare.phrases import p_words
from xai.compare.sections import Measured
from xai.compare.study import Facts
from xai.figure_parts import (
    CLEAN_COLOUR,
    DEFAULT_STYLE,
    DEGRADED_COLOUR,
    WIDTHS,
    Sheet,
    Style,
    bare,
    colour_bar,
    middle_cut,
    overlay_peak,
    short,
    show_image,
    show_overlay,
    signed_overlay,
    wrapped,
)
from xai.figures import drawing
from xai.statistics import wilson_intervals

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
_EDGE, _CELL, _NEXT, _ASIDE, _WORDS, _HEAD = 0.08, 0.83, 0.05, 0.13, 0.3, 0.5
"""Inches of a filmstrip: margin, side of a picture, between pictures, between networks, words below, heads above."""
_HEADS = ("clean", "just before", "just after")
_FLIPPED = "#a8320a"


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
        f" ({b}); in the grey margins are answers not seen to flip, their number in both at the corner. Above the"
        f" diagonal B flips later, below it A; p from sign tests with Holm's correction. Severities are levels of"
        f" the scale {SCALES[facts.study.scale]}."
    )


def _curves(axes: Axes, facts: Facts, name: str, both: np.ndarray, *, first: bool) -> None:
    highest = max_severity(name, facts.study.scale)
    for letter, title, values, look in zip("AB", facts.names, both, LOOKS, strict=True):
        x = np.concatenate([[0], np.unique(values[np.isfinite(values)]), [highest]])
        counts = (values[:, None] <= x).sum(axis=0)
        low, high = wilson_intervals(counts, np.full(len(x), len(values)))
        axes.plot(x, 100 * counts / len(values), drawstyle="steps-post", label=_titled(letter, title), **look)
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
    axes.set_title(p_words(pair.p_holm), fontsize=6, pad=2)


def filmstrip_figure(strips: Sequence[Strip], style: Style = DEFAULT_STYLE, note: str = "") -> Figure:
    """A line for each image: the clean picture, then for A and B what is explained when it is clean, just before and
    just after the flip, with severities, answers and their probabilities. Two columns wide whatever the style says.

    `strips` are as `filmstrip` gives them, A's and B's of one image after the other.
    """
    pairs = list(zip(strips[::2], strips[1::2], strict=True))
    first = strips[0]
    title = DEGRADATIONS[first.degradation].title
    caption = wrapped(f"{title} ({SCALES[first.scale]}). {_film_words(strips)} {note}", 165)
    below = _HEAD + len(pairs) * (_CELL + _WORDS)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], below + _CAPTION * (caption.count("\n") + 1) + 0.12)
        _heads(sheet, pairs[0])
        for line, pair in enumerate(pairs):
            y = _HEAD + line * (_CELL + _WORDS)
            axes = sheet.axes(_EDGE, y, _CELL, _CELL)
            show_image(axes, pair[0].frames["clean"].image)
            _below(axes, short(pair[0].label, 16), short(pair[0].image_id, 18))
            for place, strip in enumerate(pair):
                _strip(sheet, strip, _left_of(place), y, style)
        _bar(sheet, first, style)
        sheet.text(_EDGE, below + 0.04, caption, fontsize=5.5, color="#333333")
        return sheet.figure


def _left_of(place: int) -> float:
    """Where the pictures of A (0) or B (1) begin, in inches."""
    return _EDGE + _CELL + _ASIDE + place * (3 * (_CELL + _NEXT) - _NEXT + _ASIDE)


def _film_words(strips: Sequence[Strip]) -> str:
    first = strips[0]
    back = " ↩: the clean answer is back later on." if any(strip.returns for strip in strips) else ""
    return (
        f"Maps ({METHODS[first.frames['clean'].heatmap.method].title}) are for the answer to the clean picture, on one"
        f" scale for the pictures of a network in a line. Below each picture are its severity, from 0 to"
        f" {first.highest:g}, and the answer with its probability.{back}"
    )


def _heads(sheet: Sheet, pair: tuple[Strip, Strip]) -> None:
    style: dict[str, Any] = {"ha": "center", "fontsize": 6}
    sheet.text(_EDGE + _CELL / 2, _HEAD - 0.15, "picture", **style)
    for place, strip in enumerate(pair):
        x, wide = _left_of(place), 3 * (_CELL + _NEXT) - _NEXT
        name = middle_cut(_titled(strip.letter, strip.network), 44)
        sheet.text(x + wide / 2, 0.1, name, ha="center", fontsize=7, color=("#004c7a", "#8a5a00")[place])
        for k, head in enumerate(_HEADS):
            sheet.text(x + k * (_CELL + _NEXT) + _CELL / 2, _HEAD - 0.15, head, **style)


def _titled(letter: str, title: str) -> str:
    """The network's title with its letter, once."""
    return title if title.startswith(f"{letter}: ") else f"{letter}: {title}"


def _strip(sheet: Sheet, strip: Strip, x: float, y: float, style: Style) -> None:
    maps = {moment: frame.heatmap for moment, frame in strip.frames.items()}
    peak = overlay_peak(maps, maps["clean"].method)
    for k, moment in enumerate(MOMENTS):
        axes = sheet.axes(x + k * (_CELL + _NEXT), y, _CELL, _CELL)
        if moment not in strip.frames:
            _no_flip(axes, strip)
            continue
        frame = strip.frames[moment]
        show_overlay(axes, frame.image, frame.heatmap, peak, style)
        back = " ↩" if moment == "after" and strip.returns else ""
        looks = (_FLIPPED, "bold") if moment == "after" else ("black", "normal")
        words = f"{frame.severity:.2f} ({100 * frame.probability:.0f} %){back}"
        _below(axes, words, short(frame.answer, 17), *looks)


def _no_flip(axes: Axes, strip: Strip) -> None:
    bare(axes).set_facecolor("#eeeeee")
    words = f"no flip seen\nup to {strip.highest:g}"
    axes.text(0.5, 0.5, words, transform=axes.transAxes, ha="center", va="center", fontsize=6)


def _below(axes: Axes, upper: str, lower: str, colour: str = "black", weight: str = "normal") -> None:
    style: dict[str, Any] = {"transform": axes.transAxes, "ha": "center", "va": "top", "fontsize": 5.5}
    axes.text(0.5, -0.03, upper, **style)
    axes.text(0.5, -0.155, lower, color=colour, weight=weight, **style)


def _bar(sheet: Sheet, strip: Strip, style: Style) -> None:
    """What the colours mean, as a share of the largest value of a network's pictures in a line."""
    signed = signed_overlay(strip.frames["clean"].heatmap.method)
    drawn = ScalarMappable(
        Normalize(-1.0 if signed else 0.0, 1.0), style.diverging if signed else style.colours
    )
    x = _left_of(2) - _ASIDE + 0.06
    words = "evidence" if signed else "positive evidence"
    colour_bar(sheet, drawn, (x, _HEAD, 0.07, _CELL), f"{words} (share of largest)")
