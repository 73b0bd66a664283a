"""Figures about one channel: the images that excite it most, the classes it speaks for, its response to degradation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from data.degradations import DEGRADATIONS, SCALES, resolve_scale, severity_levels
from xai.channel_profile import Classes, SeverityPoint, TopImage
from xai.figure_networks import SEED_COLOURS
from xai.figure_parts import (
    CLEAN_COLOUR,
    DEFAULT_STYLE,
    DEGRADED_COLOUR,
    WIDTHS,
    Sheet,
    Style,
    short,
    show_image,
    wrapped,
)
from xai.figures import drawing
from xai.receptive_field import Box

FRAME = "#ffd400"
DIMMED = 0.6
"""How bright the rest of a picture is beside what the channel's strongest cell looks at."""
_SMALL = 0.15
"""Frames of less than this share of the picture's side hold no cross, which would hide what is in them."""
_MARKS = "os^Dv<>Ph*X"
_DASHES = ("-", "--", ":", "-.")
_LINE = 0.11
_SIDE = {"two-column": 6, "one-column": 3}


def top_images_figure(
    images: Sequence[TopImage],
    pictures: Tensor,
    boxes: Sequence[Box],
    classes: Sequence[str],
    *,
    grid: tuple[int, int],
    title: str = "",
    notes: Sequence[str] = (),
    style: Style = DEFAULT_STYLE,
) -> Figure:
    """Pictures `(n, 3, H, W)` in [0, 1] with what excites the channel framed and the rest dimmed; the highest first.

    A small cross marks the middle of the strongest cell of the layer's `grid`, unless the frame is small. Below each
    stand the channel's maximum and the right class. Raises `ValueError` when there is nothing to draw.
    """
    if not len(images):
        raise ValueError("no images were given; at least one is needed.")
    width, across = WIDTHS[style.width], _SIDE[style.width]
    room = (width - 0.1) / across
    crossed = any(map(_has_cross, boxes, pictures))
    told = [*notes, "The cross is the middle of the strongest cell."] if crossed else notes
    below = wrapped(" ".join(told), 150 if across == 6 else 70)
    lines, down = 1 + below.count("\n"), math.ceil(len(images) / across)
    top = 0.25 if title else 0.06
    with drawing():
        sheet = Sheet(width, top + down * (room + 0.22) + (_LINE * lines + 0.08 if below else 0.02))
        sheet.text(0.1, 0.06, short(title, 130 if across == 6 else 60), fontsize=7)
        for number, (image, box) in enumerate(zip(images, boxes, strict=True)):
            place = (0.1 + number % across * room, top + number // across * (room + 0.22))
            _thumbnail(sheet, place, room - 0.1, pictures[number : number + 1], box, _middle(image, grid))
            words = f"{_number(image.value)}\n{short(classes[image.label], 20)}"
            sheet.text(place[0], place[1] + room - 0.08, words, fontsize=5.5, linespacing=1.1)
        sheet.text(0.1, top + down * (room + 0.22) + 0.02, below, fontsize=5.5)
        return sheet.figure


def _has_cross(box: Box, picture: Tensor) -> bool:
    """Whether the frame in a picture `(..., H, W)` has room for the cross."""
    return min(box.size) > _SMALL * min(picture.shape[-2:])


def _middle(image: TopImage, grid: tuple[int, int]) -> tuple[float, float]:
    """Where the cell's middle lies, as shares of the picture's height and width."""
    return (image.cell[0] + 0.5) / grid[0], (image.cell[1] + 0.5) / grid[1]


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "−")


def _thumbnail(
    sheet: Sheet,
    place: tuple[float, float],
    side: float,
    picture: Tensor,
    box: Box,
    middle: tuple[float, float],
) -> None:
    """One picture, as large as fits into a square; outside the box it is dimmed."""
    height, width = picture.shape[-2:]
    scale = side / max(height, width)
    left, top = place[0] + (side - width * scale) / 2, place[1] + (side - height * scale) / 2
    shown = picture * DIMMED
    shown[..., box.top : box.bottom, box.left : box.right] = box.crop(picture)
    axes = sheet.axes(left, top, width * scale, height * scale)
    show_image(axes, shown)
    if _has_cross(box, picture):
        for colour, size, edge in (("white", 5, 1.6), ("black", 4, 0.6)):
            style: dict[str, Any] = {"color": colour, "markersize": size, "markeredgewidth": edge}
            axes.plot(width * middle[1] - 0.5, height * middle[0] - 0.5, "+", **style)
    if box.size != (height, width):
        corner = (box.left - 0.5, box.top - 0.5)
        for colour, line in (("black", 2.0), (FRAME, 1.0)):  # seen on dark and on bright pictures
            frame = Rectangle(corner, box.size[1], box.size[0], fill=False, edgecolor=colour, linewidth=line)
            axes.add_patch(frame).set_clip_on(False)


def _axis(classes: Classes) -> str:
    if classes.kind == "weight":
        return "weight of the channel's mean in the logit"
    if classes.kind == "class":
        return "share of the objective"
    return (
        f"gradient × activation, in units of the logit\n(mean of {classes.n:,} images with its 95 % interval)"
    )


def classes_figure(
    classes: Classes, *, count: int = 8, title: str = "", style: Style = DEFAULT_STYLE
) -> Figure:
    """Bars of the classes that the channel speaks for most and least, `count` in all, with their intervals."""
    chosen, gap = _ends(classes.order, count)
    height = 0.15 * (len(chosen) + (1 if gap else 0)) + 0.05
    with drawing():
        sheet = Sheet(WIDTHS["one-column"], height + 0.72)
        axes = sheet.axes(1.25, 0.25, WIDTHS["one-column"] - 1.35, height)
        places = [place + (1 if gap and place >= gap else 0) for place in range(len(chosen))]
        _bars(axes, classes, chosen, places)
        axes.set_title(short(title, 60), loc="right")
        axes.axvline(0, color="#333333", linewidth=0.5)
        axes.set_xlabel(_axis(classes), fontsize=6.5)
        axes.set_ylim(max(places) + 0.6, -0.6)
        if gap:
            axes.text(-0.03, gap, "⋮", transform=axes.get_yaxis_transform(), ha="right", va="center")
        return sheet.figure


def _ends(order: Sequence[int], count: int) -> tuple[list[int], int]:
    """The first and last of an order, and after how many of them others are left out (0: nowhere)."""
    if len(order) <= count:
        return list(order), 0
    first = count - count // 2
    return [*order[:first], *order[len(order) - count // 2 :]], first


def _bars(axes: Axes, classes: Classes, chosen: Sequence[int], places: Sequence[int]) -> None:
    values = np.nan_to_num([classes.values[number] for number in chosen])
    colours = [CLEAN_COLOUR if value >= 0 else DEGRADED_COLOUR for value in values]
    axes.barh(places, values, 0.7, color=colours)
    if classes.low is not None and classes.high is not None:
        for place, number in zip(places, chosen, strict=True):
            ends = [classes.low[number], classes.high[number]]
            axes.plot(ends, [place, place], "-", color="#333333", linewidth=0.8)
    axes.set_yticks(places, [short(classes.names[number], 22) for number in chosen])
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def severity_figure(
    points: Sequence[SeverityPoint],
    *,
    relative: bool = False,
    title: str = "",
    style: Style = DEFAULT_STYLE,
) -> Figure:
    """A channel's response against severity, a line for each degradation, with its 95 % interval over the images.

    `relative` shows it as a share of the response to the clean images. Raises `ValueError` when there is nothing to
    draw, or points of several channels.
    """
    lines = _lines(points)
    width, columns = WIDTHS[style.width], 4 if style.width == "two-column" else 2
    rows = math.ceil(len(lines) / columns)
    top = 0.12 + 0.13 * rows + (0.15 if title else 0)
    with drawing():
        sheet = Sheet(width, top + 2.05)
        sheet.text(0.65, 0.06, short(title, 110 if columns == 4 else 55), fontsize=7)
        axes = sheet.axes(0.65, top, width - 0.75, 1.6)
        for index, line in enumerate(lines.values()):
            _curve(axes, line, index, len(lines), relative=relative)
        _finish(axes, points, relative=relative)
        handles, labels = axes.get_legend_handles_labels()
        place: dict[str, Any] = {
            "loc": "lower left",
            "bbox_to_anchor": (0.65 / width, 1 - (top - 0.02) / (top + 2.05)),
        }
        sheet.figure.legend(handles, labels, ncols=columns, frameon=False, fontsize=6, **place)
        return sheet.figure


def _lines(points: Sequence[SeverityPoint]) -> dict[str, list[SeverityPoint]]:
    """The points of each degradation, by severity."""
    channels = {(point.layer, point.channel) for point in points}
    if len(channels) != 1:
        raise ValueError(f"points of {len(channels)} channels were given; needed are those of one.")
    lines: dict[str, list[SeverityPoint]] = {}
    for point in sorted(points, key=lambda point: point.severity):
        lines.setdefault(point.degradation, []).append(point)
    return lines


def _curve(axes: Axes, line: Sequence[SeverityPoint], index: int, count: int, *, relative: bool) -> None:
    """One degradation: told apart by colour, mark and dash; set a little aside so that intervals do not hide."""
    aside = (index - (count - 1) / 2) * min(0.03, 0.3 / count)
    places = [point.severity + aside for point in line]
    values = [point.relative if relative else point.response for point in line]
    colour, dash = SEED_COLOURS[index % len(SEED_COLOURS)], _DASHES[index // len(SEED_COLOURS) % len(_DASHES)]
    name = line[0].degradation
    label = DEGRADATIONS[name].title if name in DEGRADATIONS else name
    style: dict[str, Any] = {"marker": _MARKS[index % len(_MARKS)], "markersize": 3, "linewidth": 1}
    axes.plot(places, values, dash, color=colour, label=label, **style)
    for place, point in zip(places, line, strict=True):
        ends = (point.relative_low, point.relative_high) if relative else (point.low, point.high)
        axes.plot([place, place], ends, "-", color=colour, linewidth=0.8)


def _finish(axes: Axes, points: Sequence[SeverityPoint], *, relative: bool) -> None:
    first, counts = points[0], sorted({point.n for point in points})
    images = f"{counts[0]:,}" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}"
    axes.set_xlabel(
        f"severity ({SCALES[resolve_scale(first.scale)]}); {images} images, 95 % intervals", fontsize=6.5
    )
    words = (
        "mean maximum response\n(share of clean)"
        if relative
        else "mean maximum response\n(units of the layer)"
    )
    axes.set_ylabel(words, fontsize=6.5)
    axes.set_xticks(*_ticks(points))
    axes.grid(axis="y", linewidth=0.3, color="#cccccc")
    axes.spines[["top", "right"]].set_visible(False)
    if relative:
        axes.axhline(1, color="#555555", linewidth=0.6, linestyle="--")


def _ticks(points: Sequence[SeverityPoint]) -> tuple[list[float], list[str]]:
    """Whole severities with the scale's own names, others as numbers."""
    found = sorted({point.severity for point in points})
    first = points[0]
    known = severity_levels(first.degradation, first.scale) if first.degradation in DEGRADATIONS else ()
    names = ["clean" if not each else f"{each:g}" for each in found]
    if known and all(each == int(each) for each in found):
        names = [known[int(each) - 1] if each else "clean" for each in found]
    return found, names
