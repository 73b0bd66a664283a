"""Figures of agreement between two networks' maps: beside its nulls on clean images, and as images get worse."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from data.degradations import DEGRADATIONS, SCALES
from xai.compare.agreement_found import Rows, one_training
from xai.compare.phrases import FEWEST, listed
from xai.compare.resampling import Estimate, estimates, mean
from xai.compare.sections import Measured
from xai.compare.study import Facts
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, middle_cut, wrapped
from xai.figures import drawing

A_COLOUR, B_COLOUR, PAIR_COLOUR, NULL_COLOUR = CLEAN_COLOUR, DEGRADED_COLOUR, "#222222", "#8a8a8a"
_LEFT, _RIGHT, _TOP = 2.35, 0.12, 0.1
_ROW = 0.24
_COLUMNS, _GAP = 5, 0.1
_NAME = 26
_MOST_PAIRS = 6
"""Pairs of seeds of one training that have a line each; more have one together."""


@dataclass(frozen=True)
class _Line:
    """One null: what it is called, values `(n,)` of single pairs of maps, mean with interval, and how it looks."""

    name: str
    values: np.ndarray
    estimate: Estimate
    colour: str
    mark: str


def figures(facts: Facts, rows: Measured) -> dict[str, Figure]:
    """The nulls on clean images, and agreement against severity where the images were degraded."""
    read = Rows(facts, rows)
    found = {"nulls": nulls_figure(read)}
    if facts.study.degradations:
        found["severity"] = severity_figure(read)
    return found


def nulls_figure(rows: Rows) -> Figure:
    """How the maps of A and B agree, image by image, beside two seeds, shuffled images and the centre."""
    lines = _lines(rows)
    caption = wrapped(_caption(rows), 165)
    height = _TOP + _ROW * len(lines)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], height + 0.52 + 0.1 * caption.count("\n"))
        axes = sheet.axes(_LEFT, _TOP, WIDTHS["two-column"] - _LEFT - _RIGHT - 0.95, _ROW * len(lines))
        for place, line in enumerate(lines):
            _violin(axes, place, line)
        axes.set_yticks(range(len(lines)), [line.name for line in lines])
        axes.set_ylim(len(lines) - 0.5, -0.5)
        axes.set_xlim(-1.02, 1.02)
        axes.axvline(0, color="#bbbbbb", linewidth=0.5, zorder=0)
        axes.set_xlabel("rank correlation of two maps (Spearman, 1: the same order of cells)", fontsize=6.5)
        _plain(axes)
        sheet.text(0.08, height + 0.36, caption, fontsize=5.5, color="#333333", linespacing=1.15)
        return sheet.figure


def _lines(rows: Rows) -> list[_Line]:
    """A and B on the images that both call the same, then the nulls."""
    pair, names, same = rows.pairs["spearman"][0, 1], rows.facts.names, rows.same
    seed = rows.facts.study.seed
    images, clean = rows.tables["images"], {k: v[:, 0] for k, v in rows.conditions.items()}
    found = [_line("A and B, same image", pair[same], PAIR_COLOUR, "o", seed)]
    found += [
        _line(f"A and B, {words}", images[drawn], NULL_COLOUR, mark, seed, clean[exact])
        for words, drawn, exact, mark in (
            ("other image", "drawn", "shuffled", "v"),
            ("other image of the class", "drawn_class", "shuffled_class", "P"),
        )
    ]
    centred = rows.pairs["centred"][0, 1][same]
    found.append(_line("A and B, without the mean maps", centred, PAIR_COLOUR, "D", seed))
    if len(rows.training) > 2 and rows.common.sum() >= FEWEST:
        found += _seed_lines(rows)
    table = rows.tables["single"]
    for place, (name, colour) in enumerate(zip(names, (A_COLOUR, B_COLOUR), strict=True)):
        values = table["spearman"][table["network"] == place]
        found.append(_line(f"{middle_cut(name, _NAME)} and the centre", values, colour, "s^"[place], seed))
    return found


def _seed_lines(rows: Rows) -> list[_Line]:
    """All on the images that every network calls the same: A and B, and every two seeds of one training."""
    spearman, seed = rows.pairs["spearman"][..., rows.common], rows.facts.study.seed
    found = [_line("A and B, images all call the same", spearman[0, 1], PAIR_COLOUR, "o", seed)]
    looks = zip(rows.facts.names, (A_COLOUR, B_COLOUR), "s^", strict=True)
    for place, (name, colour, mark) in enumerate(looks):
        if one_training(rows.facts) and place:
            break
        own = np.flatnonzero(rows.training == place)
        words = "two seeds" if one_training(rows.facts) else f"seeds of {middle_cut(name, _NAME)}"
        pairs = [pair for pair in combinations(own.tolist(), 2) if pair != (0, 1)]
        if len(pairs) > _MOST_PAIRS:
            values = np.stack([spearman[pair] for pair in pairs])
            said = f"{words}, {len(pairs)} pairs"
            found.append(_line(said, values.ravel(), colour, mark, seed, values.mean(axis=0)))
        else:
            found += [
                _line(f"{words}, {_seeds(rows, pair)}", spearman[pair], colour, mark, seed) for pair in pairs
            ]
    return found


def _seeds(rows: Rows, pair: tuple[int, int]) -> str:
    """What tells two networks of one training apart: the end of their names."""
    names = rows.tables["networks"]["name"]
    return " and ".join(middle_cut(str(names[k]).rpartition("-")[2], 8) for k in pair)


def _line(
    name: str, values: np.ndarray, colour: str, mark: str, seed: int, exact: np.ndarray | None = None
) -> _Line:
    """Values are single pairs; the mean is that of `exact` where there is a better one."""
    finite = np.asarray(values, np.float64)
    return _Line(
        name, finite[np.isfinite(finite)], mean(finite if exact is None else exact, seed), colour, mark
    )


def _violin(axes: Axes, place: int, line: _Line) -> None:
    """The distribution over images, with its quartiles, and the mean with its interval."""
    if len(line.values) > 1 and np.ptp(line.values) > 0:
        drawn: Any = axes.violinplot(
            line.values, [place], orientation="horizontal", widths=0.85, showextrema=False, points=120
        )
        for body in drawn["bodies"]:
            body.set(facecolor=line.colour, alpha=0.28, edgecolor=line.colour, linewidth=0.4)
        low, high = np.quantile(line.values, (0.25, 0.75))
        axes.hlines(place, low, high, color=line.colour, linewidth=2.6, alpha=0.45)
    found = line.estimate
    if found.n:
        axes.hlines(place, found.low, found.high, color="black", linewidth=1.1)
        style: dict[str, Any] = {"markersize": 3.6, "markeredgecolor": "black", "markeredgewidth": 0.5}
        axes.plot(found.value, place, line.mark, color=line.colour, **style)
    place_beside: dict[str, Any] = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 5.5}
    words = f"{found.value:.2f} (n = {found.n:,})" if found.n else "not defined"
    axes.text(1.02, place, words.replace("-", "−"), **place_beside)


def _plain(axes: Axes) -> None:
    axes.tick_params(labelsize=6)
    axes.grid(axis="x", linewidth=0.25, color="#dddddd")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _caption(rows: Rows) -> str:
    height, width = rows.facts.common_grid
    a, b = rows.facts.names
    return (
        f"A: {a}, B: {b}. Clean images of {rows.facts.study.dataset}, {rows.facts.study.method}, {height} x {width} "
        "cells. Shapes: single pairs of maps, with their quartiles (thick line); marks: mean with 95 % interval over "
        "images (thin line), of shuffled images over all others. A and B: images on which both predict the same class."
    )


def severity_figure(rows: Rows) -> Figure:
    """Agreement of A and B against severity, a panel for each degradation, over that of shuffled images."""
    names = rows.facts.study.degradations
    columns = min(_COLUMNS, len(names))
    lines = -(-len(names) // columns)
    wide = (WIDTHS["two-column"] - 0.45 - 0.08 - (columns - 1) * _GAP) / columns
    wide, high, step = min(wide, 2.2), 1.15, 1.6
    caption = wrapped(_severity_caption(rows), 165)
    below = 0.42 + lines * step
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], below + 0.12 + 0.1 * caption.count("\n"))
        limits = _limits(rows)
        for number, name in enumerate(names):
            line, column = divmod(number, columns)
            axes = sheet.axes(0.45 + column * (wide + _GAP), 0.42 + line * step, wide, high)
            _panel(axes, rows, name)
            axes.set_ylim(limits)
            axes.tick_params(labelleft=column == 0)
            if column == 0:
                axes.set_ylabel("rank correlation (Spearman)", fontsize=6)
        _legend(sheet, rows)
        sheet.text(0.08, below - 0.08, caption, fontsize=5.5, color="#333333", linespacing=1.15)
        return sheet.figure


def _columns_of(rows: Rows, degradation: str) -> list[int]:
    """Numbers of the conditions of a degradation, the clean one first."""
    listed = enumerate(rows.facts.conditions)
    return [0, *(k for k, condition in listed if condition.degradation == degradation)]


def _panel(axes: Axes, rows: Rows, name: str) -> None:
    places = _columns_of(rows, name)
    severities = [rows.facts.conditions[k].severity for k in places]
    for column, colour, mark, style in (
        ("shuffled", NULL_COLOUR, "v", ":"),
        ("shuffled_class", NULL_COLOUR, "P", "--"),
        ("spearman", PAIR_COLOUR, "o", "-"),
    ):
        found = estimates(rows.conditions[column][:, places], rows.facts.study.seed)
        means, low, high = (np.array([getattr(e, end) for e in found]) for end in ("value", "low", "high"))
        axes.fill_between(severities, low, high, color=colour, alpha=0.22, linewidth=0)
        axes.plot(severities, means, style, marker=mark, color=colour, markersize=2.4, linewidth=0.9)
    for value, colour, style in _seed_levels(rows):
        axes.axhline(value, color=colour, linewidth=0.9, linestyle=style)
    axes.set_title(DEGRADATIONS[name].title, fontsize=6.5)
    axes.set_xticks(severities, ["clean", *(f"{severity:g}" for severity in severities[1:])])
    axes.set_xlabel("severity", fontsize=6, labelpad=1)
    _plain(axes)
    axes.grid(axis="y", linewidth=0.25, color="#dddddd")


def _seed_levels(rows: Rows) -> list[tuple[float, str, Any]]:
    """Mean agreement of two seeds of A's and of B's training on clean images, where there are two."""
    if rows.common.sum() < FEWEST:
        return []
    similarity, found = rows.similarity(), []
    for place, (colour, style) in enumerate(((A_COLOUR, (0, (4, 1.5))), (B_COLOUR, (0, (4, 1.5, 1, 1.5))))):
        own = np.flatnonzero(rows.training == place)
        inside = similarity[np.ix_(own, own)]
        if len(own) > 1:
            found.append((float(np.nanmean(inside)), colour, style))
    return found


def _limits(rows: Rows) -> tuple[float, float]:
    """One scale for all panels, with room for every line."""
    columns = ("spearman", "shuffled", "shuffled_class")
    ends = [e for name in columns for each in estimates(rows.conditions[name]) for e in (each.low, each.high)]
    ends += [value for value, _, _ in _seed_levels(rows)]
    finite = [0.0, *(end for end in ends if np.isfinite(end))]
    return min(finite) - 0.05, max(finite) + 0.05


def _legend(sheet: Sheet, rows: Rows) -> None:
    handles: list[Line2D | Patch] = [
        Line2D(
            [], [], color=PAIR_COLOUR, marker="o", markersize=3, linewidth=0.9, label="A and B, same image"
        ),
        Line2D(
            [], [], color=NULL_COLOUR, marker="v", markersize=3, linewidth=0.9, ls=":", label="other image"
        ),
        Line2D(
            [],
            [],
            color=NULL_COLOUR,
            marker="P",
            markersize=3,
            linewidth=0.9,
            ls="--",
            label="other image of the class",
        ),
    ]
    for _, colour, style in _seed_levels(rows):
        letter = "A" if colour == A_COLOUR else "B"
        words = "two seeds, clean" if one_training(rows.facts) else f"two seeds of {letter}, clean"
        handles.append(Line2D([], [], color=colour, linewidth=0.9, linestyle=style, label=words))
    look: dict[str, Any] = {"loc": "upper center", "ncols": len(handles), "frameon": False, "fontsize": 6}
    sheet.figure.legend(handles=handles, handlelength=3, columnspacing=1.4, **look)


def _severity_caption(rows: Rows) -> str:
    a, b = rows.facts.names
    count = int(rows.same.sum())
    scale = SCALES[rows.facts.study.scale]
    idle = [each.words for each, same in zip(rows.facts.conditions[1:], rows.idle, strict=True) if same]
    still = f" Every image stays as it is under {listed(idle)}." if idle else ""
    return (
        f"A: {a}, B: {b}. Means with 95 % intervals over the {count:,} images of {rows.facts.study.dataset} on which "
        f"both predict the same class when clean; maps are for that class. Severities: {scale}.{still}"
    )
