"""Figures of feature visualisation: pictures with the steps they grew in, inversions, and pages of a contact sheet."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure
from torch import Tensor

from xai.figure_parts import WIDTHS, Sheet, bare, pixels, short, wrapped
from xai.figures import drawing

SHOWN_STEPS = 6
"""Steps of a strip that are drawn; of more, these are spread evenly and the last is among them."""
MOST_WITH_STEPS, MOST_PANELS = 8, 60
"""Panels of a figure that have room for their steps, and panels that a figure can have at all."""
_INTERPOLATION = {False: "nearest", True: "bicubic"}
_WORDS = (
    (re.compile(r"channel:(?P<layer>[^:]+):(?P<channel>\d+)"), "channel {channel} of {layer}"),
    (
        re.compile(r"unit:(?P<layer>[^:]+):(?P<channel>\d+):(?P<row>\d+),(?P<column>\d+)"),
        "unit {channel} of {layer} at row {row}, column {column}",
    ),
    (re.compile(r"unit:(?P<layer>[^:]+):(?P<channel>\d+)"), "unit {channel} of {layer}, in its middle"),
    (re.compile(r"class:(?P<name>.+)"), "class {name}"),
    (re.compile(r"mix:(?P<layer>[^:]+):(?P<sum>.+)"), "channels {sum} of {layer}"),
    (re.compile(r"direction:(?P<layer>[^:]+):.+"), "a direction in {layer}"),
    (re.compile(r"caricature:(?P<layer>[^:]+)(:[^:]+)?"), "caricature at {layer}"),
)


def objective_words(objective: str) -> str:
    """An objective in plain words, such as "channel 17 of layer3"; the text itself where it is a formula."""
    for pattern, words in _WORDS:
        if found := pattern.fullmatch(objective):
            return words.format(**found.groupdict())
    return objective.replace(":", " ")


@dataclass(frozen=True)
class PanelStyle:
    """How a figure of visualisations looks: its width, whether pixels are smoothed, whether the steps are shown."""

    width: str = "two-column"
    smooth: bool = False
    steps: bool = True

    def __post_init__(self) -> None:
        if self.width not in WIDTHS:
            raise ValueError(f"{self.width!r} was given; allowed are {', '.join(WIDTHS)}.")
        if not isinstance(self.smooth, bool) or not isinstance(self.steps, bool):
            raise ValueError(
                f"smooth is {self.smooth!r} and steps is {self.steps!r}; allowed are true and false."
            )


DEFAULT_PANELS = PanelStyle()


@dataclass(frozen=True)
class Panel:
    """One visualisation to draw: `image` `(3, S, S)` and `strip` `(T, 3, S, S)` in [0, 1], and the words above it."""

    title: str
    words: str
    image: Tensor
    strip: Tensor
    steps: tuple[int, ...] = ()


def value_words(value: float) -> str:
    """An activation as it is written: three significant digits."""
    return f"{value:.3g}".replace("-", "−")


def pixel_words(size: int, *, smooth: bool) -> str:
    """How the pixels are drawn."""
    how = "drawn smooth (bicubic)" if smooth else "drawn with hard pixels (nearest neighbour)"
    return f"{size}×{size} px, {how}."


def _spread(count: int) -> list[int]:
    """Places of the steps that are drawn."""
    return sorted({round(float(place)) for place in np.linspace(0, count - 1, min(count, SHOWN_STEPS))})


def _picture(axes: Axes, image: Tensor, *, smooth: bool) -> Axes:
    """Draw `(3, S, S)` in [0, 1]."""
    bare(axes).imshow(pixels(image[None].float().clamp(0, 1)), interpolation=_INTERPOLATION[smooth])
    return axes


class _Panels:
    """Where the panels of a figure stand, in inches: two beside each other where two columns are wide."""

    block, gap, picture, thumb = 3.3, 0.3, 1.5, 0.545

    def __init__(self, panels: Sequence[Panel], style: PanelStyle, notes: str) -> None:
        self.panels, self.style = panels, style
        self.with_steps = style.steps and len(panels) <= MOST_WITH_STEPS and any(p.steps for p in panels)
        self.width = WIDTHS[style.width]
        if not self.with_steps:
            self.gap, few = 0.12, min(len(panels), 3)
            room = (self.width - 0.08 - (few - 1) * self.gap) / few
            self.block = self.picture = 1.05 if len(panels) > 3 else min(2.6, room)
        self.across = max(1, min(len(panels), int((self.width + self.gap) / (self.block + self.gap))))
        lines = max(self._words(panel).count("\n") for panel in panels) + 1
        self.head = 0.17 + 0.085 * lines
        self.row = self.head + self.picture + 0.14
        self.notes = wrapped(notes, int(21.5 * self.width))
        rows = -(-len(panels) // self.across)
        self.top = 0.05 + rows * self.row
        self.sheet = Sheet(self.width, self.top + 0.105 * (self.notes.count("\n") + 1) + 0.08)

    def draw(self) -> Figure:
        """Draw all panels and the notes below them."""
        for place, panel in enumerate(self.panels):
            x = 0.04 + (place % self.across) * (self.block + self.gap)
            self._panel(panel, x, 0.05 + (place // self.across) * self.row)
        self.sheet.text(0.05, self.top, self.notes, fontsize=5.5, color="#333333")
        return self.sheet.figure

    def _words(self, panel: Panel) -> str:
        return _two_lines(panel.words, int(self.block * 23))

    def _panel(self, panel: Panel, x: float, y: float) -> None:
        letters = int(self.block * (19 if self.block > 2 else 22))
        self.sheet.text(x, y, short(panel.title, letters), fontsize=6.5 if self.block > 2 else 5.5)
        self.sheet.text(x, y + 0.13, self._words(panel), fontsize=5, color="#333333")
        y += self.head
        _picture(self.sheet.axes(x, y, self.picture, self.picture), panel.image, smooth=self.style.smooth)
        if self.with_steps:
            self._steps(panel, x + self.picture + 0.08, y)

    def _steps(self, panel: Panel, x: float, y: float) -> None:
        """The intermediate steps in rows of three, their numbers beneath."""
        room = self.thumb + 0.035
        for place, index in enumerate(_spread(len(panel.steps))):
            left, above = x + (place % 3) * room, y + (place // 3) * (self.thumb + 0.22)
            axes = self.sheet.axes(left, above, self.thumb, self.thumb)
            _picture(axes, panel.strip[index], smooth=self.style.smooth)
            number = f"step {panel.steps[index]:,}"
            self.sheet.text(left + self.thumb / 2, above + self.thumb + 0.03, number, fontsize=5, ha="center")


def _two_lines(words: str, letters: int) -> str:
    lines = wrapped(words, letters).split("\n")
    return "\n".join([*lines[:1], short(" ".join(lines[1:]), letters)] if len(lines) > 2 else lines)


def visualizations_figure(
    panels: Sequence[Panel], style: PanelStyle = DEFAULT_PANELS, notes: str = ""
) -> Figure:
    """Draw visualisations: each with title, words and, up to `MOST_WITH_STEPS`, the steps in which it grew.

    Give the panels of two networks in turns, A then B, to see them side by side. Raises `ValueError` for none or
    for more than `MOST_PANELS`.
    """
    if not 1 <= len(panels) <= MOST_PANELS:
        raise ValueError(f"{len(panels)} pictures were given; a figure takes 1 to {MOST_PANELS}.")
    sizes = sorted({panel.image.shape[-1] for panel in panels})
    drawn = " ".join(pixel_words(size, smooth=style.smooth) for size in sizes)
    with drawing():
        return _Panels(panels, style, f"{drawn} {notes}".strip()).draw()


@dataclass(frozen=True)
class InversionRow:
    """Pictures `(3, S, S)` in [0, 1] beside each other with the words above each; `words` say what the row is of."""

    words: str
    pictures: tuple[tuple[str, Tensor], ...]


def inversion_figure(
    rows: Sequence[InversionRow], style: PanelStyle = DEFAULT_PANELS, notes: str = ""
) -> Figure:
    """Rows of clean picture, its inversion, degraded picture, its inversion."""
    width, columns = WIDTHS[style.width], max(len(row.pictures) for row in rows)
    side = min(1.66, (width - 0.1) / columns - 0.06)
    narrow = side < 1.2
    head = 0.38 if narrow else 0.29
    height = side + head + 0.13
    size = rows[0].pictures[0][1].shape[-1]
    below = wrapped(f"{pixel_words(size, smooth=style.smooth)} {notes}".strip(), int(21.5 * width))
    with drawing():
        sheet = Sheet(width, 0.05 + height * len(rows) + 0.105 * (below.count("\n") + 1) + 0.08)
        for number, row in enumerate(rows):
            y = 0.05 + number * height
            sheet.text(0.05, y, short(row.words, int(19 * width)), fontsize=6)
            for place, (words, image) in enumerate(row.pictures):
                axes = sheet.axes(0.05 + place * (side + 0.06), y + head, side, side)
                title = words.replace(", ", ",\n") if narrow else words
                _picture(axes, image, smooth=style.smooth).set_title(title, fontsize=5.2)
        sheet.text(0.05, 0.05 + height * len(rows), below, fontsize=5.5, color="#333333")
        return sheet.figure


@dataclass(frozen=True)
class SheetCell:
    """One channel of a contact sheet: its visualisation `(3, S, S)` and the parts of images that excite it most.

    Each of `crops` is `(3, h, w)` in [0, 1]; `words` stand above.
    """

    words: str
    image: Tensor
    crops: tuple[Tensor, ...] = field(default=())


PAGE_DPI = 200
"""Dots per inch of pictures on the pages of a PDF."""
A4 = (8.27, 11.69)
"""Width and height of a page in inches."""
_MARGIN, _HEAD, _CELL = 0.45, 1.0, 0.86
CROPS = 4
"""Images beside each visualisation of a contact sheet."""


def cells_on_a_page(*, crops: bool) -> int:
    """How many channels a page of a contact sheet has room for."""
    across, down = _page_grid(crops)
    return across * down


def _page_grid(crops: bool) -> tuple[int, int]:
    width = _CELL * (2 if crops else 1) + 0.1
    height = _CELL + 0.24
    return int((A4[0] - 2 * _MARGIN + 0.1) / width), int((A4[1] - _HEAD - _MARGIN) / height)


def sheet_page(
    cells: Sequence[SheetCell], title: str, notes: str, foot: str, *, crops: bool, smooth: bool = False
) -> Figure:
    """One A4 page of a contact sheet; `crops` keeps room for the parts of images beside each visualisation."""
    across, _down = _page_grid(crops)
    width, height = _CELL * (2 if crops else 1) + 0.1, _CELL + 0.24
    with drawing():
        sheet = Sheet(*A4)
        sheet.text(_MARGIN, 0.38, short(title, 110), fontsize=9)
        sheet.text(_MARGIN, 0.56, wrapped(notes, 150), fontsize=6, color="#333333")
        for place, cell in enumerate(cells):
            x, y = _MARGIN + (place % across) * width, _HEAD + (place // across) * height
            _sheet_cell(sheet, cell, x, y, smooth=smooth)
        sheet.text(A4[0] / 2, A4[1] - 0.3, foot, fontsize=6, ha="center", color="#333333")
        return sheet.figure


def _sheet_cell(sheet: Sheet, cell: SheetCell, x: float, y: float, *, smooth: bool) -> None:
    sheet.text(x, y, cell.words, fontsize=5)
    _picture(sheet.axes(x, y + 0.11, _CELL, _CELL), cell.image, smooth=smooth)
    side = _CELL / 2 - 0.01
    for place, crop in enumerate(cell.crops[:CROPS]):
        left, above = x + _CELL + 0.02 + (place % 2) * (side + 0.02), y + 0.11 + (place // 2) * (side + 0.02)
        axes = _picture(sheet.axes(left, above, side, side), _square(crop), smooth=smooth)
        axes.set_axis_off()


def _square(crop: Tensor) -> Tensor:
    """A part of an image on a white square, as it may be clipped at an image's border."""
    side = max(crop.shape[-2:])
    square = torch.ones(3, side, side)
    top, left = (side - crop.shape[-2]) // 2, (side - crop.shape[-1]) // 2
    square[:, top : top + crop.shape[-2], left : left + crop.shape[-1]] = crop
    return square


def write_pages(path: Path, pages: Iterable[Figure]) -> int:
    """Write figures as the pages of one PDF, one after the other; returns how many. The same pages give the same bytes.

    Only one page is held at a time.
    """
    count = 0
    metadata: dict[str, Any] = {"CreationDate": None}
    document = PdfPages(path, metadata=metadata)
    try:
        for page in pages:  # outside of `drawing`, as it may take long to make the next page
            with drawing():
                document.savefig(page, dpi=PAGE_DPI)
            count += 1
    finally:
        with drawing():  # fonts are written at the end, in the kind that our settings name
            document.close()
    return count
