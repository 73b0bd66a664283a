"""Figure of the cues that two networks follow: shape bias by condition and by class, and what a tag does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from xai.compare import tags_found
from xai.compare.cues_found import CUES, Conflict, by_class, conflict
from xai.compare.resampling import Estimate
from xai.compare.sections import Measured
from xai.compare.study import Facts
from xai.compare.tags_found import CHANCE, Verdict
from xai.figure_parts import CLEAN_COLOUR, DEGRADED_COLOUR, WIDTHS, Sheet, middle_cut
from xai.figures import drawing
from xai.metrics import Share

LOOKS: tuple[dict[str, Any], dict[str, Any]] = (
    {"color": CLEAN_COLOUR, "marker": "o"},
    {"color": DEGRADED_COLOUR, "marker": "s"},
)
"""How A and B are told apart: by colour and by mark."""
_ROW, _TOP, _BETWEEN, _HIGHEST = 0.165, 0.42, 0.62, 7.0
_TAG_ROWS = {
    "right, no tag": "plain",
    "right, right tag": "tagged",
    "right, wrong tag": "planted",
    "follows wrong tag": "followed",
}
_MAP_ROWS = {"tag": "tagged", "no tag": "plain", "test split": "corner"}


def cues_figure(facts: Facts, rows: Measured) -> Figure:
    """Shape bias and answers by neither cue by condition; shape bias by class of each cue; answers and maps by tag."""
    found, tags = conflict(facts, rows), tags_found.tags(facts, rows)
    conditions, classes = len(facts.conditions), len(facts.classes)
    high, low = min(_ROW * max(conditions, classes), _HIGHEST), _ROW * len(_TAG_ROWS)
    with drawing():
        sheet = Sheet(WIDTHS["two-column"], _TOP + high + _BETWEEN + low + 0.35)
        _conditions(sheet, facts, found, high)
        _classes(sheet, facts, found, high)
        _tags(sheet, tags, _TOP + high + _BETWEEN, low)
        _legend(sheet, facts)
        return sheet.figure


Marks = Sequence[tuple[Share | Estimate | None, bool]]
"""What is marked row by row, and whether the mark is filled."""


def _rows(axes: Axes, marks: Sequence[Marks], names: Sequence[str], label: str) -> None:
    """A row per name, with the mark and interval of A above those of B, in percent; nothing where there is none."""
    for place, (own, look) in enumerate(zip(marks, LOOKS, strict=True)):
        for row, (each, filled) in enumerate(own):
            if each is not None:
                _mark(axes, each, row + (0.17 if place else -0.17), look, filled=filled)
    inches = axes.get_window_extent().height / axes.figure.dpi / len(names)
    axes.set_yticks(range(len(names)), names, fontsize=min(6, 62 * inches))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel(label, fontsize=6.5, labelpad=2)
    axes.grid(axis="x", linewidth=0.3, color="#dddddd")
    axes.spines[["top", "right"]].set_visible(False)


def _mark(axes: Axes, found: Share | Estimate, row: float, look: dict[str, Any], *, filled: bool) -> None:
    value = found.share if isinstance(found, Share) else found.value
    axes.hlines(row, 100 * found.low, 100 * found.high, color=look["color"], linewidth=0.9)
    face = look["color"] if filled else "white"
    axes.plot(100 * value, row, **look, markersize=2.8, markerfacecolor=face, markeredgewidth=0.7)


def _half(axes: Axes) -> None:
    axes.set_xlim(-2, 102)
    axes.set_xticks([0, 50, 100])
    axes.axvline(50, color="#888888", linewidth=0.5)


def _conditions(sheet: Sheet, facts: Facts, found: Conflict, height: float) -> None:
    numbers, names = range(len(facts.conditions)), [each.title for each in facts.conditions]
    axes = sheet.axes(1.35, _TOP, 1.5, height)
    marks = [
        [(found.bias(place, number), found.follows(place, number)) for number in numbers]
        for place in range(2)
    ]
    _rows(axes, marks, names, "shape bias (%)")
    _half(axes)
    beside = sheet.axes(3.0, _TOP, 0.72, height)
    marks = [[(found.neither(place, number), True) for number in numbers] for place in range(2)]
    _rows(beside, marks, [""] * len(names), "neither cue (%)")
    beside.set_xlim(-2, 102)
    beside.set_xticks([0, 50, 100])
    beside.axvline(100 * (1 - 2 / len(facts.classes)), color="#888888", linewidth=0.5, linestyle=(0, (2, 2)))


def _classes(sheet: Sheet, facts: Facts, found: Conflict, height: float) -> None:
    for column, cue in enumerate(CUES):
        axes = sheet.axes(4.4 + column * 1.42, _TOP, 0.95 if column else 1.0, height)
        pairs = by_class(found, cue, len(facts.classes))
        names = [name.split("/")[column] for name in facts.classes]
        _rows(axes, [[(pair[place], True) for pair in pairs] for place in range(2)], names, "shape bias (%)")
        _half(axes)
        axes.set_title(f"by {cue} (clean)")


def _tags(sheet: Sheet, found: Sequence[Verdict], top: float, height: float) -> None:
    answers = sheet.axes(1.35, top, 2.35, height)
    marks = [
        [
            (each.tagged.followed() if name == "followed" else each.tagged.accuracy(name), True)
            for name in _TAG_ROWS.values()
        ]
        for each in found
    ]
    _rows(answers, marks, list(_TAG_ROWS), "answers to scenes of the split shortcut (%)")
    answers.set_xlim(-2, 102)
    answers.set_title("does a tag in the corner sway the answers?")
    maps = sheet.axes(4.9, top, 1.85, height)
    energies = [
        [
            (each.tagged.energy(name) if each.tagged.energy(name).n else None, True)
            for name in _MAP_ROWS.values()
        ]
        for each in found
    ]
    _rows(maps, energies, list(_MAP_ROWS), "energy of the heatmap in the tag's place (%)")
    maps.axvline(100 * CHANCE, color="#888888", linewidth=0.5, linestyle=(0, (2, 2)))
    maps.set_xlim(left=0)
    maps.set_title("does it draw the heatmap?")


def _legend(sheet: Sheet, facts: Facts) -> None:
    handles = [Line2D([], [], **look, linewidth=0.9, markersize=3) for look in LOOKS]
    names = [f"{letter}: {middle_cut(name, 36)}" for letter, name in zip("AB", facts.names, strict=True)]
    hollow: dict[str, Any] = {
        "color": "black",
        "linestyle": "",
        "marker": "o",
        "markersize": 3,
        "markerfacecolor": "white",
    }
    handles += [
        Line2D([], [], **hollow),
        Line2D([], [], color="#888888", linewidth=0.6, linestyle=(0, (2, 2))),
    ]
    names += ["hollow: cues followed no more than by chance", "chance"]
    sheet.figure.legend(
        handles, names, loc="upper center", ncols=4, frameon=False, fontsize=6, columnspacing=1.2
    )
