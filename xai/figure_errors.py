"""Figures of errors: accuracy by class with intervals, confusion matrix, and transitions from clean to degraded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xai.error_selection import BOTH
from xai.error_tables import STATES, Confusion, transition_square
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, wrapped
from xai.figures import drawing
from xai.metrics import Share

MAX_CLASSES = 60
"""Classes of a dot plot that can be read; of more, the worst are drawn."""
_LOOKS = {
    "A clean": ("o", CLEAN_COLOUR, CLEAN_COLOUR),
    "A degraded": ("o", CLEAN_COLOUR, "white"),
    "B clean": ("s", DEGRADED_COLOUR, DEGRADED_COLOUR),
    "B degraded": ("s", DEGRADED_COLOUR, "white"),
}
"""Mark, colour and filling: the network is told by mark and colour, clean from degraded by the filling."""
_DARK = 0.6


def class_dots_figure(shares: Mapping[str, Sequence[Share]], notes: str = "") -> Figure:
    """Accuracy of each class with its 95 % Wilson interval, by what the answers are called; the worst class last.

    All lists of `shares` are of the same classes in the same order. Classes are ordered by the last of them.
    """
    last = list(shares.values())[-1]
    order = sorted(range(len(last)), key=lambda k: -last[k].share)[-MAX_CLASSES:]
    height = max(0.6, 0.2 * len(order))
    left_out = len(last) - len(order)
    below = wrapped(f"{notes} {f'{left_out:,} better classes are left out.' if left_out else ''}", 150)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], height + 0.9 + 0.11 * below.count("\n"))
        axes = sheet.axes(1.45, 0.3, WIDTHS["two-column"] - 1.65, height)
        for offset, (title, found) in zip(_offsets(len(shares)), shares.items(), strict=True):
            _dots(axes, title, [found[k] for k in order], offset)
        axes.set_yticks(
            range(len(order)), [f"{_both_ends(last[k].name, 22)} ({last[k].total})" for k in order]
        )
        axes.set_ylim(len(order) - 0.4, -0.6)
        axes.set_xlabel("accuracy (%) with 95 % Wilson interval", fontsize=6.5)
        axes.grid(axis="x", linewidth=0.3, color="#cccccc")
        axes.spines[["top", "right"]].set_visible(False)
        handles, labels = axes.get_legend_handles_labels()
        sheet.figure.legend(handles, labels, loc="upper center", ncols=4, frameon=False, fontsize=6.5)
        sheet.text(0.15, height + 0.7, below, fontsize=5.5)
        return sheet.figure


def _both_ends(words: str, length: int) -> str:
    """At most `length` letters, from both ends: long names of classes often differ in their last letters alone."""
    if len(words) <= length:
        return words
    return f"{words[: length // 2]}…{words[len(words) - (length - length // 2 - 1) :]}"


def _offsets(count: int) -> list[float]:
    """Where the lines of one class lie beside each other."""
    return [0.16 * (place - (count - 1) / 2) for place in range(count)]


def _dots(axes: Axes, title: str, found: Sequence[Share], offset: float) -> None:
    mark, colour, filling = _LOOKS[title]
    places = np.arange(len(found)) + offset
    shares, low, high = (100 * np.array([getattr(s, end) for s in found]) for end in ("share", "low", "high"))
    axes.hlines(places, low, high, color=colour, linewidth=0.9)
    style: dict[str, Any] = {"markersize": 3.2, "markeredgewidth": 0.8}
    axes.plot(shares, places, mark, color=colour, markerfacecolor=filling, label=title, **style)


def confusion_figure(found: Confusion, title: str, *, as_shares: bool) -> Figure:
    """The confusion matrix, coloured by the share of the true class; right answers blue, wrong ones orange.

    Every cell with an answer has its count, or its percent of the true class, where there is room.
    """
    size = len(found.names)
    side = min(5.3, max(1.6, 0.42 * size))
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], side + 1.5)
        axes = sheet.axes(1.45, 1.15, side, side)
        axes.imshow(_colours(found), interpolation="nearest", aspect="equal")
        names = [_both_ends(name, 18) for name in found.names]
        small = 6 if size <= 15 else 4.5
        axes.set_xticks(range(size), names, rotation=90, fontsize=small)
        axes.set_yticks(range(size), names, fontsize=small)
        axes.xaxis.tick_top()
        axes.set_xlabel("answer", fontsize=6.5)
        axes.set_ylabel("true class", fontsize=6.5)
        axes.xaxis.set_label_position("bottom")
        _numbers(axes, found, as_shares=as_shares, fontsize=5.5 if size <= 15 else 3.6)
        sheet.text(0.15, 0.1, title, fontsize=6.5)
        return sheet.figure


def _colours(found: Confusion) -> np.ndarray:
    """RGB `(k, k, 3)` in [0, 1]: from white to blue on the diagonal and to orange off it, by the root of the share."""
    shares = np.sqrt(np.nan_to_num(found.shares))[..., None]
    ends = np.where(np.eye(len(found.names), dtype=bool)[..., None], _rgb(CLEAN_COLOUR), _rgb("#c2410c"))
    return 1 - shares * (1 - ends)


def _rgb(colour: str) -> np.ndarray:
    return np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)])


def _numbers(axes: Axes, found: Confusion, *, as_shares: bool, fontsize: float) -> None:
    for row, column in np.argwhere(found.counts):
        share = found.shares[row, column]
        words = f"{100 * share:.0f}" if as_shares else f"{found.counts[row, column]}"
        colour = "white" if np.sqrt(share) > _DARK else "black"
        axes.text(column, row, words, ha="center", va="center", fontsize=fontsize, color=colour)


def transitions_figure(table: np.ndarray, notes: str = "") -> Figure:
    """The transition table `(2, 2, 2, 2)` as a square: clean by degraded, counts and percent of all images."""
    square = transition_square(table)
    words = [BOTH[state] for state in STATES]
    below = wrapped(notes, 95)
    with drawing():
        sheet = Sheet(4.6, 2.75 + 0.11 * below.count("\n"))
        axes = sheet.axes(0.95, 0.45, 3.5, 1.9)
        shares = square / max(int(square.sum()), 1)
        axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
        axes.set_xticks(range(4), words, fontsize=6.5)
        axes.set_yticks(range(4), words, fontsize=6.5)
        axes.xaxis.tick_top()
        axes.set_title("degraded", fontsize=7)
        axes.set_ylabel("clean", fontsize=7)
        for (row, column), count in np.ndenumerate(square):
            share = shares[row, column]
            colour = "white" if np.sqrt(share) > _DARK else "black"
            text = f"{count:,}\n{100 * share:.1f} %"
            axes.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
        sheet.text(0.15, 2.5, below, fontsize=5.5)
        return sheet.figure
