"""Figures of examples: where they lie among all images, and their pictures with the maps of both networks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor
from torch.nn.functional import interpolate

from xai.attribution import METHODS
from xai.compare.example_choice import STRATEGIES, Chosen, Proposal
from xai.compare.example_pool import QUANTITIES, Pool
from xai.compare.study import Facts
from xai.figure_parts import (
    CLEAN_COLOUR,
    DEFAULT_STYLE,
    DEGRADED_COLOUR,
    WIDTHS,
    Sheet,
    Style,
    bare,
    coloured,
    middle_cut,
    pixels,
    short,
    show_image,
    wrapped,
)
from xai.figures import drawing
from xai.results import Condition

WIDTH = WIDTHS["two-column"]
_PANELS = (
    ("confidence of the clean answer", ("confidence_a", "confidence_b")),
    ("drift of the map (1 − rank correlation)", ("drift_a", "drift_b")),
    ("agreement of A's and B's clean maps", ("agreement",)),
)
_LOOKS: dict[str, dict[str, Any]] = {
    "a": {"color": CLEAN_COLOUR, "linestyle": "-", "marker": "o"},
    "b": {"color": DEGRADED_COLOUR, "linestyle": "--", "marker": "s"},
    "agreement": {"color": "#333333", "linestyle": ":", "marker": "^"},
}
"""Colour, dash and mark of what is A's, what is B's, and what is of both."""
_BINS = 30


def distribution_figure(facts: Facts, pool: Pool, found: Mapping[str, Proposal]) -> Figure:
    """How confidence, drift and agreement are distributed, and below where the examples of each strategy lie."""
    rows, left, gap = len(found), 0.85, 0.16
    room, plot, strip, top = (WIDTH - left - 0.1) / 3, 1.25, 0.17 * len(found), 0.3
    where = (
        f" Drift is under {pool.condition.words}." if pool.condition else " Nothing is degraded: no drift."
    )
    below = wrapped(
        f"Above: images of each value, n = {len(pool):,}. Below: the examples of each way to choose, "
        f"{max(each.asked for each in found.values())} asked for, seed {facts.study.seed}.{where} "
        f"Agreement is where A and B give the same answer to the clean image, n = {int(pool.one_answer.sum()):,}.",
        150,
    )
    with drawing():
        sheet = Sheet(WIDTH, top + plot + strip + 0.62 + 0.11 * below.count("\n"))
        _legend(sheet, facts)
        for place, (words, names) in enumerate(_PANELS):
            x = left + place * room
            high = sheet.axes(x, top, room - gap, plot)
            low = sheet.axes(x, top + plot + 0.05, room - gap, strip)
            edges = _edges([pool.values[name] for name in names])
            for name in names:
                _histogram(high, pool.values[name], edges, _look(name))
            _marks(low, list(found.values()), names)
            _dress(high, low, edges, words, first=place == 0)
        titles = [STRATEGIES[name].title for name in found]
        sheet.figure.axes[1].set_yticks(range(rows), titles, fontsize=6)
        sheet.text(0.1, top + plot + strip + 0.4, below, fontsize=5.5)
        return sheet.figure


def _look(name: str) -> dict[str, Any]:
    return _LOOKS[name.rpartition("_")[2]]


def _legend(sheet: Sheet, facts: Facts) -> None:
    titles = (f"A: {facts.names[0]}", f"B: {facts.names[1]}", "A and B")
    handles = [
        Line2D([], [], label=short(title, 40), markersize=3, linewidth=1.1, **look)
        for title, look in zip(titles, _LOOKS.values(), strict=True)
    ]
    place: dict[str, Any] = {"loc": "upper center", "ncols": 3, "frameon": False, "fontsize": 6.5}
    sheet.figure.legend(
        handles=handles, bbox_to_anchor=(0.5, 1 - 0.02 / sheet.height), borderaxespad=0, **place
    )


def _edges(values: Sequence[np.ndarray]) -> np.ndarray:
    known = np.concatenate([each[~np.isnan(each)] for each in values])
    low, high = (known.min(), known.max()) if len(known) else (0, 1)
    return np.linspace(low, high if high > low else low + 1, _BINS + 1)


def _histogram(axes: Axes, values: np.ndarray, edges: np.ndarray, look: dict[str, Any]) -> None:
    counts, _ = np.histogram(values[~np.isnan(values)], edges)
    axes.stairs(counts, edges, color=look["color"], linestyle=look["linestyle"], linewidth=1.1)


def _marks(axes: Axes, found: Sequence[Proposal], names: Sequence[str]) -> None:
    """Where the examples lie, a row for each strategy, B's a little below A's."""
    for row, proposal in enumerate(found):
        for k, name in enumerate(names):
            values = np.array([each.percentiles[name].value for each in proposal.chosen])
            look, place = _look(name), row + 0.3 * (k - (len(names) - 1) / 2)
            axes.plot(
                values,
                np.full(len(values), place),
                linestyle="",
                marker=look["marker"],
                markersize=2.4,
                markerfacecolor="none",
                markeredgecolor=look["color"],
                markeredgewidth=0.6,
            )
    axes.set_ylim(len(found) - 0.5, -0.5)
    for row in range(1, len(found)):
        axes.axhline(row - 0.5, color="#dddddd", linewidth=0.4)


def _dress(high: Axes, low: Axes, edges: np.ndarray, words: str, *, first: bool) -> None:
    margin = 0.02 * (edges[-1] - edges[0])
    for axes in (high, low):
        axes.set_xlim(edges[0] - margin, edges[-1] + margin)
        axes.grid(axis="x", linewidth=0.3, color="#dddddd")
        axes.spines[["top", "right"]].set_visible(False)
    high.set_ylim(bottom=0)
    high.tick_params(labelbottom=False)
    low.tick_params(labelleft=first, left=False)
    low.set_xlabel(words, fontsize=6.5, labelpad=2)
    if first:
        high.set_ylabel("images", fontsize=6.5)


@dataclass(frozen=True, eq=False)
class Pictures:
    """What is shown of n examples under each of C conditions.

    `images` are `(n, 3, H, W)` in [0, 1] by condition; `maps` raw `(n, h, w)` and `answers` class names, both by
    network and condition. `method` and `names` are those of the maps and of A and B.
    """

    conditions: Sequence[Condition]
    images: Sequence[Tensor]
    maps: Sequence[Sequence[Tensor]]
    answers: Sequence[Sequence[Sequence[str]]]
    method: str
    names: tuple[str, str]


_SIDE, _GAP, _HEAD, _LEFT = 0.78, 0.05, 0.55, 0.1
"""Inches: a picture, between two of them, above all, and left of them."""
_WRONG = "✗"


def examples_figure(shown: Pictures, found: Proposal, style: Style = DEFAULT_STYLE) -> Figure:
    """One row per example: the picture and both networks' maps over it, under every condition, and its percentiles.

    Maps are shown where they are positive, each network's in units of its own largest value on that image, clean or
    degraded. Raises `ValueError` unless there are as many pictures as examples.
    """
    count, conditions = len(found.chosen), len(shown.conditions)
    if not count or any(len(images) != count for images in shown.images):
        raise ValueError(
            f"{count} examples with {[len(images) for images in shown.images]} pictures were given; needed is at "
            "least one, and one picture of each."
        )
    step = _SIDE + 0.14
    below = wrapped(_notes(shown, found), 150)
    with drawing():
        sheet = Sheet(WIDTH, _HEAD + count * step + 0.2 + 0.1 * (below.count("\n") + 1))
        for place, condition in enumerate(shown.conditions):
            _heads(sheet, place, condition, shown)
        words = _place(conditions, 0) + 0.04
        _bar(sheet, words, style)
        for row in range(count):
            for place in range(conditions):
                _one(sheet, row, place, shown, style, _HEAD + row * step, found.chosen[row].label)
            sheet.text(words, _HEAD + row * step, _caption(found.chosen[row]), fontsize=5.2, linespacing=1.15)
        sheet.text(_LEFT, _HEAD + count * step + 0.08, below, fontsize=5.5)
        return sheet.figure


def _place(condition: int, column: int) -> float:
    """Left edge of a picture in inches."""
    return _LEFT + condition * (3 * (_SIDE + _GAP) + 0.08) + column * (_SIDE + _GAP)


def _heads(sheet: Sheet, place: int, condition: Condition, shown: Pictures) -> None:
    sheet.text(_place(place, 0), 0.08, short(condition.title, 44), fontsize=7, weight="bold")
    for column, words in enumerate(("image", *(f"{k}: {n}" for k, n in zip("AB", shown.names, strict=True)))):
        sheet.text(_place(place, column), 0.24, wrapped(middle_cut(words, 34), 17), fontsize=5.5)


def _one(sheet: Sheet, row: int, place: int, shown: Pictures, style: Style, y: float, label: str) -> None:
    """An image under one condition, and the maps over it with the answers below."""
    image = shown.images[place][row : row + 1]
    show_image(sheet.axes(_place(place, 0), y, _SIDE, _SIDE), image)
    for side in range(2):
        x = _place(place, side + 1)
        peak = max(float(maps[row].max()) for maps in shown.maps[side])
        values = shown.maps[side][place][row]
        axes = bare(sheet.axes(x, y, _SIDE, _SIDE))
        if peak <= 0 or float(values.max()) <= 0:
            show_image(axes, image)
            axes.text(0.5, 0.5, "no positive\nevidence", fontsize=5.5, transform=axes.transAxes, **_BOX)
        else:
            axes.imshow(_overlay(image, values / peak, style), interpolation="nearest")
        answer = shown.answers[side][place][row]
        words = short(answer, 19) if answer == label else f"{_WRONG} {short(answer, 17)}"
        sheet.text(x, y + _SIDE + 0.01, words, fontsize=5.2)


_BOX: dict[str, Any] = {
    "ha": "center",
    "va": "center",
    "bbox": {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5},
}


def _overlay(image: Tensor, values: Tensor, style: Style) -> np.ndarray:
    """A map `(h, w)` in units of its largest value over the picture, `(H, W, 3)` in [0, 1]."""
    fine = interpolate(values[None, None], size=image.shape[-2:], mode="bilinear", align_corners=False)[0, 0]
    colours = coloured(fine, 1.0, style, signed=False)
    return np.clip((1 - style.opacity) * pixels(image) + style.opacity * colours, 0, 1)


def _bar(sheet: Sheet, x: float, style: Style) -> None:
    """What the colours of the overlays mean."""
    drawn = ScalarMappable(Normalize(0, 1), style.colours)
    bar = sheet.figure.colorbar(drawn, cax=sheet.axes(x, 0.1, 1.3, 0.07), orientation="horizontal")
    bar.set_label("positive evidence, in units of the\nnetwork's largest on that image", fontsize=5)
    bar.set_ticks([0, 0.5, 1])
    bar.ax.tick_params(labelsize=5, pad=1, length=1.5)


def _caption(example: Chosen) -> str:
    """Which image it is, why it is there, and where it lies within its class."""
    places = {name: _percentile_words(example, name) for name in QUANTITIES}
    lines = [
        wrapped(f"{example.label}: {middle_cut(example.id, 34)}", 40),
        wrapped(example.why, 40),
        f"confidence A {places['confidence_a']}, B {places['confidence_b']}",
        f"drift A {places['drift_a']}, B {places['drift_b']}",
        f"agreement {places['agreement']}; n = {max(p.n for p in example.percentiles.values()):,}",
    ]
    return "\n".join(lines)


def _percentile_words(example: Chosen, name: str) -> str:
    found = example.percentiles[name]
    if np.isnan(found.percentile):
        return "none"
    return f"{found.value:.2f} (p{found.percentile:.0f})".replace("-", "−")


def _notes(shown: Pictures, found: Proposal) -> str:
    seed = "" if found.seed is None else f" by seed {found.seed}"
    drift = f" Drift is under {found.condition.words}." if found.condition else ""
    return (
        f"Examples {found.how}{seed}: {len(found.chosen)} of {found.eligible:,} eligible among {found.pool:,} images. "
        f"Maps are {METHODS[shown.method].title} for the class that each network names on the clean image, raw, their "
        f"positive part; below them each network's answer to what it was shown ({_WRONG}: wrong). In brackets the "
        f"percentile of the value within the image's class of n images.{drift}"
    )
