"""Figures: a `Comparison` becomes one matplotlib `Figure`, the same on the page and in the exported file.

Everything is placed in inches, so that a figure has exactly the width of a paper's column and nothing moves when
a number changes. Colour and clipping happen here only, and every colour bar says what it shows.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from xai.comparison import Comparison
from xai.figure_layouts import Narrow, Wide
from xai.figure_parts import DEFAULT_STYLE, DIVERGING, FORMATS, RC, SEQUENTIAL, WIDTHS, Sheet, Style

__all__ = [
    "DEFAULT_STYLE",
    "DIVERGING",
    "FORMATS",
    "SEQUENTIAL",
    "WIDTHS",
    "Figure",
    "Style",
    "comparison_figure",
    "curves_figure",
    "drawing",
    "render",
]


_DRAWING = threading.Lock()


@contextmanager
def drawing() -> Iterator[None]:
    """Our matplotlib settings, for one thread at a time: they are process-wide, as are its text caches."""
    with _DRAWING, matplotlib.rc_context(RC):
        yield


def comparison_figure(comparison: Comparison, style: Style = DEFAULT_STYLE) -> Figure:
    """Draw a comparison in the style's column width."""
    with drawing():
        layout = Wide(comparison, style) if style.width == "two-column" else Narrow(comparison, style)
        return layout.draw()


def render(figure: Figure, file_format: str, dpi: int = 300, *, quick: bool = False) -> bytes:
    """The figure as PDF or SVG (text stays text) or PNG; the same figure gives the same bytes.

    `quick` compresses a PNG less, for the screen. Raises `ValueError` for another format.
    """
    if file_format not in FORMATS:
        raise ValueError(f"the format {file_format!r} was given; allowed are {', '.join(FORMATS)}.")
    metadata: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}, "png": {}}[file_format]
    options: dict[str, Any] = {"pil_kwargs": {"compress_level": 1}} if quick and file_format == "png" else {}
    buffer = io.BytesIO()
    with drawing():
        figure.savefig(buffer, format=file_format, dpi=dpi, metadata=metadata, **options)
    return buffer.getvalue()


def curves_figure(
    curves: Sequence[tuple[str, Sequence[float], Sequence[float]]], labels: tuple[str, str]
) -> Figure:
    """Lines `(name, x, y)` with named axes, told apart by dash as well as colour."""
    with drawing():
        sheet = Sheet(WIDTHS["one-column"], 2.3)
        axes = sheet.axes(0.5, 0.4, 2.7, 1.5)
        for (name, x, y), dash in zip(curves, ("-", "--", ":", "-."), strict=False):
            axes.plot(x, y, dash, label=name, linewidth=1.2)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        axes.legend(frameon=False, fontsize=6, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        axes.spines[["top", "right"]].set_visible(False)
        return sheet.figure
