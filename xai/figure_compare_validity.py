"""Validity cards as a figure: maps beside baselines for each network, and maps as weights are drawn anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xai.compare.resampling import Estimate
from xai.compare.study import LETTERS
from xai.compare.validity_cards import AGREES, LEARNED, SIMILAR, TITLES, Card
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, middle_cut, wrapped
from xai.figure_robustness_parts import legend
from xai.figures import drawing

COLOURS = (CLEAN_COLOUR, DEGRADED_COLOUR)
LOOKS: dict[str, dict[str, Any]] = {
    "random": {"marker": "x", "color": "#777777"},
    "centre": {"marker": "s", "color": "#333333", "markerfacecolor": "white"},
    "edges": {"marker": "^", "color": "#009e73", "markerfacecolor": "white"},
}
SHORT = {"random": "random map", "centre": "centre Gaussian", "edges": "edge map"}
_MAPS = ("o", "D")
_LEFT, _ROW, _WORDS, _TOP, _GAP = 0.95, 0.36, 0.85, 0.4, 0.55
_HELD = ("agreement with\nHiResCAM", "rank correlation,\nweights drawn anew")


def validity_figure(cards: tuple[Card, Card]) -> Figure:
    """A card for each network, A left and B right.

    Top: what the maps are held to, with the thresholds dotted. Middle: measures of the map and of its baselines with
    95 % intervals, and beside them whom the map is better or worse than (Holm). Bottom: rank correlation of maps with
    the original ones as weights are drawn anew, further down from left to right.
    """
    held, measured = 2 * _ROW, _ROW * len(cards[0].levels)
    height = _TOP + 0.3 + held + _GAP + measured + _GAP + 1.15 + 0.62
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], height)
        legend(sheet, _entries(cards))
        for place, card in enumerate(cards):
            left = place * sheet.width / 2 + _LEFT
            width = sheet.width / 2 - _LEFT - _WORDS
            sheet.text(left - _LEFT + 0.1, _TOP, _heading(card, place), fontsize=7, weight="bold")
            top = _TOP + 0.3
            _held(sheet.axes(left, top, width, held), card, place)
            top += held + _GAP
            _measured(sheet.axes(left, top, width, measured), card, place)
            top += measured + _GAP
            _cascade(sheet.axes(left, top, width + _WORDS - 0.15, 1.15), card, place)
        return sheet.figure


def _heading(card: Card, place: int) -> str:
    h, w = card.network.grid
    title = card.network.title.removeprefix(f"{LETTERS[place]}: ")
    return f"{LETTERS[place]}: {middle_cut(title, 34)} ({middle_cut(card.network.layer, 14)}, {h} x {w})"


def _look(place: int) -> dict[str, Any]:
    return {"marker": _MAPS[place], "color": COLOURS[place]}


def _entries(cards: tuple[Card, Card]) -> list[tuple[str, dict[str, Any]]]:
    style = {"linestyle": "-", "linewidth": 0.9, "markersize": 3.4}
    maps = [
        (f"{card.title} of {LETTERS[place]}", {**_look(place), **style}) for place, card in enumerate(cards)
    ]
    entries = maps + [(SHORT[name], {**look, **style}) for name, look in LOOKS.items()]
    if cards[0].area:
        entries.append(
            ("chance on the masks", {"color": "#999999", "linestyle": (0, (4, 2)), "linewidth": 0.8})
        )
    return entries


def _held(axes: Axes, card: Card, place: int) -> None:
    """Agreement with HiResCAM and similarity after drawing anew, each beside its threshold."""
    reached = card.reached
    for row, found in enumerate((card.faithful, reached.similarity if reached else None)):
        if found is not None:
            _interval(axes, row, found, _look(place))
    for row, threshold in ((0, AGREES), (1, SIMILAR)):
        axes.plot([threshold] * 2, [row - 0.4, row + 0.4], ":", color="black", linewidth=0.9)
    labels = [_HELD[0], f"{_HELD[1]}\nto {middle_cut(reached.name, 14)}" if reached else _HELD[1]]
    _rows(axes, labels, (-1, 1))
    axes.set_xlabel("correlation (dotted: threshold)", fontsize=6, labelpad=1)
    for row, check in enumerate((card.checks[0], card.check(LEARNED))):
        _beside(axes, row, check.outcome)


def _interval(axes: Axes, row: float, found: Estimate, look: dict[str, Any]) -> None:
    if not found.n:
        return
    axes.hlines(row, found.low, found.high, color=look["color"], linewidth=0.9)
    axes.plot([found.value], [row], markersize=3.4, markeredgewidth=0.8, linestyle="none", **look)


def _rows(axes: Axes, labels: Sequence[str], limits: tuple[float, float]) -> None:
    axes.set_yticks(range(len(labels)), labels, fontsize=6)
    axes.set_ylim(len(labels) - 0.5, -0.5)
    axes.set_xlim(limits[0] - 0.03 * np.ptp(limits), limits[1] + 0.03 * np.ptp(limits))
    axes.grid(axis="x", linewidth=0.3, color="#dddddd")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right"]].set_visible(False)


def _beside(axes: Axes, row: float, words: str) -> None:
    axes.text(
        1.04, row, words, transform=axes.get_yaxis_transform(), fontsize=5.5, va="center", clip_on=False
    )


def _measured(axes: Axes, card: Card, place: int) -> None:
    """The map above its baselines, for each measure."""
    labels = []
    for row, (measure, levels) in enumerate(card.levels.items()):
        labels.append(f"{TITLES[measure]}\n({'low' if measure == 'deletion' else 'high'} is better)")
        looks = {"map": _look(place), **LOOKS}
        for line, (name, look) in enumerate(looks.items()):
            _interval(axes, row + 0.2 * (line - 1.5), levels[name], look)
        if card.area and measure in ("hit", "energy", "top"):
            axes.plot(
                [card.area.value] * 2, [row - 0.45, row + 0.45], color="#999999", dashes=(4, 2), linewidth=0.8
            )
        _beside(axes, row, _beaten(card, measure))
    _rows(axes, labels, (0, 1))
    axes.set_xlabel(
        "area under the curve, share" if card.area else "area under the curve", fontsize=6, labelpad=1
    )


def _beaten(card: Card, measure: str) -> str:
    """Whom the map is better and worse than, a line each."""
    lines = []
    for outcome, words in (("better", "beats"), ("worse", "loses to")):
        found = {c.baseline for c in card.contests if c.measure == measure and c.outcome == outcome}
        names = ", ".join(name for name in LOOKS if name in found)
        lines += [wrapped(f"{words} {names}", 15)] if names else []
    return "\n".join(lines) or "no difference\nshown"


def _cascade(axes: Axes, card: Card, place: int) -> None:
    """Rank correlation with the original maps, step by step, with and without signs."""
    places = np.arange(len(card.stages) + 1)
    values = np.array([1.0, *(stage.similarity.value for stage in card.stages)])
    low = np.array([1.0, *(stage.similarity.low for stage in card.stages)])
    high = np.array([1.0, *(stage.similarity.high for stage in card.stages)])
    absolute = np.array([1.0, *(stage.absolute.value for stage in card.stages)])
    axes.fill_between(places, low, high, color=COLOURS[place], alpha=0.25, linewidth=0)
    axes.plot(places, values, "-", linewidth=1.1, markersize=3.2, label="with sign", **_look(place))
    axes.plot(places, absolute, "--", color=COLOURS[place], linewidth=0.9, label="without sign")
    axes.axhline(SIMILAR, color="black", linestyle=":", linewidth=0.9)
    axes.axhline(0, color="#999999", linewidth=0.4)
    _tapped(axes, card)
    names = ["none", *(middle_cut(stage.name, 12) for stage in card.stages)]
    axes.set_xticks(places, names, rotation=30, ha="right", rotation_mode="anchor", fontsize=6)
    axes.set_ylim(-0.6, 1.05)
    axes.set_ylabel("rank correlation with\nthe original map", fontsize=6, labelpad=1)
    axes.set_xlabel("weights drawn anew from the classifier down to", fontsize=6, labelpad=1)
    axes.legend(fontsize=5.5, frameon=False, loc="upper right", handlelength=2.4, borderaxespad=0.1)
    axes.spines[["top", "right"]].set_visible(False)


def _tapped(axes: Axes, card: Card) -> None:
    """Marks where the tapped layer is reached."""
    step = next((place for place, stage in enumerate(card.stages, 1) if stage.reached), None)
    if step is not None:
        axes.axvline(step, color="#bbbbbb", linewidth=0.6)
        axes.text(step + 0.06, -0.57, "tapped layer", fontsize=5.5, color="#555555", va="bottom")
